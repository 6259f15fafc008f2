"""Rows that overlap in memory: expected values are NumPy's sliding_window_view."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from ooc.core.sliding import rows_at, sliding_rows, values_behind, values_between


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(0, 20), st.sampled_from([(), (3,), (2, 2)])
)
def test_rows_are_those_of_numpy(length: int, stride: int, more: int, inside: tuple) -> None:
    values = np.arange((length + more) * int(np.prod(inside))).reshape(length + more, *inside)
    wanted = np.moveaxis(sliding_window_view(values, length, axis=0)[::stride], -1, 1)
    rows = sliding_rows(values, len(wanted), length, stride)
    np.testing.assert_array_equal(rows, wanted)
    assert np.shares_memory(rows, values)
    if len(rows) > 1:
        assert values_between(rows) == stride * int(np.prod(inside))
    places = np.arange(len(wanted))[::-2]
    taken = rows_at(rows, places)
    np.testing.assert_array_equal(taken, wanted[places])
    assert taken.flags.c_contiguous and not np.shares_memory(taken, values)


def test_values_behind_rows_are_there_once() -> None:
    values = np.arange(24.0).reshape(12, 2)
    values_behind(sliding_rows(values, 4, 5, 2))[...] += 1
    assert values.ravel()[:22].tolist() == (np.arange(22.0) + 1).tolist()
    assert values.ravel()[22:].tolist() == [22, 23]


def test_rows_beyond_the_values_are_refused() -> None:
    with pytest.raises(ValueError, match="4 rows need 11 values, and there are 10"):
        sliding_rows(np.zeros(10), 4, 5, 2)


def test_values_that_lie_apart_have_no_step() -> None:
    with pytest.raises(ValueError, match="lie apart"):
        values_between(np.zeros((4, 6))[:, ::2])
