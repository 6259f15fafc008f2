"""Memory of this process's own, which goes back to the system with the array that is in it."""

import math
import mmap
from contextlib import suppress

import numpy as np

# Of x86-64 and of most others, where the system has pages of more than one size.
LARGE_PAGE = 2 * 2**20


def own_memory(shape: tuple[int, ...], dtype: np.dtype, large_pages: bool = False) -> np.ndarray:
    """Return an array of zeros, page-aligned.

    What the allocator gets back may stay with the process, and a run that reads more than once
    would grow; and what a forked child writes would be seen here, were it not the process's own.

    With `large_pages` the system is asked for pages of megabytes, where it has some: for memory of
    which all will be used, in any order. It then begins with such a page.
    """
    size = max(1, math.prod(shape) * dtype.itemsize)
    large = large_pages and size >= LARGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE")
    room = LARGE_PAGE if large else 0  # addresses, of which no page is ever touched
    memory = mmap.mmap(-1, size + room, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if not large:
        return np.ndarray(shape, dtype, memory)
    with suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    address = np.frombuffer(memory, np.uint8).ctypes.data
    return np.ndarray(shape, dtype, memory, -address % LARGE_PAGE)
