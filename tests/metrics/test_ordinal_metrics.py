"""Notches and the quadratically weighted kappa are scikit-learn's, over any batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from ooc.metrics import METRICS, Labels, Measured, update, values
from ooc.metrics.measured import measured

NONE = np.empty(0, np.float32)
ORDINAL = METRICS["ordinal"]


def rows_of(
    classes: int, true: np.ndarray, predicted: np.ndarray, weights: np.ndarray = NONE
) -> Measured:
    answers = Labels(classes, np.float32(true), predicted, None, weights, has_order=True)
    return measured(1.0, len(true), weights, answers)


@pytest.mark.filterwarnings("ignore:.*have only one label in common")
@given(st.integers(2, 9), st.integers(2, 60), st.integers(0, 99), st.booleans())
def test_they_are_those_of_scikit_learn(classes: int, rows: int, seed: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    true, predicted = rng.integers(0, classes, (2, rows))
    weights = rng.integers(1, 4, rows).astype("f4") if weighted else NONE
    states: dict[str, np.ndarray] = {}
    for part in (slice(0, rows // 2), slice(rows // 2, rows)):
        update(states, rows_of(classes, true[part], predicted[part], weights[part]))
    found, given_weights = values(states), weights if weighted else None
    apart = np.abs(true - predicted)
    for key, most in (("within_one", 1), ("within_two", 2)):
        assert found[key] == pytest.approx(np.average(apart <= most, weights=given_weights))
    twin = mean_absolute_error(true, predicted, sample_weight=given_weights)
    assert found["mean_absolute_notches"] == pytest.approx(twin)
    weighting = {"weights": "quadratic", "sample_weight": given_weights}
    with np.errstate(all="ignore"):
        kappa = cohen_kappa_score(true, predicted, labels=range(classes), **weighting)
    if np.isnan(kappa) or found["quadratic_weighted_kappa"] is None:
        assert found["quadratic_weighted_kappa"] is None
        assert len(np.unique([true, predicted])) == 1
    else:
        assert found["quadratic_weighted_kappa"] == pytest.approx(kappa, rel=1e-9, abs=1e-12)


def test_they_are_for_labels_with_an_order_alone() -> None:
    true = np.array([0, 1, 2])
    plain = Labels(3, np.float32(true), true, None, NONE)
    assert ORDINAL.size(measured(1.0, 3, NONE, plain)) == 0
    assert ORDINAL.size(rows_of(3, true, true)) == 9
    assert ORDINAL.size(rows_of(101, true, true)) == 0
    states: dict[str, np.ndarray] = {}
    update(states, measured(1.0, 3, NONE, plain))
    assert all(values(states)[key] is None for key in ORDINAL.keys)


def test_without_weight_there_is_nothing_to_tell() -> None:
    assert ORDINAL.values(np.zeros(9)) == dict.fromkeys(ORDINAL.keys)
    same = rows_of(3, np.ones(4, int), np.ones(4, int))
    state = np.zeros(9)
    ORDINAL.update(state, same)
    found = ORDINAL.values(state)
    assert (found["within_one"], found["mean_absolute_notches"]) == (1.0, 0.0)
    assert found["quadratic_weighted_kappa"] is None
