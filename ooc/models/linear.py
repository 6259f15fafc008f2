"""The linear family: scores X W^T + b and a loss, by a compiled kernel."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ooc.core.errors import InputError
from ooc.core.numbers import check_choice
from ooc.kernels import columns
from ooc.kernels import linear as kernels
from ooc.kernels import sparse as sparse_kernels
from ooc.kernels.rows import tile_rows
from ooc.models.contract import Layout
from ooc.models.declarations import Kernel, dtype_of
from ooc.models.layers import DenseLayer
from ooc.models.scored import DTYPES, ScoredModel, dtype_field
from ooc.models.standardise import standardisation, target_standardisation
from ooc.store.sparse_rows import is_matrix

# A share's gradient is filled whole, however few non-zeros its rows have.
SPARSE_SHARE_ROWS = 128


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

    def sparse_kernel(self, kernel: Kernel, layout: Layout, values: np.dtype) -> Kernel | None:
        """Return the part for sparse rows, with values of this type, in place of the dense one.

        None where a model has a kernel of its own.

        Raises
        ------
        InputError
            If rows are to be standardised.
        """
        if kernel.accumulate is not kernels.accumulate:
            return None
        if self.standardise is True:
            raise InputError(
                f"{self.name} with standardise=True subtracts each feature's mean, which leaves no "
                "row sparse; leave standardise out, or write values that are scaled already"
            )
        features = layout.shapes["coefficients"][1]
        constant, *classes = kernel.reals
        integers = [*kernel.integers, features, values.itemsize]
        return replace(
            kernel,
            accumulate=sparse_kernels.accumulate,
            by_columns=columns.accumulate_slopes,
            reals=np.array([constant, self.scale, *classes]),
            integers=np.array(integers, np.int64),
            most_rows=SPARSE_SHARE_ROWS,
            tries_threads=True,
        )

    def curvature(self, features: np.ndarray) -> float:
        """Return about how fast the loss's slope changes, from some rows (rows, F), float64."""
        if is_matrix(features):
            return 1.0 + self.scale**2 * float(np.mean(features.power(2).sum(axis=1)))  # type: ignore[attr-defined]
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
        if is_matrix(features):
            return self._scores_of_sparse(parameters, features)
        inputs, dtype = self.inputs(parameters, features), dtype_of(self)
        scores = np.empty((len(features), self.outputs), dtype)
        kernels.score(inputs, np.asarray(parameters, dtype), self.intercept, scores)
        return scores

    def _scores_of_sparse(self, parameters: np.ndarray, rows: Any) -> np.ndarray:
        """Return the scores of a SciPy matrix in CSR."""
        layout, dtype = self.layout(rows.shape[1:]), dtype_of(self)
        standard = standardisation(layout, parameters, self.scale)
        part = layout.views(np.asarray(parameters, dtype))
        # (x - mean) * factor, without a row that is filled: by what it does to the coefficients.
        weights = part["coefficients"].T * standard.factor.reshape(-1, 1).astype(dtype)
        scores: np.ndarray = (rows @ np.ascontiguousarray(weights)).astype(dtype, copy=False)
        if standard.shift.size:
            scores = scores - (standard.shift @ weights).astype(dtype)
        return scores + part["intercept"] if self.intercept else scores
