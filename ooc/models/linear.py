"""The linear family: scores X W^T + b and a loss, by compiled kernels."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from ooc.core.errors import DataError, DivergedError
from ooc.kernels import linear as kernels
from ooc.kernels.counters import OK
from ooc.kernels.linear import OWN, Problem, no_own_loss
from ooc.kernels.losses import LOSSES
from ooc.kernels.rows import as_rows, tile_rows
from ooc.metrics.measured import Labels, Measured, Numbers, label_answers, measured
from ooc.models.bad_rows import explain
from ooc.models.contract import BatchLike, Layout, check_target_size
from ooc.models.own_loss import OwnLoss

_NO_WEIGHTS = np.empty(0, np.float32)


@dataclass(frozen=True)
class LinearFamily:
    """What its models share.

    Attributes
    ----------
    intercept
        Whether scores have an intercept; penalties leave it alone.
    scale
        Factor that multiplies every feature; 1/255 brings bytes to 0..1. Never chosen silently.
    standardise
        Whether each feature's mean is subtracted and the result divided by its standard
        deviation. Both lie in the parameter vector; training finds them in one pass. "auto": if
        the first window says that features differ in scale.
    """

    intercept: bool = True
    scale: float = 1.0
    standardise: bool | str = False

    name: ClassVar[str]
    needs_target: ClassVar[bool] = True

    @property
    def loss_name(self) -> str | OwnLoss:
        """An entry of `ooc.kernels.losses.LOSSES`, or a loss of the user's own."""
        return self.name

    @property
    def loss_code(self) -> int:
        """What kernels choose the loss by."""
        return OWN if isinstance(self.loss_name, OwnLoss) else LOSSES[self.loss_name].code

    @property
    def targets(self) -> str:
        """What targets it takes, in words."""
        loss = self.loss_name
        return "finite numbers" if isinstance(loss, OwnLoss) else LOSSES[loss].targets

    @property
    def own_loss(self) -> Any:
        """The compiled function over a tile of a loss of the user's own."""
        return self.loss_name.tile if isinstance(self.loss_name, OwnLoss) else no_own_loss

    @property
    def constant(self) -> float:
        """The loss's own constant; 0 where it has none."""
        return 0.0

    @property
    def label_weights(self) -> np.ndarray:
        """What losses of each label are multiplied with in training; empty for ones."""
        return _NO_WEIGHTS

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
        if self.standardise:
            shapes["feature_mean"] = shapes["feature_deviation"] = (features,)
        found = frozenset(shapes) - {"coefficients"}
        return Layout(shapes, found, found - {"intercept"})

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return zeros: the loss is convex, no start is better. Deviations are 1."""
        parameters = np.zeros(layout.size, np.float32)
        if self.standardise:
            layout.views(parameters)["feature_deviation"][:] = 1.0
        return parameters

    def problem(self, layout: Layout, parameters: np.ndarray, weigh: bool = True) -> Problem:
        """Return what the kernels are to compute; `weigh` with the weights of classes."""
        mean: np.ndarray = _NO_WEIGHTS
        inverse: np.ndarray = _NO_WEIGHTS
        if self.standardise:
            views = layout.views(parameters)
            mean = views["feature_mean"].copy()
            deviation = views["feature_deviation"]
            inverse = np.float32(1) / np.where(deviation == 0, np.float32(1), deviation)
        return Problem(
            self.loss_code,
            float(self.constant),
            float(self.scale),
            self.intercept,
            self.label_weights if weigh else _NO_WEIGHTS,
            mean,
            inverse,
        )

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
            self.problem(self.layout(batch.features.shape[1:]), parameters),
            self.own_loss,
            parameters,
            tile,
            scores,
            np.empty((2, features.shape[1]), np.float32),
            np.empty((2, parameters.size)),
            out_grad,
        )
        if status != OK:
            target = None if batch.target is None else batch.target[row]
            raise self.explain(status, int(batch.rows[row]), batch.features[row], target)
        return loss / count

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the sums of weighted loss and of right labels over a batch, and its answers."""
        scores = self.scores(parameters, batch.features)
        targets, weights = as_float32(batch.target), as_float32(batch.weight)
        count = len(scores)
        answers = self.compare(scores, batch.target, weights)
        problem = self.problem(self.layout(batch.features.shape[1:]), parameters, weigh=False)
        status, row, loss = kernels.weighted_loss(
            scores, targets, weights, count, problem, self.own_loss, np.empty(3)
        )
        if status != OK:
            target = None if batch.target is None else batch.target[row]
            raise self.explain(status, int(batch.rows[row]), batch.features[row], target)
        return measured(loss, count, weights, answers)

    def scores(self, parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return X W^T + b, shape (rows, K), float32."""
        flat, half = as_rows(features)
        problem = self.problem(self.layout(features.shape[1:]), parameters, weigh=False)
        tile, scores = self._scratch(flat.shape[1])
        out = np.empty((len(flat), self.outputs), np.float32)
        order = np.arange(len(flat), dtype=np.int32)
        kernels.score_rows(flat, half, order, problem, parameters, tile, scores, out)
        return out

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return "prediction", and "probability" where there are classes."""
        return self.answers(self.scores(parameters, features))

    def answers(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Turn scores into named predictions."""
        raise TypeError(f"{type(self).__name__} is no model of its own; use Linear or Logistic")

    def to_config(self) -> dict[str, Any]:
        """Return name and settings, JSON-ready."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"name": self.name, **settings}

    def explain(
        self,
        status: int,
        row: int,
        values: np.ndarray,
        target: float | None,
        where: str = "",
    ) -> DataError | DivergedError:
        """Say why a kernel refused a row: its target, its features, or a step that was too long."""
        return explain(self.name, self.targets, status, row, values, target, where)

    def compare(
        self, scores: np.ndarray, target: np.ndarray | None, weights: np.ndarray
    ) -> Labels | Numbers:
        """Return labels beside the likeliest ones, or numbers where the model has no labels."""
        return label_answers(scores, as_float32(target), weights)

    def _scratch(self, features: int) -> tuple[np.ndarray, np.ndarray]:
        rows = tile_rows(features)
        return np.empty((rows, features), np.float32), np.empty((rows, self.outputs), np.float32)


def as_float32(values: np.ndarray | None) -> np.ndarray:
    """Return numbers of a role as flat float32; none at all for an absent role."""
    return _NO_WEIGHTS if values is None else np.ascontiguousarray(values, np.float32).reshape(-1)
