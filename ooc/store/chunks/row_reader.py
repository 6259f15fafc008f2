"""What readers of arrays share: which chunks hold rows, and how a bad one is told."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ooc.core.errors import DataError
from ooc.store.chunks.faults import check_fault, check_folder

Cell = tuple[int, ...]
# (start, stop) of each, ascending.
Runs = Sequence[tuple[int, int]]


@dataclass(eq=False, repr=False)
class BadChunkError(DataError):
    """A chunk that is missing, damaged or not readable.

    Attributes
    ----------
    cell
        The chunk's coordinates, along all axes.
    rows
        First and last row that the chunk holds.
    run
        Number of the run of rows that asked for it.
    first_row
        That of its store among the rows of all, where there are several: a message has the store's
        own.
    """

    array: str
    where: str
    cell: Cell
    file: str
    rows: tuple[int, int]
    reason: str
    run: int
    first_row: int = 0

    def __str__(self) -> str:
        chunk = ".".join(map(str, self.cell))
        first, last = (row - self.first_row for row in self.rows)
        return (
            f"chunk {chunk} of array {self.array} in {self.where}, rows {first} to {last}, cannot "
            f"be read from {self.file}: {self.reason}"
        )


NO_VALUE = "its array's fill_value is null, so that it has no value"


class Notes(Protocol):
    """Where chunks that cannot be read are noted: a list, or what counts them."""

    def append(self, found: BadChunkError, /) -> None:
        """Note one."""


# Without it the first one is raised.
BadChunks = Notes | None


class NotStoredError(Exception):
    """A chunk that is not there and is not to be taken for the fill value, if there is one."""

    def __init__(self, fill_value: Any) -> None:
        super().__init__()
        self.fill_value = fill_value

    def __str__(self) -> str:
        if self.fill_value is None:
            return f"it is not stored, and {NO_VALUE}; restore it from its source"
        return (
            "it is not stored; restore it from its source, or open with "
            'missing="fill" if it was left out as the fill value'
        )


class RowReader(ABC):
    """Reads runs of rows of one array, or makes them of those that others read.

    Attributes
    ----------
    parts
        The readers of what is stored, where rows are made of it.
    """

    parts: Sequence["RowReader"] = ()
    # The chunks' own, where they are local files.
    _folder: str | None = None
    # First place along axis 1, and the one behind the last, where rows are not read whole.
    _stripe: tuple[int, int] | None = None

    def __init__(
        self, name: str, where: str, shape: tuple[int, ...], chunks: tuple[int, ...]
    ) -> None:
        self.name, self.where, self.shape, self.chunks = name, where, shape, chunks
        self._across = [
            range(-(-length // chunk)) for length, chunk in zip(shape[1:], chunks[1:], strict=True)
        ]

    @property
    def retries(self) -> int:
        """Transient errors that were retried so far."""
        return sum(part.retries for part in self.parts)

    def narrow(self, first: int, stop: int) -> None:
        """Read no more than these places along axis 1 from now on: those of whole chunks."""
        self._stripe = first, stop
        self._across[0] = range(first // self.chunks[1], -(-stop // self.chunks[1]))

    @abstractmethod
    def read_runs(self, runs: Runs, out: np.ndarray, bad: BadChunks = None) -> None:
        """Fill `out`, (rows of all runs, ...) of the array's dtype, with one run after the other.

        Chunks that cannot be read are noted in `bad`, each with the number of its run.

        Raises
        ------
        BadChunkError
            Without `bad`, for the first one.
        """

    @staticmethod
    def _each(runs: Runs, out: np.ndarray) -> Iterator[tuple[int, int, int, np.ndarray]]:
        """Yield each run's number, start, stop, and its rows of `out`."""
        place = 0
        for run, (start, stop) in enumerate(runs):
            yield run, start, stop, out[place : place + stop - start]
            place += stop - start

    def _cells(self, start: int, stop: int) -> Iterator[Cell]:
        """Yield the chunks that hold rows start to stop."""
        down = range(start // self.chunks[0], -(-stop // self.chunks[0]))
        return itertools.product(down, *self._across)

    def _place(self, cell: Cell, start: int, stop: int) -> tuple[slice, ...]:
        """Return where the chunk's part of rows start to stop is in memory for those rows."""
        row = cell[0] * self.chunks[0]
        first = slice(max(row - start, 0), min(row + self.chunks[0], stop) - start)
        axes = zip(cell[1:], self.chunks[1:], self.shape[1:], strict=True)
        rest = [slice(each * n, min((each + 1) * n, length)) for each, n, length in axes]
        if self._stripe is not None:
            above = self._stripe[0]
            rest[0] = slice(rest[0].start - above, rest[0].stop - above)
        return first, *rest

    @property
    def _read_shape(self) -> tuple[int, ...]:
        """Shape of a row as it is read."""
        if self._stripe is None:
            return self.shape[1:]
        return self._stripe[1] - self._stripe[0], *self.shape[2:]

    def _check_folder(self) -> None:
        """Refuse a local folder that is gone: none of its chunks is bad, nor left out."""
        if self._folder is not None:
            check_folder(self._folder, self.name, self.where)

    def _blame(
        self, bad: BadChunks, cell: Cell, file: str, error: Exception, run: int, reason: str = ""
    ) -> None:
        """Note, or raise, that a chunk cannot be read, unless that is no fault of its own."""
        check_fault(error, self.name, self.where, file, reason)
        if isinstance(error, OSError | NotStoredError):
            self._check_folder()
        reason = reason or getattr(error, "strerror", None) or str(error)
        rows = cell[0] * self.chunks[0], min((cell[0] + 1) * self.chunks[0], self.shape[0]) - 1
        found = BadChunkError(self.name, self.where, cell, file, rows, reason, run)
        if bad is None:
            # The cause may show keys in its own arguments.
            raise found from None
        bad.append(found)
