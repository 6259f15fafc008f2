"""Arrays as they are written: what they hold, how a chunk is encoded, what is noted of them."""

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import crc32c
import numpy as np
import zarr
from numcodecs import VLenBytes, VLenUTF8
from zarr.codecs import Crc32cCodec

from ooc.store.compression import FAST_WRITE, compression_of

CHUNK_BYTES = 512 * 2**10
SHARD_BYTES = 128 * 2**20
NUMBER_KINDS = "biufcMm"

# Values without a fixed size, by Zarr's names: as they are in memory, what fills up, their codec.
VARIABLE: dict[str, tuple[Any, str | bytes, Any]] = {
    "string": (np.dtypes.StringDType(), "", VLenUTF8()),
    "variable_length_bytes": (np.dtype(object), b"", VLenBytes()),
}


class Field(NamedTuple):
    """One array to write: its dtype, the shape of one row, and what is noted of it.

    The dtype is NumPy's, or "string" or "variable_length_bytes": a value of those is taken to have
    `value_bytes`, by which chunks are cut. `compression` is one of
    `ooc.store.compression.COMPRESSIONS`.
    """

    dtype: str | np.dtype
    shape: tuple[int, ...] = ()
    attributes: Mapping[str, Any] = {}
    dimensions: tuple[str | None, ...] | None = None
    fill_value: Any = None
    value_bytes: int = 16
    compression: str = FAST_WRITE

    @property
    def variable(self) -> bool:
        """Whether values have no fixed size."""
        return isinstance(self.dtype, str) and self.dtype in VARIABLE

    @property
    def in_memory(self) -> np.dtype:
        """The dtype in memory."""
        return VARIABLE[str(self.dtype)][0] if self.variable else np.dtype(self.dtype)

    @property
    def sharded(self) -> bool:
        """Whether chunks share files; zarr-python cannot read structures from such ones."""
        return self.in_memory.kind != "V"

    @property
    def row_bytes(self) -> int:
        """Decoded bytes of one row."""
        size = self.value_bytes if self.variable else self.in_memory.itemsize
        return size * int(np.prod(self.shape, dtype=np.int64))


def create_array(
    group: zarr.Group, name: str, field: Field, rows: int, chunk_rows: int, shard_rows: int
) -> zarr.Array:
    """Create the metadata of an array whose chunks `encode_chunk` makes."""
    kind = field.in_memory.kind
    size = field.in_memory.itemsize if kind in NUMBER_KINDS else 1
    return group.create_array(
        name,
        shape=(rows, *field.shape),
        chunks=(chunk_rows, *field.shape),
        shards=(shard_rows, *field.shape) if field.sharded else None,
        dtype=field.dtype,
        compressors=[compression_of(field.compression).codec(size), Crc32cCodec()],
        attributes=dict(field.attributes),
        dimension_names=field.dimensions,
        **({} if field.fill_value is None else {"fill_value": field.fill_value}),
    )


def encode_chunk(chunk: np.ndarray | bytes, compression: str = FAST_WRITE) -> bytes:
    """Encode one C-contiguous chunk: blosc, then its CRC-32C.

    Chunks of 512 KiB decode while they stay in a core's cache.
    """
    if isinstance(chunk, np.ndarray) and chunk.dtype.kind not in NUMBER_KINDS:
        chunk = chunk.tobytes()
    return checked(bytes(compression_of(compression).encoder().encode(chunk)))


def checked(stored: bytes) -> bytes:
    """Return bytes with their checksum behind them."""
    return stored + struct.pack("<I", crc32c.crc32c(stored))


def padded(values: np.ndarray, rows: int, field: Field) -> np.ndarray | bytes:
    """Return the values as one contiguous chunk; the last chunk is filled up with zeros."""
    if field.variable:
        _, nothing, codec = VARIABLE[str(field.dtype)]
        objects = np.full((rows, *field.shape), nothing, object)
        objects[: len(values)] = values
        return bytes(codec.encode(objects))
    if len(values) == rows:
        return np.ascontiguousarray(values, field.dtype)
    chunk = np.zeros((rows, *values.shape[1:]), field.dtype)
    chunk[: len(values)] = values
    return chunk
