"""Ordered labels: the loss of cumulative logits, and thresholds that stay in their order."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from ooc.core.compiler import exact_kernel
from ooc.kernels.counters import BAD_TARGET, OK
from ooc.kernels.losses import LOSSES, ordinal_row
from ooc.kernels.share import BAD, PointLoss, call_loss
from ooc.kernels.targets import NUMBERS
from ooc.kernels.thresholds import collect, cumulate
from ooc.models.ordinal import cumulative_scores, first_thresholds, probabilities, threshold_values

NONE = PointLoss(0, NUMBERS, 0.0, np.empty(0))


@exact_kernel
def _over_rows(
    address: int,
    scores: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    loss: PointLoss,
    total: np.ndarray,
    report: np.ndarray,
) -> int:
    return call_loss(address, (scores, targets, weights, loss, total, report))


def ordinal(scores: np.ndarray, *given: Any) -> int:
    """Return the loss's status for a share of rows, as a kernel calls it."""
    return _over_rows(LOSSES["ordinal"].rows_address(scores.dtype), scores, *given)


def naive(value: float, parameters: np.ndarray, label: int) -> float:
    """Return -log(sigmoid(above) - sigmoid(below)) as a textbook has it."""
    ends = np.concatenate([[-np.inf], threshold_values(parameters) - value, [np.inf]])
    return -math.log(expit(ends[label + 1]) - expit(ends[label]))


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_loss_and_gradient_are_those_of_differences(classes: int, rng: np.random.Generator) -> None:
    """By the formula, and by its central differences in float64."""
    values, parameters = rng.standard_normal((40, 1)), rng.standard_normal(classes - 1)
    labels, weights = rng.integers(0, classes, 40).astype(float)[:, None], rng.random(40)
    scores = cumulative_scores(values, parameters)
    assert scores.shape == (40, 2 * classes - 3)
    total, report = np.zeros(1), np.zeros(2, np.int64)
    assert ordinal(scores, labels, weights, NONE, total, report) == OK

    def loss(values: np.ndarray, parameters: np.ndarray) -> float:
        rows = zip(values[:, 0], labels[:, 0], weights, strict=True)
        return sum(weight * naive(value, parameters, int(label)) for value, label, weight in rows)

    assert total[0] == pytest.approx(loss(values, parameters), rel=1e-12)
    delta, gradient = np.empty((40, 1)), np.empty(classes - 1)
    collect(scores, parameters, delta, gradient)
    step = 1e-5
    for r in range(40):
        moved = step * (np.arange(40) == r)[:, None]
        slope = loss(values + moved, parameters) - loss(values - moved, parameters)
        assert delta[r, 0] == pytest.approx(slope / (2 * step), rel=1e-6, abs=1e-8)
    for k in range(classes - 1):
        moved = step * (np.arange(classes - 1) == k)
        slope = loss(values, parameters + moved) - loss(values, parameters - moved)
        assert gradient[k] == pytest.approx(slope / (2 * step), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_neither_far_scores_nor_near_thresholds_cost_digits(dtype: str) -> None:
    """A gap of exp(-40) is lost beside a threshold of 3, and sigmoid(60) is 1."""
    parameters = np.array([3.0, -40.0], dtype)
    for value, label, expected in (
        # log P(1) = log sigmoid(b) + log sigmoid(-a) + log(1 - exp(-gap)), all at f = 3.
        (3.0, 1, 2 * math.log(2) + 40),
        (63.0, 0, 60.0),
        (-57.0, 2, 60.0),
        (63.0, 1, 60.0 + 40),
        (3e4, 0, 3e4 - 3),
    ):
        scores = cumulative_scores(np.array([[value]], dtype), parameters)
        found = ordinal_row(scores[0], label, 1.0)
        assert found == pytest.approx(expected, rel=1e-6)
        assert np.isfinite(scores).all() and np.abs(scores).max() <= 1


def test_thresholds_ascend_whatever_their_parameters_are(rng: np.random.Generator) -> None:
    values = threshold_values(np.array([5.0, -30.0, 0.0, 30.0]))
    assert (np.diff(values) > 0).all()
    np.testing.assert_allclose(np.diff(values), [np.exp(-30), np.log(2), 30], rtol=1e-2)
    first = probabilities(threshold_values(first_thresholds(6))[None])
    np.testing.assert_allclose(first, np.full((1, 7), 1 / 7), rtol=1e-12)
    scores, parameters = np.empty((2, 7)), rng.standard_normal(4)
    cumulate(np.array([[0.0], [2.0]]), parameters, scores)
    np.testing.assert_allclose(scores[0, :4], threshold_values(parameters), rtol=1e-12)
    np.testing.assert_allclose(scores[0, :4] - scores[1, :4], 2.0)
    assert scores[:, 4:].tolist() == [parameters[1:].tolist()] * 2


def test_probabilities_are_exact_in_both_tails() -> None:
    """Where 1 - sigmoid(40) would be 0."""
    for shift in (-40.0, 0.0, 40.0):
        found = probabilities(np.array([[shift - 1, shift + 1]]))
        below, above = expit(shift - 1), expit(-shift - 1)
        middle = expit(shift + 1) * expit(1 - shift) * -np.expm1(-2.0)
        np.testing.assert_allclose(found, [[below, middle, above]], rtol=1e-14)
        assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize("label", [-1.0, 3.0, 0.5, np.nan])
def test_what_is_no_label_is_refused_with_its_row(label: float) -> None:
    scores, targets = np.zeros((3, 3)), np.array([[0.0], [2.0], [label]])
    report = np.zeros(2, np.int64)
    assert ordinal(scores, targets, np.empty(0), NONE, np.zeros(1), report) == BAD_TARGET
    assert report[BAD] == 2


def test_weights_of_classes_multiply_losses_and_slopes(rng: np.random.Generator) -> None:
    values, parameters = rng.standard_normal((9, 1)), np.zeros(2)
    labels = (np.arange(9) % 3).astype(float)[:, None]
    by_class, totals, slopes = np.array([1.0, 0.0, 3.0]), [], []
    for loss, weights in (
        (NONE._replace(class_weights=by_class), np.empty(0)),
        (NONE, by_class[labels[:, 0].astype(int)]),
    ):
        scores, total = cumulative_scores(values, parameters), np.zeros(1)
        assert ordinal(scores, labels, weights, loss, total, np.zeros(2, np.int64)) == OK
        totals.append(total[0])
        slopes.append(scores)
    assert totals[0] == totals[1] > 0
    assert np.array_equal(*slopes)
    assert LOSSES["ordinal"].pair is None
