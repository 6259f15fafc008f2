"""Few stored bytes that stand for gigabytes: refused before memory is taken."""

import bz2
import gzip
import io
import lzma
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
import zstandard
from peaks import grown

import ooc
from ooc.core.errors import InputError
from ooc.store.chunks import open_reader
from ooc.store.chunks.codecs import DecodeError, decode_chunk, find_decoder

SIZE = 2**16
FAR = 2**31
# Codecs whose headers say how much there is: they may say more.
SAID = ("blosc", "lz4")


def without_size(size: int) -> bytes:
    """Return a Zstandard frame of zeros that notes no content size."""
    out = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(out, closefd=False) as writer:
        for _ in range(size // SIZE):
            writer.write(bytes(SIZE))
    return out.getvalue()


def deflated(size: int, wbits: int) -> bytes:
    packer = zlib.compressobj(1, wbits=wbits)
    parts = [packer.compress(bytes(SIZE)) for _ in range(size // SIZE)]
    return b"".join([*parts, packer.flush()])


def blosc_that_says(size: int) -> bytes:
    packed = bytearray(numcodecs.Blosc().encode(np.zeros(SIZE, np.uint8)))
    packed[4:8] = struct.pack("<I", size)
    return bytes(packed)


def lz4_that_says(size: int) -> bytes:
    return struct.pack("<I", size) + bytes(numcodecs.LZ4().encode(bytes(SIZE)))[4:]


# Each returns what a codec stores for so many zeros, or says that it does.
BOMBS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "zstd without a size": ("zstd", without_size),
    "gzip": ("gzip", lambda size: deflated(size, 31)),
    "zlib": ("zlib", lambda size: deflated(size, 15)),
    "bz2": ("bz2", lambda size: bz2.compress(bytes(SIZE)) * (size // SIZE)),
    "lzma": ("lzma", lambda size: lzma.compress(bytes(SIZE)) * (size // SIZE)),
    "blosc": ("blosc", blosc_that_says),
    "lz4": ("lz4", lz4_that_says),
}


def decoded(codecs: list[str], stored: bytes, size: int) -> np.ndarray:
    out = np.ones(size, np.uint8)
    decode_chunk([find_decoder(name, {}) for name in codecs], memoryview(stored), out)
    return out


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize(
    "then",
    [
        pytest.param([], id="last"),
        pytest.param(["shuffle"], id="first of two", marks=pytest.mark.slow),
    ],
)
def test_what_decodes_to_more_than_a_chunk_is_refused(name: str, then: list[str]) -> None:
    codec, make = BOMBS[name]
    assert not decoded([codec, *then], make(SIZE), SIZE).any()
    stored = make(2**27 if codec not in SAID else FAR)

    def attack() -> None:
        with pytest.raises(DecodeError, match=r"it decodes to|its frame does not decode"):
            decoded([codec, *then], stored, SIZE)

    assert grown(attack) < 2**25


def test_members_of_gzip_follow_each_other() -> None:
    one, other = gzip.compress(b"a" * 100), gzip.compress(b"b" * 50)
    assert bytes(decoded(["gzip"], one + other, 150)) == b"a" * 100 + b"b" * 50
    with pytest.raises(DecodeError, match="more than 149 bytes"):
        decoded(["gzip"], one + other, 149)
    with pytest.raises(DecodeError, match="ends before its last byte"):
        decoded(["gzip"], one + other[:-9], 150)


@pytest.mark.parametrize("codec", ["gzip", "zlib"])
def test_a_checksum_that_is_wrong_is_seen(codec: str) -> None:
    stored = bytearray(deflated(SIZE, 31 if codec == "gzip" else 15))
    stored[-5 if codec == "gzip" else -1] ^= 1
    with pytest.raises(DecodeError, match=r"incorrect data check|Error -3"):
        decoded([codec], bytes(stored), SIZE)


def test_an_index_of_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """One shard of 100 million chunks, of which two are stored, for an array of four million."""
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    x = group.create_array(
        "X", shape=(4_000_000, 1), chunks=(1, 1), shards=(100_000_000, 1), dtype="f4"
    )
    group.create_array("y", data=np.zeros(4_000_000, np.int8), chunks=(100_000,))
    file = Path(x.store.root, "X", "c", "0", "0")
    file.parent.mkdir(parents=True)
    with file.open("wb") as stream:
        stream.truncate(16 * 100_000_000 + 4)

    def attack() -> None:
        with pytest.raises(InputError, match=r"array X keeps 100,000,000 chunks in a shard, whose"):
            open_reader(ooc.open(tmp_path / "a.zarr"), "X")

    assert grown(attack) < 2**26
