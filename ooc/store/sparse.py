"""Sparse rows: a group of arrays in CSR, as AnnData and SciPy have it, described as one array.

Of row i the non-zeros are ``data[indptr[i] : indptr[i + 1]]``, in the columns ``indices[...]``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import zarr

from ooc.core.errors import DataError, InputError
from ooc.core.sizes import format_size
from ooc.store.member import Member, attributes_of, described, encoding_of
from ooc.store.spec import ArraySpec

VALUES, INDICES, POINTERS = "data", "indices", "indptr"
PARTS = (VALUES, INDICES, POINTERS)
INDEX_DTYPE = np.dtype(np.int32)
# In memory a row has two addresses and a count, see `ooc.store.sparse_rows.SparseRows`.
EXTENT_BYTES = 24
# Where the non-zeros of every so many rows begin is kept, of at most this many places.
MOST_PLACES = 2**20
# Beside them the non-zeros of each row are kept, in so many bytes at most: of most data one or two
# a row. Else where rows begin within a unit is read with each block.
MOST_COUNT_BYTES = 2**23
_PIECE = 2**18


@dataclass(frozen=True)
class SparseSpec(ArraySpec):
    """What the readers and the plan need to know of sparse rows.

    Attributes
    ----------
    dtype
        Of the non-zeros as they are read: float32 where that holds all numbers of the stored type.
    chunks
        About the rows whose non-zeros fill a chunk, and all columns.
    parts
        The arrays that are stored: non-zeros, their columns, and where rows begin.
    unit, places
        Where the non-zeros of each `unit` rows begin, and where the last row's end, int64.
    longest
        Non-zeros of the row that has most.
    counts
        Non-zeros of each row, in the smallest integers that hold them; empty where units are of one
        row, or where they would be too many.
    """

    parts: tuple[ArraySpec, ...] = ()
    unit: int = 1
    places: np.ndarray = field(
        default_factory=lambda: np.zeros(1, np.int64), compare=False, repr=False
    )
    longest: int = 0
    counts: np.ndarray = field(
        default_factory=lambda: np.zeros(0, np.uint8), compare=False, repr=False
    )

    is_sparse: ClassVar[bool] = True

    @property
    def nonzeros(self) -> int:
        """Stored values of all rows."""
        return int(self.places[-1])

    @property
    def value_bytes(self) -> int:
        """Bytes of a non-zero and its column in memory."""
        return self.dtype.itemsize + INDEX_DTYPE.itemsize

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in memory, on average."""
        return EXTENT_BYTES + -(-self.nonzeros * self.value_bytes // max(1, self.shape[0]))

    @property
    def index_bytes(self) -> int:
        """Bytes of what readers keep: places and counts of rows, and the indices of shards."""
        return (
            self.places.nbytes + self.counts.nbytes + sum(part.index_bytes for part in self.parts)
        )

    @property
    def stored_chunks(self) -> int:
        """Chunks of all parts."""
        return sum(part.stored_chunks for part in self.parts)

    def place_of(self, row: int) -> int:
        """Return where a row's non-zeros begin; of a row within a unit, where the unit's do."""
        return self.nonzeros if row >= self.shape[0] else int(self.places[row // self.unit])

    @property
    def reads_pointers(self) -> bool:
        """Whether where rows begin is read with each block."""
        return self.unit > 1 and len(self.counts) == 0

    def pointers(self, start: int, stop: int) -> np.ndarray:
        """Return where rows begin, and where the last one ends, int64, without reading.

        `start` is a multiple of the unit.
        """
        if self.unit == 1:
            return self.places[start : stop + 1]
        found = np.empty(stop - start + 1, np.int64)
        found[0] = self.place_of(start)
        np.cumsum(self.counts[start:stop], out=found[1:])
        found[1:] += found[0]
        return found

    def decoded_bytes(self, start: int, stop: int) -> int:
        """Return the bytes that are decoded to read rows start to stop: whole chunks of parts."""
        first, last = self.place_of(start), self.place_of(stop)
        values, indices, pointers = self.parts
        found = sum(part.decoded_bytes(first, last) for part in (values, indices) if last > first)
        return found + (pointers.decoded_bytes(start, stop) if self.reads_pointers else 0)

    def most_nonzeros(self, rows: int) -> int:
        """Return the most non-zeros that so many rows can have."""
        return min(rows * self.longest, self.nonzeros)

    def heaviest(self, block_rows: int) -> np.ndarray:
        """Return the non-zeros of the heaviest block, of the two heaviest, and so on, int64."""
        rows = np.arange(0, self.shape[0], block_rows)
        begins = self.places[rows // self.unit]
        return np.cumsum(np.sort(np.diff(begins, append=self.nonzeros))[::-1])

    def describe(self) -> str:
        """Say in one line what it is."""
        rows, columns = self.shape
        density = self.nonzeros / max(1, rows * columns)
        size = format_size(self.nonzeros * self.value_bytes)
        return (
            f"sparse {self.dtype} {self.shape}, {self.nonzeros:,} non-zeros ({density:.3%}), "
            f"at most {self.longest:,} a row, {size}, chunks of {self.parts[0].chunks[0]:,}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it, JSON-ready."""
        return {
            **super().to_json(),
            "bytes": self.nonzeros * self.value_bytes,
            "nonzeros": self.nonzeros,
            "density": self.nonzeros / max(1, self.shape[0] * self.shape[1]),
            "longest_row": self.longest,
            "parts": {part.name: part.to_json() for part in self.parts},
        }

    @cached_property
    def native(self) -> bool:
        """Whether non-zeros and columns are stored as they are in memory."""
        values, indices, _ = self.parts
        return (values.dtype, indices.dtype) == (self.dtype, INDEX_DTYPE)


def sparse_spec(
    path: str, member: Member | None, specify: Callable[[Member, zarr.Array], ArraySpec]
) -> SparseSpec | None:
    """Describe a group of a store as sparse rows; None if it is none.

    Its metadata are checked, and where rows begin is read through once.

    Parameters
    ----------
    specify
        Describes one array.

    Raises
    ------
    InputError
        If it is stored by columns, or its arrays do not fit each other.
    DataError
        If rows do not begin where those before end.
    """
    if member is None or member.group is None or not is_sparse(member.group):
        return None
    group, name = member.group, member.name
    what = f"the sparse matrix {name} of {path}"
    attributes = attributes_of(group)
    words = encoding_of(group)
    if words is not None and "csc" in words:
        raise InputError(
            f"{name} of {path} is {words}, stored by columns, and rows are needed; store it by "
            "rows: in AnnData adata.X = adata.X.tocsr(), in SciPy matrix.tocsr()"
        )
    arrays, parts = {}, []
    for part in PARTS:
        found = described(f"{name}/{part}", group[part]) if part in group else None
        if found is None or found.array is None or found.reason or len(found.array.shape) != 1:
            why = "is not there" if found is None else found.reason or "has not one axis"
            raise InputError(f"{part} of {what} {why}; write the matrix again")
        spec = specify(found, found.array)
        if spec.problem or (spec.conventions is not None and spec.conventions.changes):
            said = spec.problem or f"it is {spec.conventions.describe()}"  # type: ignore[union-attr]
            raise InputError(
                f"{part} of {what} declares what no sparse rows have ({said}); write it decoded"
            )
        arrays[part] = found.array
        parts.append(spec)
    rows, columns = _shape(what, attributes)
    _check_parts(what, parts, rows, columns)
    unit = unit_of(rows)
    pointers, chunk = arrays[POINTERS], arrays[POINTERS].chunks[0]
    places, longest, counts = places_of(what, pointers, chunk, rows, unit, parts[0].shape[0])
    stored = parts[0].dtype
    small = stored.itemsize <= 2 or stored == np.float32
    a_chunk = max(1, parts[0].chunks[0] * max(1, rows) // max(1, int(places[-1])))
    chunk_rows = min(-(-a_chunk // unit) * unit, max(rows, 1))
    return SparseSpec(
        name,
        (rows, columns),
        np.dtype(np.float32 if small else np.float64),
        (chunk_rows, columns),
        None,
        parts=tuple(parts),
        unit=unit,
        places=places,
        longest=longest,
        counts=counts,
    )


def is_sparse(group: zarr.Group) -> bool:
    """Tell whether a group's arrays are parts of a sparse matrix, by its mark or their names."""
    words = encoding_of(group)
    return "sparse" in words if words else all(part in group for part in PARTS)


def check_dense(path: str, members: Sequence[Member]) -> None:
    """Refuse a sparse matrix among the arrays of which features are put together.

    Raises
    ------
    InputError
        If there is one: it is named.
    """
    for member in members:
        if member.group is not None and is_sparse(member.group):
            raise InputError(
                f"{member.name} of {path} is a sparse matrix, of which no columns are taken, and "
                "beside which no other array is put; take all of it as the only features, or store "
                "the columns that you need as a dense array: in AnnData "
                "adata.obsm['some'] = adata[:, names].X.toarray()"
            )


def _shape(what: str, attributes: Mapping[str, Any]) -> tuple[int, int]:
    shape = attributes.get("shape", attributes.get("h5sparse_shape"))
    if not isinstance(shape, list | tuple) or [type(each) for each in shape] != [int, int]:
        raise InputError(
            f"{what} has no attribute shape of two numbers, but {shape!r}; say how many rows and "
            "columns it has: group.attrs['shape'] = [rows, columns]"
        )
    rows, columns = shape
    if rows < 0 or not 1 <= columns <= np.iinfo(INDEX_DTYPE).max:
        raise InputError(f"{what} has the shape {shape}; it needs 1 to 2^31 - 1 columns")
    return rows, columns


def _check_parts(what: str, parts: list[ArraySpec], rows: int, columns: int) -> None:
    values, indices, pointers = parts
    for part in (indices, pointers):
        if part.dtype.kind not in "iu":
            raise InputError(f"{part.name} of {what} has type {part.dtype}, and needs integers")
    if values.shape != indices.shape:
        raise InputError(
            f"{what} has {values.shape[0]:,} values, but {indices.shape[0]:,} columns for them; "
            "one of the two was cut: write the matrix again"
        )
    if pointers.shape[0] != rows + 1:
        raise InputError(
            f"{what} has {rows:,} rows by its shape, but {pointers.shape[0]:,} entries in indptr, "
            "where one more than rows are needed; correct the shape, or write the matrix again"
        )


def unit_of(rows: int) -> int:
    """Return of how many rows the beginning is kept."""
    unit = 1
    while -(-rows // unit) >= MOST_PLACES:
        unit *= 2
    return unit


def places_of(
    what: str, pointers: Any, chunk: int, rows: int, unit: int, nonzeros: int
) -> tuple[np.ndarray, int, np.ndarray]:
    """Return where every `unit` rows begin, non-zeros of the longest row, and of each: one pass.

    `pointers` (rows + 1,) are sliced, a few of their chunks at a time. See `SparseSpec.counts`.

    Raises
    ------
    DataError
        If rows do not begin where those before end, or the last does not end with the values.
    """
    step = max(1, _PIECE // chunk) * chunk
    places, of_rows, longest, before = [], list[np.ndarray](), 0, 0
    keeps = unit > 1
    for first in range(0, rows + 1, step):
        found = np.asarray(pointers[first : min(first + step, rows + 1)]).astype(
            np.int64, copy=False
        )
        if first == 0 and found[0] != 0:
            raise DataError(f"{what} begins at {found[0]} and not at 0; write it again")
        counts = np.diff(found, prepend=before)
        check_ascending(what, counts, first - 1)
        longest, before = max(longest, int(counts.max(initial=0))), int(found[-1])
        places.append(found[-first % unit :: unit].copy())
        keeps = keeps and np.min_scalar_type(longest).itemsize * rows <= MOST_COUNT_BYTES
        if keeps:
            # The first one is what ends the row before: of the first row that is nothing.
            of_rows.append(counts[first == 0 :].astype(np.min_scalar_type(longest)))
    if before != nonzeros:
        raise DataError(
            f"{what} has {nonzeros:,} values, but its rows end at {before:,}; data or indptr were "
            "cut: write the matrix again"
        )
    table = np.concatenate(places)
    # Where the last row ends is the last place, whether or not it ends a unit.
    table = table if rows % unit == 0 else np.append(table, before)
    kept = np.concatenate(of_rows) if keeps else np.zeros(0, np.uint8)
    return table, longest, kept


def check_ascending(what: str, counts: np.ndarray, first_row: int) -> None:
    """Refuse rows of fewer than no values; `first_row` is that of the first count."""
    if len(counts) and counts.min() < 0:
        place = int(np.argmax(counts < 0))
        raise DataError(
            f"row {first_row + place} of {what} ends before it begins, as its indptr falls there "
            f"by {-int(counts[place])}; a chunk of indptr is missing or damaged: write it again"
        )
