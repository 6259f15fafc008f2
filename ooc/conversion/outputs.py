"""The arrays of a store that columns of a source become, and what is known of them beforehand."""

import base64
import math
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ooc.conversion.source import HASH, NUMBER, Column
from ooc.conversion.sparse import column_places, sparse_row_bytes
from ooc.store.fields import Field
from ooc.store.roles import FEATURES
from ooc.store.sparse_writer import SparseField


def fill_text(value: float) -> str:
    """Return a float as xarray writes a `_FillValue` into Zarr's attributes, which know no NaN."""
    return base64.standard_b64encode(struct.pack("<d", value)).decode()


@dataclass(frozen=True)
class Part:
    """A column's share of an array: all entries of a row, or some."""

    column: Column
    entries: tuple[int, ...] | None = None

    @property
    def width(self) -> int:
        """Entries that it adds to a row."""
        return math.prod(self.column.shape) if self.entries is None else len(self.entries)

    @property
    def names(self) -> list[str]:
        """What these entries are called."""
        column = self.column
        every = list(column.names) or [
            column.name if not column.shape else f"{column.name}[{','.join(map(str, place))}]"
            for place in np.ndindex(column.shape)
        ]
        return every if self.entries is None else [every[entry] for entry in self.entries]


@dataclass(frozen=True)
class Output:
    """One array of the store.

    Attributes
    ----------
    role
        "features", "target", "weight", or empty for what lies beside.
    stacked
        Whether its parts are columns of its rows; else there is one part, and its shape is kept.
    stored
        Whether numbers stay as the source has packed them, with what declares how.
    attributes
        What is noted of it; what is known in the end only is added then.
    """

    name: str
    parts: tuple[Part, ...]
    role: str
    dtype: np.dtype
    shape: tuple[int, ...]
    stacked: bool
    stored: bool
    attributes: dict[str, Any]

    @property
    def column(self) -> Column:
        """The column of an array that has but one."""
        return self.parts[0].column

    @property
    def kind(self) -> str:
        """The kind of its values."""
        return NUMBER if self.stacked else self.column.kind

    @property
    def dtype_of_pieces(self) -> np.dtype:
        """The dtype until rows that lack values are left out: whole numbers are floats then."""
        lacks = self.dtype.kind in "iu" and any(part.column.may_lack for part in self.parts)
        return np.dtype(np.float64) if lacks else self.dtype

    @property
    def hashed(self) -> tuple[Column, ...]:
        """The columns of text that are hashed."""
        return tuple(part.column for part in self.parts if part.column.kind == HASH)

    @property
    def is_sparse(self) -> bool:
        """Whether its rows are written as their non-zeros; its parts are then of one matrix."""
        return self.column.is_sparse

    @cached_property
    def places(self) -> np.ndarray | None:
        """Of sparse rows, for each column of the source its place here, or -1; None for all."""
        chosen = [entry for part in self.parts for entry in part.entries or ()]
        return column_places(chosen, self.column.shape[0]) if chosen else None

    @property
    def row_bytes(self) -> int:
        """Bytes of one row; of sparse ones on average, as far as is known."""
        if self.column.nonzeros is not None:
            share = self.shape[0] / max(1, self.column.shape[0])
            kept = max(1, int(self.column.nonzeros * share))
            return sparse_row_bytes(self.dtype, kept, self.column.rows or 1)
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))

    def field(self) -> Field:
        """Return what the writer takes; its attributes are read when all rows are written."""
        if not self.stacked and self.column.written is not None:
            return self.column.written
        dimensions = None if self.stacked else self.column.dimensions
        filled = self.attributes.get("_FillValue")
        if self.dtype.kind == "f" and filled is not None:
            with suppress(ValueError):  # it is such a text already
                self.attributes["_FillValue"] = fill_text(float(filled))
        return Field(self.dtype, self.shape, self.attributes, dimensions)

    def sparse_field(self, chunk_bytes: int, shard_bytes: int, compression: str) -> SparseField:
        """Return what the writer of sparse rows takes; its attributes are read at the end."""
        cut = (chunk_bytes, shard_bytes, compression)
        return SparseField(self.dtype, self.shape[0], self.attributes, *cut)


@dataclass(frozen=True)
class Layout:
    """All arrays of the store, and what is skipped, and why."""

    outputs: tuple[Output, ...]
    skipped: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """Names of the columns that are read."""
        columns = [part.column.name for output in self.outputs for part in output.parts]
        return list(dict.fromkeys(columns))

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of all arrays."""
        return sum(output.row_bytes for output in self.outputs)

    @property
    def dense(self) -> tuple[Output, ...]:
        """The arrays whose rows have all their values."""
        return tuple(output for output in self.outputs if not output.is_sparse)

    @property
    def sparse(self) -> tuple[Output, ...]:
        """The sparse matrices."""
        return tuple(output for output in self.outputs if output.is_sparse)

    @property
    def features(self) -> Output | None:
        """The array of features, if there is one."""
        return next((each for each in self.outputs if each.role == FEATURES), None)
