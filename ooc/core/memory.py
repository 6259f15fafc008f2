"""Memory of this process's own, which goes back to the system with the array that is in it."""

import math
import mmap

import numpy as np


def own_memory(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array of zeros, page-aligned.

    What the allocator gets back may stay with the process, and a run that reads more than once
    would grow; and what a forked child writes would be seen here, were it not the process's own.
    """
    size = max(1, math.prod(shape) * dtype.itemsize)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.ndarray(shape, dtype, memory)
