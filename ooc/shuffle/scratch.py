"""Scratch files of an exact shuffle: sorted pieces, each whole or absent.

A piece is records in ascending order of keys, a table of where each unit's start, and a checksum.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from ooc.core.memory import own_memory
from ooc.store.chunks.files import ALIGNMENT, FileReader, Request, takes_direct_io

READ_BYTES = 2**20
WRITE_BYTES = 8 * 2**20


class Scratch:
    """A folder of pieces; each unit has a segment in each of them."""

    def __init__(self, folder: Path, pieces: int, units: int, record_bytes: int) -> None:
        self.folder, self.record_bytes = folder, record_bytes
        self._table = np.zeros((pieces, units + 1), np.int64)
        probe = folder / "probe"
        probe.write_bytes(bytes(ALIGNMENT))
        self.direct = takes_direct_io(probe)
        self._reader = FileReader("direct" if self.direct else "buffered")

    def buffer(self, rows: int) -> np.ndarray:
        """Return memory for a piece: aligned, and with room for its table."""
        size = rows * self.record_bytes + 8 * self._table.shape[1] + 8
        whole = -(-size // ALIGNMENT) * ALIGNMENT
        return own_memory((whole,), np.dtype(np.uint8), large_pages=True)

    def find(self, piece: int) -> int | None:
        """Return the checksum of a piece that is there already, with its table read; else None."""
        path = self._path(piece)
        if not path.exists():
            return None
        with path.open("rb") as stream:
            stream.seek(-8 * self._table.shape[1] - 8, os.SEEK_END)
            footer = np.frombuffer(stream.read(), np.int64)
        self._table[piece] = footer[:-1]
        return int(footer[-1:].view(np.uint64)[0])

    def write(
        self, piece: int, memory: np.ndarray, rows: int, starts: np.ndarray, checksum: int
    ) -> None:
        """Write a piece that lies at the start of `memory`, made by `buffer`."""
        end = rows * self.record_bytes
        footer = memory[end : end + 8 * len(starts) + 8]
        footer[:-8] = starts.astype(np.int64).view(np.uint8)
        footer[-8:] = np.array([checksum], np.uint64).view(np.uint8)
        size = end + footer.size
        path = self._path(piece)
        aside = path.with_suffix(".part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(aside, flags | (os.O_DIRECT if self.direct else 0), 0o644)
        try:
            whole, done = -(-size // ALIGNMENT) * ALIGNMENT, 0
            while done < whole:
                part = memory[done : min(done + WRITE_BYTES, whole)]
                done += os.pwrite(descriptor, part, done)  # type: ignore[arg-type]
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
            if not self.direct:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        aside.rename(path)
        self._table[piece] = starts

    def read_unit(self, unit: int, out: np.ndarray) -> int:
        """Fill `out` (rows, record bytes) with a unit's records of all pieces; return how many."""
        flat, place = out.reshape(-1), 0
        with closing(self._reader.read_all(self._requests(unit))) as found:
            for request, data in found:
                part = self._reader.read(request) if data is None else data
                flat[place : place + len(part)] = np.frombuffer(part, np.uint8)
                place += len(part)
        return place // self.record_bytes

    def clear(self) -> None:
        """Remove all pieces, for which a disk may take a quarter of a second a GB."""
        # Files that the reader before has open would keep their room.
        self._reader = FileReader(self._reader.mode)
        for piece in range(len(self._table)):
            self._path(piece).unlink(missing_ok=True)

    def _requests(self, unit: int) -> Iterator[Request]:
        for piece in range(len(self._table)):
            start, stop = (self._table[piece, unit : unit + 2] * self.record_bytes).tolist()
            path = str(self._path(piece))
            for first in range(start, stop, READ_BYTES):
                yield Request(path, first, min(first + READ_BYTES, stop))

    def _path(self, piece: int) -> Path:
        return self.folder / f"piece-{piece:06d}"
