"""Whole chunks by one compiled call: the values that zarr-python has, or they are left to be told.

What damage and lost files come to is held to in the tests of both ways, see `either_way`.
"""

import errno
import gc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, ZstdCodec

import ooc
from ooc.store.chunks import (
    MANY_BYTES,
    BadChunkError,
    at_once,
    c_libraries,
    open_reader,
    reading_kernels,
)
from ooc.store.chunks.at_once import Piece, loaded_kernel
from ooc.store.chunks.codecs import decode_blosc, decode_shuffle, verify_crc32c
from ooc.store.chunks.files import BATCH_BYTES
from ooc.store.chunks.native import NativeReader

ROWS, CHUNK = 103, 8
VALUES = np.random.default_rng(3).standard_normal((ROWS, 5)).round(2)
# How chunks are stored, by the version of the format.
STORED: dict[str, tuple[int, dict[str, Any]]] = {
    "plain": (3, {"compressors": None}),
    "lz4, bit shuffle": (3, {"compressors": BloscCodec(cname="lz4", shuffle="bitshuffle")}),
    "zstd in blosc": (3, {"compressors": BloscCodec(cname="zstd", shuffle="shuffle")}),
    "zlib in blosc": (2, {"compressors": numcodecs.Blosc("zlib")}),
    "zstd": (3, {"compressors": ZstdCodec()}),
    "zstd with a checksum": (3, {"compressors": ZstdCodec(checksum=True)}),
    "lz4": (2, {"compressors": numcodecs.LZ4()}),
    "blosc, crc32c": (3, {"compressors": [BloscCodec(), zarr.codecs.Crc32cCodec()]}),
    "crc32c alone": (3, {"compressors": [zarr.codecs.Crc32cCodec()]}),
    "sharded": (3, {"shards": (32, 5), "compressors": [BloscCodec(), zarr.codecs.Crc32cCodec()]}),
}
MODES = ("direct", "buffered", "auto")


def write(path: Path, how: str, values: np.ndarray = VALUES, chunk: int = CHUNK) -> Path:
    version, options = STORED[how]
    group = zarr.create_group(path, zarr_format=version)
    chunks = (chunk, *values.shape[1:])
    array = group.create_array(
        "X", shape=values.shape, chunks=chunks, dtype=values.dtype, **options
    )
    array[...] = values
    return path


def reader_of(path: Path, io: str = "auto") -> NativeReader:
    reader = open_reader(ooc.open(path), "X", io)
    assert isinstance(reader, NativeReader)
    return reader


def read_whole(reader: NativeReader, runs: list[tuple[int, int]], out: np.ndarray) -> list[Piece]:
    assert reader.whole is not None
    return reader.whole.read(runs, out, reader._stored_file)


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("io", MODES)
@pytest.mark.parametrize("how", STORED)
def test_whole_chunks_are_what_zarr_python_reads_and_the_rest_is_left(
    tmp_path: Path, how: str, io: str
) -> None:
    path = write(tmp_path / "a.zarr", how)
    known = zarr.open_group(path, mode="r")["X"][...]
    reader = reader_of(path, io)
    runs = [(0, 16), (19, 50), (64, 64), (72, 79), (88, ROWS)]
    rows = np.concatenate([np.arange(*run) for run in runs])
    out = np.full((len(rows), 5), -7.0)
    left = read_whole(reader, runs, out)
    assert [(each.run, each.start, each.stop) for each in left] == [
        (1, 19, 24), (1, 48, 50), (3, 72, 79), (4, 96, ROWS),
    ]  # fmt: skip
    is_left = np.isin(rows, np.concatenate([np.arange(each.start, each.stop) for each in left]))
    np.testing.assert_array_equal(out[~is_left], known[rows[~is_left]])
    assert (out[is_left] == -7).all()
    reader.read_runs(runs, out)
    np.testing.assert_array_equal(out, known[rows])


