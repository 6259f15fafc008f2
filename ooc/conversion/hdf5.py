"""HDF5 by h5py: its datasets by their paths, as arrays."""

from pathlib import Path
from typing import Any

import numpy as np

from ooc.conversion.arrays import ArraySource, array_column, as_column, sorted_columns
from ooc.conversion.formats import Opening, importing
from ooc.conversion.source import NUMBER, TEXT, Column, Entries
from ooc.core.errors import DataError, InputError

# Attributes of HDF5's own, on scales of dimensions.
_ITS_OWN = ("CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "_Netcdf4Dimid")


def open_hdf5(path: Path, opening: Opening) -> "Hdf5Source":
    """Open all datasets of a file; those in groups are named like "group/data"."""
    file = open_file(path)
    nodes: dict[str, Any] = {}

    def collect(name: str, node: Any) -> None:
        if hasattr(node, "shape"):
            nodes[name] = node

    file.visititems(collect)
    found = {name: _column(name, node) for name, node in nodes.items()}
    columns, skipped = sorted_columns(found)
    return Hdf5Source(path, file, columns, skipped)


def open_file(path: Path) -> Any:
    """Open a file for reading."""
    h5py = importing("h5py")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno is not None:
            raise
        raise InputError(f"{path} cannot be read as HDF5: {error}; check the file") from None


def _column(name: str, node: Any) -> Column | str:
    if node.dtype.kind == "O":
        is_text = importing("h5py").check_string_dtype(node.dtype) is not None
        if not is_text or len(node.shape) != 1:
            return f"it holds {'texts in rows' if is_text else 'values'} of no fixed size"
        rows = node.shape[0]
        return Column(name, TEXT, np.dtype(np.int32), rows=rows, may_lack=True, was="text")
    if node.dtype.fields:
        return "its values are structures; write their fields as arrays of their own"
    return array_column(name, node.dtype, node.shape, plain_attributes(node.attrs))


def plain_attributes(attributes: Any) -> dict[str, Any]:
    """Return the attributes that JSON knows: numbers, texts and lists of them."""
    found: dict[str, Any] = {}
    for name in attributes:
        if name in _ITS_OWN:
            continue
        try:
            value = attributes[name]
        except (OSError, TypeError):  # of a type that h5py does not read
            continue
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, np.generic | np.ndarray):
            value = value.tolist()
        if isinstance(value, float | int | str | bool) or (
            isinstance(value, list) and all(isinstance(each, float | int | str) for each in value)
        ):
            found[name] = json_value(value)
    return found


def json_value(value: Any) -> Any:
    """Return a value as JSON has it, which knows no NaN."""
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return [json_value(each) for each in value] if isinstance(value, list) else value


class Hdf5Source(ArraySource):
    """Datasets of an open file."""

    def __init__(self, path: Path, file: Any, columns: Any, skipped: Any) -> None:
        super().__init__(path, columns, skipped, plain_attributes(file.attrs))
        self.file = file

    def node(self, name: str) -> Any:
        """Return a dataset."""
        return self.file[name]

    def unit_rows(self, name: str) -> int:
        """Return the rows of a chunk."""
        chunks = getattr(self.node(name), "chunks", None)
        return int(chunks[0]) if chunks else 1

    def read(self, name: str, first: int, stop: int) -> Entries:
        """Return rows of a dataset."""
        node, column = self.node(name), self.columns[name]
        try:
            if column.kind == NUMBER:
                out = np.empty((stop - first, *column.shape), column.dtype)
                node.read_direct(out, np.s_[first:stop])
                return out
            return as_column(column, node[first:stop])
        except OSError as error:
            raise DataError(
                f"rows {first} to {stop - 1} of {name} in {self.path} cannot be read: {error}; "
                "restore the file from its source"
            ) from None
