"""The path through zarr-python: any store, any codec, any order."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.buffer import cpu
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import sync
from zarr.storage import WrapperStore

from ooc.core.plain_files import ANY_SIZE, check_plain
from ooc.store.addresses import reason_of
from ooc.store.chunks.codecs import NotNativeError, most_stored_bytes
from ooc.store.chunks.layout import ShardLayout, shard_layout
from ooc.store.chunks.row_reader import BadChunks, Cell, NotStoredError, RowReader, Runs
from ooc.store.dataset import Dataset, open_zarr_array
from ooc.store.local import ZippedStore
from ooc.store.members import quiet
from ooc.store.remote import RemoteStore

# Decoding one block through zarr-python holds the stored chunk, the decoded chunk and a copy.
DECODE_COPIES = 3
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
_ABSENT = 2**64 - 1
INDEX_ENTRY_BYTES = 16

Index = RangeByteRequest | SuffixByteRequest


class ChunkStore(WrapperStore[Any]):
    """A store of chunks that keeps shard indices: zarr-python reads them again for every chunk.

    Where it is strict, an object that is not there is an error and not the fill value.
    """

    # Synchronous reads would go past `get`.
    _supports_sync_io = False

    def __init__(
        self, store: Store, strict: bool, fill_value: Any, index: Index | None, most_bytes: int
    ) -> None:
        super().__init__(store)
        self._strict, self._fill_value, self._index = strict, fill_value, index
        self._most_bytes = most_bytes
        self.indices: dict[str, Buffer | None] = {}

    def _with_store(self, store: Store) -> "ChunkStore":
        return ChunkStore(store, self._strict, self._fill_value, self._index, self._most_bytes)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object, or a part of it."""
        is_index = self._index is not None and byte_range == self._index
        if is_index and key in self.indices:
            return self.indices[key]
        if byte_range is None and not key.endswith(_METADATA):
            if root := _root_of(self._store):
                check_plain(f"{root}/{key}", self._most_bytes)
            elif isinstance(self._store, ZippedStore):
                self._store.check_size(key, self._most_bytes)
        found: Buffer | None = await super().get(key, prototype, byte_range)
        if found is None and self._strict and not key.endswith(_METADATA):
            raise NotStoredError(self._fill_value)
        if is_index:
            self.indices[key] = found
        return found

    async def get_ranges(
        self, key: str, byte_ranges: Sequence[ByteRequest | None], **options: Any
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Yield parts of an object by way of `get`; only later versions of zarr-python ask."""
        plain: Any = Store
        async for group in plain.get_ranges(self, key, byte_ranges, **options):
            yield group


class ZarrReader(RowReader):
    """Reads rows of one array through zarr-python, one run at a time.

    A call holds one run's chunks, and the threads that call it bound how many runs are under way.
    """

    def __init__(self, dataset: Dataset, name: str) -> None:
        spec, array = dataset.arrays[name], open_zarr_array(dataset, name)
        super().__init__(name, dataset.path, spec.shape, spec.chunks)
        self.dataset = dataset
        self._strict = dataset.missing == "raise" or array.fill_value is None
        self._shard, self._index = _index_of(array)
        root = _root_of(array.store)
        self._folder = None if root is None else f"{root}/{array.path}"
        most_bytes = _most_bytes_of(array)
        if isinstance(array.store, RemoteStore):
            array.store.most_bytes = most_bytes
        self._store = ChunkStore(
            array.store, self._strict, array.fill_value, self._index, most_bytes
        )
        with quiet():
            self._array = zarr.open_array(self._store, path=array.path, mode="r")

    @property
    def retries(self) -> int:
        """Requests to a server that were sent again so far."""
        return getattr(self._store._store, "retries", 0)

    def read_runs(self, runs: Runs, out: np.ndarray, bad: BadChunks = None) -> None:
        """Fill `out` with runs of rows."""
        for run, start, stop, rows in self._each(runs, out):
            cells = list(self._cells(start, stop))
            try:
                self._read(cells, self._selection((slice(start, stop),)), rows)
            except Exception as error:  # stores and codecs raise errors of many unrelated kinds
                if len(cells) == 1:
                    self._fail(bad, cells[0], run, error)
                    continue
                # Chunk by chunk, so that only the bad ones are blamed.
                for cell in cells:
                    down, *across = self._place(cell, start, stop)
                    try:
                        selection = (slice(down.start + start, down.stop + start), *across)
                        self._read([cell], self._selection(selection), rows[(down, *across)])
                    except Exception as error:
                        self._fail(bad, cell, run, error)
        if not self._strict:
            self._check_folder()

    def _selection(self, places: tuple[slice, ...]) -> tuple[slice, ...]:
        """Return places of what is read as places of the array."""
        if self._stripe is None:
            return places
        first, stop = self._stripe
        down, columns, *rest = (*places, slice(0, stop - first)) if len(places) == 1 else places
        return down, slice(columns.start + first, columns.stop + first), *rest

    def _read(self, cells: list[Cell], selection: tuple[slice, ...], out: np.ndarray) -> None:
        self._array.get_basic_selection(selection, out=cpu.NDBuffer.from_numpy_array(out))
        if not self._strict or self._shard is None:
            return
        # A shard that is there may lack a chunk, which zarr-python has filled in.
        for cell in cells:
            key = f"{self._array.path}/{self._key(cell)}".lstrip("/")
            index = self._store.indices.get(key) or sync(
                self._store.get(key, cpu.buffer_prototype, self._index)
            )
            if index is not None:
                chunks, dtype = self._shard.chunks, self._shard.index_dtype
                entries = np.frombuffer(index.to_bytes(), dtype, 2 * math.prod(chunks))
                place = tuple(c % n for c, n in zip(cell, chunks, strict=True))
                if (entries.reshape(*chunks, 2)[place] == _ABSENT).all():
                    raise NotStoredError(self._array.fill_value)

    def _key(self, cell: Cell) -> str:
        """Return the object that holds a chunk, below the array."""
        if self._array.shards is not None:
            spans = zip(cell, self.chunks, self._array.shards, strict=True)
            cell = tuple(number * chunk // shard for number, chunk, shard in spans)
        return str(self._array.metadata.encode_chunk_key(cell))

    def _fail(self, bad: BadChunks, cell: Cell, run: int, error: Exception) -> None:
        file = f"{self.where}/{self.name}/{self._key(cell)}"
        self._blame(bad, cell, file, error, run, reason_of(error, self.dataset.storage_options))

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers of a cluster open their own store; loops and connections do not travel.
        own = (self.dataset, self.name)
        return ZarrReader, own, {"_stripe": self._stripe, "_across": self._across}


def _root_of(store: Store) -> Any:
    """Return the folder of a local store; None of any other."""
    return getattr(store, "root", None)


def _most_bytes_of(array: zarr.Array) -> int:
    """Return the most bytes that one of an array's objects is stored in."""
    dtype: Any = array.dtype
    if dtype.kind in "TO" or dtype.hasobject:
        return ANY_SIZE
    most = most_stored_bytes(dtype.itemsize * math.prod(array.chunks)) + INDEX_ENTRY_BYTES
    return most * (math.prod(array.shards) // math.prod(array.chunks) if array.shards else 1)


def _index_of(array: zarr.Array) -> tuple[ShardLayout | None, Index | None]:
    """Return how an array's shards are indexed, and the bytes; None where it is not known."""
    with suppress(NotNativeError):
        if (shard := shard_layout(array)) is not None:
            size, at_end = shard.index_bytes, shard.index_at_end
            return shard, SuffixByteRequest(size) if at_end else RangeByteRequest(0, size)
    return None, None
