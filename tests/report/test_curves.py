"""Thinned curves: bounded, with extremes and means kept, broken where a run went back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooc.report.curves import Curve, Thinner, without_beginning

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


def thinned(values: list[float], points: int, weights: list[float] | None = None) -> Curve:
    thinner = Thinner(points)
    for step, value in enumerate(values):
        thinner.add(step, step / 8, value, 1.0 if weights is None else weights[step])
    return thinner.curve()


@given(VALUES, st.integers(2, 40))
def test_no_more_points_than_allowed_and_none_left_out(values: list[float], points: int) -> None:
    curve = thinned(values, points)
    assert 1 <= len(curve) <= points
    assert len(curve) >= min(len(values), points // 2)
    assert curve.low.min() == min(values)
    assert curve.high.max() == max(values)
    margin = 1e-9 * max(1.0, max(map(abs, values)))
    assert np.all((curve.low <= curve.mean + margin) & (curve.mean <= curve.high + margin))
    assert np.all(np.diff(curve.steps) > 0)
    np.testing.assert_allclose(curve.seconds, curve.steps / 8)


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.1, 9)), min_size=1, max_size=200))
def test_means_are_weighted(pairs: list[tuple[float, float]]) -> None:
    values, weights = [list(column) for column in zip(*pairs, strict=True)]
    (mean,) = thinned(values, 1, weights).mean
    assert mean == pytest.approx(np.average(values, weights=weights), abs=1e-9)


@given(VALUES)
def test_a_curve_that_is_short_enough_is_left_as_it_is(values: list[float]) -> None:
    curve = thinned(values, len(values))
    np.testing.assert_allclose(curve.mean, values, rtol=1e-12)
    assert np.array_equal(curve.low, curve.high)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_breaks_the_curve_and_is_counted(value: float) -> None:
    thinner = Thinner(10)
    for step, own in enumerate([1.0, 2.0, value, 4.0]):
        thinner.add(step, step, own)
    curve = thinner.curve()
    assert thinner.dropped == 1
    np.testing.assert_array_equal(curve.mean, [1.0, 2.0, np.nan, 4.0])
    np.testing.assert_array_equal(curve.steps, [0.0, 1.0, np.nan, 3.0])


def test_parts_are_never_put_together_unless_there_are_too_many() -> None:
    thinner = Thinner(20)
    for step in range(100):
        thinner.add(step, step, float(step >= 50))
        if step == 49:
            thinner.break_off()
    curve = thinner.curve()
    assert set(curve.mean[np.isfinite(curve.mean)]) == {0.0, 1.0}
    assert np.count_nonzero(np.isnan(curve.mean)) == 1
    many = Thinner(20)
    for step in range(10_000):
        many.add(step, step, 1.0)
        many.break_off()
    assert len(many.curve()) <= 20


def test_intervals_keep_their_ends() -> None:
    thinner = Thinner(1)
    thinner.add(0, 0.0, 2.0, low=1.0, high=3.0)
    thinner.add(1, 1.0, 4.0, low=3.5, high=9.0)
    curve = thinner.curve()
    assert (curve.low[0], curve.mean[0], curve.high[0]) == (1.0, 3.0, 9.0)


def test_without_the_beginning_it_is_never_nothing() -> None:
    for count in (1, 2, 3, 50):
        assert len(without_beginning(thinned([1.0] * count, 50), 0.9)) >= 1


def test_without_the_beginning_it_is_what_lies_beyond_a_share_of_the_last_step() -> None:
    steps = np.array([100.0, 200, 300, np.nan, 400])
    curve = Curve(steps, steps, steps, steps, steps)
    np.testing.assert_array_equal(without_beginning(curve, 0.5).mean, [200, 300, np.nan, 400])
    three = Curve(*[steps[:3]] * 5)
    np.testing.assert_array_equal(without_beginning(three, 0.5).mean, [200, 300])
    two = Curve(*[steps[:2]] * 5)
    assert without_beginning(two, 0.9) is two
