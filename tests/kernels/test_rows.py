"""Gathers of every dtype, standardised or not, near zero and far from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from pairs import pairs

from ooc.core.compiler import lean_kernel
from ooc.kernels.rows import (
    gather_integers_part,
    gather_part,
    gather_rows,
    half_to_float,
    tile_rows,
)
from ooc.kernels.share import Standard, Taken, call_gather, call_gather_integers

WHOLE = ["bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))]
FLOATS = ["float16", "float32", "float64"]
REALS = ["float32", "float64"]


def values_of(dtype: str, rng: np.random.Generator, rows: int = 50) -> np.ndarray:
    """Return values from all over the range of a dtype."""
    if dtype == "bool":
        return rng.random((rows, 7)) < 0.5
    if dtype in FLOATS:
        return (rng.standard_normal((rows, 7)) * 100).astype(dtype)
    info = np.iinfo(dtype)
    high = min(info.max, 2**62)
    return rng.integers(info.min, high, (rows, 7), np.dtype(dtype), endpoint=True)


def standard(shift: np.ndarray, factor: np.ndarray, real: str) -> Standard:
    return Standard(shift, shift.astype(real), factor.astype(real))


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("dtype", "real"), pairs(WHOLE + FLOATS, REALS))
def test_every_dtype_is_gathered(dtype: str, real: str, rng: np.random.Generator) -> None:
    values, order = values_of(dtype, rng), rng.permutation(50).astype(np.int32)[:33]
    out = np.empty((33, 7), real)
    gather_rows(values, order, out)
    assert np.array_equal(out, values[order].astype(real))
    gather_rows(values, order, out, standard(np.empty(0), np.array([0.25]), real))
    assert np.array_equal(out, values[order].astype(real) * out.dtype.type(0.25))


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("dtype", WHOLE + FLOATS)
def test_every_dtype_is_standardised(dtype: str, real: str, rng: np.random.Generator) -> None:
    """To the precision of the parameters, whatever that of the array."""
    values = values_of(dtype, rng)
    exact = values.astype(np.longdouble)
    mean, deviation = exact.mean(axis=0), exact.std(axis=0)
    deviation[deviation == 0] = 1
    out = np.empty((50, 7), real)
    moved = standard(mean.astype(np.float64), (1 / deviation).astype(np.float64), real)
    gather_rows(values, np.arange(50, dtype=np.int32), out, moved)
    expected = (exact - mean) / deviation
    np.testing.assert_allclose(out, expected.astype(np.float64), atol=8 * np.finfo(real).eps * 3)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize(
    ("dtype", "far", "near"),
    [
        ("float64", 1.7e9, 1.0),  # seconds since 1970
        ("int64", 1.7e9, 60.0),
        ("int32", 1.7e9, 60.0),
        ("uint32", 3.7e9, 60.0),
        ("int64", 1.7e18, 1e9),  # nanoseconds since 1970
        ("uint64", 1.7e18, 1e9),
        ("float32", 1e6, 10.0),
    ],
)
def test_what_lies_far_from_zero_keeps_its_meaning(
    dtype: str, real: str, far: float, near: float, rng: np.random.Generator
) -> None:
    """Differences of a second are 1e-7 of a time, less than float32 can hold."""
    values = (far + near * rng.standard_normal((400, 3))).astype(dtype)
    exact = values.astype(np.longdouble)
    mean, deviation = exact.mean(axis=0), exact.std(axis=0)
    out = np.empty((400, 3), real)
    moved = standard(mean.astype(np.float64), (1 / deviation).astype(np.float64), real)
    gather_rows(values, np.arange(400, dtype=np.int32), out, moved)
    expected = ((exact - mean) / deviation).astype(np.float64)
    # A float32 mean is rounded to a sixteenth of 1e6; the rest moves all rows alike.
    room = 0.0625 / near if dtype == "float32" and real == "float32" else 1e-6
    np.testing.assert_allclose(out, expected, atol=room)
    spread = out - out.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(spread, expected - expected.mean(axis=0), atol=2e-5)


@lean_kernel
def into(
    address: int, source: int, values: int, order: np.ndarray, moved: Standard, tile: np.ndarray
) -> None:
    width = np.int64(values)
    taken = Taken(order, np.int64(10), np.int64(20), width, width, np.int64(3), np.int64(2))
    call_gather(address, (source, taken, moved, tile))


@lean_kernel
def integers_into(
    address: int, source: int, values: int, order: np.ndarray, tile: np.ndarray
) -> None:
    width = np.int64(values)
    taken = Taken(order, np.int64(10), np.int64(20), width, width, np.int64(3), np.int64(2))
    call_gather_integers(address, (source, taken, tile))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "float64"])
def test_only_its_part_of_a_tile_is_written(
    dtype: str, shifted: bool, rng: np.random.Generator
) -> None:
    values, order = values_of(dtype, rng), rng.permutation(50).astype(np.int32)
    shift = np.full(7, 0.5) if shifted else np.empty(0)
    moved = standard(shift, np.full(7, 2.0), "float32")
    tile = np.full((30, 11), -7, np.float32)
    into(gather_part(dtype, "float32").address, values.ctypes.data, 7, order, moved, tile)
    expected = np.full((30, 11), -7, np.float32)
    expected[3:23, 2:9] = (values[order[10:30]].astype(float) - 0.5 * shifted) * 2
    np.testing.assert_allclose(tile, expected, rtol=1e-6)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("dtype", WHOLE)
def test_integers_stay_integers(dtype: str, rng: np.random.Generator) -> None:
    """Also those of which float32, and float64, know only every other one."""
    values, order = values_of(dtype, rng), rng.permutation(50).astype(np.int32)
    for base in (2**24, 2**53, 2**61):
        if dtype != "bool" and base < np.iinfo(dtype).max:
            values[:20] = base + np.arange(140, dtype=dtype).reshape(20, 7)
        tile = np.full((30, 11), -7, np.int64)
        integers_into(gather_integers_part(dtype).address, values.ctypes.data, 7, order, tile)
        expected = np.full((30, 11), -7, np.int64)
        expected[3:23, 2:9] = values[order[10:30]]
        assert np.array_equal(tile, expected)


def test_half_to_float_is_exact_for_every_half() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    expected = bits.view(np.float16).astype(np.float32)
    found = np.array([half_to_float(np.uint32(value)) for value in bits], np.float32)
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_not_finite_stays_so(dtype: str) -> None:
    values = np.array([[np.nan, np.inf, -np.inf]], dtype)
    out = np.empty((1, 3), np.float32)
    for shift in (np.empty(0), np.ones(3)):
        gather_rows(values, np.zeros(1, np.int32), out, standard(shift, np.ones(3), "float32"))
        assert np.array_equal(out, values.astype(np.float32), equal_nan=True)


@given(features=st.integers(1, 10**6))
def test_a_tile_stays_in_a_core_s_cache(features: int) -> None:
    rows = tile_rows(features)
    assert rows % 4 == 0
    assert 4 <= rows <= 256
    assert rows == 4 or rows * 4 * features <= 128 * 2**10


def test_rows_that_overlap_are_gathered_without_a_copy() -> None:
    times, length, stride = 60, 7, 3
    values = np.arange(times * 2, dtype=np.int16).reshape(times, 2)
    rows = np.moveaxis(sliding_window_view(values, length, axis=0)[::stride], -1, 1)
    order = np.random.default_rng(0).permutation(len(rows)).astype(np.int32)
    empty, out = np.empty(0), np.zeros((len(rows), 2 * length), np.float32)
    standard = Standard(empty, empty.astype(np.float32), np.ones(1, np.float32))
    address = gather_part(values.dtype, out.dtype).address
    _gather_overlapping(address, values.ctypes.data, 2 * stride, order, standard, out)
    np.testing.assert_array_equal(out, rows[order].reshape(len(rows), -1))


@lean_kernel
def _gather_overlapping(
    address: int, source: int, step: int, order: np.ndarray, standard: Standard, out: np.ndarray
) -> None:
    none = np.int64(0)
    taken = Taken(order, none, order.size, out.shape[1], step, none, none)
    call_gather(address, (source, taken, standard, out))
