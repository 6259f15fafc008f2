"""Linear classifiers: logistic and softmax regression, and the support vector machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.core.errors import InputError
from ooc.models.linear import LinearFamily
from ooc.models.scored import checked_class_weights


@dataclass(frozen=True)
class LinearClassifier(LinearFamily):
    """What linear classifiers share.

    Attributes
    ----------
    class_weights
        What the losses of each class are multiplied with in training; "balanced" for N / (C n_c),
        which one streamed count finds. By default 1. Evaluation does not weigh classes.
    """

    class_weights: str | Sequence[float] | None = None

    decided: ClassVar[tuple[str, ...]] = ("standardise", "class_weights")

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = checked_class_weights(self.class_weights, self.name, self.class_count)
        object.__setattr__(self, "class_weights", weights)

    @property
    def class_count(self) -> int:
        """C, the number of classes."""
        return 2


@dataclass(frozen=True)
class Logistic(LinearClassifier):
    """Logistic regression for labels 0 and 1.

    Examples
    --------
    >>> parameters, rows = np.array([2.0, 0.0], np.float32), np.array([[1.0], [-1.0]])
    >>> Logistic().predict(parameters, rows)["prediction"]
    array([1, 0])
    """

    name: ClassVar[str] = "logistic"
    # The same regression of more than two classes.
    of_more_classes: ClassVar[str] = "softmax"

    def answers(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Return the likelier label, and the probability of label 1."""
        log_odds = scores[:, 0].astype(np.float64)
        decay = np.exp(-np.abs(log_odds))
        probability = np.where(log_odds >= 0, 1.0, decay) / (1.0 + decay)
        return {
            "prediction": (log_odds > 0).astype(np.int64),
            "probability": probability.astype(np.float32),
        }


@dataclass(frozen=True)
class LinearSVM(LinearClassifier):
    """Linear support vector machine for labels 0 and 1 (Cortes and Vapnik 1995); penalise it.

    Attributes
    ----------
    loss
        "hinge" or "squared_hinge".

    Examples
    --------
    >>> LinearSVM(loss="squared_hinge").targets
    'labels 0 and 1'
    """

    loss: str = "hinge"

    name: ClassVar[str] = "svm"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in ("hinge", "squared_hinge"):
            raise InputError(f"svm has no loss {self.loss!r}; choose one of: hinge, squared_hinge")

    def answers(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Return the label on whose side a row lies, and its margin."""
        return {"prediction": (scores[:, 0] > 0).astype(np.int64), "margin": scores[:, 0]}


@dataclass(frozen=True)
class Softmax(LinearClassifier):
    """Softmax regression for labels 0 to classes - 1.

    Attributes
    ----------
    classes
        K, at least 2.

    Examples
    --------
    >>> Softmax(classes=10).layout((3,)).size
    40
    """

    classes: int = 2

    name: ClassVar[str] = "softmax"

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise InputError(f"softmax needs at least 2 classes, not {self.classes}")
        super().__post_init__()

    @property
    def class_count(self) -> int:
        """C, the number of classes."""
        return self.classes

    @property
    def outputs(self) -> int:
        """K, one score for each class."""
        return self.classes

    def answers(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Return the likeliest label, and the probability of each class."""
        shifted = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
        probability = shifted / shifted.sum(axis=1, keepdims=True)
        return {"prediction": scores.argmax(axis=1), "probability": probability.astype(np.float32)}
