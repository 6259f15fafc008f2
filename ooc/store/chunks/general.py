"""The path through zarr-python: any store, any codec, any order."""

import itertools
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.buffer import cpu
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import sync
from zarr.storage import WrapperStore

from ooc.store.chunks.bad_chunk import BadChunkError
from ooc.store.dataset import Dataset, open_zarr_array
from ooc.store.remote import is_outage, reason_of

# Decoding one block through zarr-python holds the stored chunk, the decoded chunk and a copy.
DECODE_COPIES = 3
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
_ABSENT = 2**64 - 1

Cell = tuple[int, ...]


class NotStoredError(KeyError):
    """A chunk that is not there, which zarr-python would take for the fill value."""

    def __init__(self) -> None:
        super().__init__(
            "it is not stored; restore it from its source, or open with "
            'missing="fill" if it was left out as the fill value'
        )


@dataclass(frozen=True)
class ShardIndex:
    """Where in a shard its index is, and how to read it.

    Attributes
    ----------
    chunks
        Chunks of a shard along each axis.
    byte_range
        Its bytes.
    dtype
        Of an entry's offset and size.
    """

    chunks: tuple[int, ...]
    byte_range: RangeByteRequest | SuffixByteRequest
    dtype: np.dtype

    @classmethod
    def of(cls, array: zarr.Array) -> "ShardIndex | None":
        """Return how an array's shards are indexed; None without shards or for other indices."""
        if array.shards is None:
            return None
        metadata: dict[str, Any] = array.metadata.to_dict()
        configuration = metadata["codecs"][0]["configuration"]
        codecs = [codec["name"] for codec in configuration["index_codecs"]]
        if codecs not in (["bytes"], ["bytes", "crc32c"]):
            return None
        chunks = tuple(o // i for o, i in zip(array.shards, array.chunks, strict=True))
        size = 16 * math.prod(chunks) + (4 if codecs[-1] == "crc32c" else 0)
        at_end = configuration.get("index_location", "end") == "end"
        endian = configuration["index_codecs"][0].get("configuration", {}).get("endian")
        return cls(
            chunks,
            SuffixByteRequest(size) if at_end else RangeByteRequest(0, size),
            np.dtype(">u8" if endian == "big" else "<u8"),
        )

    def holds(self, index: bytes, cell: Cell) -> bool:
        """Tell whether a chunk of the shard with this index is stored."""
        entries = np.frombuffer(index, self.dtype, 2 * math.prod(self.chunks)).reshape(-1, 2)
        place = tuple(c % n for c, n in zip(cell, self.chunks, strict=True))
        return bool((entries[np.ravel_multi_index(place, self.chunks)] != _ABSENT).any())


class ChunkStore(WrapperStore[Any]):
    """A store of chunks that keeps shard indices: zarr-python reads them again for every chunk.

    Parameters
    ----------
    store
        Where the chunks are.
    strict
        Whether an object that is not there is an error and not the fill value.
    index
        How shards are indexed, or None.
    """

    # Synchronous reads would go past `get`.
    _supports_sync_io = False

    def __init__(self, store: Store, strict: bool, index: ShardIndex | None) -> None:
        super().__init__(store)
        self._strict, self._index = strict, index
        self.indices: dict[str, Buffer | None] = {}

    def _with_store(self, store: Store) -> "ChunkStore":
        return ChunkStore(store, self._strict, self._index)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object, or a part of it."""
        is_index = self._index is not None and byte_range == self._index.byte_range
        if is_index and key in self.indices:
            return self.indices[key]
        found: Buffer | None = await super().get(key, prototype, byte_range)
        if found is None and self._strict and not key.endswith(_METADATA):
            raise NotStoredError
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


class ZarrReader:
    """Reads rows of one array through zarr-python, one run at a time.

    A call holds one run's chunks, and the threads that call it bound how many runs are under way.
    Retries of the store layer, see `ooc.store.dataset.open`, are not counted in `retries`.

    Parameters
    ----------
    dataset, name
        The array.
    """

    retries = 0

    def __init__(self, dataset: Dataset, name: str) -> None:
        self.dataset, self.spec = dataset, dataset.arrays[name]
        array = open_zarr_array(dataset, name)
        self._strict = dataset.missing == "raise"
        self._index = ShardIndex.of(array)
        self._store = ChunkStore(array.store, self._strict, self._index)
        self._array = zarr.open_array(self._store, path=array.path, mode="r")

    def read_runs(
        self,
        runs: Sequence[tuple[int, int]],
        out: np.ndarray,
        bad: list[BadChunkError] | None = None,
    ) -> None:
        """Fill `out` with runs of rows, as `ooc.store.chunks.native.NativeReader.read_runs` does.

        An outage of the server is raised in any case: no chunk is to blame for it.
        """
        place = 0
        for run, (start, stop) in enumerate(runs):
            rows = out[place : place + stop - start]
            place += stop - start
            cells = self._cells(start, stop)
            try:
                self._read(cells, (slice(start, stop),), rows)
            except Exception as error:  # stores and codecs raise errors of many unrelated kinds
                if len(cells) == 1:
                    self._note(bad, cells[0], run, error)
                else:
                    self._read_singly(cells, run, (start, stop), rows, bad)

    def _read_singly(
        self,
        cells: list[Cell],
        run: int,
        span: tuple[int, int],
        rows: np.ndarray,
        bad: list[BadChunkError] | None,
    ) -> None:
        """Read the chunks of a failed run one by one, so that only the bad ones are blamed."""
        for cell in cells:
            part = [
                slice(number * chunk, min((number + 1) * chunk, length))
                for number, chunk, length in zip(
                    cell, self.spec.chunks, self.spec.shape, strict=True
                )
            ]
            part[0] = slice(max(span[0], part[0].start), min(span[1], part[0].stop))
            inside = (slice(part[0].start - span[0], part[0].stop - span[0]), *part[1:])
            try:
                self._read([cell], tuple(part), rows[inside])
            except Exception as error:
                self._note(bad, cell, run, error)

    def _read(self, cells: list[Cell], selection: tuple[slice, ...], out: np.ndarray) -> None:
        self._array.get_basic_selection(selection, out=cpu.NDBuffer.from_numpy_array(out))
        if not self._strict or self._index is None:
            return
        # A shard that is there may lack a chunk, which zarr-python has filled in.
        for cell in cells:
            key = f"{self._array.path}/{self._key(cell)}".lstrip("/")
            index = self._store.indices.get(key) or sync(
                self._store.get(key, cpu.buffer_prototype, self._index.byte_range)
            )
            if index is not None and not self._index.holds(index.to_bytes(), cell):
                raise NotStoredError

    def _cells(self, start: int, stop: int) -> list[Cell]:
        """Return the chunks that hold rows start to stop."""
        chunks, shape = self.spec.chunks, self.spec.shape
        down = range(start // chunks[0], -(-stop // chunks[0]))
        across = [range(-(-length // n)) for length, n in zip(shape[1:], chunks[1:], strict=True)]
        return list(itertools.product(down, *across))

    def _key(self, cell: Cell) -> str:
        """Return the object that holds a chunk, below the array."""
        if self.spec.shards is not None:
            spans = zip(cell, self.spec.chunks, self.spec.shards, strict=True)
            cell = tuple(number * chunk // shard for number, chunk, shard in spans)
        return str(self._array.metadata.encode_chunk_key(cell))

    def _note(
        self, bad: list[BadChunkError] | None, cell: Cell, run: int, error: Exception
    ) -> None:
        where, chunk_rows = self.dataset.path, self.spec.chunks[0]
        rows = (cell[0] * chunk_rows, min((cell[0] + 1) * chunk_rows, self.spec.shape[0]) - 1)
        file = f"{where}/{self.spec.name}/{self._key(cell)}"
        reason = reason_of(error, self.dataset.storage_options)
        found = BadChunkError(self.spec.name, where, cell, file, rows, reason, run)
        if bad is None or is_outage(error):
            # The cause may show keys in its own arguments.
            raise found from None
        bad.append(found)

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers of a cluster open their own store; loops and connections do not travel.
        return ZarrReader, (self.dataset, self.spec.name)
