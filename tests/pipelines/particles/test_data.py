"""Events: densities that are what they say, and masses."""

import numpy as np
import pytest

from pipelines.particles import data as events


def drawn(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    columns = events.draw_events(np.random.default_rng(seed), rows)
    return columns["X"], columns["y"]


@pytest.mark.slow
def test_the_likelihood_ratio_is_calibrated() -> None:
    """Among events that are signal with a probability of p, a share of p is signal."""
    x, y = drawn(200_000)
    log_odds = events.log_likelihood_ratio(x) + events.PRIOR
    probability = 1 / (1 + np.exp(-log_odds))
    for tenth in range(10):
        some = (10 * probability).astype(int) == tenth
        expected, found = probability[some].sum(), y[some].sum()
        spread = np.sqrt((probability[some] * (1 - probability[some])).sum())
        assert abs(found - expected) < 4 * spread


def test_each_density_is_that_of_its_events() -> None:
    """The mean of the log-likelihood ratio is the divergence: positive, and of either sign."""
    x, y = drawn(50_000)
    ratio = events.log_likelihood_ratio(x)
    assert ratio[y == 1].mean() > 0.5
    assert ratio[y == 0].mean() < -0.5
    assert y.mean() == pytest.approx(events.SIGNAL_SHARE, abs=0.01)


def test_low_level_features_are_in_their_range() -> None:
    x, _ = drawn(20_000)
    assert x.shape[1] == len(events.FEATURES) == 28
    assert (x[:, events.PT] > 0).all()
    assert (np.abs(x[:, events.PHI]) <= np.pi + 1e-6).all()
    assert set(np.unique(x[:, events.TAG])) == {0.0, 1.0, 2.0}


def test_masses_do_not_change_when_the_event_is_turned_about_the_beam() -> None:
    low = drawn(1000)[0][:, :21].astype(np.float64)
    turned = low.copy()
    turned[:, events.PHI] += 1.234
    np.testing.assert_allclose(events.masses(turned), events.masses(low), rtol=1e-6, atol=1e-5)


def test_the_mass_of_two_jets_is_its_textbook_formula() -> None:
    """m^2 = 2 pT1 pT2 (cosh(eta1 - eta2) - cos(phi1 - phi2)) of two massless particles."""
    low = drawn(1000)[0][:, :21].astype(np.float64)
    (p, q), (eta, nu), (phi, chi) = low[:, [5, 9]].T, low[:, [6, 10]].T, low[:, [7, 11]].T
    expected = np.sqrt(2 * p * q * (np.cosh(eta - nu) - np.cos(phi - chi)))
    np.testing.assert_allclose(events.masses(low)[:, 0], expected, rtol=1e-5, atol=1e-5)
