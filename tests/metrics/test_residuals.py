"""Quantiles and histograms of residuals are NumPy's, to the width of a bin of the sketch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooc.metrics.measured import Measured, Numbers, measured
from ooc.metrics.residuals import BINS, RESIDUALS, SHARES, edges_of

NONE = np.empty(0, np.float32)


def rows_of(residuals: np.ndarray, weights: np.ndarray = NONE) -> Measured:
    """Return rows whose residuals these are, to the last bit."""
    targets = residuals.reshape(len(residuals), -1).astype(np.float64)
    return measured(0.0, len(targets), weights, Numbers(np.zeros_like(targets), targets, weights))


def found_of(*batches: Measured) -> dict:
    state = np.zeros(BINS)
    for batch in batches:
        RESIDUALS.update(state, batch)
    return RESIDUALS.values(state)["residuals"]


@pytest.mark.parametrize("centre", [0.0, 1.0, -1e6])
def test_quantiles_and_bars(centre: float, rng: np.random.Generator) -> None:
    residuals = (centre + rng.standard_normal((20_000, 2))).astype(np.float32)
    weights = rng.integers(0, 3, 20_000).astype(np.float32)
    repeated = np.repeat(residuals, weights.astype(int), axis=0)
    for batches, all_rows in (
        ([rows_of(residuals[:70]), rows_of(residuals[70:])], residuals),
        ([rows_of(residuals, weights)], repeated),
    ):
        found = found_of(*batches)
        assert list(found["quantiles"]) == [str(share) for share in SHARES]
        wanted = np.quantile(all_rows.astype(np.float64), SHARES)
        quantiles = [*found["quantiles"].values()]
        assert (len(found["edges"]), len(found["weight"])) == (41, 40)
        ends = np.quantile(all_rows.astype(np.float64), [0.005, 0.995])
        np.testing.assert_allclose(
            [found["edges"][0], found["edges"][-1]], ends, rtol=1 / 32, atol=2e-2
        )
        np.testing.assert_allclose(quantiles, wanted, rtol=1 / 32, atol=2e-2)
        if centre == 0:
            counts = np.histogram(all_rows, found["edges"])[0]
            np.testing.assert_allclose(found["weight"], counts, atol=0.05 * counts.max())
        assert sum(found["weight"]) == pytest.approx(0.99 * all_rows.size, rel=1e-3)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_each_number_lies_in_its_bin(value: float) -> None:
    state = np.zeros(BINS)
    RESIDUALS.update(state, rows_of(np.array([value])))
    (used,) = np.flatnonzero(state)
    low, high = edges_of(np.array([used, used + 1]))
    assert low <= value <= high
    assert high - low <= max(abs(value) / 31, 1e-37)


def test_the_edge_of_numbers_and_weights() -> None:
    assert found_of(rows_of(np.zeros(5)))["quantiles"]["0.5"] == pytest.approx(0, abs=1e-37)
    far = found_of(rows_of(np.array([-1e300, 1e300])))
    assert far["quantiles"]["0.99"] == pytest.approx(np.finfo(np.float32).max, rel=0.04)
    assert found_of(rows_of(np.ones(2), np.float32([1, -1]))) is None
    assert found_of(rows_of(np.ones(2), np.zeros(2, np.float32))) is None
