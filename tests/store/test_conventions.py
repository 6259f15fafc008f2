"""What attributes make of stored numbers: no digit is lost, and each number means what it says."""

import numpy as np
import pytest

from ooc.store.conventions import decode, read_conventions


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4"])
def test_whole_numbers_beside_missing_ones_keep_every_digit(dtype: str) -> None:
    """As floats that hold all of them, and no longer than that takes."""
    info = np.iinfo(dtype)
    values = np.array([info.min, info.min + 1, 0, 7, info.max - 1, info.max], dtype)
    found = read_conventions({"_FillValue": 7}, np.dtype(dtype))
    assert found is not None
    told = decode(found, values)
    assert told.dtype == (np.float32 if np.dtype(dtype).itemsize <= 2 else np.float64)
    np.testing.assert_array_equal(told, np.where(values == 7, np.nan, values.astype(np.float64)))


def test_the_ends_of_a_valid_range_are_valid() -> None:
    values = np.array([1, 2, 3, 4, 5], "i2")
    for attributes, gone in (
        ({"valid_min": 2, "valid_max": 4}, {1, 5}),
        ({"valid_range": [2, 4]}, {1, 5}),
        ({"valid_min": 2}, {1}),
        ({"valid_max": 4}, {5}),
        ({"missing_value": 3}, {3}),
        ({"_FillValue": 2, "missing_value": [3, 5]}, {2, 3, 5}),
    ):
        found = read_conventions(attributes, np.dtype("i2"))
        assert found is not None
        expected = [np.nan if each in gone else each for each in values.tolist()]
        np.testing.assert_array_equal(decode(found, values), expected)


def test_scaled_numbers_are_shifted_after_they_are_scaled() -> None:
    found = read_conventions({"scale_factor": 0.5, "add_offset": 20.0}, np.dtype("i2"))
    assert found is not None
    np.testing.assert_array_equal(decode(found, np.array([0, 1, -4], "i2")), [20, 20.5, 18])
