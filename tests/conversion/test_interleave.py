"""Columns beside each other: as NumPy stacks them, whatever their number, length and type."""

import numpy as np
import pytest

from ooc.conversion.interleave import FEWEST_ROWS, TILE_BYTES, interleave

TYPES = ("float16", "float32", "float64", "int8", "uint16", "int32", "int64")


def laid(columns: list[np.ndarray], first: int, width: int) -> tuple[np.ndarray, bool]:
    out = np.full((len(columns[0]), width), 7, columns[0].dtype)
    addresses = np.array([each.ctypes.data for each in columns], np.int64)
    return out, interleave(addresses, first, out)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("rows", [0, 1, 8, 71])
@pytest.mark.parametrize("count", [1, 8, 13, 16])
def test_rows_are_those_that_numpy_stacks(
    rng: np.random.Generator, dtype: str, rows: int, count: int
) -> None:
    columns = [rng.integers(-99, 99, rows).astype(dtype) for _ in range(count)]
    out, has_nan = laid(columns, 2, count + 3)
    np.testing.assert_array_equal(out[:, 2 : 2 + count], np.stack(columns, axis=1))
    assert (out[:, :2] == 7).all() and (out[:, -1] == 7).all() and not has_nan


def test_more_rows_than_a_tile_has(rng: np.random.Generator) -> None:
    for count in (9, 2 * TILE_BYTES // (8 * FEWEST_ROWS)):
        rows = TILE_BYTES // (8 * count) * 2 + 3 if count == 9 else 2 * FEWEST_ROWS + 5
        columns = [rng.standard_normal(rows) for _ in range(count)]
        np.testing.assert_array_equal(laid(columns, 0, count)[0], np.stack(columns, axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("row", [0, 7, 8, 18])
@pytest.mark.parametrize("column", [0, 7, 8])
def test_each_nan_is_seen_and_no_infinity(dtype: str, row: int, column: int) -> None:
    columns = [np.full(19, -np.inf, dtype) for _ in range(9)]
    assert not laid(columns, 0, 9)[1]
    for nan in (np.nan, -np.nan):
        columns[column][row] = nan
        assert laid(columns, 0, 9)[1]


def test_whole_numbers_are_never_nan() -> None:
    assert not laid([np.full(9, -1, np.int32)], 0, 1)[1]


def test_columns_may_begin_anywhere(rng: np.random.Generator) -> None:
    whole = rng.standard_normal(100).astype(np.float32)
    columns = [whole[place : place + 20] for place in range(9)]
    np.testing.assert_array_equal(laid(columns, 0, 9)[0], np.stack(columns, axis=1))
