"""Errors of the system, which are no damage of a chunk: they are raised as what they are."""

import errno
import os
import resource

from ooc.core.errors import InputError
from ooc.store.addresses import is_denied
from ooc.store.answers import is_of_server

# What they mean is of the process, the machine or a permission, and any chunk may meet them.
_FAULTS = (
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.ENOTCONN,
    errno.ENODEV, errno.ENXIO, errno.ENOBUFS,
)  # fmt: skip
# A chunk's own, unless the folder has them, too.
_OF_A_FOLDER = (errno.EIO, errno.ESTALE, errno.ENOENT, errno.ENOTDIR, *_FAULTS)


def check_fault(error: BaseException, array: str, where: str, file: str, reason: str = "") -> None:
    """Raise an InputError on what is wrong with the system, if an error says so, not a chunk."""
    if isinstance(error, MemoryError):
        raise _fault(array, where, file, str(error) or "no memory is left", "lower the memory")
    if "://" in where and is_denied(error):
        # An object that is not there may look so, and then no rule for it could be kept.
        todo = (
            "give keys that may read it, or may list: a server that allows no listing says so of "
            "objects that are not there, too"
        )
        raise _fault(array, where, file, f"no permission ({reason or error})", todo)
    if is_of_server(error):
        raise _fault(array, where, file, reason or str(error), "see to the server, then go on")
    if isinstance(error, OSError) and (
        error.errno in _FAULTS or isinstance(error, PermissionError)
    ):
        raise _fault(array, where, file, error.strerror or str(error), _todo(error.errno))


def check_folder(folder: str, array: str, where: str) -> None:
    """Raise an InputError if a folder of chunks is gone or not readable: then none is bad."""
    try:
        os.stat(folder)  # noqa: PTH116  on the way of every chunk that is left out
        os.scandir(folder).close()
    except PermissionError:
        return  # files of a folder that cannot be listed may still be read
    except OSError as error:
        if error.errno in _OF_A_FOLDER:
            todo = "bring it back, then go on"
            raise _fault(array, where, folder, error.strerror or str(error), todo) from None


def _todo(number: int | None) -> str:
    if number == errno.EMFILE:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"this process may have {limit:,} open: raise that with `ulimit -n`"
    if number in (errno.EACCES, errno.EPERM, None):
        return "ask its owner for the permission to read it"
    return "see to it, then go on"


def _fault(array: str, where: str, file: str, reason: str, todo: str) -> InputError:
    return InputError(
        f"array {array} of {where} cannot be read from {file}: {reason}; no chunk is to blame; "
        f"{todo}"
    )
