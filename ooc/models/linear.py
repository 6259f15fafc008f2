"""The linear family: scores X W^T + b and a loss, by a compiled kernel."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.core.numbers import check_choice
from ooc.kernels import linear as kernels
from ooc.kernels.rows import tile_rows
from ooc.models.contract import Layout
from ooc.models.declarations import Kernel, dtype_of
from ooc.models.layers import DenseLayer
from ooc.models.scored import DTYPES, ScoredModel, dtype_field
from ooc.models.standardise import standardisation, target_standardisation


@dataclass(frozen=True)
class LinearFamily(ScoredModel):
    """What its models share.

    Attributes
    ----------
    intercept
        Whether scores have an intercept; penalties leave it alone.
    scale, standardise, dtype
        See `ooc.models.scored.ScoredModel`.
    """

    intercept: bool = True
    scale: float = 1.0
    standardise: bool | str = "auto"
    dtype: str = dtype_field()

    usual_step: ClassVar[float] = 0.02

    def __post_init__(self) -> None:
        check_choice("dtype", DTYPES, self.dtype)

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

    def layers(self, layout: Layout, parameters: np.ndarray) -> list[DenseLayer]:
        """Return the one layer that a linear model is, see `ooc.models.layers.Layered`."""
        part = layout.views(parameters)
        none = np.zeros(self.outputs, parameters.dtype)
        return [DenseLayer(part["coefficients"], part.get("intercept", none))]

    def scores(self, parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return X W^T + b, shape (rows, K), of the parameters' dtype."""
        inputs, dtype = self.inputs(parameters, features), dtype_of(self)
        scores = np.empty((len(features), self.outputs), dtype)
        kernels.score(inputs, np.asarray(parameters, dtype), self.intercept, scores)
        return scores
