"""The beginning of a chunk: as much as is wanted, the same bytes as of the whole."""

from functools import partial
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from datasets import foreign

import ooc
from ooc.store.chunks import BadChunkError, open_reader
from ooc.store.chunks.beginnings import decode_beginning
from ooc.store.chunks.codecs import DecodeError, decode_blosc, decode_zstd, verify_crc32c

VALUES = np.random.default_rng(0).integers(0, 1000, 200_000).astype(np.int32)
RAW = VALUES.tobytes()


def frame(**settings: Any) -> memoryview:
    return memoryview(numcodecs.Zstd(**settings).encode(VALUES))


@pytest.mark.parametrize("needed", [1, 131_072, 131_073, 400_000, len(RAW) - 1, len(RAW)])
def test_the_beginning_of_a_frame_is_that_of_the_whole(needed: int) -> None:
    out = np.full(len(RAW), 7, np.uint8)
    assert decode_beginning((decode_zstd,), frame(), out, needed) == needed
    assert out[:needed].tobytes() == RAW[:needed]
    assert np.all(out[needed:] == 7), "nothing is written behind it"


@pytest.mark.parametrize(
    ("decoder", "codec"),
    [(decode_zstd, numcodecs.Zstd(checksum=True)), (decode_blosc, numcodecs.Blosc())],
)
def test_what_is_checked_as_a_whole_is_decoded_as_a_whole(decoder: Any, codec: Any) -> None:
    out = np.empty(len(RAW), np.uint8)
    assert decode_beginning((decoder,), memoryview(codec.encode(VALUES)), out, 4) == len(RAW)
    assert out.tobytes() == RAW


def test_a_checksum_of_stored_bytes_is_compared_whatever_is_wanted() -> None:
    decoders = (partial(verify_crc32c, location="end"), decode_zstd)
    stored = bytearray(numcodecs.CRC32C(location="end").encode(numcodecs.Zstd().encode(VALUES)))
    out = np.empty(len(RAW), np.uint8)
    assert decode_beginning(decoders, memoryview(stored), out, 8) == 8
    assert out[:8].tobytes() == RAW[:8]
    stored[-100] ^= 1
    with pytest.raises(DecodeError, match="CRC-32C is"):
        decode_beginning(decoders, memoryview(stored), out, 8)


def test_frames_that_end_early_or_are_of_another_size_are_refused() -> None:
    out = np.empty(len(RAW), np.uint8)
    with pytest.raises(DecodeError, match=r"its frame ends after [\d,]+ of 800,000 bytes"):
        decode_beginning((decode_zstd,), frame()[:-1000], out, len(RAW) - 4)
    with pytest.raises(DecodeError, match="it decodes to 800,000 bytes, not to 800,004"):
        decode_beginning((decode_zstd,), frame(), np.empty(len(RAW) + 4, np.uint8), 4)
    spoilt = bytearray(frame())
    spoilt[20:200] = bytes(180)
    with pytest.raises(DecodeError):
        decode_beginning((decode_zstd,), memoryview(spoilt), out, 131_072)


def test_rows_are_read_from_chunks_of_which_a_part_was_decoded_before(tmp_path: Path) -> None:
    """A thread keeps the last chunk: rows behind what is there are decoded, not made up."""
    values = np.random.default_rng(1).standard_normal((90_000, 2))
    x = {"data": values, "chunks": (40_000, 2), "compressors": zarr.codecs.ZstdCodec()}
    reader = open_reader(ooc.open(foreign(tmp_path / "a.zarr", 3, X=x)), "X")
    for start, stop in [(5, 9), (30_000, 30_007), (10, 20), (39_990, 40_010), (40_005, 90_000)]:
        out = np.empty((stop - start, 2))
        reader.read_runs([(start, stop)], out)
        np.testing.assert_array_equal(out, values[start:stop])


def test_runs_that_overlap_are_read_each_to_its_end(tmp_path: Path) -> None:
    """A chunk in which one run ends may be in the midst of another one."""
    values = np.random.default_rng(1).standard_normal((120_000, 3))
    x = {"data": values, "chunks": (40_000, 2), "compressors": zarr.codecs.ZstdCodec()}
    reader = open_reader(ooc.open(foreign(tmp_path / "a.zarr", 3, X=x)), "X")
    for runs in ([(0, 50_000), (10, 119_000)], [(10, 119_000), (40_000, 50_000)]):
        out = np.empty((sum(stop - start for start, stop in runs), 3))
        reader.read_runs(runs, out)
        np.testing.assert_array_equal(out, np.concatenate([values[slice(*run)] for run in runs]))


def test_damage_behind_wanted_rows_is_told_by_those_that_it_concerns(tmp_path: Path) -> None:
    values = np.random.default_rng(2).standard_normal(80_000)
    x = {"data": values, "chunks": (40_000,), "compressors": zarr.codecs.ZstdCodec()}
    path = foreign(tmp_path / "a.zarr", 3, X=x)
    file = path / "X" / "c" / "1"
    file.write_bytes(file.read_bytes()[:-1000])
    reader, out = open_reader(ooc.open(path), "X"), np.empty(10)
    reader.read_runs([(40_000, 40_010)], out)
    np.testing.assert_array_equal(out, values[40_000:40_010])
    with pytest.raises(BadChunkError, match=r"chunk 1 of array X .* rows 40000 to 79999"):
        reader.read_runs([(79_990, 80_000)], out)
