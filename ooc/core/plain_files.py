"""Files that are read as a whole are files, and no larger than what they should hold."""

import os
import stat
from pathlib import Path

from ooc.core.sizes import format_size

ANY_SIZE = 2**63


def check_plain(path: str | Path, most_bytes: int = ANY_SIZE) -> None:
    """Refuse to read a pipe or a device, on which a reader would wait, or read, without an end.

    What is not there, or is a folder, is left to whoever opens it.

    Raises
    ------
    ValueError
        If it is no plain file, or is larger than `most_bytes`.

    Examples
    --------
    >>> check_plain("/dev/null", 2**20)
    Traceback (most recent call last):
    ValueError: /dev/null is a pipe, a socket or a device, no file
    """
    try:
        found = os.stat(path)  # noqa: PTH116  on the way of every chunk of some arrays
    except OSError:
        return
    if stat.S_ISDIR(found.st_mode):
        return
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is a pipe, a socket or a device, no file")
    if found.st_size > most_bytes:
        size, most = format_size(found.st_size), format_size(most_bytes)
        raise ValueError(f"{path} has {size}, above the {most} that it may hold")
