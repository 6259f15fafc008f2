"""Sparse matrices as others write them, for tests of several packages."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import zarr


def random_matrix(rows: int, columns: int, density: float = 0.05, seed: int = 0) -> Any:
    """Return a matrix in CSR whose rows have very different numbers of non-zeros."""
    rng = np.random.default_rng(seed)
    keep = rng.random((rows, columns)) < density * rng.exponential(size=(rows, 1))
    values = rng.standard_normal((rows, columns)).astype(np.float32)
    return scipy.sparse.csr_array(np.where(keep, values, 0))


def write_sparse(path: Path, matrix: Any, chunk: int = 700, **arrays: np.ndarray) -> Path:
    """Write a matrix in AnnData's layout, and dense arrays beside it."""
    group = zarr.create_group(path)
    marks = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0"}
    write_csr(group, "X", matrix, chunk, marks)
    for name, values in arrays.items():
        group.create_array(name, data=values, chunks=(90,))
    return path


def write_csr(group: zarr.Group, name: str, matrix: Any, chunk: int, marks: dict[str, Any]) -> None:
    """Write a matrix as a group of arrays."""
    inner = group.create_group(name, attributes={**marks, "shape": list(matrix.shape)})
    for part in ("data", "indices", "indptr"):
        values = getattr(matrix, part)
        inner.create_array(part, data=values, chunks=(min(chunk, max(1, len(values))),))
