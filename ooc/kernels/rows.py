"""Gather rows of a window, in any order and dtype, into a share that stays in cache."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ooc.core.compiler import (
    ROWS_AHEAD,
    array_of,
    lean_kernel,
    part,
    prefetch_row,
    remembered,
    small_kernel,
)
from ooc.kernels.share import Standard, Taken, call_gather, gather_integers_of, gather_of, source_of
from ooc.optim.step import real_of


class Stored(NamedTuple):
    """Rows of an array in their own dtype, and how they come to a model.

    Attributes
    ----------
    gather
        Address of what gathers them, see `gather_address`.
    source
        Address of the array, whose owner outlives this.
    order
        (rows,) int32, their places.
    standard
        What is subtracted, and what they are multiplied with.
    """

    gather: int
    source: int
    order: np.ndarray
    standard: Standard


TILE_BYTES = 128 * 2**10
MOST_TILE_ROWS = 256


def tile_rows(features: int) -> int:
    """Return the rows of a tile: a multiple of 4 that fills about 128 KiB.

    Examples
    --------
    >>> tile_rows(128), tile_rows(784), tile_rows(10**6)
    (256, 40, 4)
    """
    return max(4, min(MOST_TILE_ROWS, TILE_BYTES // (4 * features)) // 4 * 4)


@lean_kernel
def half_to_float(bits):  # type: ignore[no-untyped-def]
    """Convert the bits of an IEEE 754 binary16, a uint32, to float32; NaN and infinity stay."""
    magnitude = bits & np.uint32(0x7FFF)
    if magnitude >= np.uint32(0x7C00):
        out = np.uint32((magnitude << np.uint32(13)) | np.uint32(0x7F800000)).view(np.float32)
    else:
        out = np.uint32(magnitude << np.uint32(13)).view(np.float32) * np.float32(2.0**112)
    return -out if bits & np.uint32(0x8000) else out


@small_kernel
def ask_ahead(rows: np.ndarray, taken: Taken, place: int) -> None:
    """Ask for a row that is soon to be gathered.

    Rows of a mixed window lie anywhere in it. Of one that follows its neighbour the processor finds
    out by itself.
    """
    far = taken.start + place + ROWS_AHEAD
    if far < taken.order.size and taken.order[far] != taken.order[far - 1] + 1:
        address = rows.ctypes.data + rows.strides[0] * np.int64(taken.order[far])
        prefetch_row(address, taken.values * rows.itemsize)


@small_kernel
def move_rows(
    rows: np.ndarray, taken: Taken, shift: np.ndarray, factor: np.ndarray, tile: np.ndarray
) -> int:
    """Copy rows to a tile, standardised; they are shifted in the precision that `shift` has."""
    # Places without a sign need not be wrapped around: loops vectorise.
    first, all_alike = np.uint64(taken.column), factor[0]
    for r in range(taken.rows):
        ask_ahead(rows, taken, r)
        row, out = np.uint64(taken.order[taken.start + r]), np.uint64(taken.filled + r)
        if shift.size == 0:
            for j in range(np.uint64(taken.values)):
                tile[out, first + j] = tile.dtype.type(rows[row, j]) * all_alike
        else:
            for j in range(np.uint64(taken.values)):
                moved = shift.dtype.type(rows[row, j]) - shift[j]
                tile[out, first + j] = tile.dtype.type(moved) * factor[j]
    return 0


def gather(source: Any, taken: Taken, standard: Standard, tile: np.ndarray) -> int:
    """Copy rows of the array that begins at `source` to a tile, standardised."""
    rows = array_of(source, (1, taken.step))
    return move_rows(rows, taken, standard.low, standard.factor, tile)


def gather_exactly(source: Any, taken: Taken, standard: Standard, tile: np.ndarray) -> int:
    """Do as `gather`, subtracting in float64: for arrays that float32 would round."""
    rows = array_of(source, (1, taken.step))
    return move_rows(rows, taken, standard.shift, standard.factor, tile)


def gather_halves(source: Any, taken: Taken, standard: Standard, tile: np.ndarray) -> int:
    """Do as `gather` for raw float16 bits: Numba has no float16 on processors."""
    rows, first = array_of(source, (1, taken.step)), np.uint64(taken.column)
    low, factor, all_alike = standard.low, standard.factor, standard.factor[0]
    for r in range(taken.rows):
        ask_ahead(rows, taken, r)
        row, out = np.uint64(taken.order[taken.start + r]), np.uint64(taken.filled + r)
        for j in range(np.uint64(taken.values)):
            value = half_to_float(np.uint32(rows[row, j]))
            if low.size == 0:
                tile[out, first + j] = tile.dtype.type(value) * all_alike
            else:
                tile[out, first + j] = (tile.dtype.type(value) - low[j]) * factor[j]
    return 0


def gather_integers(source: Any, taken: Taken, tile: np.ndarray) -> int:
    """Copy rows to a tile of int64; an identifier never goes through a float."""
    rows, first = array_of(source, (1, taken.step)), np.uint64(taken.column)
    for r in range(taken.rows):
        ask_ahead(rows, taken, r)
        row, out = np.uint64(taken.order[taken.start + r]), np.uint64(taken.filled + r)
        for j in range(np.uint64(taken.values)):
            tile[out, first + j] = rows[row, j]
    return 0


def gather_part(dtype: Any, real: Any) -> Any:
    """Return the compiled gather from an array of this dtype to parameters' dtype."""
    return part(*_gather_for(np.dtype(dtype), np.dtype(real)))


