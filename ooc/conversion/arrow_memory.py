"""Where Arrow's values are in memory, by its C data interface: one call for all columns of a batch.

A batch tells the addresses of its columns in a structure of C's, `ArrowArray`, whose layout is
fixed: https://arrow.apache.org/docs/format/CDataInterface.html.
"""

import ctypes
from typing import Any

import numpy as np

from ooc.core.compile_child import Compilation
from ooc.core.compiler import array_at, kernel_for, lean_kernel

_LENGTH, _NULLS, _OFFSET, _CHILDREN, _BUFFERS, _FIRST_CHILD, _WORDS = 0, 1, 2, 4, 5, 6, 7

_pointer_of: Any = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


@lean_kernel
def addresses_of_columns(structure, places, size, out):  # type: ignore[no-untyped-def]
    """Write where columns' values of `size` bytes begin; 0 for those with nulls or no rows."""
    like = np.int64(0)
    whole = array_at(structure, (_WORDS,), like)
    columns = array_at(whole[_FIRST_CHILD], (whole[_CHILDREN],), like)
    for number in range(len(places)):
        out[number] = 0
        if places[number] >= 0:
            column = array_at(columns[places[number]], (_WORDS,), like)
            # The first buffer tells which values are null; without one, none is.
            buffers = array_at(column[_BUFFERS], (2,), like)
            if column[_LENGTH] > 0 and (buffers[0] == 0 or column[_NULLS] == 0):
                out[number] = buffers[1] + (whole[_OFFSET] + column[_OFFSET]) * size
    return 0


def batch_addresses(batch: Any, places: np.ndarray, size: int) -> np.ndarray:
    """Return where columns of a record batch have their values, one after the other, int64.

    Parameters
    ----------
    places
        (columns,) int64: which columns, all of them of numbers of `size` bytes; -1 for none.

    Returns
    -------
    numpy.ndarray
        0 for a column with nulls, without rows, or none. The addresses are good for as long as the
        batch is there.
    """
    _, capsule = batch.__arrow_c_array__()
    out = np.empty(len(places), np.int64)
    addresses_of_columns(_pointer_of(capsule, b"arrow_array"), places, size, out)
    return out


def arrow_kernels() -> list[Compilation]:
    """Return the compilations that addresses need."""
    numbers = np.zeros(1, np.int64)
    return [kernel_for(addresses_of_columns, 0, numbers, 0, numbers)]
