"""Sparse rows by way of their parts: chunks of non-zeros and columns straight into the slab."""

from dataclasses import replace

import numpy as np

from ooc.core.errors import DataError
from ooc.store.chunks.row_reader import BadChunkError, BadChunks, RowReader, Runs
from ooc.store.sparse import INDICES, SparseSpec, check_ascending
from ooc.store.sparse_rows import SparseRows


class CsrReader(RowReader):
    """Reads runs of sparse rows, each a block whose place in the memory was given before."""

    def __init__(self, spec: SparseSpec, where: str, parts: list[RowReader]) -> None:
        super().__init__(spec.name, where, spec.shape, spec.chunks)
        self.spec, self.parts = spec, parts

    def read_runs(self, runs: Runs, out: np.ndarray, bad: BadChunks = None) -> None:
        """Fill rows, given as `SparseRows`; each run begins at a multiple of the unit.

        Where the non-zeros of the first row go, its extent says; those of other runs follow.

        Raises
        ------
        BadChunkError
            Without `bad`, for the first chunk that cannot be read.
        DataError
            If a column is beyond the matrix: its row is named.
        """
        rows: SparseRows = out  # type: ignore[assignment]
        begin, first = rows.start_of(0), 0
        pointers, spans = [], []
        for start, stop in runs:
            found = self._pointers(start, stop)
            rows.place(begin + found[:-1] - found[0], np.diff(found), first)
            pointers.append(found)
            spans.append((int(found[0]), int(found[-1])))
            begin, first = begin + spans[-1][1] - spans[-1][0], first + stop - start
        unread = self._read_values(runs, spans, pointers, rows, bad)
        first = 0
        for run, ((start, stop), found) in enumerate(zip(runs, pointers, strict=True)):
            if run in unread:
                rows.extents[first : first + stop - start, 2] = 0
            elif len(found) > 1 and found[-1] > found[0]:
                self._check_columns(start, found, rows, rows.start_of(first))
            first += stop - start

    def _pointers(self, start: int, stop: int) -> np.ndarray:
        """Return where rows begin, and where the last one ends."""
        spec = self.spec
        if not spec.reads_pointers:
            return spec.pointers(start, stop)
        found = np.empty(stop - start + 1, np.int64)
        part = np.empty(stop - start, spec.parts[2].dtype)
        self.parts[2].read_runs([(start, stop)], part)
        found[:-1], found[-1] = part, spec.place_of(stop)
        check_ascending(f"the sparse matrix {self.name} of {self.where}", np.diff(found), start)
        if found[0] != spec.place_of(start):
            raise DataError(
                f"row {start} of {self.name} in {self.where} begins at {found[0]}, and began at "
                f"{spec.place_of(start)} when it was opened: it was written since; open it again"
            )
        return found

    def _read_values(
        self,
        runs: Runs,
        spans: list[tuple[int, int]],
        pointers: list[np.ndarray],
        rows: SparseRows,
        bad: BadChunks,
    ) -> set[int]:
        """Read non-zeros and columns; return the runs that lack some."""
        place, unread = rows.start_of(0), set()
        kept = [number for number, (first, last) in enumerate(spans) if last > first]
        for part, spec, memory in zip(
            self.parts, self.spec.parts, (rows.values, rows.indices), strict=False
        ):
            notes: list[BadChunkError] | None = None if bad is None else []
            # What is stored in another type is read aside, one block at a time.
            groups = [kept] if spec.dtype == memory.dtype else [[number] for number in kept]
            begin = place
            for numbers in groups:
                wanted = [spans[number] for number in numbers]
                size = sum(last - first for first, last in wanted)
                into = memory[begin : begin + size]
                same = spec.dtype == memory.dtype
                stored = into if same else np.empty(size, spec.dtype)
                try:
                    part.read_runs(wanted, stored, notes)
                except BadChunkError as error:
                    number = numbers[error.run]
                    raise self._of_rows(error, runs[number], pointers[number], number) from None
                if not same:
                    if spec.name.endswith(INDICES):
                        # One that is beyond int32 must not look like another one.
                        least = 0 if spec.dtype.kind == "u" else -1
                        np.clip(stored, least, np.iinfo(np.int32).max, out=stored)
                    into[...] = stored
                for note in notes or ():
                    number = numbers[note.run]
                    assert bad is not None, "notes are taken where somebody wants them"
                    start, stop = runs[number]
                    bad.append(replace(note, rows=(start, stop - 1), run=number))
                    unread.add(number)
                notes = None if bad is None else []
                begin += size
        return unread

    @staticmethod
    def _of_rows(
        error: BadChunkError, run: tuple[int, int], pointers: np.ndarray, number: int
    ) -> BadChunkError:
        """Return an error of a chunk of non-zeros as one of rows."""
        first, last = (int(np.searchsorted(pointers, at, "right")) - 1 for at in error.rows)
        first, last = max(first, 0), min(last, len(pointers) - 2)
        return replace(error, rows=(run[0] + first, run[0] + last), run=number)

    def _check_columns(
        self, start: int, pointers: np.ndarray, rows: SparseRows, begin: int
    ) -> None:
        found = rows.indices[begin : begin + int(pointers[-1] - pointers[0])]
        # As numbers without a sign, those below 0 are beyond all columns, too.
        wild = found.view(np.uint32)
        if wild.max() >= self.spec.shape[1]:
            place = int(np.argmax(wild >= self.spec.shape[1]))
            row = start + int(np.searchsorted(pointers - pointers[0], place, "right")) - 1
            raise DataError(
                f"row {row} of {self.name} in {self.where} has a value in column {found[place]}, "
                f"but there are columns 0 to {self.spec.shape[1] - 1}; correct the row, or the "
                "shape of the matrix"
            )
