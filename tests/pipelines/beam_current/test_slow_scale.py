"""Drifts beside common motion: what is left after regression, and what a left-out channel does."""

import numpy as np

from pipelines.beam_current.slow import TRIM, deviations, directions, fit, scores

CHANNELS = 6


def drawn(units: int, seed: int = 0) -> np.ndarray:
    """Return means that two modes move together, beside noise of one, (units, channels)."""
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(9).standard_normal((2, CHANNELS))
    return 20 * rng.standard_normal((units, 2)) @ loadings + rng.standard_normal((units, CHANNELS))


def test_deviations_are_what_is_left_after_regression() -> None:
    """By ordinary least squares on the other channels, over its standard deviation."""
    values = drawn(500)
    beyond = values - values.mean(axis=0)
    found = deviations(beyond, np.linalg.inv(np.cov(values.T)), np.eye(CHANNELS))
    for channel in range(CHANNELS):
        others = np.delete(beyond, channel, axis=1)
        weights = np.linalg.lstsq(others, beyond[:, channel], rcond=None)[0]
        left = beyond[:, channel] - others @ weights
        np.testing.assert_allclose(found[:, channel], left / left.std(ddof=1), rtol=1e-8)


def test_a_channel_that_is_left_out_is_as_if_it_were_not_there() -> None:
    covariance = np.cov(drawn(500).T)
    beyond, out = drawn(3, seed=1), np.arange(CHANNELS) == 2
    found = deviations(beyond, np.linalg.inv(covariance), np.eye(CHANNELS), out)
    rest = np.delete(np.arange(CHANNELS), 2)
    precision = np.linalg.inv(covariance[np.ix_(rest, rest)])
    wanted = deviations(beyond[:, rest], precision, np.eye(CHANNELS - 1))
    np.testing.assert_allclose(found[:, rest], wanted, rtol=1e-8)
    assert (found[:, 2] == 0).all()


def test_drifts_are_told_apart_and_from_common_motion() -> None:
    series = drawn(4000)
    level, precision, spreads = fit(series[:, None])
    np.testing.assert_allclose(spreads, 1, atol=0.1)
    moves = directions(CHANNELS)
    quiet = drawn(1, seed=3)[0] - level
    limits, none = np.array([6.0]), np.zeros(CHANNELS, bool)
    assert scores(quiet[None], precision, moves, limits, none).max() < 1
    both = quiet.copy()
    both += 40 * moves[1] - 25 * moves[4]
    found = scores(both[None], precision, moves, limits, none)
    assert set(np.flatnonzero(found >= 1)) == {1, 4}
    known = np.arange(CHANNELS) == 1
    again = scores(both[None], precision, moves, limits, known)
    assert set(np.flatnonzero(again >= 1)) == {1, 4}
    over = scores(quiet[None], precision, moves, limits, known)
    assert over.max() < 1


def test_faults_in_training_are_not_fitted() -> None:
    """A hundredth of the units with one channel far off changes the fit by noise alone."""
    series = drawn(4000)
    level, precision, _ = fit(series[:, None])
    faulty = series.copy()
    faulty[700:740, 3] += 60
    assert 2 * TRIM < 60
    own_level, own_precision, _ = fit(faulty[:, None])
    np.testing.assert_allclose(own_level, level, atol=1)
    np.testing.assert_allclose(np.diag(own_precision), np.diag(precision), rtol=0.1)


def test_spreads_tell_that_training_was_short() -> None:
    """On a dozen units what is unseen lies farther out than what was fitted."""
    short, long = (
        np.mean([fit(drawn(units, seed)[:, None])[2][0] for seed in range(6)])
        for units in (12, 1000)
    )
    assert short > 1.05 * long
