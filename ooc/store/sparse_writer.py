"""Write sparse rows: a group of three arrays in CSR, each of which grows chunk by chunk.

Rows of a sparse matrix have any number of values, so chunks of values end in the midst of rows. How
far an array is can be noted at any row, and be gone back to: chunks of a shard that is not whole
lie aside, and what is beyond a note is cut off.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import zarr

from ooc.store.compression import FAST_WRITE
from ooc.store.destinations import Destination
from ooc.store.fields import CHUNK_BYTES, SHARD_BYTES, Field, checked, create_array
from ooc.store.members import quiet
from ooc.store.shard_files import aside_of
from ooc.store.sparse import INDEX_DTYPE, INDICES, PARTS, POINTERS, VALUES

POINTER_DTYPE = np.dtype(np.int64)
_MISSING = 2**64 - 1


class SparseField(NamedTuple):
    """A sparse matrix to write: the dtype of its values, how many columns it has, what is noted."""

    dtype: np.dtype
    columns: int
    attributes: Mapping[str, Any] = {}
    chunk_bytes: int = CHUNK_BYTES
    shard_bytes: int = SHARD_BYTES
    compression: str = FAST_WRITE

    @property
    def dtypes(self) -> dict[str, np.dtype]:
        """Of the three arrays."""
        return {VALUES: np.dtype(self.dtype), INDICES: INDEX_DTYPE, POINTERS: POINTER_DTYPE}

    def chunk_length(self, part: str) -> int:
        """Return the entries of a chunk of one of the arrays; values have as many as columns."""
        size = 8 if part == POINTERS else max(np.dtype(self.dtype).itemsize, INDEX_DTYPE.itemsize)
        return max(1, self.chunk_bytes // size)

    @property
    def shard_chunks(self) -> int:
        """Chunks of a shard."""
        return max(1, self.shard_bytes // self.chunk_bytes)


class SparseWriter:
    """Appends encoded chunks to the arrays of a sparse matrix, in the store of a destination."""

    def __init__(self, destination: Destination, name: str, field: SparseField) -> None:
        self.name, self.field = name, field
        self._folder = folder = destination.partial
        self._arrays = {
            part: _Growing(destination, folder / name / part / "c", field) for part in PARTS
        }

    def append(self, part: str, encoded: bytes) -> Callable[[], None] | None:
        """Append a chunk; where a shard is whole, return what puts it on the disk, by its name."""
        return self._arrays[part].append(encoded)

    def state(self) -> dict[str, Any]:
        """Return how far the arrays are, JSON-ready; what was appended is with the system."""
        return {part: array.state() for part, array in self._arrays.items()}

    def syncs(self) -> Callable[[], None]:
        """Return what waits until all that was appended up to now is on the disk."""
        descriptors = [array.descriptor() for array in self._arrays.values()]

        def sync() -> None:
            for descriptor in descriptors:
                if descriptor is not None:
                    try:
                        os.fsync(descriptor)
                    finally:
                        os.close(descriptor)

        return sync

    def holds(self, state: Mapping[str, Any]) -> bool:
        """Tell whether all that a state says is on the disk."""
        return all(array.holds(state[part]) for part, array in self._arrays.items())

    def keep(self, state: Mapping[str, Any]) -> None:
        """Have the destination take over what is whole by a state: nobody goes back before it."""
        for part, array in self._arrays.items():
            array.keep(state[part])

    def go_back(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that it holds."""
        for part, array in self._arrays.items():
            array.go_back(state[part])

    def chunks(self, part: str) -> int:
        """Return how many chunks an array has."""
        return self._arrays[part].chunks

    def close(self) -> None:
        """Let go of the files; what is not whole stays aside."""
        for array in self._arrays.values():
            array.close()

    def finish(self, rows: int, nonzeros: int) -> None:
        """Write what is left, and the metadata, as AnnData has them, into the store's group."""
        for array in self._arrays.values():
            array.finish()
        for file in (self._folder / self.name).rglob("zarr.json"):
            file.unlink()
        attributes = {
            **self.field.attributes, "encoding-type": "csr_matrix", "encoding-version": "0.1.0",
            "shape": [rows, self.field.columns],
        }  # fmt: skip
        with quiet():
            root = zarr.open_group(self._folder, mode="r+")
            group = root.require_group(self.name)
            group.update_attributes(attributes)
            for part, dtype in self.field.dtypes.items():
                length = self.field.chunk_length(part)
                entries = rows + 1 if part == POINTERS else nonzeros
                shard = length * self.field.shard_chunks
                described = Field(dtype, compression=self.field.compression)
                create_array(group, part, described, entries, length, shard)


