"""R2, MAE and RMSE are scikit-learn's, whatever the mean, the batches and the weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from ooc.core.errors import DataError
from ooc.metrics.measured import Measured, Numbers, measured
from ooc.metrics.regression import REGRESSION

NONE = np.empty(0, np.float32)
TWINS = {
    "r2": r2_score,
    "mean_absolute_error": mean_absolute_error,
    "root_mean_squared_error": root_mean_squared_error,
}


def rows_of(targets: np.ndarray, predictions: np.ndarray, weights: np.ndarray = NONE) -> Measured:
    rows = len(targets)
    answers = Numbers(
        np.float32(predictions).reshape(rows, -1), np.float64(targets).reshape(rows, -1), weights
    )
    return measured(0.0, rows, weights, answers)


def found_of(*batches: Measured) -> dict[str, float | None]:
    state = np.zeros(REGRESSION.size(batches[0]))
    for batch in batches:
        REGRESSION.update(state, batch)
    return REGRESSION.values(state)


@given(
    st.integers(1, 3),
    st.integers(2, 60),
    st.sampled_from([0.0, 1.0, -1e6, 1e12]),
    st.integers(1, 60),
    st.integers(0, 99),
)
@settings(max_examples=60)
def test_values_are_those_of_scikit_learn(
    outputs: int, rows: int, mean: float, cut: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    targets = mean + rng.standard_normal((rows, outputs))
    predictions = np.float32(targets + rng.standard_normal((rows, outputs)))
    for weights in (NONE, rng.random(rows, np.float32) + np.float32(0.01)):
        first, rest = slice(0, cut), slice(cut, None)
        found = found_of(
            rows_of(targets[first], predictions[first], weights[first]),
            *([rows_of(targets[rest], predictions[rest], weights[rest])] if cut < rows else []),
        )
        for key, twin in TWINS.items():
            wanted = twin(targets, predictions, sample_weight=weights if weights.size else None)
            # At a mean of 1e12, the targets themselves keep four digits of their spread.
            assert found[key] == pytest.approx(wanted, rel=1e-3 if mean == 1e12 else 1e-8)


def test_a_large_mean_costs_no_digits_over_many_batches() -> None:
    """The textbook's E[y^2] - E[y]^2 is off by more than the variance here."""
    rng = np.random.default_rng(5)
    targets = 1e9 + np.round(rng.standard_normal(200_000) * 1024) / 1024
    assert abs(np.mean(targets**2) - np.mean(targets) ** 2 - targets.var()) > 10
    batches = [rows_of(part, np.full(len(part), 1e9)) for part in np.array_split(targets, 300)]
    found = found_of(*batches)
    exact = 1 - np.mean((targets - 1e9) ** 2) / targets.var()
    assert found["r2"] == pytest.approx(exact, abs=1e-9)


def test_targets_that_are_all_the_same_have_no_r2() -> None:
    same = rows_of(np.full(7, 0.1), np.arange(7.0))
    found = found_of(same, same)
    assert found["r2"] is None
    assert found["mean_absolute_error"] == pytest.approx(np.abs(np.arange(7) - 0.1).mean())


def test_rows_without_weight_do_not_count() -> None:
    nothing = rows_of(np.array([5.0]), np.array([0.0]), np.zeros(1, np.float32))
    some = rows_of(np.array([1.0, 3.0]), np.array([1.0, 2.0]), np.ones(2, np.float32))
    assert found_of(nothing, some, nothing) == found_of(some)
    assert found_of(nothing)["mean_absolute_error"] is None


@pytest.mark.parametrize(("target", "prediction"), [(np.nan, 0), (np.inf, 0), (0, np.nan)])
def test_what_is_not_finite_is_named(target: float, prediction: float) -> None:
    with pytest.raises(DataError, match="row 1 of a batch has target"):
        found_of(rows_of(np.array([0, target]), np.array([0, prediction])))
