"""Who serves which lane."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooc.cluster.placement import place_lanes

THREADS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 4), min_size=1)


@given(st.integers(1, 20), THREADS, st.dictionaries(st.integers(0, 19), st.sampled_from("abxyz")))
def test_every_lane_has_one_worker_that_is_there(
    lanes: int, threads: dict[str, int], before: dict[int, str]
) -> None:
    before = {lane: who for lane, who in before.items() if lane < lanes}
    placed = place_lanes(lanes, threads, before)
    assert list(placed) == list(range(lanes))
    assert set(placed.values()) <= set(threads)


@given(st.integers(1, 20), THREADS)
def test_no_worker_is_fuller_than_one_more_lane_would_make_another(
    lanes: int, threads: dict[str, int]
) -> None:
    counts = Counter(place_lanes(lanes, threads, {}).values())
    fullest = max(counts[who] / threads[who] for who in threads)
    assert all((counts[who] + 1) / threads[who] >= fullest for who in threads)


@given(st.integers(1, 20), THREADS)
def test_lanes_stay_where_they_are_while_nobody_comes_or_goes(
    lanes: int, threads: dict[str, int]
) -> None:
    placed = place_lanes(lanes, threads, {})
    assert place_lanes(lanes, threads, placed) == placed


@pytest.mark.parametrize("gone", ["a", "b"])
def test_only_the_lanes_of_one_that_is_gone_move(gone: str) -> None:
    before = place_lanes(6, {"a": 1, "b": 1, "c": 1}, {})
    left = {who: 1 for who in "abc" if who != gone}
    after = place_lanes(6, left, before)
    assert all(after[lane] == who for lane, who in before.items() if who != gone)


def test_a_worker_of_two_threads_serves_twice_as_many() -> None:
    assert Counter(place_lanes(6, {"a": 2, "b": 1}, {}).values()) == {"a": 4, "b": 2}
