"""Sparse rows of several stores, one after the other, described as one matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.store import sparse
from ooc.store.sparse import SparseSpec
from ooc.store.spec import ArraySpec
from ooc.store.stores import NONE, Stores


@dataclass(frozen=True)
class StackedSparseSpec(SparseSpec):
    """What the readers and the plan need to know of sparse rows that are read as one matrix.

    Attributes
    ----------
    sources, stores
        The matrices, each of its own store, and where their rows are.
    """

    sources: tuple[SparseSpec, ...] = ()
    stores: Stores = NONE

    @property
    def index_bytes(self) -> int:
        """Bytes of what readers keep, of all matrices and of them together."""
        return self.places.nbytes + sum(source.index_bytes for source in self.sources)

    @property
    def stored_chunks(self) -> int:
        """Chunks of all matrices."""
        return sum(source.stored_chunks for source in self.sources)

    def decoded_bytes(self, start: int, stop: int) -> int:
        """Return the bytes that are decoded to read rows start to stop: whole chunks."""
        pieces = self.stores.pieces(start, stop)
        return sum(self.sources[number].decoded_bytes(*rows) for number, *rows in pieces)

    def describe(self) -> str:
        """Say in one line what it is."""
        return f"{super().describe()}, in {len(self.sources)} stores"

    def undecoded(self) -> ArraySpec:
        """Return the matrices as they are stored: decoding them changes nothing but types."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it, JSON-ready."""
        rows = zip(self.stores.starts, self.sources, strict=True)
        each = [{"first_row": first, **source.to_json()} for first, source in rows]
        told = {**super().to_json(), "stores": each}
        return {name: value for name, value in told.items() if name != "parts"}


def stacked_sparse(sources: Sequence[SparseSpec], stores: Stores) -> StackedSparseSpec:
    """Describe sparse matrices of one name as one.

    Raises
    ------
    InputError
        If they have other numbers of columns.
    """
    first = sources[0]
    for source, path in zip(sources, stores.paths, strict=True):
        if source.shape[1] != first.shape[1]:
            raise InputError(
                f"the sparse matrix {first.name} has {first.shape[1]:,} columns in "
                f"{stores.paths[0]} and {source.shape[1]:,} in {path}; open stores whose columns "
                "are the same"
            )
    unit = max(source.unit for source in sources)
    while stores.stops[-1] // unit >= sparse.MOST_PLACES:
        unit *= 2
    chunk_rows = max(source.chunks[0] for source in sources)
    return StackedSparseSpec(
        first.name,
        (stores.stops[-1], first.shape[1]),
        np.result_type(*(source.dtype for source in sources)),
        (-(-chunk_rows // unit) * unit, first.shape[1]),
        None,
        parts=first.parts,
        unit=unit,
        places=_places(sources, stores, unit),
        longest=max(source.longest for source in sources),
        sources=tuple(sources),
        stores=stores,
    )


def _places(sources: Sequence[SparseSpec], stores: Stores, unit: int) -> np.ndarray:
    """Return where the non-zeros of every `unit` rows begin, and where the last row's end."""
    rows = np.arange(0, stores.stops[-1], unit)
    found, before = np.empty(len(rows) + 1, np.int64), 0
    ends = (*stores.starts[1:], stores.stops[-1])
    for source, start, end in zip(sources, stores.starts, ends, strict=True):
        first, last = np.searchsorted(rows, (start, end))
        own = rows[first:last] - start
        # A store's places are those of its own units, and of its end.
        inside = np.minimum(own // source.unit, len(source.places) - 1)
        begins = np.where(own < source.shape[0], source.places[inside], source.nonzeros)
        found[first:last] = before + begins
        before += source.nonzeros
    found[-1] = before
    return found
