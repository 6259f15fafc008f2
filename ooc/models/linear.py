"""The linear family: scores X W^T + b and a loss, by a compiled kernel."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ooc.core.errors import InputError
from ooc.core.numbers import check_choice
from ooc.kernels import columns
from ooc.kernels import linear as kernels
from ooc.kernels import sparse as sparse_kernels
from ooc.kernels.rows import Stored, gather_address, tile_rows
from ooc.models.contract import BatchLike, Layout
from ooc.models.declarations import Kernel, dtype_of
from ooc.models.layers import DenseLayer
from ooc.models.scored import DTYPES, ScoredModel, dtype_field
from ooc.models.standardise import standardisation, target_standardisation
from ooc.store.sparse_rows import SparseRows, is_matrix, rows_of

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
            return self._scores_of_sparse(parameters, rows_of(features))
        if isinstance(features, SparseRows):
            return self._scores_of_sparse(parameters, features)
        dtype, width = dtype_of(self), int(np.prod(features.shape[1:]))
        parameters = np.asarray(parameters, dtype)
        scores = np.empty((len(features), self.outputs), dtype)
        standard = standardisation(self.layout(features.shape[1:]), parameters, self.scale)
        rows = np.ascontiguousarray(features.reshape(len(features), width))
        order = np.arange(len(rows), dtype=np.int32)
        address = gather_address(rows.dtype, dtype)
        stored = Stored(address, rows.ctypes.data, order, standard.rounded(dtype))
        tile = np.empty((tile_rows(width), width), dtype)
        kernels.score_stored(stored, tile, parameters, self.intercept, scores)
        return scores

    def _scores_of_sparse(self, parameters: np.ndarray, rows: SparseRows) -> np.ndarray:
        """Return the scores of rows by their non-zeros alone."""
        layout, dtype = self.layout(rows.shape[1:]), dtype_of(self)
        parameters, scale, intercept = np.asarray(parameters, dtype), self.scale, self.intercept
        standard = standardisation(layout, parameters, self.scale)
        if standard.shift.size:
            # (x - mean) * factor, without a row that is filled: by coefficients that are changed.
            part, scale, intercept = layout.views(parameters), 1.0, True
            weights = part["coefficients"] * standard.factor
            shifted = part.get("intercept", np.zeros(self.outputs)) - weights @ standard.shift
            parameters = np.concatenate([weights.reshape(-1), shifted]).astype(dtype)
        scores = np.empty((len(rows), self.outputs), dtype)
        given = rows.extents, rows.dtype.type(0), parameters, rows.columns, scale, intercept
        sparse_kernels.score_rows(*given, scores)
        return scores

    def scoring_scratch_bytes(self, layout: Layout, is_sparse: bool) -> int:
        """Return what scores of rows in place take beside them: a tile, or other coefficients."""
        width, size = layout.shapes["coefficients"][1], dtype_of(self).itemsize
        # Standardised rows are met by coefficients that are changed, of which there are copies.
        changed = 3 * 8 * layout.size if self.standardise else 0
        return changed if is_sparse else (tile_rows(width) * size + 2 * 8) * width

    def scores_of(self, parameters: np.ndarray, batch: BatchLike) -> np.ndarray:
        """Return the scores of a batch; its sparse rows stay where they are."""
        return self.scores(parameters, batch.arrays[batch.roles[0]])

    def batch_scores(self, parameters: np.ndarray, batch: BatchLike) -> np.ndarray:
        """Do as `scores_in_unit` for a batch; its sparse rows stay where they are."""
        return self.scores_in_unit(parameters, batch.arrays[batch.roles[0]])

    def predict_batch(self, parameters: np.ndarray, batch: BatchLike) -> dict[str, np.ndarray]:
        """Do as `predict` for a batch; its sparse rows stay where they are."""
        return self.predict(parameters, batch.arrays[batch.roles[0]])
