"""Where the bytes of each chunk lie: Zarr v2 and v3 metadata as plain numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from zarr.storage import ZipStore

from ooc.core.errors import InputError
from ooc.core.sizes import format_size
from ooc.store.chunks.codecs import Decoder, NotNativeError, find_decoder

# The index of a shard is in memory as a whole.
MOST_INDEX_BYTES = 64 * 2**20
# Name and settings.
Codec = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class ShardLayout:
    """How a shard's index is stored: offset and size of each of its chunks, and a checksum."""

    chunks: tuple[int, ...]
    index_at_end: bool
    index_has_checksum: bool
    index_dtype: np.dtype

    @property
    def index_bytes(self) -> int:
        """Stored bytes of the index."""
        return 16 * math.prod(self.chunks) + (4 if self.index_has_checksum else 0)


@dataclass(frozen=True)
class ChunkLayout:
    """What the native path needs to know of one array; chunks are the inner ones.

    Its key is from coordinates of a file's cell to the path below the folder, or the URL; without
    `shard` each chunk is a file.

    Attributes
    ----------
    dtype, stored_dtype
        Of values in this machine's order of bytes, and in that of their writer.
    axes
        The axes of a chunk in the order in which they are stored: (1, 0) is Fortran's.
    """

    folder: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype
    stored_dtype: np.dtype
    axes: tuple[int, ...]
    fill_value: Any
    decoders: tuple[Decoder, ...]
    key: Callable[[tuple[int, ...]], str]
    shard: ShardLayout | None

    @property
    def chunk_bytes(self) -> int:
        """Decoded bytes of a chunk."""
        return self.dtype.itemsize * math.prod(self.chunks)

    @property
    def is_plain(self) -> bool:
        """Whether decoded bytes are values in C order as they are in memory."""
        return self.stored_dtype == self.dtype and list(self.axes) == sorted(self.axes)

    def values(self, decoded: np.ndarray) -> np.ndarray:
        """Return a view of a chunk's bytes as what they stand for."""
        stored = decoded.view(self.stored_dtype).reshape([self.chunks[axis] for axis in self.axes])
        return stored.transpose(np.argsort(self.axes))


def native_layout(array: zarr.Array, where: str) -> ChunkLayout:
    """Read the layout of an array in a group; `NotNativeError` says why it has to be general."""
    if isinstance(array.store, ZipStore):
        raise NotNativeError("it is in a zip archive")
    folder = f"{getattr(array.store, 'root', None) or where}/{array.path}"
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "biuf":
        raise NotNativeError(f"its dtype is {dtype}")
    metadata, axes = array.metadata.to_dict(), tuple(range(array.ndim))
    if metadata["zarr_format"] == 2:
        codecs, stored = _version_2(metadata), dtype
        axes = axes if metadata["order"] == "C" else axes[::-1]
    else:
        codecs, stored, axes = _version_3(metadata, dtype, axes)
    decoders = tuple(find_decoder(*codec) for codec in reversed(codecs))
    key, shard = array.metadata.encode_chunk_key, shard_layout(array)
    shapes, fill_value = (array.shape, array.chunks), array.fill_value
    dtypes = (dtype.newbyteorder("="), stored)
    return ChunkLayout(folder, *shapes, *dtypes, axes, fill_value, decoders, key, shard)


def shard_layout(array: zarr.Array) -> ShardLayout | None:
    """Return how an array's shards are indexed, None without shards.

    Raises
    ------
    InputError
        If an index would take more memory than any sensible array asks for.
    """
    if array.shards is None:
        return None
    metadata: Any = array.metadata
    configuration = metadata.codecs[0].to_dict()["configuration"]
    codecs = configuration["index_codecs"]
    names = [codec["name"] for codec in codecs]
    if names not in (["bytes"], ["bytes", "crc32c"]):
        raise NotNativeError(f"its shard index is encoded by {', '.join(names)}")
    endian = codecs[0].get("configuration", {}).get("endian")
    found = ShardLayout(
        tuple(outer // inner for outer, inner in zip(array.shards, array.chunks, strict=True)),
        configuration.get("index_location", "end") == "end",
        names[-1] == "crc32c",
        np.dtype(">u8" if endian == "big" else "<u8"),
    )
    if found.index_bytes > MOST_INDEX_BYTES:
        raise InputError(
            f"array {array.path} keeps {math.prod(found.chunks):,} chunks in a shard, whose index "
            f"alone takes {format_size(found.index_bytes)}, above {format_size(MOST_INDEX_BYTES)}; "
            "write it again with larger chunks or smaller shards"
        )
    return found


def _version_2(metadata: dict[str, Any]) -> list[Codec]:
    """Return the codecs of a chunk in the order of writing."""
    # Filters come first when a chunk is written, the compressor last.
    codecs = (*(metadata["filters"] or ()), metadata["compressor"])
    return [(codec["id"], codec) for codec in codecs if codec]


def _version_3(
    metadata: dict[str, Any], dtype: np.dtype, axes: tuple[int, ...]
) -> tuple[list[Codec], np.dtype, tuple[int, ...]]:
    """Return the codecs behind a chunk's bytes, its dtype as stored, and the order of its axes."""
    if metadata["chunk_grid"]["name"] != "regular":
        raise NotNativeError(f"its chunk grid is {metadata['chunk_grid']['name']}")
    codecs = metadata["codecs"]
    if codecs[0]["name"] == "sharding_indexed":
        if len(codecs) > 1:
            raise NotNativeError(f"its shards are encoded again by {codecs[1]['name']}")
        codecs = codecs[0]["configuration"]["codecs"]
    first, *rest = [(codec["name"], codec.get("configuration", {})) for codec in codecs]
    while first[0] == "transpose" and rest:
        axes = tuple(axes[place] for place in first[1]["order"])
        first, *rest = rest
    if first[0] != "bytes":
        raise NotNativeError(f"its codec is {first[0]}")
    return rest, dtype.newbyteorder(">" if first[1].get("endian") == "big" else "<"), axes
