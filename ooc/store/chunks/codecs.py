"""Decode one stored chunk into memory that the caller owns: a codec is an entry of `CODECS`.

Sizes in headers are checked before a codec is trusted with a buffer: it reads as far as they say.
Where there is none, no more is decoded than the chunk can have: some bytes may stand for gigabytes.
"""

import bz2
import inspect
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import crc32c
import numcodecs
import numpy as np
import zstandard

# (stored bytes, memory to fill if it is the last of its chain, most bytes it may decode to) ->
# decoded bytes, which are that memory if it was filled.
Buffer = memoryview
Decoder = Callable[[Buffer, np.ndarray | None, int], Buffer]

# Codecs may need more room than they save, on data that do not compress.
CODEC_OVERHEAD = 64 * 2**10
# What gzip and zlib write in front and behind is found by itself.
_ANY_HEADER = 32 + zlib.MAX_WBITS

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class DecodeError(ValueError):
    """Stored bytes that are not what their codec wrote."""


class NotNativeError(Exception):
    """Why an array goes through zarr-python."""


def most_stored_bytes(decoded: int) -> int:
    """Return the most bytes that a chunk of this size is stored in; more is damage."""
    return decoded + decoded // 8 + CODEC_OVERHEAD


def decode_chunk(decoders: Sequence[Decoder], stored: Buffer, out: np.ndarray) -> None:
    """Decode stored bytes into `out`, a contiguous uint8 array of exactly the chunk's bytes."""
    data, last = stored, len(decoders) - 1
    try:
        for place, decoder in enumerate(decoders):
            if place == last:
                data = decoder(data, out, out.nbytes)
            else:
                data = decoder(data, None, most_stored_bytes(out.nbytes))
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
    stored: Buffer, out: np.ndarray | None = None, most: int = 0, *, location: str = "end"
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


def decode_blosc(stored: Buffer, out: np.ndarray | None, most: int) -> Buffer:
    """Decode blosc, whatever its inner codec and shuffle: the bytes themselves tell."""
    if stored.nbytes < 16:
        raise DecodeError(f"it has {stored.nbytes} bytes, too few for a blosc header")
    decoded, _, packed = struct.unpack("<III", stored[4:16])
    if packed != stored.nbytes:
        raise DecodeError(f"its blosc header notes {packed:,} bytes, it has {stored.nbytes:,}")
    return _into(numcodecs.blosc.decompress, stored, decoded, out, most)


def decode_zstd(stored: Buffer, out: np.ndarray | None, most: int) -> Buffer:
    """Decode one Zstandard frame (RFC 8878)."""
    size = zstd_content_size(stored)
    if size is not None:
        return _into(numcodecs.zstd.decompress, stored, size, out, most)
    try:
        return memoryview(zstandard.ZstdDecompressor().decompress(stored, max_output_size=most))
    except zstandard.ZstdError as error:
        raise DecodeError(f"its frame does not decode to {most:,} bytes or less: {error}") from None


def decode_lz4(stored: Buffer, out: np.ndarray | None, most: int) -> Buffer:
    """Decode an LZ4 block behind its size, as numcodecs writes it."""
    if stored.nbytes < 4:
        raise DecodeError(f"it has {stored.nbytes} bytes, too few for an LZ4 header")
    size = struct.unpack("<I", stored[:4])[0]
    return _into(numcodecs.lz4.decompress, stored, size, out, most)


def decode_deflate(stored: Buffer, out: np.ndarray | None, most: int) -> Buffer:
    """Decode gzip, of one member or several, or zlib; their checksums are part of the formats."""
    return _members(partial(zlib.decompressobj, _ANY_HEADER), stored, most)


def decode_bz2(stored: Buffer, out: np.ndarray | None, most: int) -> Buffer:
    """Decode bzip2, of one stream or several."""
    return _members(bz2.BZ2Decompressor, stored, most)


def decode_lzma(
    stored: Buffer,
    out: np.ndarray | None,
    most: int,
    *,
    format: int = lzma.FORMAT_XZ,
    filters: Any = None,
) -> Buffer:
    """Decode xz, or what else numcodecs writes by Python's lzma."""
    raw = filters if format == lzma.FORMAT_RAW else None
    return _members(partial(lzma.LZMADecompressor, format, None, raw), stored, most)


def _members(begin: Callable[[], Any], stored: Buffer, most: int) -> Buffer:
    """Decode one member after the other, each by a decompressor of its own."""
    parts, rest, room = [], bytes(stored), most
    while rest:
        member = begin()
        parts.append(member.decompress(rest, room + 1))
        room -= len(parts[-1])
        if room < 0:
            raise DecodeError(f"it decodes to more than {most:,} bytes")
        if not member.eof:
            raise DecodeError("it ends before its last byte")
        rest = member.unused_data.lstrip(b"\0")
    return memoryview(parts[0] if len(parts) == 1 else b"".join(parts))


def decode_shuffle(
    stored: Buffer, out: np.ndarray | None, most: int, *, elementsize: int = 4
) -> Buffer:
    """Put the bytes of each element together again, as they were before HDF5's shuffle."""
    decode = numcodecs.Shuffle(elementsize).decode
    return _into(decode, stored, stored.nbytes, out, most)


def decode_filter(
    stored: Buffer, out: np.ndarray | None, most: int, *, codec: numcodecs.abc.Codec
) -> Buffer:
    """Turn as many numbers back into those that a filter of Zarr v2 was given."""
    decoded = np.ascontiguousarray(codec.decode(stored))
    return memoryview(decoded).cast("B")  # type: ignore[arg-type]


# Filters that make of each number another one, of no more bytes than it had.
FILTERS = ("delta", "fixedscaleoffset")

# By the names of Zarr v3's codecs and of numcodecs' in v2; in v3 those have a prefix. A function's
# keywords are the settings that it needs, with the defaults of those that write them; whatever
# else the metadata say, such as a level, is for the encoder.
CODECS: dict[str, Callable[..., Buffer]] = {
    "blosc": decode_blosc,
    "zstd": decode_zstd,
    "gzip": decode_deflate,
    "crc32c": verify_crc32c,
    "lz4": decode_lz4,
    "zlib": decode_deflate,
    "bz2": decode_bz2,
    "lzma": decode_lzma,
    "shuffle": decode_shuffle,
}


def find_decoder(name: str, settings: Mapping[str, Any]) -> Decoder:
    """Return the decoder of a codec with these settings; NotNativeError says that there is none.

    Examples
    --------
    >>> decoder = find_decoder("crc32c", {"location": "start"})
    >>> bytes(decoder(memoryview(numcodecs.CRC32C(location="start").encode(b"abc")), None, 3))
    b'abc'
    """
    if name in FILTERS:
        as_it_was, stored = (np.dtype(settings[key]) for key in ("dtype", "astype"))
        if stored.itemsize <= as_it_was.itemsize:
            return partial(decode_filter, codec=numcodecs.get_codec({**settings, "id": name}))
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


def _into(decode: Any, stored: Buffer, decoded: int, out: np.ndarray | None, most: int) -> Buffer:
    """Decode into `out`, or without it into new memory, if the header's size is one to expect."""
    if decoded > most or (out is not None and decoded != out.nbytes):
        raise DecodeError(f"it decodes to {decoded:,} bytes, not to {most:,}")
    if out is None:
        return memoryview(decode(stored)).cast("B")
    decode(stored, out)
    return memoryview(out)  # type: ignore[arg-type]
