"""Splits of rows that overlap: no two parts share a value, and what straddles is left out."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ooc
from ooc.core.errors import InputError
from ooc.store.dataset import Dataset
from ooc.store.held import hold
from ooc.store.selection import Selection
from ooc.store.transforms import transformed
from ooc.stream.splits import straddling_rows


def long_array(times: int, length: int, stride: int) -> Dataset:
    values = {"X": np.zeros((times, 1), "f4"), "y": np.arange(times)}
    return transformed(hold(values), f"sequences:{length}:{stride}")


def rows_in(part: Dataset) -> np.ndarray:
    loader = ooc.Loader(part, 1, memory="512MiB", shuffle="none")
    found = np.concatenate([batch.rows for batch in loader])
    assert len(found) == part.rows
    return found


def times_of(part: Dataset, length: int, stride: int) -> set[int]:
    return {row * stride + time for row in rows_in(part).tolist() for time in range(length)}


@pytest.mark.slow
@given(st.integers(1, 12), st.integers(1, 12), st.booleans(), st.integers(0, 3))
def test_no_time_is_on_two_sides(length: int, stride: int, ordered: bool, seed: int) -> None:
    dataset = long_array(3000, length, stride)
    # In small chunks there are many blocks.
    spec = dataset.arrays["X"]
    object.__setattr__(spec, "chunks", (3, *spec.chunks[1:]))
    sides = ooc.split(dataset, (0.2, 0.2), seed, by="block", ordered=ordered)
    times = [times_of(side, length, stride) for side in sides]
    for one, other in combinations(times, 2):
        assert not one & other
    left_out = dataset.rows - sum(side.rows for side in sides)
    assert left_out == straddling_rows(*sides)
    if ordered:
        assert left_out == 2 * spec.overlap
        assert max(times[0]) < min(times[1]) and max(times[1]) < min(times[2])
    elif spec.overlap:
        assert 0 < left_out <= dataset.rows / 16 + spec.overlap


def test_parts_are_split_again() -> None:
    dataset = long_array(1000, 10, 2)
    train, test = ooc.split(dataset, 0.2, ordered=True)
    inner, validation = ooc.split(train, 0.25, ordered=True)
    times = [times_of(side, 10, 2) for side in (inner, validation, test)]
    assert max(times[0]) < min(times[1]) and max(times[1]) < min(times[2])
    assert straddling_rows(train, test) == straddling_rows(inner, validation) == 4
    selection = validation.selection
    assert selection is not None
    assert Selection.from_json(selection.to_json()) == selection


@pytest.mark.parametrize("how", [{}, {"by": "y"}, {"stratify": "y"}, {"by": "y", "groups": [3]}])
def test_other_splits_would_leak(how: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="the same values would be on both sides"):
        ooc.split(long_array(1000, 10, 2), 0.2, **how)


def test_rows_that_only_touch_are_split_in_any_way() -> None:
    sides = ooc.split(long_array(1000, 10, 10), 0.2)
    assert [side.rows for side in sides] == [80, 20] and straddling_rows(*sides) == 0
