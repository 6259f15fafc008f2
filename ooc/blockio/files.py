"""Ranges of files into reused aligned memory, past the page cache where that is possible.

Direct I/O leaves the processor and the page cache alone, and random requests of 256 KiB are as
fast as sequential ones. It needs aligned offsets, sizes and memory, and some file systems refuse
it: then files are read through the cache, which is dropped behind.
"""

import errno
import mmap
import os
import time
from pathlib import Path

from ooc.errors import InputError
from ooc.process import allowed_bytes

ALIGNMENT = 4096
POLICIES = ("auto", "direct", "buffered")
TRANSIENT = (errno.EIO, errno.EAGAIN, errno.ETIMEDOUT, errno.ESTALE)
RETRIES = 3


class TruncatedError(OSError):
    """A file that ends before the range that was asked for."""


class ScratchMemory:
    """Page-aligned memory that grows to what is needed and is then reused."""

    def __init__(self) -> None:
        self._memory = memoryview(b"")

    def at_least(self, size: int) -> memoryview:
        """Return memory of this size or more; what it held before is lost."""
        if len(self._memory) < size:
            self._memory = memoryview(mmap.mmap(-1, -(-size // ALIGNMENT) * ALIGNMENT))
        return self._memory


def choose_mode(policy: str, stored_at_most: int, sample: Path) -> str:
    """Return how to read an array: "direct", "buffered" (cache dropped behind) or "cached".

    Under "auto", an array that fits a quarter of the memory that this process may use is read
    through the page cache and left there, for the next epoch; a larger one is read directly.

    Parameters
    ----------
    policy
        An entry of `POLICIES`.
    stored_at_most
        Bytes of the array, decoded: what it takes at most.
    sample
        Any file beside the data, to try direct I/O on.
    """
    if policy not in POLICIES:
        raise InputError(f"io is one of {', '.join(POLICIES)}, not {policy!r}")
    if policy == "auto" and stored_at_most <= allowed_bytes() // 4:
        return "cached"
    if policy == "buffered" or not takes_direct_io(sample):
        return "buffered"
    return "direct"


def takes_direct_io(path: Path) -> bool:
    """Tell whether this file can be opened and read past the page cache."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        return False
    try:
        os.preadv(descriptor, [ScratchMemory().at_least(ALIGNMENT)], 0)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


class FileReader:
    """Reads ranges of files in one mode.

    Attributes
    ----------
    retries
        Transient errors that were retried so far.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.retries = 0
        self._flags = os.O_RDONLY | os.O_CLOEXEC | (os.O_DIRECT if mode == "direct" else 0)

    def size(self, path: str) -> int:
        """Return a file's bytes."""
        return Path(path).stat().st_size

    def read(self, path: str, start: int, stop: int, scratch: ScratchMemory) -> memoryview:
        """Return bytes start to stop of a file, valid until the scratch is used again.

        Raises
        ------
        TruncatedError
            If the file ends before `stop`.
        OSError
            If it cannot be read; transient errors are retried first, a few times.
        """
        for attempt in range(RETRIES + 1):
            try:
                return self._read(path, start, stop, scratch)
            except TruncatedError:
                raise
            except OSError as error:
                if error.errno not in TRANSIENT or attempt == RETRIES:
                    raise
                self.retries += 1
                time.sleep(0.05 * 4**attempt)
        raise AssertionError("unreachable")

    def _read(self, path: str, start: int, stop: int, scratch: ScratchMemory) -> memoryview:
        first = start // ALIGNMENT * ALIGNMENT
        length = -(-(stop - first) // ALIGNMENT) * ALIGNMENT
        memory = scratch.at_least(length)
        descriptor = os.open(path, self._flags)
        try:
            done = 0
            while done < stop - first:
                count = os.preadv(descriptor, [memory[done:length]], first + done)
                done += count
                # A direct read may end off the alignment only where the file ends.
                if count == 0 or (done < stop - first and done % ALIGNMENT):
                    raise TruncatedError(f"it ends after {first + done:,} of {stop:,} bytes")
            if self.mode == "buffered":
                os.posix_fadvise(descriptor, first, length, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        return memory[start - first : stop - first]
