"""What readers of arrays share: which chunks hold rows, and how a bad one is told."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from ooc.store.chunks.bad_chunk import BadChunkError

Cell = tuple[int, ...]


class NotStoredError(Exception):
    """A chunk that is not there and is not to be taken for the fill value."""

    def __init__(self) -> None:
        super().__init__(
            "it is not stored; restore it from its source, or open with "
            'missing="fill" if it was left out as the fill value'
        )


class RowReader(ABC):
    """Reads runs of rows of one array.

    Attributes
    ----------
    retries
        Transient errors that were retried so far.
    """

    retries: int

    def __init__(
        self, name: str, where: str, shape: tuple[int, ...], chunks: tuple[int, ...]
    ) -> None:
        self.name, self.where, self.shape, self.chunks = name, where, shape, chunks
        self._across = [
            range(-(-length // chunk)) for length, chunk in zip(shape[1:], chunks[1:], strict=True)
        ]

    @abstractmethod
    def read_runs(
        self,
        runs: Sequence[tuple[int, int]],
        out: np.ndarray,
        bad: list[BadChunkError] | None = None,
    ) -> None:
        """Fill `out` with runs of rows, one run after the other.

        Parameters
        ----------
        runs
            (start, stop) of each, ascending.
        out
            (rows of all runs, ...) of the array's dtype, contiguous.
        bad
            Where chunks that cannot be read are noted, each with the number of its run; without
            it the first one is raised.

        Raises
        ------
        BadChunkError
            Naming array, chunk, file and rows.
        """

    def _cells(self, start: int, stop: int) -> Iterator[Cell]:
        """Yield the chunks that hold rows start to stop."""
        down = range(start // self.chunks[0], -(-stop // self.chunks[0]))
        return itertools.product(down, *self._across)

    def _place(self, cell: Cell, start: int, stop: int) -> tuple[slice, ...]:
        """Return where the chunk's part of rows start to stop is in memory for those rows."""
        axes = zip(cell, self.chunks, self.shape, strict=True)
        rows, *rest = ((each * n, min((each + 1) * n, length)) for each, n, length in axes)
        first = slice(max(rows[0] - start, 0), min(rows[1], stop) - start)
        return first, *(slice(*span) for span in rest)

    def _note(
        self, bad: list[BadChunkError] | None, cell: Cell, file: str, reason: str, run: int
    ) -> None:
        """Note that a chunk cannot be read; raise it where nothing is noted."""
        rows = cell[0] * self.chunks[0], min((cell[0] + 1) * self.chunks[0], self.shape[0]) - 1
        found = BadChunkError(self.name, self.where, cell, file, rows, reason, run)
        if bad is None:
            # The cause may show keys in its own arguments.
            raise found from None
        bad.append(found)
