"""What is converted: a source tells its columns, and yields its rows piece by piece.

A new format is one file that makes a `Source`, and one entry in `ooc.conversion.formats`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ooc.conversion.sparse import SparseValues, sparse_row_bytes
from ooc.core.errors import InputError
from ooc.store.conventions import Conventions
from ooc.store.fields import Field
from ooc.store.member import NUMERIC_KINDS

# What a piece is cut to, in bytes of all columns that are read: threads hold a few each. Arrays of
# below 4 MiB come from the allocator's heap, whose pages are there already.
PIECE_BYTES = 3 * 2**20

NUMBER, TEXT, CATEGORY, TIME, OTHER = "number", "text", "category", "time", "other"
HASH = "hash"
# What stands for no time, and for no category.
NO_TIME, NO_CATEGORY = int(np.iinfo(np.int64).min), -1


@dataclass(frozen=True)
class Column:
    """One column of a table, or one array, of which a row is an entry along axis 0.

    Attributes
    ----------
    kind
        "number"; "text", in pieces `Texts`; "category", codes of `categories`, -1 for none;
        "time", int64 in the units that its attributes tell; "other" is copied as it is; "hash",
        a text in pieces that a user asked to become numbers.
    dtype, shape
        Of the values in pieces, and of one row.
    rows
        Of an array its length, where a source's arrays may differ; else None.
    attributes, dimensions
        What is noted of the array in its source, and the names of its axes.
    conventions
        How stored numbers are decoded, where that is declared, by CF.
    names
        What the entries of a row are called.
    may_lack
        Whether values may be missing, as NaN, as -1 or as the least int64.
    whole
        Whether floats are whole numbers, as far as is known: as targets they become integers.
    was
        The type in the source, in its words, where it is another one here.
    written
        How it is written, where it is copied as it is.
    nonzeros
        How many values its rows have stored, where they are sparse, in pieces `SparseValues`.
    """

    name: str
    kind: str
    dtype: np.dtype
    shape: tuple[int, ...] = ()
    rows: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    dimensions: tuple[str | None, ...] | None = None
    conventions: Conventions | None = None
    categories: Sequence[str] = ()
    names: Sequence[str] = ()
    may_lack: bool = False
    whole: bool = False
    was: str = ""
    written: Field | None = None
    nonzeros: int | None = None

    @property
    def is_sparse(self) -> bool:
        """Whether rows have their non-zeros alone."""
        return self.nonzeros is not None

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in memory; of a text those of its code and of what holds it.

        Of sparse rows, which differ, those of one on average.
        """
        if self.nonzeros is not None:
            return sparse_row_bytes(self.dtype, self.nonzeros, self.rows or 1)
        size = 24 if self.kind in (TEXT, HASH) else self.dtype.itemsize
        return size * int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Texts:
    """Texts of a piece: codes (rows,) int32 of different values by first appearance, -1 missing."""

    codes: np.ndarray
    values: Sequence[str]


# What one column's values of a piece are.
Entries = np.ndarray | Texts | SparseValues
Values = Mapping[str, Entries]


@dataclass(frozen=True)
class Piece:
    """Some consecutive rows.

    Attributes
    ----------
    position
        Where it begins, JSON-ready: the source's pieces from there on begin with this one.
    first
        Number of its first row in the source.
    read
        Reads and decodes its columns; called once, by any thread.
    place
        Says where one of its rows is, counted from its first, such as 'line 9 of a.csv'.
    """

    position: Any
    first: int
    read: Callable[[], Values]
    place: Callable[[int], str]


class Source(Protocol):
    """Rows in a format of somebody else's.

    Attributes
    ----------
    is_table
        Whether columns of numbers are together a row's features, unless others are named.
    rows
        Their number, where it is known before they are read.
    skipped
        What is not read, by name, and why.
    held_bytes
        What it keeps in memory for as long as it is read.
    """

    path: Path
    is_table: bool
    rows: int | None
    columns: Mapping[str, Column]
    skipped: Mapping[str, str]
    attributes: Mapping[str, Any]
    held_bytes: int

    def stamp(self) -> Any:
        """Return what changes when the source is written again, JSON-ready."""

    def piece_bytes(self, names: Sequence[str]) -> int:
        """Return the most bytes that reading a piece of these columns takes."""

    def pieces(self, names: Sequence[str], position: Any) -> Iterator[Piece]:
        """Yield the pieces of these columns from a position on, from the start for None."""

    def finish(self, folder: Path) -> None:
        """Add to the store in a folder, whose rows are written, what is beside them."""


def stamp_of(files: Sequence[Path], base: Path) -> list[Any]:
    """Return names, sizes and times of files: a few numbers of each, JSON-ready."""
    found = []
    for file in files:
        status = file.stat()
        name = str(file.relative_to(base)) if file != base else file.name
        found.append([name, status.st_size, status.st_mtime_ns])
    return found


def check_no_duplicates(path: Path, names: Sequence[str]) -> None:
    """Refuse a table that has a column twice."""
    for place, name in enumerate(names):
        if name in names[:place]:
            first = list(names).index(name)
            raise InputError(
                f"{path} has two columns named {name!r}, numbers {first + 1} and {place + 1}; "
                "rename one of them in the source"
            )


def why_no_numbers(dtype: Any) -> str:
    """Return why values of a NumPy dtype cannot be converted; empty if they can."""
    kind = np.dtype(dtype).kind
    if kind in NUMERIC_KINDS or kind in "MUS":
        return ""
    if kind == "O":
        return "it holds Python objects, which only pickle could read, and that runs code"
    return f"its dtype {dtype} is no real number, text or time"


def time_column(name: str, unit: str, **more: Any) -> Column:
    """Return a column of times since 1970, int64 in a unit of NumPy's."""
    words = {
        "D": "days", "h": "hours", "m": "minutes", "s": "seconds", "ms": "milliseconds",
        "us": "microseconds", "ns": "nanoseconds",
    }  # fmt: skip
    attributes = {"units": f"{words[unit]} since 1970-01-01", "calendar": "proleptic_gregorian"}
    attributes |= dict(more.pop("attributes", {}))
    return Column(name, TIME, np.dtype(np.int64), attributes=attributes, may_lack=True, **more)


def texts_of(values: np.ndarray) -> Texts:
    """Return texts, of NumPy's or Python's, as codes by first appearance; None is missing."""
    known: dict[Any, int] = {}
    codes = np.empty(len(values), np.int32)
    for row, value in enumerate(values.tolist()):
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        missing = value is None or value != value
        codes[row] = NO_CATEGORY if missing else known.setdefault(str(value), len(known))
    return Texts(codes, list(known))
