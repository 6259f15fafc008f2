"""Rows that are sequences of times: each time is read once for a block, and rows are its views."""

import threading
from dataclasses import replace

import numpy as np

from ooc.core.sliding import values_behind, values_between
from ooc.store.chunks.row_reader import BadChunkError, BadChunks, RowReader, Runs
from ooc.store.sequence_spec import SequenceSpec


class SequenceReader(RowReader):
    """Reads the times of runs of rows, as `SequenceSpec.memory` has room for them.

    Between two runs `out` has room for the rows that overlap: ``spec.overlap`` of them.
    """

    def __init__(self, spec: SequenceSpec, where: str, stored: RowReader) -> None:
        super().__init__(spec.name, where, spec.shape, spec.chunks)
        self.spec, self.stored, self.parts = spec, stored, (stored,)
        self._aside = threading.local()

    def read_runs(self, runs: Runs, out: np.ndarray, bad: BadChunks = None) -> None:
        """Fill `out` with one run after the other, with room for rows that overlap between.

        Raises
        ------
        ValueError
            If rows of `out` do not overlap as those of `SequenceSpec.memory` do.
        """
        spec, place = self.spec, 0
        if spec.is_last:
            for run, (start, stop) in enumerate(runs):
                self._read_last(run, start, stop, out[place : place + stop - start], bad)
                place += stop - start + spec.overlap
            return
        times = self._times_of(out)
        begun = [start * spec.stride for start, _ in runs]
        # A run is read up to where the next one's room begins, so that all are read as one.
        ends = [(stop + spec.overlap) * spec.stride for _, stop in runs]
        if runs:
            ends[-1] = spec.times(*runs[-1])[1]
        if max(ends, default=0) <= spec.source.shape[0]:
            self._read(list(zip(begun, ends, strict=True)), times, bad, 0)
            return
        for run, (start, stop) in enumerate(runs):
            first, last = spec.times(start, stop)
            self._read([(first, last)], times[place * spec.stride :][: last - first], bad, run)
            place += stop - start + spec.overlap

    def _times_of(self, out: np.ndarray) -> np.ndarray:
        """Return the memory of rows as that of their times."""
        spec = self.spec
        inside = spec.source.shape[1:]
        if len(out) > 1 and values_between(out) != spec.stride * int(np.prod(inside)):
            raise ValueError(
                f"rows of {spec.name} overlap, {spec.stride} times apart; make memory for them by "
                "spec.memory"
            )
        return values_behind(out).reshape(-1, *inside)

    def _read_last(self, run: int, start: int, stop: int, out: np.ndarray, bad: BadChunks) -> None:
        """Fill `out` with the values at the last times of rows."""
        spec = self.spec
        if stop == start:
            return
        first, last = spec.times(start, stop)
        if spec.stride == 1:
            self._read([(first, last)], out, bad, run)
            return
        if getattr(self._aside, "times", 0) < last - first:
            self._aside.times = last - first
            self._aside.values = np.empty((last - first, *spec.source.shape[1:]), spec.dtype)
        values = self._aside.values[: last - first]
        self._read([(first, last)], values, bad, run)
        out[...] = values[:: spec.stride]

    def _read(self, spans: Runs, times: np.ndarray, bad: BadChunks, run: int) -> None:
        """Read times; chunks are noted by the rows that need them, with the number of their run."""
        noted: list[BadChunkError] | None = None if bad is None else []
        try:
            self.stored.read_runs(spans, times, noted)
        except BadChunkError as error:
            raise self._by_rows(error, run) from None
        for note in noted or ():
            assert bad is not None, "notes are taken where somebody wants them"
            found = self._by_rows(note, run)
            # What fills the room between two runs is nobody's.
            if found.rows[0] <= found.rows[1]:
                bad.append(found)

    def _by_rows(self, error: BadChunkError, run: int) -> BadChunkError:
        """Return an error of stored times as one of the rows that need them."""
        return replace(error, rows=self.spec.rows_of(*error.rows), run=error.run + run)
