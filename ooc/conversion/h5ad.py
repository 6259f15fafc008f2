"""AnnData's h5ad files: X, columns of obs, and arrays of obsm and layers, by anndata and h5py."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ooc.conversion.arrays import array_column, as_column, sorted_columns
from ooc.conversion.formats import Opening, importing
from ooc.conversion.hdf5 import Hdf5Source, open_file
from ooc.conversion.source import CATEGORY, NUMBER, TEXT, Column, Texts
from ooc.conversion.sparse import SparseRows, check_dense
from ooc.core.errors import DataError, InputError

_SPARSE = {"csr_matrix": "rows", "csc_matrix": "columns"}


def open_h5ad(path: Path, opening: Opening) -> "H5adSource":
    """Open a file: X is the features, named by var; columns of obs lie beside."""
    file = open_file(path)
    if "X" not in file or "obs" not in file:
        raise InputError(f"{path} has no X and obs, which AnnData writes; name its format hdf5")
    read_elem = importing("anndata.io").read_elem
    obs, matrices = file["obs"], {"X": file["X"]}
    for group in ("obsm", "layers"):
        for name in file.get(group, {}):
            matrices[f"{group}/{name}"] = file[group][name]
    found: dict[str, Column | str] = {}
    genes = [str(name) for name in read_elem(file["var"][file["var"].attrs["_index"]])]
    for name, node in matrices.items():
        names = genes if name == "X" or name.startswith("layers/") else []
        found[name] = _matrix_column(path, name, node, names, opening)
    held: dict[str, np.ndarray] = {}
    for name in obs:
        if name == obs.attrs["_index"] or name == "__categories":
            continue
        if name in found:
            found[f"obs/{name}"] = f"{name} is the name of a matrix, too; rename the column"
            continue
        column, values = _obs_column(name, read_elem(obs[name]))
        found[name] = column
        if values is not None:
            held[name] = values
    columns, skipped = sorted_columns(found)
    return H5adSource(path, file, columns, skipped, matrices, held)


def _matrix_column(
    path: Path, name: str, node: Any, names: Sequence[str], opening: Opening
) -> Column | str:
    kind = _SPARSE.get(str(node.attrs.get("encoding-type", "")))
    if kind is None:
        if not hasattr(node, "dtype"):
            return "it is a table or another group, and no matrix"
        column = array_column(name, node.dtype, node.shape)
        return _named(column, names) if isinstance(column, Column) else column
    rows, width = (int(each) for each in node.attrs["shape"])
    values = node["data"]
    matrix = SparseRows(rows, width, len(values), values.dtype.itemsize)
    if kind == "columns":
        why = "it is stored by columns (csc_matrix), and rows cannot be read; write X.tocsr()"
        if name == "X":
            raise InputError(f"X of {path}: {why}")
        return why
    try:
        choose = ", or name the genes to keep in --columns"
        chosen = bool(opening.columns) and name not in opening.columns
        # Single genes are named where they are to be the features.
        check_dense(path, name, matrix, opening.dense or chosen, choose)
    except InputError as error:
        if name == "X":
            raise
        return str(error)
    column = Column(name, NUMBER, values.dtype, (width,), rows, may_lack=values.dtype.kind == "f")
    return _named(column, names)


def _named(column: Column, names: Sequence[str]) -> Column:
    fits = column.shape == (len(names),)
    return Column(**{**vars(column), "names": list(names)}) if fits else column


def _obs_column(name: str, values: Any) -> tuple[Column | str, np.ndarray | None]:
    """Return a column of obs and its values, which are in memory as a whole."""
    known: dict[str, Any]
    if hasattr(values, "categories"):
        texts = [str(each) for each in values.categories]
        codes = np.asarray(values.codes)
        lacks = bool((codes < 0).any())
        known = {"rows": len(codes), "may_lack": lacks}
        return Column(name, CATEGORY, codes.dtype, categories=texts, **known), codes
    if hasattr(values, "to_numpy") and getattr(values, "dtype", None) is not None:
        kind = getattr(values.dtype, "kind", "O")
        if kind in "biuf":  # a nullable column of pandas'
            values = values.to_numpy(dtype="float64", na_value=np.nan)
    found = np.asarray(values)
    if found.dtype.kind in "OT":
        known = {"rows": len(found), "may_lack": True, "was": "text"}
        return Column(name, TEXT, np.dtype(np.int32), **known), found.astype(object)
    column = array_column(name, found.dtype, found.shape)
    return column, found if isinstance(column, Column) else None


class H5adSource(Hdf5Source):
    """Matrices in the file, and columns of obs in memory."""

    def __init__(
        self, path: Path, file: Any, columns: Any, skipped: Any, matrices: Any, held: Any
    ) -> None:
        super().__init__(path, file, columns, skipped)
        self.attributes = {}
        self._matrices, self._held = matrices, held
        self.held_bytes = sum(
            each.nbytes * (10 if each.dtype.kind == "O" else 1) for each in held.values()
        )
        datasets = importing("anndata.io").sparse_dataset
        self._sparse = {
            name: datasets(node)
            for name, node in matrices.items()
            if name in columns and not hasattr(node, "dtype")
        }

    def node(self, name: str) -> Any:
        """Return a matrix, or a column in memory."""
        return self._held.get(name, self._matrices.get(name))

    def piece_bytes(self, names: Sequence[str]) -> int:
        """Return the bytes of a piece, of sparse rows with their indices, too."""
        return 2 * super().piece_bytes(names)

    def read(self, name: str, first: int, stop: int) -> np.ndarray | Texts:
        """Return rows; sparse ones become dense."""
        if name in self._held:
            return as_column(self.columns[name], self._held[name][first:stop])
        if name not in self._sparse:
            return super().read(name, first, stop)
        try:
            return np.asarray(self._sparse[name][first:stop].toarray())
        except OSError as error:
            raise DataError(
                f"rows {first} to {stop - 1} of {name} in {self.path} cannot be read: {error}; "
                "restore the file from its source"
            ) from None
