"""The linear family: scores X W^T + b and a loss, by a compiled kernel."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.kernels import linear as kernels
from ooc.kernels.rows import tile_rows
from ooc.models.contract import Layout
from ooc.models.declarations import Kernel
from ooc.models.scored import ScoredModel
from ooc.models.standardise import standardisation, target_standardisation


@dataclass(frozen=True)
class LinearFamily(ScoredModel):
    """What its models share.

    Attributes
    ----------
    intercept
        Whether scores have an intercept; penalties leave it alone.
    scale, standardise
        See `ooc.models.scored.ScoredModel`.
    """

    intercept: bool = True
    scale: float = 1.0
    standardise: bool | str = "auto"

    usual_step: ClassVar[float] = 0.02

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
        return self.layout_with(shapes, features, {"intercept"})

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return the family's part of the window loop."""
        features = layout.shapes["coefficients"][1]
        integers = [*self.loss_integers(parameters.dtype), self.outputs, self.intercept]
        return Kernel(
            kernels.accumulate,
            np.array([self.constant_within(layout, parameters), *self.label_weights]),
            np.array(integers, np.int64),
            standardisation(layout, parameters, self.scale),
            target_standardisation(layout, parameters),
            most_rows=tile_rows(features),
            own_values=self.outputs,
        )

    def curvature(self, features: np.ndarray) -> float:
        """Return about how fast the loss's slope changes, from some rows (rows, F), float64."""
        if self.standardise is True:
            return 1.0 + features.shape[1]
        return 1.0 + float(np.mean(np.sum((self.scale * features) ** 2, axis=1)))

    def scores(self, parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return X W^T + b, shape (rows, K), float32."""
        inputs = self.inputs(parameters, features)
        scores = np.empty((len(features), self.outputs), np.float32)
        kernels.score(inputs, np.asarray(parameters, np.float32), self.intercept, scores)
        return scores
