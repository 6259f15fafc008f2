"""Memory of this process's own, which goes back to the system with the array that is in it."""

import math
import mmap
from contextlib import suppress

import numpy as np


def own_memory(shape: tuple[int, ...], dtype: np.dtype, large_pages: bool = False) -> np.ndarray:
    """Return an array of zeros, page-aligned.

    What the allocator gets back may stay with the process, and a run that reads more than once
    would grow; and what a forked child writes would be seen here, were it not the process's own.

    With `large_pages` the system is asked for pages of megabytes, where it has some: for memory of
    which all will be used, in any order.
    """
    size = max(1, math.prod(shape) * dtype.itemsize)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if large_pages and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.ndarray(shape, dtype, memory)
