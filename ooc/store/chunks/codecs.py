"""Decode one stored chunk into memory that the caller owns: a codec is an entry of `CODECS`.

Sizes in headers are checked before a codec is trusted with a buffer: it reads as far as they say.
"""

import inspect
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import crc32c
import numcodecs
import numpy as np

# (stored bytes, memory to fill if it is the last of its chain) -> decoded bytes, which are that
# memory if it was filled.
Buffer = memoryview
Decoder = Callable[[Buffer, np.ndarray | None], Buffer]

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class DecodeError(ValueError):
    """Stored bytes that are not what their codec wrote."""


class NotNativeError(Exception):
    """Why an array goes through zarr-python."""


def decode_chunk(decoders: Sequence[Decoder], stored: Buffer, out: np.ndarray) -> None:
    """Decode stored bytes into `out`, a contiguous uint8 array of exactly the chunk's bytes."""
    data = stored
    try:
        for decoder in decoders:
            data = decoder(data, out if decoder is decoders[-1] else None)
    except DecodeError:
        raise
    except Exception as error:  # codecs raise errors of many unrelated kinds
        raise DecodeError(f"{type(error).__name__}: {error}") from error
    if data.obj is out:
        return
    if data.nbytes != out.nbytes:
        raise DecodeError(f"it decodes to {data.nbytes:,} bytes, not to {out.nbytes:,}")
    out[:] = np.frombuffer(data, np.uint8)


def verify_crc32c(
    stored: Buffer, out: np.ndarray | None = None, *, location: str = "end"
) -> Buffer:
    """Check the CRC-32C in the four bytes at this end and return the other bytes."""
    if stored.nbytes < 4:
        raise DecodeError(f"it has {stored.nbytes} bytes, too few for a checksum")
    body, sum_ = (stored[4:], stored[:4]) if location == "start" else (stored[:-4], stored[-4:])
    # It takes some microseconds: less than to give up the interpreter's lock and get it back.
    found, noted = crc32c.crc32c(body, gil_release_mode=0), struct.unpack("<I", sum_)[0]
    if found != noted:
        raise DecodeError(f"its CRC-32C is {found:08x}, but {noted:08x} was stored with it")
    return body


def decode_blosc(stored: Buffer, out: np.ndarray | None) -> Buffer:
    """Decode blosc, whatever its inner codec and shuffle: the bytes themselves tell."""
    if stored.nbytes < 16:
        raise DecodeError(f"it has {stored.nbytes} bytes, too few for a blosc header")
    decoded, _, packed = struct.unpack("<III", stored[4:16])
    if packed != stored.nbytes:
        raise DecodeError(f"its blosc header notes {packed:,} bytes, it has {stored.nbytes:,}")
    return _into(numcodecs.Blosc(), stored, decoded, out)


def decode_zstd(stored: Buffer, out: np.ndarray | None) -> Buffer:
    """Decode one Zstandard frame (RFC 8878)."""
    return _into(numcodecs.Zstd(), stored, zstd_content_size(stored), out)


def decode_lz4(stored: Buffer, out: np.ndarray | None) -> Buffer:
    """Decode an LZ4 block behind its size, as numcodecs writes it."""
    if stored.nbytes < 4:
        raise DecodeError(f"it has {stored.nbytes} bytes, too few for an LZ4 header")
    return _into(numcodecs.LZ4(), stored, struct.unpack("<I", stored[:4])[0], out)


def decode_deflate(codec: type, stored: Buffer, out: np.ndarray | None) -> Buffer:
    """Decode gzip or zlib; their checksums are part of the formats."""
    return _into(codec(), stored, None, out)


def decode_shuffle(stored: Buffer, out: np.ndarray | None, *, elementsize: int = 4) -> Buffer:
    """Put the bytes of each element together again, as they were before HDF5's shuffle."""
    return _into(numcodecs.Shuffle(elementsize), stored, stored.nbytes, out)


# By the names of Zarr v3's codecs and of numcodecs' in v2; in v3 those have a prefix. A function's
# keywords are the settings that it needs, with the defaults of those that write them; whatever
# else the metadata say, such as a level, is for the encoder.
CODECS: dict[str, Callable[..., Buffer]] = {
    "blosc": decode_blosc,
    "zstd": decode_zstd,
    "gzip": partial(decode_deflate, numcodecs.GZip),
    "crc32c": verify_crc32c,
    "lz4": decode_lz4,
    "zlib": partial(decode_deflate, numcodecs.Zlib),
    "shuffle": decode_shuffle,
}


def find_decoder(name: str, settings: Mapping[str, Any]) -> Decoder:
    """Return the decoder of a codec with these settings; NotNativeError says that there is none.

    Examples
    --------
    >>> decoder = find_decoder("crc32c", {"location": "start"})
    >>> bytes(decoder(memoryview(numcodecs.CRC32C(location="start").encode(b"abc")), None))
    b'abc'
    """
    decode = CODECS.get(name.removeprefix("numcodecs."))
    if decode is None:
        raise NotNativeError(f"its codec is {name}")
    needed = inspect.signature(decode).parameters.values()
    names = [each.name for each in needed if each.kind is each.KEYWORD_ONLY]
    return partial(decode, **{each: settings[each] for each in names if each in settings})


def zstd_content_size(stored: Buffer) -> int | None:
    """Return the decoded size that a Zstandard frame notes, or None if it notes none.

    Examples
    --------
    >>> zstd_content_size(memoryview(numcodecs.Zstd().encode(bytes(1000))))
    1000
    """
    if bytes(stored[:4]) != _ZSTD_MAGIC or stored.nbytes < 6:
        raise DecodeError("it does not begin as a Zstandard frame")
    descriptor = stored[4]
    single_segment = descriptor >> 5 & 1
    size_bytes = (single_segment, 2, 4, 8)[descriptor >> 6]
    if size_bytes == 0:
        return None
    start = 5 + (0 if single_segment else 1) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(stored[start : start + size_bytes], "little")
    return size + 256 if size_bytes == 2 else size


def _into(codec: Any, stored: Buffer, decoded: int | None, out: np.ndarray | None) -> Buffer:
    """Decode into `out` if the header's size is its size; else into new memory."""
    if out is None or decoded is None:
        return memoryview(codec.decode(stored)).cast("B")
    if decoded != out.nbytes:
        raise DecodeError(f"it decodes to {decoded:,} bytes, not to {out.nbytes:,}")
    codec.decode(stored, out=out)
    return memoryview(out)  # type: ignore[arg-type]
