"""Calibration curves are scikit-learn's; where scores are no probabilities, there are none."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from ooc.core.errors import DataError
from ooc.metrics import update, values
from ooc.metrics.calibration import BINS
from ooc.metrics.measured import Labels, label_answers, measured
from ooc.models import LinearSVM

NONE = np.empty(0, np.float32)


def calibration_of(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray = NONE) -> dict:
    states: dict[str, np.ndarray] = {}
    for part in (slice(0, 70), slice(70, None)):
        own = weights[part]
        answers = label_answers(scores[part], labels[part].astype(np.float32), own)
        update(states, measured(0.0, len(scores[part]), own, answers))
    return values(states)


def test_two_classes(rng: np.random.Generator) -> None:
    log_odds = 3 * rng.standard_normal((500, 1)).astype(np.float32)
    labels = rng.integers(0, 2, 500)
    probability = (1 / (1 + np.exp(-log_odds[:, 0]))).astype(np.float64)
    weights = rng.integers(0, 4, 500)
    repeated = np.repeat(np.arange(500), weights)
    for found, rows in (
        (calibration_of(log_odds, labels), np.arange(500)),
        (calibration_of(log_odds, labels, weights.astype(np.float32)), repeated),
    ):
        observed, predicted = calibration_curve(labels[rows], probability[rows], n_bins=BINS)
        curve = found["calibration"]
        np.testing.assert_allclose(curve["observed"], observed, rtol=1e-5)
        np.testing.assert_allclose(curve["predicted"], predicted, rtol=1e-5)
        counts = np.histogram(probability[rows], BINS, (0, 1))[0]
        assert curve["weight"] == counts[counts > 0].tolist()
        expected = np.average(np.abs(observed - predicted), weights=counts[counts > 0])
        assert found["calibration_error"] == pytest.approx(expected, rel=1e-5)


def test_of_more_classes_the_predicted_one_counts(rng: np.random.Generator) -> None:
    scores = 2 * rng.standard_normal((400, 5)).astype(np.float32)
    labels = rng.integers(0, 5, 400)
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    right = shares.argmax(axis=1) == labels
    observed, predicted = calibration_curve(right, shares.max(axis=1), n_bins=BINS)
    curve = calibration_of(scores, labels)["calibration"]
    np.testing.assert_allclose(curve["observed"], observed, rtol=1e-5)
    np.testing.assert_allclose(curve["predicted"], predicted, rtol=1e-5)


def test_margins_and_negative_weights_have_none(rng: np.random.Generator) -> None:
    scores, labels = rng.standard_normal((90, 1)).astype(np.float32), np.zeros(90)
    answers = LinearSVM().compare(scores, labels, NONE)
    assert isinstance(answers, Labels) and answers.probability is None
    weights = np.ones(90, np.float32)
    weights[3] = -1
    assert calibration_of(scores, labels, weights)["calibration"] is None


def test_what_is_no_probability_is_named() -> None:
    answers = Labels(2, np.zeros(2), np.zeros(2, np.int64), None, NONE, np.float32([0.5, 1.5]))
    with pytest.raises(DataError, match=r"row 1 of a batch has probability 1.5"):
        update({}, measured(0.0, 2, NONE, answers))