@pytest.mark.slow
@given(cuts=st.sets(st.integers(0, ROWS), min_size=2), data=st.data())
def test_any_runs_are_read(
    tmp_path_factory: pytest.TempPathFactory, cuts: set[int], data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.zarr"
    if not path.exists():
        write(path, "sharded")
    ends = sorted(cuts)
    runs = list(zip(ends[::2], ends[1::2], strict=False))
    reader = reader_of(path, data.draw(st.sampled_from(MODES)))
    rows = np.concatenate([np.arange(*run) for run in runs])
    out = np.zeros((len(rows), 5))
    reader.read_runs(runs, out)
    np.testing.assert_array_equal(out, VALUES[rows])


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("io", MODES)
def test_many_batches_of_large_chunks_and_of_neighbours(tmp_path: Path, io: str) -> None:
    """Chunks of a third of a batch, of which two fit, and small ones that share requests."""
    large = np.random.default_rng(5).integers(0, 2**60, (40, BATCH_BYTES // 24))
    write(tmp_path / "large.zarr", "zstd", large, 1)
    small = np.arange(4000.0).reshape(2000, 2)
    group = zarr.create_group(tmp_path / "small.zarr")
    group.create_array("X", data=small, chunks=(2, 2), shards=(1000, 2))
    for name, values in (("large.zarr", large), ("small.zarr", small)):
        reader = reader_of(tmp_path / name, io)
        out = np.zeros_like(values)
        assert read_whole(reader, [(0, len(values))], out) == []
        np.testing.assert_array_equal(out, values)


def test_a_chunk_that_fits_no_batch_is_left(tmp_path: Path) -> None:
    values = np.random.default_rng(5).integers(0, 2**62, (4, BATCH_BYTES // 8))
    reader = reader_of(write(tmp_path / "a.zarr", "plain", values, 1))
    out = np.zeros_like(values)
    assert [(each.start, each.stop) for each in read_whole(reader, [(1, 3)], out[:2])] == [(1, 3)]
    reader.read_runs([(0, 4)], out)
    np.testing.assert_array_equal(out, values)


@pytest.mark.parametrize("how", [each for each in STORED if "crc" in each or "checksum" in each])
def test_any_bit_of_a_chunk_that_is_not_what_was_written_is_left(tmp_path: Path, how: str) -> None:
    path = write(tmp_path / "a.zarr", how)
    file = path / "X" / "c" / "0" / "0"
    whole_file = file.read_bytes()
    reader = reader_of(path)
    for bit in range(0, 8 * len(whole_file), 37):
        damaged = bytearray(whole_file)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        out = np.zeros((CHUNK, 5))
        if not (left := read_whole(reader, [(0, CHUNK)], out)):
            # Of a frame's header some bits have no meaning.
            np.testing.assert_array_equal(out, VALUES[:CHUNK])
            assert "crc" not in how
        else:
            assert [(each.start, each.stop) for each in left] == [(0, CHUNK)]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("how", ["lz4, bit shuffle", "zlib in blosc", "zstd in blosc", "lz4"])
def test_damage_that_no_checksum_tells_does_no_harm(tmp_path: Path, how: str) -> None:
    path = write(tmp_path / "a.zarr", how)
    file = path / "X" / ("c/0/0" if STORED[how][0] == 3 else "0.0")
    whole_file = file.read_bytes()
    reader = reader_of(path)
    for byte in range(len(whole_file)):
        for value in (0, 0x7F, 0xFF):
            damaged = bytearray(whole_file)
            damaged[byte] = value
            file.write_bytes(damaged)
            out = np.full((CHUNK + 2, 5), -7.0)
            read_whole(reader, [(0, CHUNK)], out[1:-1])
            assert (out[[0, -1]] == -7).all(), "nothing beside the chunk is written"


def test_errors_that_pass_are_counted_and_the_chunk_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = reader_of(write(tmp_path / "a.zarr", "lz4"))
    kernel = loaded_kernel()

    def fails(*given: Any) -> int:
        left = kernel(*given)
        given[-1][1] = errno.EIO
        return left + 1

    monkeypatch.setattr(at_once, "loaded_kernel", lambda: fails)
    out = np.zeros((24, 5))
    reader.read_runs([(0, 24)], out)
    np.testing.assert_array_equal(out, VALUES[:24])
    assert reader.retries == 1


def test_where_waiting_does_not_end_chunks_are_read_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = reader_of(write(tmp_path / "a.zarr", "zstd"), "direct")
    monkeypatch.setattr(at_once, "loaded_kernel", lambda: lambda *given: -1)
    out = np.zeros((24, 5))
    reader.read_runs([(0, 24)], out)
    np.testing.assert_array_equal(out, VALUES[:24])


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("io", MODES)
@pytest.mark.parametrize(
    ("start", "size"),
    [(0, 0), (4096, 0), (2**63 - 1, 10), (2**63 - 4096, 2**62), (2**64 - 2, 2), (0, 2**63)],
)
def test_an_index_that_lies_reads_nothing_and_leaves_its_chunk_alone(
    tmp_path: Path, io: str, start: int, size: int
) -> None:
    reader = reader_of(write(tmp_path / "a.zarr", "sharded"), io)
    find = reader._stored_file

    def lies(number: int) -> Any:
        file = find(number)
        assert file is not None
        entries = file.entries.copy()
        entries[1] = start, size
        return replace(file, entries=entries)

    out = np.full((32, 5), -7.0)
    assert reader.whole is not None
    left = reader.whole.read([(0, 32)], out, lies)
    assert [(each.start, each.stop) for each in left] == [(8, 16)]
    np.testing.assert_array_equal(
        np.delete(out, slice(8, 16), 0), np.delete(VALUES[:32], slice(8, 16), 0)
    )
    assert (out[8:16] == -7).all()


def test_files_go_with_their_reader(tmp_path: Path) -> None:
    """At once, and not when garbage is collected."""
    reader = reader_of(write(tmp_path / "a.zarr", "zstd"))
    reader.read_runs([(0, ROWS)], np.zeros((ROWS, 5)))
    gone = weakref.ref(reader)
    gc.disable()
    try:
        del reader
        assert gone() is None
    finally:
        gc.enable()


def test_chunks_that_are_not_there_are_filled_or_told(tmp_path: Path) -> None:
    for how, name in (("zstd", "c/1/0"), ("sharded", "c/1/0")):
        path = write(tmp_path / how, how)
        (path / "X" / name).unlink()
        first = CHUNK if how == "zstd" else 32
        out = np.ones((2 * first, 5))
        bad: list[BadChunkError] = []
        open_reader(ooc.open(path), "X").read_runs([(0, 2 * first)], out, bad)
        assert {each.rows[0] for each in bad} == set(range(first, 2 * first, CHUNK))
        np.testing.assert_array_equal(out[:first], VALUES[:first])
        open_reader(ooc.open(path, missing="fill"), "X").read_runs([(0, 2 * first)], out)
        assert (out[first:] == 0).all()


def test_without_its_library_a_codec_is_left_to_the_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.zarr", "blosc, crc32c")
    monkeypatch.setattr(c_libraries, "_function", lambda *_: None)
    for looked_up in (c_libraries._checksum, c_libraries._decoder):
        looked_up.cache_clear()
    try:
        assert c_libraries.chunk_decoder([decode_blosc]) is None
        assert c_libraries.chunk_decoder([verify_crc32c, decode_blosc]) is None
        reader = open_reader(ooc.open(path), "X")
        assert isinstance(reader, NativeReader) and reader.whole is None
        out = np.zeros((24, 5))
        reader.read_runs([(0, 24)], out)
    finally:
        for looked_up in (c_libraries._checksum, c_libraries._decoder):
            looked_up.cache_clear()
    np.testing.assert_array_equal(out, VALUES[:24])


def test_a_library_that_does_something_else_by_that_name_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(c_libraries, "_function", lambda *_: lambda *given: 0)
    for looked_up in (c_libraries._checksum, c_libraries._decoder):
        assert looked_up.__wrapped__(*[c_libraries.ZSTD] * (looked_up is c_libraries._decoder)) == 0


def test_what_has_no_whole_way_is_not_taken_for_it() -> None:
    assert c_libraries.chunk_decoder([decode_shuffle]) is None
    assert c_libraries.chunk_decoder([decode_blosc, decode_shuffle]) is None


def test_few_bytes_ask_for_no_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ooc.store.chunks.loaded_kernel", lambda: None)
    path = write(tmp_path / "a.zarr", "zstd")
    assert reading_kernels(ooc.open(path)) == []
    monkeypatch.setattr("ooc.store.chunks.MANY_BYTES", VALUES.nbytes)
    (found,) = reading_kernels(ooc.open(path))
    assert "read_chunks" in found.name and VALUES.nbytes < MANY_BYTES
