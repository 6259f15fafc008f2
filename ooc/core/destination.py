"""Where results are written: a local path, one writer at a time, on the disk before it is named."""

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ooc.core.errors import InputError

# pathlib folds the two slashes of a URL into one, and drops them at the end.
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:(/|$)")
MOST_NAME_BYTES = 255
# What writers keep beside a path while they write it: their lock, what grows, and scratch files.
_LOCK = "lock"
_LEFT = ("partial", "shuffle", "convert", "unshuffled", "token")
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class TakenError(Exception):
    """Another process holds a lock; the argument says which."""


def local_path(path: str | Path, what: str, written: bool = True) -> Path:
    """Return a path of this machine; refuse a URL, of which pathlib would make a local folder.

    Parameters
    ----------
    what
        What is kept there, in the plural.
    written
        Whether it is to be written, and not read.

    Examples
    --------
    >>> local_path("runs/a", "runs")
    PosixPath('runs/a')
    """
    text = os.fspath(path)
    if "://" not in text and not _URL.match(text):
        try:
            sizes = [len(os.fsencode(name)) for name in text.split("/")]
        except UnicodeEncodeError:
            sizes = []
        if not sizes or "\0" in text:
            raise InputError(f"no file can be called {text!r}; choose another name")
        if max(sizes) > MOST_NAME_BYTES:
            raise InputError(
                f"a name in {path} has {max(sizes)} bytes, above the {MOST_NAME_BYTES} that file "
                "systems take; choose a shorter one"
            )
        return Path(path)
    # A URL may hold keys.
    shown = re.sub(r"//[^/]*@", "//", re.sub(r":/*", "://", text, count=1).partition("?")[0])
    later = "write to a local path, and copy it there afterwards"
    todo = later if written else "copy it to a local path first"
    raise InputError(f"{shown} is a URL, and {what} are kept in local files alone; {todo}")


def take_lock(file: Path) -> int:
    """Lock a file, made if it is not there; return its descriptor, which holds the lock.

    The kernel frees the lock with the process, whatever end that comes to. A file system without
    locks grants it. A TakenError tells the number of another process that holds it.
    """
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor)
            # The one who held it before may have removed the file meanwhile.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), file.stat()):
                    # Whose it is, is a help to others; a full disk has no room for it.
                    with suppress(OSError):
                        os.ftruncate(descriptor, 0)
                        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode(errors="replace").strip()
        raise TakenError(owner or "unknown") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


@contextmanager
def claimed(path: Path, shown: str = "") -> Iterator[None]:
    """Keep a path that is about to be written for this writer alone.

    The lock is a hidden file beside it, which is removed in the end; one that a killed process
    left is taken over. What is written may be `shown` by another name.

    Examples
    --------
    >>> with claimed(folder / "new"), claimed(folder / "new"):  # doctest: +ELLIPSIS
    ...     pass
    Traceback (most recent call last):
    ooc.core.errors.InputError: process ... is writing .../new; wait for it, or choose another path
    """
    lock = hidden_beside(path, _LOCK)
    made = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = take_lock(lock)
    except TakenError as owner:
        raise InputError(
            f"process {owner} is writing {shown or path}; wait for it, or choose another path"
        ) from None
    except OSError as error:
        remove_empty(made)
        where, what = path.parent, "folder"
        if error.errno == errno.ENAMETOOLONG:  # with what is added to it
            where, what = path, "name"
        raise InputError(
            f"cannot write to {where}: {error.strerror}; choose another {what}"
        ) from None
    try:
        yield
    finally:
        # Removed while it is held, so that nobody can lock a file that is about to go.
        lock.unlink(missing_ok=True)
        os.close(descriptor)
        remove_empty(made)


def hidden_beside(path: Path, what: str) -> Path:
    """Return the hidden path on which a writer keeps something until `path` is whole.

    Examples
    --------
    >>> hidden_beside(Path("data/new.zarr"), "partial")
    PosixPath('data/.new.zarr.partial')
    """
    return path.parent / f".{path.name}.{what}"


def clear_leftovers(path: Path) -> None:
    """Remove what a writer left that was killed when `path` was whole already.

    Nothing is touched while another writer is at work.
    """
    left = [hidden_beside(path, what) for what in _LEFT]
    if not any(each.exists() for each in (*left, hidden_beside(path, _LOCK))):
        return
    with suppress(InputError), claimed(path):
        for each in left:
            shutil.rmtree(each, ignore_errors=True)
            if each.is_file():
                each.unlink()


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of some folders that are empty, inner ones first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def blamed(path: Path) -> Iterator[None]:
    """Have errors of the system name what was written: those of a full disk name nothing."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_whole(path: Path, content: bytes | memoryview | Callable[[IO[bytes]], object]) -> None:
    """Write a file aside, sync and rename it: it is either the old or the new one.

    `content` is what it will hold, or writes that to an open file.
    """
    aside = path.with_name(path.name + ".partial")
    with blamed(path):
        try:
            with aside.open("wb") as stream:
                _ = content(stream) if callable(content) else stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            aside.replace(path)
        except BaseException:  # a signal, too
            aside.unlink(missing_ok=True)
            raise
    sync(path.parent)


def name_whole(aside: Path, path: Path) -> None:
    """Give a folder that is whole its name, once all that is in it is on the disk."""
    for parent, _, files in os.walk(aside, topdown=False):
        for file in files:
            sync(Path(parent, file))
        sync(Path(parent))
    aside.rename(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot sync folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
