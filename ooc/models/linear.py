"""The linear family: scores X W^T + b and a loss, by a compiled kernel."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.kernels import linear as kernels
from ooc.kernels.losses import Loss
from ooc.kernels.rows import tile_rows
from ooc.metrics.measured import Labels, Measured, Numbers, label_answers
from ooc.models.compiled import (
    CompiledModel,
    as_reals,
    constant_of,
    label_weights_of,
    loss_of,
    measured_loss,
    numbers_of,
    settled,
)
from ooc.models.contract import BatchLike, Layout, Statistics, check_target_size
from ooc.models.declarations import Kernel, Prepared, dtype_of
from ooc.models.own_loss import OwnLoss
from ooc.models.standardise import DEVIATION, inputs_of, standard_parts, standardisation


@dataclass(frozen=True)
class LinearFamily(CompiledModel):
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
        the first window says that features differ in scale; until then they are taken as they are.
    """

    intercept: bool = True
    scale: float = 1.0
    standardise: bool | str = "auto"

    decided: ClassVar[tuple[str, ...]] = ("standardise",)
    usual_step: ClassVar[float] = 0.02

    @property
    def loss_name(self) -> str | OwnLoss:
        """An entry of `ooc.kernels.losses.LOSSES`, or a loss of the user's own."""
        return self.name

    @property
    def chosen_loss(self) -> Loss:
        """The loss itself."""
        return loss_of(self.loss_name)

    @property
    def targets(self) -> str:
        """What targets it takes, in words."""
        return self.chosen_loss.targets

    @property
    def constant(self) -> float:
        """The loss's own constant; 0 where it has none."""
        return constant_of(self.loss_name, None)

    @property
    def label_weights(self) -> tuple[float, ...]:
        """What losses of each label are multiplied with in training; empty for ones."""
        return label_weights_of(self)

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
        fixed = standard_parts(features) if self.standardise is True else {}
        return Layout(shapes | fixed, frozenset({"intercept", *fixed}), frozenset(fixed))

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return zeros: the loss is convex, no start is better. Deviations are 1."""
        parameters = np.zeros(layout.size, dtype_of(self))
        if DEVIATION in layout.shapes:
            layout.views(parameters)[DEVIATION][:] = 1.0
        return parameters

    def prepare(self, statistics: Statistics) -> Prepared:
        """Settle what is left to the data."""
        return settled(self, statistics)

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return the family's part of the window loop."""
        features = layout.shapes["coefficients"][1]
        integers = [*numbers_of(self.chosen_loss, parameters.dtype), self.outputs, self.intercept]
        return Kernel(
            kernels.accumulate,
            np.array([self.constant, *self.label_weights]),
            np.array(integers, np.int64),
            standardisation(layout, parameters, self.scale),
            most_rows=tile_rows(features),
            own_values=self.outputs,
        )

    def curvature(self, features: np.ndarray) -> float:
        """Return about how fast the loss's slope changes, from some rows (rows, F), float64."""
        if self.standardise is True:
            return 1.0 + features.shape[1]
        return 1.0 + float(np.mean(np.sum((self.scale * features) ** 2, axis=1)))

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Refuse targets that are not one number a row."""
        check_target_size(self.name, shape, 1)

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the sums of weighted loss and of right labels over a batch, and its answers."""
        scores = self.scores(parameters, batch.features)
        targets = as_reals(batch.target).reshape(-1, 1)
        answers = self.compare(scores, batch.target, as_reals(batch.weight))
        return measured_loss(self, self.chosen_loss, self.constant, scores, targets, batch, answers)

    def scores(self, parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return X W^T + b, shape (rows, K), float32."""
        layout = self.layout(features.shape[1:])
        standard = standardisation(layout, parameters, self.scale)
        scores = np.empty((len(features), self.outputs), np.float32)
        inputs = inputs_of(features, standard, scores.dtype)
        kernels.score(inputs, np.asarray(parameters, np.float32), self.intercept, scores)
        return scores

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return "prediction", and "probability" where there are classes."""
        return self.answers(self.scores(parameters, features))

    def answers(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Turn scores into named predictions."""
        raise TypeError(f"{type(self).__name__} is no model of its own; use Linear or Logistic")

    def compare(
        self, scores: np.ndarray, target: np.ndarray | None, weights: np.ndarray
    ) -> Labels | Numbers:
        """Return labels beside the likeliest ones, or numbers where the model has no labels."""
        return label_answers(scores, as_reals(target), weights)
