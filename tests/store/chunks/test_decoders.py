"""Decoders by themselves: what they refuse is told with both numbers, and no more is decoded."""

import bz2
import gzip
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any

import crc32c
import numcodecs
import numpy as np
import pytest
import zstandard

from ooc.store.chunks.codecs import (
    DecodeError,
    NotNativeError,
    decode_blosc,
    decode_bz2,
    decode_chunk,
    decode_deflate,
    decode_lz4,
    decode_lzma,
    decode_shuffle,
    decode_zstd,
    find_decoder,
    most_stored_bytes,
    verify_crc32c,
    zstd_content_size,
)

DATA = np.random.default_rng(0).integers(0, 4, 1200, "u1").tobytes()
SUM = struct.pack("<I", crc32c.crc32c(DATA))


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(DecodeError) as caught:
        call()
    return str(caught.value)


def test_as_many_bytes_are_taken_as_a_chunk_may_have_stored() -> None:
    """An eighth more, and 64 KiB."""
    assert [most_stored_bytes(size) for size in (0, 7, 8, 800_000)] == [
        65_536, 65_543, 65_545, 965_536,
    ]  # fmt: skip


def test_checksums_are_told_with_both_numbers() -> None:
    assert bytes(verify_crc32c(memoryview(DATA + SUM))) == DATA
    assert bytes(verify_crc32c(memoryview(SUM + DATA), location="start")) == DATA
    assert bytes(verify_crc32c(memoryview(b"\0\0\0\0"))) == b""
    wrong = memoryview(DATA + b"\1\2\3\4")
    assert refused(lambda: verify_crc32c(wrong)) == (
        f"its CRC-32C is {crc32c.crc32c(DATA):08x}, but 04030201 was stored with it"
    )
    assert refused(lambda: verify_crc32c(memoryview(b"abc"))) == (
        "it has 3 bytes, too few for a checksum"
    )


BLOSC = bytes(numcodecs.Blosc("lz4").encode(DATA))
LZ4 = bytes(numcodecs.LZ4().encode(DATA))
ZSTD = bytes(numcodecs.Zstd().encode(DATA))
SIZED: list[tuple[Callable[..., Any], bytes]] = [
    (decode_blosc, BLOSC), (decode_lz4, LZ4), (decode_zstd, ZSTD),
]  # fmt: skip


@pytest.mark.parametrize(("decode", "stored"), SIZED)
def test_a_size_in_a_header_is_checked_before_it_is_trusted(
    decode: Callable[..., Any], stored: bytes
) -> None:
    out = np.zeros(1200, np.uint8)
    assert decode(memoryview(stored), out, 1200).obj is out and out.tobytes() == DATA
    assert bytes(decode(memoryview(stored), None, 1200)) == DATA
    assert bytes(decode(memoryview(stored), None, 5000)) == DATA
    for memory, most in ((None, 1199), (np.zeros(1199, np.uint8), 1199)):
        assert refused(lambda m=memory, n=most: decode(memoryview(stored), m, n)) == (
            "it decodes to 1,200 bytes, not to 1,199"
        )
    larger = np.zeros(1201, np.uint8)
    assert "it decodes to 1,200 bytes" in refused(lambda: decode(memoryview(stored), larger, 1201))
    assert not larger.any()


def test_headers_that_lack_bytes_are_told() -> None:
    assert refused(lambda: decode_blosc(memoryview(BLOSC[:15]), None, 9)) == (
        "it has 15 bytes, too few for a blosc header"
    )
    assert refused(lambda: decode_blosc(memoryview(BLOSC[:-1]), None, 1200)) == (
        f"its blosc header notes {len(BLOSC):,} bytes, it has {len(BLOSC) - 1:,}"
    )
    assert refused(lambda: decode_blosc(memoryview(BLOSC + b"x"), None, 1200)) == (
        f"its blosc header notes {len(BLOSC):,} bytes, it has {len(BLOSC) + 1:,}"
    )
    assert refused(lambda: decode_lz4(memoryview(b"abc"), None, 9)) == (
        "it has 3 bytes, too few for an LZ4 header"
    )
    for stored in (b"", b"abcdefgh", ZSTD[:5]):
        said = refused(lambda stored=stored: decode_zstd(memoryview(stored), None, 9))
        assert said == "it does not begin as a Zstandard frame"


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_791, 65_792, 70_000])
def test_sizes_of_zstandard_frames_are_read_from_each_of_their_fields(size: int) -> None:
    """Of one, two, four and eight bytes, with a window before them and a dictionary's number."""
    data = bytes(size)
    plain = zstandard.ZstdCompressor(write_content_size=True).compress(data)
    assert zstd_content_size(memoryview(plain)) == size
    without = zstandard.ZstdCompressor(write_content_size=False).compress(data)
    assert zstd_content_size(memoryview(without)) is None
    # RFC 8878, 3.1.1: descriptor, window unless a single segment, dictionary's number, size.
    for numbered, bytes_of in enumerate((0, 1, 2, 4)):
        for flag, width in ((1, 2), (2, 4), (3, 8)):
            frame = b"\x28\xb5\x2f\xfd" + bytes([flag << 6 | numbered, 0]) + b"\7" * bytes_of
            noted = 1000 - (256 if width == 2 else 0)
            frame += noted.to_bytes(width, "little") + b"x"
            assert zstd_content_size(memoryview(frame)) == 1000


