"""Batches of pairs: unbiased, with the noise that is computed, down to the floor of theory."""

import numpy as np
import pytest
from clusters import gradient_of, minimum

from pipelines.molecules import mini_batches

pytestmark = pytest.mark.slow  # to compile


def test_a_batch_of_all_pairs_is_the_gradient() -> None:
    positions, pairs = mini_batches.start_of(9, 0), mini_batches.all_pairs(9)
    gradient = np.empty_like(positions)
    mini_batches.batch_gradient(positions, pairs, len(pairs), np.ones(1, np.uint64), gradient)
    np.testing.assert_allclose(gradient, gradient_of(positions), rtol=1e-9, atol=1e-7)
    np.testing.assert_array_equal(np.unique(pairs, axis=0), mini_batches.all_pairs(9)[:, :])


def test_batches_are_unbiased_and_their_noise_is_what_is_computed() -> None:
    positions, pairs, state = minimum(8), mini_batches.all_pairs(8), np.full(1, 7, np.uint64)
    drawn = np.empty((20_000, *positions.shape))
    for each in drawn:
        mini_batches.batch_gradient(positions, pairs, 5, state, each)
    drawn = drawn.reshape(len(drawn), -1)
    expected = mini_batches.noise_covariance(positions, 5)
    spread = np.sqrt(np.diag(expected) / len(drawn))
    assert (np.abs(drawn.mean(axis=0)) < 5 * spread).all()
    found = np.cov(drawn.T)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    assert np.trace(expected) > 10
    # Of all pairs none is left to chance.
    assert np.abs(mini_batches.noise_covariance(positions, len(pairs))).max() == 0


@pytest.mark.parametrize("way", [way for way in mini_batches.WAYS if way.half_after == np.inf][:2])
def test_descent_on_batches_stalls_where_theory_says(way: mini_batches.Way) -> None:
    start = minimum(13, 1)
    trace = mini_batches.trace_batches(way, start, 400_000, 0)
    assert trace.settled == pytest.approx(trace.floor, rel=0.3)
    full = mini_batches.trace_full("L-BFGS", mini_batches.start_of(13, 0, 1))
    assert full.gradient_norm[-1] < 1e-8 < 1e-2 < trace.gradient_norm.min()
    assert full.work[-1] < 0.01 * trace.work[-1]


def test_a_falling_rate_goes_down_and_needs_more_work_than_there_is() -> None:
    way = next(way for way in mini_batches.WAYS if way.half_after < np.inf)
    short, long = (
        mini_batches.trace_batches(way, minimum(13, 1), steps, 0) for steps in (30_000, 600_000)
    )
    assert 4 < short.settled / long.settled < 50
    assert long.needed > 1e18


def test_the_floor_is_infinite_where_descent_is_unstable() -> None:
    positions = minimum(13)
    largest = np.linalg.eigvalsh(mini_batches.hessian(positions)).max()
    assert mini_batches.sgd_floor(positions, 8, 1.9 / largest) < np.inf
    assert mini_batches.sgd_floor(positions, 8, 2.1 / largest) == np.inf
