"""Rows of an array whose attributes say how its numbers are decoded: on their way to the caller."""

import numpy as np

from ooc.store.chunks.row_reader import BadChunks, RowReader, Runs
from ooc.store.conventions import Conventions, decode_in_place, stored_part


class DecodedReader(RowReader):
    """Reads stored numbers into the end of the caller's memory, and decodes them in place."""

    def __init__(self, stored: RowReader, conventions: Conventions) -> None:
        super().__init__(stored.name, stored.where, stored.shape, stored.chunks)
        self.stored, self.conventions = stored, conventions
        self.parts = (stored,)

    def read_runs(self, runs: Runs, out: np.ndarray, bad: BadChunks = None) -> None:
        """Fill `out` with decoded rows; what stands for a missing value is NaN."""
        if not out.flags.c_contiguous:
            raise ValueError("memory for decoded rows has to be contiguous")
        # A caller may have more memory than its runs have rows.
        rows = out[: sum(stop - start for start, stop in runs)]
        self.stored.read_runs(runs, stored_part(self.conventions, rows), bad)
        decode_in_place(self.conventions, rows)
