"""AnnData's h5ad files: X, columns of obs, and arrays of obsm and layers, by anndata and h5py."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ooc.conversion.arrays import array_column, as_column, matrix_column, sorted_columns
from ooc.conversion.by_columns import stored_matrix
from ooc.conversion.formats import Opening, importing
from ooc.conversion.hdf5 import Hdf5Source, open_file
from ooc.conversion.matrices import StoredMatrix, memory_of, sparse_kind
from ooc.conversion.source import CATEGORY, TEXT, Column, Entries
from ooc.core.errors import InputError


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
    stored: dict[str, StoredMatrix] = {}
    genes = [str(name) for name in read_elem(file["var"][file["var"].attrs["_index"]])]
    for number, (name, node) in enumerate(matrices.items()):
        names = genes if name == "X" or name.startswith("layers/") else []
        if kind := sparse_kind(node.attrs):
            matrix = stored[name] = stored_matrix(f"{name} of {path}", kind, node, number, opening)
            found[name] = matrix_column(name, matrix, opening.dense, names)
        else:
            found[name] = _dense_column(name, node, names)
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
    return H5adSource(path, file, columns, skipped, matrices, held, stored)


def _dense_column(name: str, node: Any, names: Sequence[str]) -> Column | str:
    if not hasattr(node, "dtype"):
        return "it is a table or another group, and no matrix"
    column = array_column(name, node.dtype, node.shape)
    return _named(column, names) if isinstance(column, Column) else column


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
        self,
        path: Path,
        file: Any,
        columns: Any,
        skipped: Any,
        matrices: Any,
        held: Any,
        stored: Any,
    ) -> None:
        super().__init__(path, file, columns, skipped)
        self.attributes = {}
        self._dense, self._held, self.matrices = matrices, held, stored
        self.held_bytes = sum(
            each.nbytes * (10 if each.dtype.kind == "O" else 1) for each in held.values()
        ) + memory_of(stored.values())

    def node(self, name: str) -> Any:
        """Return a matrix, or a column in memory."""
        return self._held.get(name, self._dense.get(name))

    def unit_rows(self, name: str) -> int:
        """Return the rows of a chunk; sparse rows are cut where they have values enough."""
        return 1 if name in self.matrices else super().unit_rows(name)

    def read(self, name: str, first: int, stop: int) -> Entries:
        """Return rows; sparse ones are dense where that was asked for."""
        if name in self._held:
            return as_column(self.columns[name], self._held[name][first:stop])
        if name not in self.matrices:
            return super().read(name, first, stop)
        rows = self.matrices[name].read(first, stop)
        return rows if self.columns[name].is_sparse else rows.toarray()
