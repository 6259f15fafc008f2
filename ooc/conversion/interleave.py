"""Columns are laid beside each other as rows: a compiled pass over a piece, with a look for NaN.

Blocks of 8 rows and 8 columns are transposed in registers, by three perfect shuffles (H. S. Stone,
"Parallel processing with the perfect shuffle", IEEE Transactions on Computers C-20, 1971). Copied
column by column they would take four times as long: rows of one column lie far apart.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from ooc.core.compile_child import Compilation
from ooc.core.compiler import array_at, kernel_for, lean_kernel

SIDE = 8
# Rows that are written by columns of 8 before the next 8 stay in a core's second cache.
TILE_BYTES, FEWEST_ROWS = 2**18, 64


def _transpose(typing_context, addresses, out, first, column, row, top, mask):  # type: ignore[no-untyped-def]
    """Write 8 values of each of 8 columns, from a row on, and return the largest, masked, or `top`.

    Columns are those whose addresses are at `column`; in `out` they begin `first` further right.
    """
    kind = out.dtype

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        addresses, out, first, column, row, top, mask = values
        bits = context.get_value_type(kind)
        vector, size = ir.VectorType(bits, SIDE), bits.width // 8
        places = ir.VectorType(ir.IntType(32), SIDE)

        def shuffled(left: Any, right: Any, order: Sequence[int]) -> Any:
            return builder.shuffle_vector(left, right, ir.Constant(places, list(order)))

        def largest(left: Any, right: Any) -> Any:
            return builder.select(builder.icmp_unsigned(">", left, right), left, right)

        known = make_array(signature.args[0])(context, builder, addresses).data
        offset = builder.mul(row, row.type(size))
        columns = []
        for number in range(SIDE):
            at = builder.add(column, column.type(number))
            begin = builder.add(builder.load(builder.gep(known, [at])), offset)
            pointer = builder.inttoptr(begin, vector.as_pointer())
            columns.append(builder.load(pointer, align=size))

        one = builder.insert_element(ir.Constant(vector, ir.Undefined), mask, ir.IntType(32)(0))
        masks, most = shuffled(one, one, [0] * SIDE), None
        for values_ in columns:
            masked = builder.and_(values_, masks)
            most = masked if most is None else largest(most, masked)
        for step in (4, 2, 1):
            most = largest(most, shuffled(most, most, [(i + step) % SIDE for i in range(SIDE)]))
        top = largest(builder.extract_element(most, ir.IntType(32)(0)), top)

        low = [place // 2 + SIDE * (place % 2) for place in range(SIDE)]
        high, half = [place + SIDE // 2 for place in low], SIDE // 2
        for _ in range(3):
            columns = [
                shuffled(columns[number // 2], columns[number // 2 + half], order)
                for number in range(0, SIDE, 2)
                for order in (low, high)
            ]
        rows = make_array(signature.args[1])(context, builder, out)
        width = cgutils.unpack_tuple(builder, rows.shape)[1]
        place = builder.add(builder.mul(row, width), builder.add(first, column))
        for values_ in columns:
            pointer = builder.gep(rows.data, [place])
            builder.store(values_, builder.bitcast(pointer, vector.as_pointer()), align=size)
            place = builder.add(place, width)
        return top

    places = (types.int64,) * 3
    return kind(addresses, out, *places, kind, kind), generate


_transpose_block: Any = intrinsic(_transpose)


@lean_kernel
def interleave_bits(addresses, first, out, tile, mask):  # type: ignore[no-untyped-def]
    """Write columns of `out`, unsigned, from the first one on; return their largest, masked."""
    like, top = out.dtype.type(0), out.dtype.type(0)
    rows, width = len(out), len(addresses)
    wide = width // SIDE * SIDE
    for begin in range(0, rows, tile):
        end = min(begin + tile, rows)
        high = begin + (end - begin) // SIDE * SIDE
        for column in range(0, wide, SIDE):
            for row in range(begin, high, SIDE):
                top = _transpose_block(addresses, out, first, column, row, top, mask)
        for column in range(width):
            values = array_at(addresses[column], (end,), like)
            for row in range(high if column < wide else begin, end):
                value = values[row]
                out[row, first + column] = value
                top = out.dtype.type(max(top, value & mask))
    return top


def interleave(addresses: np.ndarray, first: int, out: np.ndarray) -> bool:
    """Write columns beside each other; tell whether one of their values is NaN.

    Parameters
    ----------
    addresses
        (columns,) int64: where the values of each column begin, one after the other, as many as
        `out` has rows, of its dtype. Whoever owns them keeps them until this returns.
    first
        Place of the first of the columns in `out`.
    out
        (rows, width), C-contiguous, of numbers of 1, 2, 4 or 8 bytes.

    Examples
    --------
    >>> columns = np.array([1, 2], "f4"), np.array([3, np.nan], "f4")
    >>> out = np.zeros((2, 3), "f4")
    >>> interleave(np.array([each.ctypes.data for each in columns]), 1, out)
    True
    >>> out
    array([[ 0.,  1.,  3.],
           [ 0.,  2., nan]], dtype=float32)
    """
    bits = _unsigned(out.dtype)
    mask, most = _magnitude(out.dtype)
    row_bytes = out.itemsize * max(1, out.shape[1])
    tile = max(FEWEST_ROWS, TILE_BYTES // row_bytes // SIDE * SIDE)
    return int(interleave_bits(addresses, first, out.view(bits), tile, bits.type(mask))) > most


def interleaving_kernels(dtype: np.dtype) -> list[Compilation]:
    """Return the compilations that columns of a dtype need."""
    bits = _unsigned(dtype)
    given = np.zeros(1, np.int64), 0, np.zeros((1, 1), bits), 0, bits.type(0)
    return [kernel_for(interleave_bits, *given)]


def _unsigned(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"u{dtype.itemsize}")


def _magnitude(dtype: np.dtype) -> tuple[int, int]:
    """Return the bits without the sign, and the most that they are unless a number is NaN."""
    most = 2 ** (8 * dtype.itemsize) - 1
    if dtype.kind != "f":
        return most, most
    infinite = np.array(np.inf, dtype).view(_unsigned(dtype))
    return most >> 1, int(infinite)
