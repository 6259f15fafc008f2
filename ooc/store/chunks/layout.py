"""Where the bytes of each chunk lie: Zarr v2 and v3 metadata as plain numbers.

An array that the native path does not cover is told with the reason.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ooc.store.chunks.codecs import Decoder, find_decoder


class NotNativeError(Exception):
    """Why an array goes through zarr-python."""


@dataclass(frozen=True)
class ShardLayout:
    """How a shard's index is stored."""

    chunks: tuple[int, ...]
    index_at_end: bool
    index_has_checksum: bool

    @property
    def index_bytes(self) -> int:
        """Stored bytes of the index: offset and size of each chunk, and its checksum."""
        return 16 * math.prod(self.chunks) + (4 if self.index_has_checksum else 0)


@dataclass(frozen=True)
class ChunkLayout:
    """What the native path needs to know of one array.

    Attributes
    ----------
    folder
        The array's folder.
    shape, chunks
        Shapes of the array and of one (inner) chunk.
    dtype
        The stored dtype, little-endian.
    fill_value
        What a chunk that is not stored may stand for.
    decoders
        From stored bytes to the chunk's bytes.
    key
        From coordinates of a file's cell to its path below the folder.
    shard
        How files hold several chunks, or None where each chunk is a file.
    """

    folder: Path
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype
    fill_value: Any
    decoders: tuple[Decoder, ...]
    key: Callable[[tuple[int, ...]], str]
    shard: ShardLayout | None


def native_layout(array: zarr.Array) -> ChunkLayout:
    """Read an array's layout.

    Raises
    ------
    NotNativeError
        With the reason, if the native path does not cover the array.
    """
    root = getattr(array.store, "root", None)
    if root is None:
        raise NotNativeError(f"its store is a {type(array.store).__name__}, not a local folder")
    folder = Path(root, array.path)
    metadata = array.metadata.to_dict()
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "biuf":
        raise NotNativeError(f"its dtype is {dtype}")
    parsed = _version_2 if metadata["zarr_format"] == 2 else _version_3
    decoders, shard = parsed(metadata, dtype)
    key = array.metadata.encode_chunk_key
    return ChunkLayout(
        folder, array.shape, array.chunks, dtype, array.fill_value, decoders, key, shard
    )


def _version_2(
    metadata: dict[str, Any], dtype: np.dtype
) -> tuple[tuple[Decoder, ...], ShardLayout | None]:
    if metadata["order"] != "C":
        raise NotNativeError("its chunks are in Fortran order")
    _check_byte_order(dtype)
    # Filters come first when a chunk is written, the compressor last.
    codecs = [codec for codec in (*(metadata["filters"] or ()), metadata["compressor"]) if codec]
    return _decoders([(codec["id"], codec) for codec in codecs]), None


def _version_3(
    metadata: dict[str, Any], dtype: np.dtype
) -> tuple[tuple[Decoder, ...], ShardLayout | None]:
    if metadata["chunk_grid"]["name"] != "regular":
        raise NotNativeError(f"its chunk grid is {metadata['chunk_grid']['name']}")
    codecs = list(metadata["codecs"])
    if codecs[0]["name"] != "sharding_indexed":
        return _byte_codecs(codecs, dtype), None
    if len(codecs) > 1:
        raise NotNativeError(f"its shards are encoded again by {codecs[1]['name']}")
    configuration = codecs[0]["configuration"]
    index = [codec["name"] for codec in configuration["index_codecs"]]
    if index not in (["bytes"], ["bytes", "crc32c"]):
        raise NotNativeError(f"its shard index is encoded by {', '.join(index)}")
    if configuration["index_codecs"][0].get("configuration", {}).get("endian") != "little":
        raise NotNativeError("its shard index is big-endian")
    outer = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    inner = configuration["chunk_shape"]
    chunks = tuple(int(o) // int(i) for o, i in zip(outer, inner, strict=True))
    at_end = configuration.get("index_location", "end") == "end"
    shard = ShardLayout(chunks, at_end, index[-1] == "crc32c")
    return _byte_codecs(list(configuration["codecs"]), dtype), shard


def _byte_codecs(codecs: list[dict[str, Any]], dtype: np.dtype) -> tuple[Decoder, ...]:
    first = codecs[0]
    if first["name"] != "bytes":
        raise NotNativeError(f"its codec is {first['name']}")
    if dtype.itemsize > 1 and first.get("configuration", {}).get("endian") != "little":
        raise NotNativeError("its values are big-endian")
    return _decoders([(codec["name"], codec.get("configuration", {})) for codec in codecs[1:]])


def _decoders(codecs: list[tuple[str, dict[str, Any]]]) -> tuple[Decoder, ...]:
    """Return what undoes codecs, given by name and settings in the order of writing."""
    found = []
    for name, settings in reversed(codecs):
        decoder = find_decoder(name, settings)
        if decoder is None:
            raise NotNativeError(f"its codec is {name}")
        found.append(decoder)
    return tuple(found)


def _check_byte_order(dtype: np.dtype) -> None:
    if dtype.byteorder == ">":
        raise NotNativeError("its values are big-endian")