@remembered
def gather_address(dtype: np.dtype, real: np.dtype) -> int:
    """Return where the compiled gather is, see `gather_part`."""
    return int(gather_part(dtype, real).address)


@cache
def _gather_for(dtype: np.dtype, real: np.dtype) -> tuple[Any, Any]:
    """Return the function and its signature: making Numba's types takes longer than a tile."""
    function = gather
    if dtype == np.float16:
        function = gather_halves
    elif dtype.itemsize > 4 or (dtype.kind in "iu" and dtype.itemsize == 4):
        function = gather_exactly
    return function, gather_of(real_of(real), source_of(dtype))


def gather_integers_part(dtype: Any) -> Any:
    """Return the compiled gather of an integer array of this dtype."""
    return part(gather_integers, gather_integers_of(source_of(np.dtype(dtype))))


def gather_rows(
    array: np.ndarray, order: np.ndarray, out: np.ndarray, standard: Standard | None = None
) -> None:
    """Copy rows of an array in any order, (rows,) int32, to `out` (rows, values), standardised.

    An `out` of fewer rows is filled again and again, as a share is.

    Examples
    --------
    >>> out = np.empty((2, 1), np.float32)
    >>> gather_rows(np.array([[1], [2], [3]], np.uint8), np.array([2, 0], np.int32), out)
    >>> out.ravel().tolist()
    [3.0, 1.0]
    """
    if standard is None:
        empty = np.empty(0)
        standard = Standard(empty, empty.astype(out.dtype), np.ones(1, out.dtype))
    flat = np.ascontiguousarray(array.reshape(len(array), -1))
    address = gather_address(flat.dtype, out.dtype)
    _gather(Stored(address, flat.ctypes.data, order, standard), out)


@lean_kernel
def _gather(stored: Stored, out: np.ndarray) -> None:
    room = out.shape[0]
    for start in range(0, stored.order.size, room):
        gather_tile(stored, start, out)


@lean_kernel
def gather_tile(stored: Stored, start: int, tile: np.ndarray) -> int:
    """Fill a tile with rows from a place in the order on; return how many they are."""
    count, first = min(tile.shape[0], stored.order.size - start), int(np.int64(0))
    taken = Taken(stored.order, start, count, tile.shape[1], tile.shape[1], first, first)
    call_gather(stored.gather, (stored.source, taken, stored.standard, tile))
    return count
