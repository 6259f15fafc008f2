"""Rows of an array that is in memory already: they are copied like those of a store."""

import numpy as np

from ooc.store.chunks.row_reader import BadChunks, RowReader, Runs


class HeldReader(RowReader):
    """Copies runs of rows; nothing of it can be missing or damaged."""

    def __init__(self, values: np.ndarray, name: str, where: str, chunks: tuple[int, ...]) -> None:
        super().__init__(name, where, values.shape, chunks)
        self._values = values

    def read_runs(self, runs: Runs, out: np.ndarray, bad: BadChunks = None) -> None:
        """Fill `out` with runs of rows."""
        for _, start, stop, rows in self._each(runs, out):
            rows[...] = self._values[start:stop]
