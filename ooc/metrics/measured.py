"""What a model tells of one batch, for metrics to add up."""

import math
from dataclasses import dataclass

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.core.errors import InputError


@dataclass(frozen=True)
class Labels:
    """True and predicted labels of a batch, whole numbers from 0 on: (rows,) float32 and int64.

    Attributes
    ----------
    log_odds
        (rows,) float32, of label 1 against label 0; None where there are more than two classes.
    weights
        (rows,) float32, or empty where every row counts as one.
    probability
        (rows,) float32, of label 1 of two classes, of the predicted one of more; None where scores
        are not made for it.
    has_order
        Whether labels lie in their order, so that some wrong ones are nearer than others.
    """

    classes: int
    labels: np.ndarray
    predicted: np.ndarray
    log_odds: np.ndarray | None
    weights: np.ndarray
    probability: np.ndarray | None = None
    has_order: bool = False


@dataclass(frozen=True)
class Numbers:
    """Predicted and true numbers of a batch, (rows, T); weights as `Labels`.

    Predictions are float32, or float64 where float32 would round them.
    """

    predictions: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Measured:
    """Sums over the rows of a batch, and the answers from which further metrics follow.

    Attributes
    ----------
    loss, weight, correct
        Sums of the weighted losses, of the weights (the rows where there are none), and of the
        weights of right answers: NaN where there are no classes.
    answers
        None leaves out all metrics but loss and accuracy.
    """

    loss: float = 0.0
    weight: float = 0.0
    correct: float = 0.0
    rows: int = 0
    answers: Labels | Numbers | None = None


def measured(
    loss: float, rows: int, weights: np.ndarray, answers: Labels | Numbers | None
) -> Measured:
    """Add up weights, (rows,) or empty, and right answers beside a summed loss."""
    weight, correct = float(weights.sum(dtype=np.float64)) if weights.size else float(rows), np.nan
    if isinstance(answers, Labels):
        right = answers.predicted == answers.labels
        correct = float((weights[right] if weights.size else right).sum(dtype=np.float64))
    return Measured(loss, weight, correct, rows, answers)


def label_answers(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray, with_probability: bool = True
) -> Labels:
    """Return the likeliest labels of scores, as copies: a kernel may use the scores up.

    Scores are (rows, 1) log-odds of label 1, or (rows, K), one for each class; those of a margin
    are to be without probability.
    """
    probability = None
    if scores.shape[1] == 1:
        log_odds = scores[:, 0].copy()
        if with_probability:
            probability = sigmoid(log_odds)
        return Labels(2, labels, (log_odds > 0).astype(np.int64), log_odds, weights, probability)
    predicted = scores.argmax(axis=1)
    difference = scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else None
    if with_probability and difference is not None:
        probability = sigmoid(difference)
    elif with_probability:
        probability = np.empty(len(scores), np.float32)
        fill_largest(scores, predicted, probability)
    return Labels(scores.shape[1], labels, predicted, difference, weights, probability)


@exact_kernel
def fill_largest(scores: np.ndarray, predicted: np.ndarray, probability: np.ndarray) -> None:
    """Fill the probabilities of the likeliest labels of scores, (rows, K), in (rows,)."""
    for r in range(scores.shape[0]):
        total, largest = 0.0, scores[r, predicted[r]]
        for k in range(scores.shape[1]):
            total += math.exp(scores[r, k] - largest)
        probability[r] = 1.0 / total


def sigmoid(log_odds: np.ndarray) -> np.ndarray:
    """Return probabilities, which no log-odds are too large for.

    Examples
    --------
    >>> sigmoid(np.float32([-1000, 0, 1000])).tolist()
    [0.0, 0.5, 1.0]
    """
    return 0.5 * (1 + np.tanh(0.5 * log_odds))


def number_answers(scores: np.ndarray, targets: np.ndarray | None, weights: np.ndarray) -> Numbers:
    """Return scores (rows, T) as predictions, a copy, and targets of any shape beside them."""
    if targets is None:
        raise InputError("the batch has no targets to compare predictions with; name them")
    wanted = np.asarray(targets, np.float64).reshape(scores.shape)
    return Numbers(scores.copy(), wanted, weights)
