"""Sparse matrices of a source, in CSR or CSC, by h5py or zarr-python: their rows, a few at a time.

Those in CSR are read as they are. Of those in CSC values are first put where their rows are, see
`ooc.conversion.by_columns`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from ooc.conversion.sparse import SparseValues
from ooc.core.errors import DataError, InputError
from ooc.store.sparse import INDEX_DTYPE, INDICES, PARTS, POINTERS, VALUES, places_of, unit_of

PIECE_BYTES = 3 * 2**20
LARGEST = int(np.iinfo(INDEX_DTYPE).max)


class StoredMatrix(Protocol):
    """A sparse matrix whose rows are read in spans.

    Attributes
    ----------
    dtype, rows, width, nonzeros
        Of its values, and how many rows, columns and values it has.
    held_bytes, prepare_bytes, piece_bytes
        What it keeps in memory, and the most that preparing and that reading a span takes.
    """

    dtype: np.dtype
    rows: int
    width: int
    nonzeros: int

    @property
    def held_bytes(self) -> int:
        """Bytes that it keeps."""

    @property
    def prepare_bytes(self) -> int:
        """Bytes that preparing takes."""

    @property
    def piece_bytes(self) -> int:
        """Bytes that reading a span takes."""

    def prepare(self) -> None:
        """Do what has to be done before rows can be read."""

    def stop(self, first: int) -> int:
        """Return where the span ends that begins with a row."""

    def read(self, first: int, stop: int) -> SparseValues:
        """Return rows."""


class Spans:
    """Spans of rows with at most so many values, unless a row, or a unit of rows, has more."""

    def __init__(self, places: np.ndarray, unit: int, rows: int, limit: int) -> None:
        """`places`: where each `unit` rows begin, and where the last row ends, int64."""
        self.places, self.unit, self.rows, self.limit = places, unit, rows, max(1, limit)
        self.most = max(self.limit, int(np.diff(places).max(initial=0)))

    def stop(self, first: int) -> int:
        """Return where the span ends that begins with a row."""
        wanted = self.places[first // self.unit] + self.limit
        row = (int(np.searchsorted(self.places, wanted, "right")) - 1) * self.unit
        return min(max(row, (first // self.unit + 1) * self.unit), self.rows)


class Parts:
    """The three arrays of a matrix, checked against each other."""

    def __init__(self, what: str, node: Any, shape: Any) -> None:
        """Take the arrays of a node; `what` names the matrix, as in "X of cells.h5ad"."""
        self.what = what
        for part in PARTS:
            if part not in node or len(getattr(node[part], "shape", ())) != 1:
                raise InputError(
                    f"{part} of the sparse matrix {what} is not there, or has not one axis; write "
                    "the matrix again"
                )
        self.values, self.indices, self.pointers = (node[part] for part in PARTS)
        self.rows, self.columns = (int(each) for each in shape)
        self.dtype = np.dtype(self.values.dtype).newbyteorder("=")
        if self.dtype.kind not in "biuf":
            raise InputError(f"values of {what} are {self.dtype}, and no numbers; convert them")
        self.nonzeros = int(self.values.shape[0])
        if self.indices.shape[0] != self.nonzeros:
            raise InputError(
                f"{what} has {self.nonzeros:,} values, but {self.indices.shape[0]:,} places for "
                "them; one of the two was cut: write the matrix again"
            )
        if self.columns > LARGEST or self.columns < 1:
            raise InputError(f"{what} has {self.columns:,} columns; there can be 1 to {LARGEST:,}")

    def check_pointers(self, expected: int) -> None:
        """Refuse a matrix of more or fewer rows, or columns, than its shape tells of."""
        if self.pointers.shape[0] != expected + 1:
            raise InputError(
                f"{self.what} has {expected:,} by its shape, but {self.pointers.shape[0]:,} "
                "entries in indptr, where one more is needed; write the matrix again"
            )

    def chunk(self, part: str) -> int:
        """Return the entries of a chunk of an array."""
        array = {VALUES: self.values, INDICES: self.indices, POINTERS: self.pointers}[part]
        chunks = getattr(array, "chunks", None)
        return int(chunks[0]) if chunks else 1

    def read(self, array: Any, first: int, last: int) -> np.ndarray:
        """Return entries of one of the arrays."""
        try:
            return np.asarray(array[first:last])
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"values {first} to {last - 1} of {self.what} cannot be read: {error}; restore it "
                "from its source"
            ) from None


def check_within(found: np.ndarray, most: int) -> int:
    """Return the place of the first number that is below 0 or not below `most`; -1 if none is."""
    if not len(found) or (int(found.min()) >= 0 and int(found.max()) < most):
        return -1
    return int(np.argmax((found < 0) | (found >= most)))


class CsrMatrix:
    """A matrix that is stored by rows."""

    def __init__(self, parts: Parts) -> None:
        """Read through where rows begin.

        Raises
        ------
        DataError
            If rows do not begin where those before end.
        """
        parts.check_pointers(parts.rows)
        self._parts = parts
        self.dtype, self.rows, self.width = parts.dtype, parts.rows, parts.columns
        self.nonzeros = parts.nonzeros
        unit = unit_of(self.rows)
        places, *_ = places_of(
            parts.what, parts.pointers, parts.chunk(POINTERS), self.rows, unit, self.nonzeros
        )
        size = self.dtype.itemsize + INDEX_DTYPE.itemsize
        # Values are held as they are stored and as they are read.
        self._spans = Spans(places, unit, self.rows, PIECE_BYTES // (2 * size))

    @property
    def held_bytes(self) -> int:
        """Bytes of where rows begin."""
        return int(self._spans.places.nbytes)

    @property
    def prepare_bytes(self) -> int:
        """Bytes that preparing takes: none."""
        return 0

    @property
    def piece_bytes(self) -> int:
        """Bytes of the values and columns of a span, as they are stored and as they are read."""
        stored = self.dtype.itemsize + self._parts.indices.dtype.itemsize
        chunks = sum(self._parts.chunk(part) for part in (VALUES, INDICES)) * 8
        return self._spans.most * (stored + self.dtype.itemsize + INDEX_DTYPE.itemsize) + chunks

    def prepare(self) -> None:
        """Do nothing: rows can be read."""

    def stop(self, first: int) -> int:
        """Return where the span ends that begins with a row."""
        return self._spans.stop(first)

    def read(self, first: int, stop: int) -> SparseValues:
        """Return rows; their columns are checked.

        Raises
        ------
        DataError
            If a value has a column that is not there, or cannot be read.
        """
        parts = self._parts
        pointers = parts.read(parts.pointers, first, stop + 1).astype(np.int64)
        begin, end = int(pointers[0]), int(pointers[-1])
        columns = parts.read(parts.indices, begin, end)
        if (wrong := check_within(columns, self.width)) >= 0:
            row = first + int(np.searchsorted(pointers - begin, wrong, "right")) - 1
            raise DataError(
                f"row {row} of {parts.what} has a value in column {columns[wrong]}, but there are "
                f"columns 0 to {self.width - 1}; correct the row, or the shape of the matrix"
            )
        values = np.asarray(parts.read(parts.values, begin, end), self.dtype)
        return SparseValues(
            values, columns.astype(INDEX_DTYPE, copy=False), np.diff(pointers), self.width
        )


def memory_of(matrices: Iterable[StoredMatrix]) -> int:
    """Return what matrices keep in memory, one of which is prepared at a time."""
    known = list(matrices)
    prepared = max((matrix.prepare_bytes for matrix in known), default=0)
    return sum(matrix.held_bytes for matrix in known) + prepared


def sparse_kind(attributes: Mapping[str, Any]) -> str:
    """Return "csr" or "csc" for a group that AnnData has marked as one; empty for another."""
    told = str(attributes.get("encoding-type", attributes.get("h5sparse_format", "")))
    return told[:3] if told[:3] in ("csr", "csc") else ""


def shape_of(what: str, attributes: Mapping[str, Any]) -> tuple[int, int]:
    """Return the shape that a matrix's group notes.

    Raises
    ------
    InputError
        If it notes none.
    """
    shape = attributes.get("shape", attributes.get("h5sparse_shape"))
    if shape is None or len(shape) != 2:
        raise InputError(
            f"{what} has no attribute shape of two numbers, but {shape!r}; say how many rows and "
            "columns it has"
        )
    return int(shape[0]), int(shape[1])
