"""Linear, logistic and softmax regression: scores X W^T + b and a loss, by compiled kernels."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from ooc.errors import DataError, DivergedError, InputError
from ooc.kernels import linear as kernels
from ooc.kernels.rows import as_rows, tile_rows
from ooc.losses import LOSSES
from ooc.models.bad_rows import explain
from ooc.models.base import BatchLike, Layout, Measured, check_target_size

_NO_WEIGHTS = np.empty(0, np.float32)


@dataclass(frozen=True)
class LinearFamily:
    """What the three models share.

    Attributes
    ----------
    intercept
        Whether scores have an intercept.
    scale
        Factor that multiplies every feature; 1/255 brings bytes to 0..1. Never chosen silently.
    """

    intercept: bool = True
    scale: float = 1.0

    name: ClassVar[str]
    loss_code: ClassVar[int]
    targets: ClassVar[str]
    needs_target: ClassVar[bool] = True

    @property
    def outputs(self) -> int:
        """K, scores of a row."""
        return 1

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return coefficients (K, F) and intercept (K,); a row's axes are flattened to F."""
        features = int(np.prod(row_shape, dtype=np.int64))
        shapes: dict[str, tuple[int, ...]] = {"coefficients": (self.outputs, features)}
        if self.intercept:
            shapes["intercept"] = (self.outputs,)
        return Layout(shapes, frozenset({"intercept"}))

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return zeros: the loss is convex, no start is better."""
        return np.zeros(layout.size, np.float32)

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Refuse targets that are not one number a row."""
        check_target_size(self.name, shape, 1)

    def loss_and_grad(
        self, parameters: np.ndarray, batch: BatchLike, out_grad: np.ndarray
    ) -> float:
        """Return the mean weighted loss of a batch; fill `out_grad` (float64) with its gradient.

        Both are divided by the batch's rows, not by its weights, so that importance weights leave
        them unbiased.

        Raises
        ------
        DataError
            If a target is not valid or a value is not finite; its row is named.
        """
        features, half = as_rows(batch.features)
        count = len(features)
        tile, scores = self._scratch(features.shape[1])
        status, row, loss = kernels.batch_gradient(
            features,
            half,
            as_float32(batch.target),
            as_float32(batch.weight),
            np.arange(count, dtype=np.int32),
            self.scale,
            self.loss_code,
            self.intercept,
            parameters,
            tile,
            scores,
            np.empty(features.shape[1], np.float32),
            out_grad,
        )
        if status != kernels.OK:
            target = None if batch.target is None else batch.target[row]
            raise self.explain(status, int(batch.rows[row]), batch.features[row], target)
        return loss / count

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the sums of weighted loss and of right labels over a batch."""
        scores = self.scores(parameters, batch.features)
        targets, weights = as_float32(batch.target), as_float32(batch.weight)
        count = len(scores)
        correct = self._correct(scores, targets)
        status, row, loss = kernels.loss_tile(scores, targets, weights, count, self.loss_code)
        if status != kernels.OK:
            target = None if batch.target is None else batch.target[row]
            raise self.explain(status, int(batch.rows[row]), batch.features[row], target)
        if weights.size:
            correct = correct * weights
        total = float(weights.sum(dtype=np.float64)) if weights.size else float(count)
        return Measured(loss, total, float(correct.sum(dtype=np.float64)), count)

    def scores(self, parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return X W^T + b, shape (rows, K), float32."""
        flat, half = as_rows(features)
        tile, scores = self._scratch(flat.shape[1])
        out = np.empty((len(flat), self.outputs), np.float32)
        order = np.arange(len(flat), dtype=np.int32)
        kernels.score_rows(
            flat, half, order, self.scale, self.intercept, parameters, tile, scores, out
        )
        return out

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return "prediction", and "probability" where there are classes."""
        return self.answers(self.scores(parameters, features))

    def answers(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Turn scores into named predictions."""
        raise TypeError(f"{type(self).__name__} is no model of its own; use Linear or Logistic")

    def to_config(self) -> dict[str, Any]:
        """Return name and settings, JSON-ready."""
        return {"name": self.name, **asdict(self)}

    def explain(
        self, status: int, row: int, values: np.ndarray, target: float | None
    ) -> DataError | DivergedError:
        """Say why a kernel refused a row: its target, its features, or a step that was too long."""
        return explain(self.name, self.targets, status, row, values, target)

    def _correct(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return 1 for each right label; NaN for a model without labels."""
        return (self.answers(scores)["prediction"] == targets).astype(np.float64)

    def _scratch(self, features: int) -> tuple[np.ndarray, np.ndarray]:
        rows = tile_rows(features)
        return np.empty((rows, features), np.float32), np.empty((rows, self.outputs), np.float32)


@dataclass(frozen=True)
class Linear(LinearFamily):
    """Linear regression: half the squared error.

    Examples
    --------
    >>> Linear().layout((28, 28)).shapes
    {'coefficients': (1, 784), 'intercept': (1,)}
    """

    name: ClassVar[str] = "linear"
    loss_code: ClassVar[int] = LOSSES["squared"].code
    targets: ClassVar[str] = LOSSES["squared"].targets

    def answers(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Return the scores as predictions."""
        return {"prediction": scores[:, 0]}

    def _correct(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.full(len(scores), np.nan)


@dataclass(frozen=True)
class Logistic(LinearFamily):
    """Logistic regression for labels 0 and 1.

    Examples
    --------
    >>> parameters, rows = np.array([2.0, 0.0], np.float32), np.array([[1.0], [-1.0]])
    >>> Logistic().predict(parameters, rows)["prediction"]
    array([1, 0])
    """

    name: ClassVar[str] = "logistic"
    loss_code: ClassVar[int] = LOSSES["logistic"].code
    targets: ClassVar[str] = LOSSES["logistic"].targets

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
class Softmax(LinearFamily):
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
    loss_code: ClassVar[int] = kernels.SOFTMAX

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise InputError(f"softmax needs at least 2 classes, not {self.classes}")

    @property
    def targets(self) -> str:  # type: ignore[override]
        """What targets it takes."""
        return f"whole labels from 0 to {self.classes - 1}"

    @property
    def outputs(self) -> int:
        """K, one score for each class."""
        return self.classes

    def answers(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Return the likeliest label, and the probability of each class."""
        shifted = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
        probability = shifted / shifted.sum(axis=1, keepdims=True)
        return {
            "prediction": scores.argmax(axis=1),
            "probability": probability.astype(np.float32),
        }


def as_float32(values: np.ndarray | None) -> np.ndarray:
    """Return numbers of a role as flat float32; none at all for an absent role."""
    return _NO_WEIGHTS if values is None else np.ascontiguousarray(values, np.float32).reshape(-1)