def test_a_zstandard_frame_without_a_size_is_decoded_as_far_as_a_chunk() -> None:
    stored = memoryview(zstandard.ZstdCompressor(write_content_size=False).compress(DATA))
    assert bytes(decode_zstd(stored, None, 1200)) == DATA
    said = refused(lambda: decode_zstd(stored, None, 1199))
    assert said.startswith("its frame does not decode to 1,199 bytes or less: ")


def raw(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_RAW, filters=RAW)


RAW = [{"id": lzma.FILTER_LZMA2, "preset": 1}]
STREAMS: dict[str, tuple[Callable[..., Any], Callable[[bytes], bytes], dict[str, Any]]] = {
    "gzip": (decode_deflate, gzip.compress, {}),
    "zlib": (decode_deflate, zlib.compress, {}),
    "bz2": (decode_bz2, bz2.compress, {}),
    "xz": (decode_lzma, lzma.compress, {}),
    "alone": (decode_lzma, lambda d: lzma.compress(d, lzma.FORMAT_ALONE),
              {"format": lzma.FORMAT_ALONE}),
    "raw": (decode_lzma, raw, {"format": lzma.FORMAT_RAW, "filters": RAW}),
    # Settings of filters are of raw streams alone.
    "xz, filters": (decode_lzma, lzma.compress, {"filters": RAW}),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_decoded_as_far_as_a_chunk(name: str) -> None:
    decode, encode, settings = STREAMS[name]
    stored = encode(DATA)
    assert bytes(decode(memoryview(stored), None, 1200, **settings)) == DATA
    assert refused(lambda: decode(memoryview(stored), None, 1199, **settings)) == (
        "it decodes to more than 1,199 bytes"
    )
    assert refused(lambda: decode(memoryview(stored[:-8]), None, 1200, **settings)) == (
        "it ends before its last byte"
    )


@pytest.mark.parametrize("name", ["gzip", "bz2", "xz"])
def test_several_streams_are_one_chunk(name: str) -> None:
    decode, encode, _ = STREAMS[name]
    both = encode(DATA[:700]) + b"\0" * 8 + encode(DATA[700:]) + b"\0" * 4
    assert bytes(decode(memoryview(both), None, 1200)) == DATA
    assert "more than 1,199 bytes" in refused(lambda: decode(memoryview(both), None, 1199))


def test_a_shuffle_is_undone_by_the_size_of_elements() -> None:
    for size in (1, 2, 4, 8):
        stored = np.frombuffer(DATA, "u1").reshape(-1, size).T.tobytes()
        assert bytes(decode_shuffle(memoryview(stored), None, 1200, elementsize=size)) == DATA
    # HDF5's default, and what metadata may leave out.
    stored = np.frombuffer(DATA, "u1").reshape(-1, 4).T.tobytes()
    assert bytes(find_decoder("shuffle", {})(memoryview(stored), None, 1200)) == DATA


def test_a_chain_of_decoders_fills_the_memory_of_its_caller() -> None:
    out = np.zeros(1200, np.uint8)
    decode_chunk([], memoryview(DATA), out)
    assert out.tobytes() == DATA
    stored = numcodecs.Zlib().encode(BLOSC)
    out[:] = 0
    decode_chunk([decode_deflate, decode_blosc], memoryview(stored), out)
    assert out.tobytes() == DATA
    # On its way a chunk may be as much larger as one is stored.
    wide = DATA + bytes(most_stored_bytes(1200) - 1204)
    wide += struct.pack("<I", crc32c.crc32c(wide))
    assert (
        refused(
            lambda: decode_chunk(
                [decode_deflate, verify_crc32c], memoryview(zlib.compress(wide)), out
            )
        )
        == f"it decodes to {len(wide) - 4:,} bytes, not to 1,200"
    )
    wider = zlib.compress(bytes(most_stored_bytes(1200) + 1))
    assert "more than" in refused(
        lambda: decode_chunk([decode_deflate, verify_crc32c], memoryview(wider), out)
    )
    for size in (1199, 1201):
        assert refused(lambda size=size: decode_chunk([], memoryview(bytes(size)), out)) == (
            f"it decodes to {size:,} bytes, not to 1,200"
        )
    broken = memoryview(b"no gzip at all")
    assert refused(lambda: decode_chunk([decode_deflate], broken, out)).startswith("error: ")


def test_decoders_are_found_by_the_names_of_both_versions() -> None:
    stored = memoryview(zlib.compress(DATA))
    for name in ("zlib", "numcodecs.zlib", "gzip"):
        assert bytes(find_decoder(name, {"level": 3})(stored, None, 1200)) == DATA
    for name in ("wonder", "numcodecs.wonder"):
        with pytest.raises(NotNativeError) as caught:
            find_decoder(name, {})
        assert str(caught.value) == f"its codec is {name}"
    # A filter's numbers may be as wide as before, and no wider.
    settings = {"dtype": "<i2", "astype": "<i2"}
    deltas = numcodecs.Delta("<i2").encode(np.array([5, 7, 4], "<i2")).tobytes()
    found = find_decoder("delta", settings)(memoryview(deltas), None, 6)
    assert np.frombuffer(found, "<i2").tolist() == [5, 7, 4]
    with pytest.raises(NotNativeError, match=r"^its codec is delta$"):
        find_decoder("delta", {**settings, "astype": "<i4"})
