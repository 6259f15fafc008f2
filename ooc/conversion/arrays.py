"""Sources that are arrays with rows anywhere: pieces are spans of rows, read by any thread."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ooc.conversion.matrices import StoredMatrix
from ooc.conversion.source import (
    NUMBER,
    PIECE_BYTES,
    TEXT,
    Column,
    Entries,
    Piece,
    Values,
    stamp_of,
    texts_of,
    time_column,
    why_no_numbers,
)
from ooc.core.errors import InputError
from ooc.store.conventions import read_conventions

MOST_UNIT = 2**31
# Of a sparse row, beside its values: where it begins, and how many there are.
_SPARSE_ROW = 16


class ArraySource(ABC):
    """Arrays by name; a format's class opens them, and says how spans of their rows are read.

    Attributes
    ----------
    matrices
        Those of the columns that are sparse matrices where they are stored.
    """

    is_table = False
    held_bytes = 0
    matrices: Mapping[str, StoredMatrix] = {}

    def __init__(
        self,
        path: Path,
        columns: Mapping[str, Column],
        skipped: Mapping[str, str],
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.columns, self.skipped = path, columns, skipped
        self.attributes: Mapping[str, Any] = attributes or {}
        self.files = [path]

    @property
    def rows(self) -> int | None:
        """Rows of the arrays, where all have as many."""
        found = {column.rows for column in self.columns.values()}
        return found.pop() if len(found) == 1 else None

    @abstractmethod
    def read(self, name: str, first: int, stop: int) -> Entries:
        """Return rows of an array."""

    def unit_rows(self, name: str) -> int:
        """Return the rows that are decoded together: pieces are cut where these begin."""
        return 1

    def stamp(self) -> Any:
        """Return what changes when the source is written again."""
        return stamp_of(self.files, self.path)

    def piece_rows(self, names: Sequence[str]) -> int:
        """Return the rows of a piece, of sparse ones at most."""
        row_bytes = max(1, self._row_bytes(names))
        units = [min(self.unit_rows(name), MOST_UNIT) for name in names]
        wanted = max(1, PIECE_BYTES // row_bytes)
        unit = math.lcm(*units)
        unit = unit if unit <= 8 * max(wanted, *units) else max(units)
        return max(1, wanted // unit) * unit

    def _row_bytes(self, names: Sequence[str]) -> int:
        """Return the bytes of a row, of sparse ones of what a row takes without values."""
        columns = [self.columns[name] for name in names]
        return sum(_SPARSE_ROW if each.is_sparse else each.row_bytes for each in columns)

    def piece_bytes(self, names: Sequence[str]) -> int:
        """Return the most bytes that reading a piece takes: its values, and what is decoded."""
        rows = self.piece_rows(names)
        dense = self._row_bytes(names)
        matrices = (self.matrices[name] for name in names if name in self.matrices)
        return 2 * rows * dense + sum(matrix.piece_bytes for matrix in matrices)

    def pieces(self, names: Sequence[str], position: Any) -> Iterator[Piece]:
        """Yield spans of rows from a row on."""
        rows, step = self.columns[names[0]].rows, self.piece_rows(names)
        assert rows is not None
        matrices = [self.matrices[name] for name in names if name in self.matrices]
        for matrix in matrices:
            matrix.prepare()
        first = position or 0
        while first < rows:
            stop = min(first + step, rows, *(matrix.stop(first) for matrix in matrices))
            read = partial(self._read_all, tuple(names), first, stop)
            yield Piece(first, first, read, partial(self.place, first))
            first = stop

    def _read_all(self, names: Sequence[str], first: int, stop: int) -> Values:
        return {name: self.read(name, first, stop) for name in names}

    def place(self, first: int, row: int) -> str:
        """Say where a row of a piece is."""
        return f"row {first + row} of {self.path}"

    def finish(self, folder: Path) -> None:  # noqa: B027
        """Add nothing."""


def array_column(
    name: str,
    dtype: np.dtype,
    shape: tuple[int, ...],
    attributes: Mapping[str, Any] | None = None,
    dimensions: tuple[str | None, ...] | None = None,
) -> Column | str:
    """Describe an array, or say why it cannot be converted."""
    if not shape:
        return "it has no axes: it is one number, and no rows"
    if why := why_no_numbers(dtype):
        return why
    if 0 in shape:
        return f"it is empty: its shape is {shape}"
    known: dict[str, Any] = {"rows": shape[0], "dimensions": dimensions}
    if dtype.kind in "US":
        if len(shape) > 1:
            return f"it holds texts in rows of shape {shape[1:]}; one text a row becomes a category"
        return Column(name, TEXT, np.dtype(np.int32), may_lack=True, was=str(dtype), **known)
    if dtype.kind == "M":
        if len(shape) > 1:
            return f"it holds times in rows of shape {shape[1:]}; one time a row becomes a number"
        unit = np.datetime_data(dtype)[0]
        unit = unit if unit in ("D", "h", "m", "s", "ms", "us", "ns") else "s"
        return time_column(name, unit, was=str(dtype), **known)
    native = dtype.newbyteorder("=")
    kept = dict(attributes or {})
    try:
        conventions = read_conventions(kept, native)
    except InputError as error:
        return f"what its attributes declare cannot be honoured: {error}"
    lacks = native.kind == "f" or (conventions is not None and conventions.declares_missing)
    return Column(
        name, NUMBER, native, shape[1:], attributes=kept, conventions=conventions, may_lack=lacks,
        **known,
    )  # fmt: skip


def as_column(column: Column, values: np.ndarray) -> Entries:
    """Return values of NumPy's as a column's pieces hold them."""
    if column.kind == TEXT:
        return texts_of(values)
    if values.dtype.kind == "M":
        unit = str(column.attributes["units"]).split()[0]
        short = {
            "days": "D", "hours": "h", "minutes": "m", "seconds": "s", "milliseconds": "ms",
            "microseconds": "us", "nanoseconds": "ns",
        }[unit]  # fmt: skip
        return values.astype(f"datetime64[{short}]").view(np.int64)
    return np.ascontiguousarray(values, column.dtype)


def matrix_column(name: str, matrix: StoredMatrix, dense: bool, names: Sequence[str]) -> Column:
    """Describe a sparse matrix, whose rows stay sparse unless they are to be dense ones."""
    return Column(
        name,
        NUMBER,
        matrix.dtype,
        (matrix.width,),
        matrix.rows,
        names=list(names) if len(names) == matrix.width else (),
        may_lack=matrix.dtype.kind == "f",
        was="sparse rows" if dense else "",
        nonzeros=None if dense else matrix.nonzeros,
    )


def sorted_columns(
    found: Mapping[str, Column | str],
) -> tuple[dict[str, Column], dict[str, str]]:
    """Split what was found into columns and what is skipped, and why."""
    columns = {name: each for name, each in found.items() if isinstance(each, Column)}
    skipped = {name: each for name, each in found.items() if isinstance(each, str)}
    return columns, skipped
