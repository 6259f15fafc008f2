"""Blocks of rows transformed, compiled: one call a block, no Python for a row.

Each kernel fills columns and values of the rows, one after the other, and how many each row has. It
returns `OK`, or why a row cannot be transformed times `ROWS` plus that row's place in the block.
"""

import math

import numpy as np

from ooc.core.compiler import array_at, lean_kernel
from ooc.core.hashing import GOLDEN, mix

OK, NEGATIVE, NOT_WHOLE, TOO_MANY = range(4)
ROWS = 2**40
# Logarithms that are kept of each row: those of counts below this.
KNOWN_COUNTS = 32
_ONE = np.uint64(1)
_SIGN = np.uint64(63)


@lean_kernel
def log_normalise(
    extents: np.ndarray,
    like: np.floating,
    number: float,
    keys: np.ndarray,
    products: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    counts: np.ndarray,
) -> int:
    """Scale each row of counts to the total `number`, and take ``log(1 + x)``.

    A row without counts stays as it is (scanpy's ``normalize_total`` and ``log1p``). Most counts
    are small and whole, so that a row has few logarithms.
    """
    at = 0
    for r in range(len(extents)):
        size = extents[r, 2]
        if at + size > columns.size:
            return TOO_MANY * ROWS + r
        of_row = array_at(extents[r, 0], (size,), np.int32(0))
        given = array_at(extents[r, 1], (size,), like)
        total = 0.0
        for j in range(size):
            if given[j] < 0.0:
                return NEGATIVE * ROWS + r
            total += given[j]
        # NaN is not zero, and stays NaN.
        scale = 1.0 if total == 0.0 else number / total
        known = min(KNOWN_COUNTS, size // 2)
        for whole in range(known):
            products[whole] = math.log1p(whole * scale)
        for j in range(size):
            columns[at + j] = of_row[j]
            count = np.int64(given[j]) if given[j] < KNOWN_COUNTS else known
            if count < known and count == given[j]:
                values[at + j] = products[count]
            else:
                values[at + j] = math.log1p(given[j] * scale)
        counts[r] = size
        at += size
    return OK


@lean_kernel
def put(
    keys: np.ndarray,
    products: np.ndarray,
    size: int,
    pairs: bool,
    bits: float,
    columns: np.ndarray,
    values: np.ndarray,
    at: int,
) -> int:
    """Put a row's non-zeros at their hashed columns, and their products if asked for.

    Half of all columns count negatively, so that those that meet cancel on average (Weinberger and
    others 2009). A pair's key does not depend on the order of the two. Returned is the new place.
    """
    mask = (_ONE << np.uint64(bits)) - _ONE
    for i in range(size):
        sign = 1.0 - 2.0 * np.float64(keys[i] >> _SIGN)
        columns[at], values[at] = np.int32(keys[i] & mask), sign * products[i]
        at += 1
    if pairs:
        for i in range(size):
            for j in range(i):
                low, high = min(keys[i], keys[j]), max(keys[i], keys[j])
                key = mix(low * GOLDEN + high)
                sign = 1.0 - 2.0 * np.float64(key >> _SIGN)
                columns[at] = np.int32(key & mask)
                values[at] = sign * products[i] * products[j]
                at += 1
    return at


@lean_kernel
def hash_block(
    extents: np.ndarray,
    like: np.floating,
    number: float,
    keys: np.ndarray,
    products: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    counts: np.ndarray,
    pairs: bool,
) -> int:
    """Hash the columns of sparse rows."""
    at = 0
    for r in range(len(extents)):
        size = extents[r, 2]
        made = size * (size + 1) // 2 if pairs else size
        if size > keys.size or at + made > columns.size:
            return TOO_MANY * ROWS + r
        of_row = array_at(extents[r, 0], (size,), np.int32(0))
        given = array_at(extents[r, 1], (size,), like)
        for j in range(size):
            keys[j] = mix(np.uint64(of_row[j] + 1) * GOLDEN)
            products[j] = given[j]
        at = put(keys, products, size, pairs, number, columns, values, at)
        counts[r] = made
    return OK


@lean_kernel
def hash_dense_block(
    codes: np.ndarray,
    number: float,
    keys: np.ndarray,
    products: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    counts: np.ndarray,
    pairs: bool,
) -> int:
    """Give each column's code a hashed column of its own, with the value 1."""
    at, size = 0, codes.shape[1]
    made = size * (size + 1) // 2 if pairs else size
    if size > keys.size or made * len(codes) > columns.size:
        return TOO_MANY * ROWS
    for r in range(len(codes)):
        for j in range(size):
            code = codes[r, j]
            # NaN and infinity are not whole either.
            if not abs(code) < 2.0**53 or code != math.floor(code):
                return NOT_WHOLE * ROWS + r
            of_column = mix(np.uint64(j + 1) * GOLDEN)
            keys[j] = mix(of_column + np.uint64(np.int64(code)) * GOLDEN)
            products[j] = 1.0
        at = put(keys, products, size, pairs, number, columns, values, at)
        counts[r] = made
    return OK


@lean_kernel
def hash_rows(
    extents: np.ndarray,
    like: np.floating,
    number: float,
    keys: np.ndarray,
    products: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    counts: np.ndarray,
) -> int:
    """Hash the columns of sparse rows to 2^number."""
    return hash_block(extents, like, number, keys, products, columns, values, counts, False)


@lean_kernel
def hash_row_pairs(
    extents: np.ndarray,
    like: np.floating,
    number: float,
    keys: np.ndarray,
    products: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    counts: np.ndarray,
) -> int:
    """Do as `hash_rows`, and add the product of each two non-zeros of a row."""
    return hash_block(extents, like, number, keys, products, columns, values, counts, True)


@lean_kernel
def hash_codes(
    codes: np.ndarray,
    number: float,
    keys: np.ndarray,
    products: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    counts: np.ndarray,
) -> int:
    """Hash pairs of column and code to 2^number columns."""
    return hash_dense_block(codes, number, keys, products, columns, values, counts, False)


@lean_kernel
def hash_code_pairs(
    codes: np.ndarray,
    number: float,
    keys: np.ndarray,
    products: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    counts: np.ndarray,
) -> int:
    """Do as `hash_codes`, and add each two codes of a row together."""
    return hash_dense_block(codes, number, keys, products, columns, values, counts, True)