class _Growing:
    """One array, of which a shard is open at a time."""

    def __init__(self, destination: Destination, folder: Path, field: SparseField) -> None:
        self._destination = destination
        self._folder, self._shard_chunks = folder, field.shard_chunks
        self._shard, self._bytes, self._kept = 0, 0, 0
        self._places: list[tuple[int, int]] = []
        self._stream: IO[bytes] | None = None

    @property
    def chunks(self) -> int:
        return self._shard * self._shard_chunks + len(self._places)

    def _path(self, shard: int) -> Path:
        return self._folder / str(shard)

    def append(self, encoded: bytes) -> Callable[[], None] | None:
        if self._stream is None:
            self._stream = aside_of(self._path(self._shard)).open("wb")
        self._stream.write(encoded)
        self._places.append((self._bytes, len(encoded)))
        self._bytes += len(encoded)
        return self._whole() if len(self._places) == self._shard_chunks else None

    def _whole(self) -> Callable[[], None]:
        """Begin another shard; return what closes this one."""
        stream, path = self._stream, self._path(self._shard)
        assert stream is not None
        index = np.full((self._shard_chunks, 2), _MISSING, "<u8")
        index[: len(self._places)] = self._places
        self._stream, self._places, self._bytes = None, [], 0
        self._shard += 1

        def close() -> None:
            with stream:
                stream.write(checked(index.tobytes()))
                stream.flush()
                os.fsync(stream.fileno())
            aside_of(path).rename(path)

        return close

    def finish(self) -> None:
        if self._places:
            self._whole()()

    def state(self) -> dict[str, Any]:
        if self._stream is not None:
            self._stream.flush()
        return {"shard": self._shard, "chunks": [list(place) for place in self._places]}

    def descriptor(self) -> int | None:
        # The file may be closed by the time that somebody waits for it.
        return None if self._stream is None else os.dup(self._stream.fileno())

    def holds(self, state: Mapping[str, Any]) -> bool:
        shard, needed = state["shard"], _end(state["chunks"])
        if not all(self._destination.holds(self._path(before)) for before in range(shard)):
            return False
        return not needed or any(size >= needed for size in self._sizes(shard))

    def _sizes(self, shard: int) -> Iterator[int]:
        path = self._path(shard)
        for file in (path, aside_of(path)):
            if file.exists():
                yield file.stat().st_size

    def keep(self, state: Mapping[str, Any]) -> None:
        stop = state["shard"]
        files = [self._path(shard) for shard in range(self._kept, stop)]
        self._destination.keep([file for file in files if file.exists()])
        self._kept = stop

    def go_back(self, state: Mapping[str, Any]) -> None:
        self.close()
        self._shard = state["shard"]
        self._places = [(int(first), int(size)) for first, size in state["chunks"]]
        self._bytes = _end(self._places)
        path = self._path(self._shard)
        aside = aside_of(path)
        if path.exists():  # it became whole after the state was noted
            path.replace(aside)
        if self._places:
            self._stream = aside.open("r+b")
            self._stream.truncate(self._bytes)
            self._stream.seek(self._bytes)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _end(places: Any) -> int:
    return int(sum(places[-1])) if places else 0
