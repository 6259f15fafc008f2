"""Sparse rows cut into the chunks of their three arrays, which end where they are full."""

from collections.abc import Mapping, Sequence

import numpy as np

from ooc.conversion.sparse import SparseValues
from ooc.store.sparse import INDICES, PARTS, POINTERS, VALUES
from ooc.store.sparse_writer import SparseField

# Of each array what is in no chunk yet.
Tails = Mapping[str, np.ndarray]
# An array, and a full chunk of it; the last one is filled up with zeros.
PartChunk = tuple[str, np.ndarray]


class SparseCutter:
    """Cuts the rows of one matrix.

    Attributes
    ----------
    nonzeros
        Values of all rows up to now.
    """

    def __init__(self, field: SparseField, chunks: int, tails: Tails) -> None:
        """Begin anew without tails, or behind so many chunks of values and these tails."""
        dtypes = field.dtypes
        self._arrays = {part: _Cutter(field.chunk_length(part), dtypes[part]) for part in PARTS}
        for part, values in tails.items():
            self._arrays[part].add(values)
        self.nonzeros = chunks * field.chunk_length(VALUES) + len(tails.get(VALUES, ()))
        if not tails:
            self._arrays[POINTERS].add(np.zeros(1, dtypes[POINTERS]))

    def add(self, rows: SparseValues) -> None:
        """Add rows."""
        ends = np.cumsum(rows.counts)
        ends += self.nonzeros
        self._arrays[POINTERS].add(ends)
        self._arrays[VALUES].add(rows.data)
        self._arrays[INDICES].add(rows.indices)
        self.nonzeros += len(rows.data)

    def ready(self) -> list[PartChunk]:
        """Take the chunks that are full."""
        return [(part, chunk) for part, array in self._arrays.items() for chunk in array.take()]

    @property
    def ready_bytes(self) -> int:
        """Bytes of the chunks that are full."""
        return sum(array.ready_bytes for array in self._arrays.values())

    def tails(self) -> dict[str, np.ndarray]:
        """Return a copy of what is in no chunk yet."""
        return {part: array.tail().copy() for part, array in self._arrays.items()}

    def last(self) -> list[PartChunk]:
        """Take the last chunks, which are not full."""
        for array in self._arrays.values():
            array.fill_up()
        return self.ready()


class _Cutter:
    def __init__(self, length: int, dtype: np.dtype) -> None:
        self._length, self._dtype = length, dtype
        self._begun, self._used = np.empty(0, dtype), 0
        self._ready: list[np.ndarray] = []

    @property
    def ready_bytes(self) -> int:
        return len(self._ready) * self._length * self._dtype.itemsize

    def add(self, values: np.ndarray) -> None:
        done = 0
        while done < len(values):
            part = values[done : done + self._length - self._used]
            done += len(part)
            if len(part) == self._length:
                self._ready.append(part)  # a whole one is a view of its piece
                continue
            if not self._used:
                self._begun = np.empty(self._length, self._dtype)
            self._begun[self._used : self._used + len(part)] = part
            self._used += len(part)
            if self._used == self._length:
                self._ready.append(self._begun)
                self._used = 0

    def take(self) -> list[np.ndarray]:
        ready, self._ready = self._ready, []
        return ready

    def tail(self) -> np.ndarray:
        return self._begun[: self._used]

    def fill_up(self) -> None:
        if self._used:
            self._begun[self._used :] = 0
            self._ready.append(self._begun)
            self._used = 0


def split_by_matrix(tails: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, Tails]:
    """Return tails by matrix and part, of those that are called "number/part" in a file."""
    return {
        name: {part: tails[f"{number}/{part}"] for part in PARTS if f"{number}/{part}" in tails}
        for number, name in enumerate(names)
    }


def joined(tails: Mapping[str, Tails]) -> dict[str, np.ndarray]:
    """Return the tails of all matrices by the names that they have in a file."""
    return {
        f"{number}/{part}": values
        for number, parts in enumerate(tails.values())
        for part, values in parts.items()
    }
