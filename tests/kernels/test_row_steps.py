"""Rows that are subtracted one after the other are a product with the matrix."""

import numpy as np
import pytest
from sparse_rows import random_matrix

from ooc.kernels.row_steps import subtract_rows
from ooc.store.sparse_rows import rows_of


@pytest.mark.parametrize(("values", "parameters"), [("f4", "f4"), ("f8", "f4"), ("f8", "f8")])
@pytest.mark.parametrize("outputs", [1, 3])
def test_rows_are_subtracted_with_their_slopes(
    values: str, parameters: str, outputs: int, rng: np.random.Generator
) -> None:
    matrix = random_matrix(20, 30, 0.3).astype(values)
    slopes = rng.standard_normal((20, outputs)).astype(parameters)
    slopes[[3, 7]] = 0
    w = rng.standard_normal(31 * outputs).astype(parameters)
    wanted = w.astype(np.float64)
    wanted[: 30 * outputs] -= 0.25 * (matrix.T @ slopes).T.ravel()
    given = rows_of(matrix)
    subtract_rows(given.extents, np.dtype(values).type(0), slopes, 0.25, 30, w)
    tolerance = 1e-12 if parameters == "f8" else 2e-6
    np.testing.assert_allclose(w, wanted, rtol=tolerance, atol=tolerance)


def test_a_slope_that_is_not_a_number_is_told_by_the_coefficients() -> None:
    matrix = random_matrix(2, 5, 0.9, seed=3)
    w = np.zeros(5, np.float32)
    given, slopes = rows_of(matrix), np.array([[np.nan], [0]], np.float32)
    subtract_rows(given.extents, np.float32(0), slopes, 1.0, 5, w)
    assert np.isnan(w[matrix.indices[: matrix.indptr[1]]]).all()
