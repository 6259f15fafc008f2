"""A sparse matrix that is stored by columns (CSC), put by rows out of core, in two passes.

The first pass counts the values of rows, and cuts the rows into buckets of about as many values.
The second writes each value, with its row and column, to its bucket's place in one scratch file. A
bucket is then read and sorted by rows: as columns were read in their order, so they are in a row.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ooc.conversion.formats import Opening
from ooc.conversion.matrices import (
    PIECE_BYTES,
    CsrMatrix,
    Parts,
    Spans,
    StoredMatrix,
    check_within,
    shape_of,
)
from ooc.conversion.sparse import SparseValues
from ooc.core.destination import write_whole
from ooc.core.errors import DataError, InputError
from ooc.core.sizes import format_size
from ooc.store.sparse import INDEX_DTYPE, unit_of

# Values that are under way at once, at least and at most; and bytes that each takes on its way.
FEWEST_VALUES, MOST_VALUES, VALUE_BYTES = 2**16, 2**20, 72
# What is written between two notes of how far the second pass is.
NOTED_BYTES = 2**29
# Buckets are sorted by 16 bits.
MOST_BUCKETS = 2**16 - 1

Say = Callable[[str], None]


def stored_matrix(what: str, kind: str, node: Any, number: int, opening: Opening) -> StoredMatrix:
    """Return the matrix of a node with three arrays, which is of a kind, "csr" or "csc".

    `what` names it, as in "X of cells.h5ad"; its number is no other matrix's of the source.
    """
    parts = Parts(what, node, shape_of(what, node.attrs))
    if kind == "csr":
        return CsrMatrix(parts)
    scratch = opening.scratch / f"by-rows-{number}"
    return CscMatrix(parts, scratch, opening.memory, opening.say)


class CscMatrix:
    """A matrix that is stored by columns."""

    def __init__(self, parts: Parts, scratch: Path, memory: int, say: Say) -> None:
        """Count the values of rows, in one pass over their places.

        Parameters
        ----------
        scratch
            File in which values are put by rows; beside it is noted how far that is.
        memory
            Bytes, of which a small share is used at a time.
        say
            Is told how far a pass is.

        Raises
        ------
        DataError
            If a value has a row that is not there.
        """
        parts.check_pointers(parts.columns)
        self._parts, self._scratch, self._say = parts, scratch, say
        self.dtype, self.rows, self.width = parts.dtype, parts.rows, parts.columns
        self.nonzeros = parts.nonzeros
        share = memory // 32 // VALUE_BYTES
        self._step = min(MOST_VALUES, max(FEWEST_VALUES, share))
        self._pointers = parts.read(parts.pointers, 0, self.width + 1).astype(np.int64)
        falls = np.diff(self._pointers) < 0
        if self._pointers[0] != 0 or self._pointers[-1] != self.nonzeros or falls.any():
            raise DataError(
                f"columns of {parts.what} do not begin where those before end, from 0 to "
                f"{self.nonzeros:,}: its indptr is damaged; write the matrix again"
            )
        self.record = np.dtype(
            [("row", np.uint32), ("column", INDEX_DTYPE), ("value", self.dtype)], align=False
        )
        unit = unit_of(self.rows)
        places = np.zeros(-(-self.rows // unit) + 1, np.int64)
        np.cumsum(self._counts(unit, len(places) - 1), out=places[1:])
        # A bucket is held as it is read and as it is sorted.
        limit = max(
            PIECE_BYTES // (2 * self.record.itemsize), -(-2 * self.nonzeros // MOST_BUCKETS)
        )
        self._spans = Spans(places, unit, self.rows, limit)
        self._starts = np.array([*self._cuts(), self.rows], np.int64)
        self._begins = places[-(-self._starts // unit)]

    def _blocks(self, what: str) -> Iterator[tuple[int, int]]:
        for first in range(0, self.nonzeros, self._step):
            self._say(f"{what} of {self._parts.what}, {first / self.nonzeros:.0%}")
            yield first, min(first + self._step, self.nonzeros)

    def _counts(self, unit: int, units: int) -> np.ndarray:
        counts = np.zeros(units, np.int64)
        for first, last in self._blocks("counting the rows' values"):
            rows = self._parts.read(self._parts.indices, first, last).astype(np.int64)
            if (wrong := check_within(rows, self.rows)) >= 0:
                column = int(np.searchsorted(self._pointers, first + wrong, "right")) - 1
                raise DataError(
                    f"column {column} of {self._parts.what} has a value in row {rows[wrong]}, but "
                    f"there are rows 0 to {self.rows - 1}; write the matrix again"
                )
            counts += np.bincount(rows // unit, minlength=units)
        return counts

    def _cuts(self) -> Iterator[int]:
        row = 0
        while row < self.rows:
            yield row
            row = self._spans.stop(row)

    @property
    def held_bytes(self) -> int:
        """Bytes of where columns and rows begin."""
        tables = (self._pointers, self._spans.places, self._starts, self._begins)
        return sum(table.nbytes for table in tables)

    @property
    def prepare_bytes(self) -> int:
        """Bytes of the values that are put by rows at once."""
        return self._step * VALUE_BYTES

    @property
    def piece_bytes(self) -> int:
        """Bytes of a bucket as it is read, and as it is sorted."""
        size = 2 * self.record.itemsize + 2 * (self.dtype.itemsize + INDEX_DTYPE.itemsize) + 8
        return self._spans.most * size

    @property
    def buckets(self) -> int:
        """How many buckets there are."""
        return len(self._starts) - 1

    def stop(self, first: int) -> int:
        """Return where the bucket of a row ends."""
        return int(self._starts[np.searchsorted(self._starts, first, "right")])

    def prepare(self) -> None:
        """Put values by rows, unless that is done; go on where an earlier call was stopped.

        Raises
        ------
        InputError
            If the disk has no space for it.
        """
        done, ends = self._noted()
        if done == self.nonzeros and self._scratch.exists():
            return
        needed = (self.nonzeros - done) * self.record.itemsize
        free = shutil.disk_usage(self._scratch.parent).free
        if free < needed:
            raise InputError(
                f"putting {self._parts.what} by rows takes {format_size(needed)} of scratch space "
                f"in {self._scratch.parent}, where {format_size(free)} are free; free some, choose "
                "a destination on another disk, or write X.tocsr() where the matrix fits"
            )
        descriptor = os.open(self._scratch, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            unnoted = 0
            for first, last in self._blocks("putting values by rows"):
                if last <= done:
                    continue
                self._put(descriptor, max(first, done), last, ends)
                unnoted += (last - first) * self.record.itemsize
                if unnoted >= NOTED_BYTES or last == self.nonzeros:
                    os.fsync(descriptor)
                    self._note(last, ends)
                    unnoted = 0
        finally:
            os.close(descriptor)

    def _put(self, descriptor: int, first: int, last: int, ends: np.ndarray) -> None:
        """Write values to the ends of their buckets, which grow."""
        parts = self._parts
        rows = parts.read(parts.indices, first, last).astype(np.int64)
        buckets = (np.searchsorted(self._starts, rows, "right") - 1).astype(np.uint16)
        order = np.argsort(buckets, kind="stable")  # of 16 bits: a radix sort
        records = np.empty(last - first, self.record)
        records["row"] = (rows - self._starts[buckets])[order]
        records["column"] = self._columns(first, last)[order]
        records["value"] = parts.read(parts.values, first, last)[order]
        counts = np.bincount(buckets, minlength=self.buckets)
        memory, place = memoryview(records.view(np.uint8).data), 0
        size = self.record.itemsize
        for bucket in np.flatnonzero(counts).tolist():
            count = int(counts[bucket])
            part = memory[place * size : (place + count) * size]
            _write_at(descriptor, part, int(ends[bucket]) * size)
            ends[bucket] += count
            place += count

    def _columns(self, first: int, last: int) -> np.ndarray:
        """Return the columns of values."""
        begin = int(np.searchsorted(self._pointers, first, "right")) - 1
        end = int(np.searchsorted(self._pointers, last, "left"))
        bounds = np.clip(self._pointers[begin : end + 1], first, last)
        counts = bounds[1:] - bounds[:-1]
        return np.repeat(np.arange(begin, end, dtype=INDEX_DTYPE), counts)

    @property
    def _note_file(self) -> Path:
        return self._scratch.with_suffix(".json")

    def _note(self, done: int, ends: np.ndarray) -> None:
        told = {"done": done, "ends": ends.tolist(), "starts": self._starts.tolist()}
        write_whole(self._note_file, json.dumps(told).encode())

    def _noted(self) -> tuple[int, np.ndarray]:
        """Return how many values were put by rows, and where their buckets end."""
        if self._scratch.exists() and self._note_file.exists():
            told = json.loads(self._note_file.read_text())
            if told["starts"] == self._starts.tolist():
                return int(told["done"]), np.array(told["ends"], np.int64)
        return 0, self._begins[:-1].copy()

    def read(self, first: int, stop: int) -> SparseValues:
        """Return rows, each with ascending columns."""
        begin = int(np.searchsorted(self._starts, first, "right")) - 1
        end = int(np.searchsorted(self._starts, stop, "left"))
        size = self.record.itemsize
        offset, last = int(self._begins[begin]), int(self._begins[end])
        records = np.empty(last - offset, self.record)
        with self._scratch.open("rb", buffering=0) as stream:
            stream.seek(offset * size)
            _read_into(stream, memoryview(records.view(np.uint8).data), self._scratch)
        counts = self._begins[begin + 1 : end + 1] - self._begins[begin:end]
        each = np.repeat(self._starts[begin:end], counts)
        rows = each + records["row"] - first
        if self._starts[begin] < first or self._starts[end] > stop:
            inside = (rows >= 0) & (rows < stop - first)
            rows, records = rows[inside], records[inside]
        narrow = rows.astype(np.uint16) if stop - first <= MOST_BUCKETS else rows
        order = np.argsort(narrow, kind="stable")
        counts = np.bincount(rows, minlength=stop - first).astype(np.int64)
        return SparseValues(records["value"][order], records["column"][order], counts, self.width)


def _write_at(descriptor: int, memory: memoryview, offset: int) -> None:
    done = 0
    while done < len(memory):
        done += os.pwrite(descriptor, memory[done:], offset + done)


def _read_into(stream: object, memory: memoryview, path: Path) -> None:
    done = 0
    while done < len(memory):
        count = stream.readinto(memory[done:])  # type: ignore[attr-defined]
        if not count:
            raise DataError(f"{path}, which was written by this conversion, ends early; start anew")
        done += count
