"""Which way an array is read, and the memory that takes: by its layout, its size and the policy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from datasets import write_dataset
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.core.errors import InputError
from ooc.store import chunks
from ooc.store.chunks import files, open_reader, read_path, scratch_bytes
from ooc.store.chunks.codecs import NotNativeError, most_stored_bytes
from ooc.store.chunks.files import choose_mode
from ooc.store.chunks.general import ZarrReader
from ooc.store.chunks.layout import ChunkLayout, native_layout, shard_layout
from ooc.store.conventions import PIECE_BYTES, read_conventions
from ooc.store.members import quiet
from ooc.store.selection import Selection
from ooc.store.sparse import SparseSpec
from ooc.store.spec import ArraySpec

MIB = 2**20


@pytest.mark.parametrize(
    ("policy", "size", "direct", "mode"),
    [
        ("auto", 250, True, "cached"), ("auto", 251, True, "direct"),
        ("auto", 251, False, "buffered"), ("auto", 0, False, "cached"),
        ("direct", 1, True, "direct"), ("direct", 1, False, "buffered"),
        ("buffered", 1, True, "buffered"), ("buffered", 10**9, True, "buffered"),
    ],
)  # fmt: skip
def test_what_fits_a_quarter_of_memory_is_read_through_the_page_cache(
    monkeypatch: pytest.MonkeyPatch, policy: str, size: int, direct: bool, mode: str
) -> None:
    monkeypatch.setattr(files, "allowed_bytes", lambda: 1000)
    monkeypatch.setattr(files, "takes_direct_io", lambda path: direct)
    assert choose_mode(policy, size, Path("x")) == mode


def test_another_policy_is_refused() -> None:
    for policy in ("cached", "fast", ""):
        with pytest.raises(InputError) as caught:
            choose_mode(policy, 1, Path("x"))
        assert str(caught.value) == f"io is one of auto, direct, buffered, not {policy!r}"


def test_the_size_of_all_rows_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = write_dataset(tmp_path / "a.zarr", X=np.ones((40, 5), "f4"), y=np.ones(40, "f4"))
    monkeypatch.setattr(files, "takes_direct_io", lambda path: path.exists())
    for allowed, x, y in ((3200, "cached", "cached"), (3199, "direct", "cached"),
                          (639, "direct", "direct")):  # fmt: skip
        monkeypatch.setattr(files, "allowed_bytes", lambda allowed=allowed: allowed)
        assert (read_path(dataset, "X").mode, read_path(dataset, "y").mode) == (x, y)
    assert read_path(dataset, "X").describe() == "native, direct: past the page cache"
    # A side of a split is read from the same files.
    side = replace(dataset, selection=Selection("row", 1, (5,), True, 1))
    assert read_path(side, "y").mode == "direct"
    assert read_path(dataset, "X", "buffered").describe() == (
        "native, buffered: through the page cache, dropped behind"
    )
    monkeypatch.setattr(files, "allowed_bytes", lambda: 10**9)
    assert read_path(dataset, "X").describe() == (
        "native, cached: through the page cache, as it fits into memory"
    )
    for call in (read_path, open_reader):
        with pytest.raises(InputError, match="not 'fast'"):
            call(dataset, "X", "fast")
    reader: Any = open_reader(dataset, "X", "buffered")
    assert reader.files.mode == "buffered"


def test_what_is_behind_an_address_is_asked_for(tmp_path: Path) -> None:
    where = f"memory://{tmp_path.name}-path.zarr"
    zarr.create_group(where).create_array("X", data=np.ones((9, 2)), chunks=(3, 2))
    dataset = ooc.open(where)
    assert read_path(dataset, "X").describe() == (
        "native, requests: from a server, neighbours together"
    )
    out = np.zeros((9, 2))
    open_reader(dataset, "X").read_runs([(0, 9)], out)
    assert out.all()


@pytest.mark.parametrize("shards", [None, (6, 2)])
def test_a_chunk_that_is_an_object_is_asked_for_whole(tmp_path: Path, shards: Any) -> None:
    where = f"memory://{tmp_path.name}-{shards is None}.zarr"
    group = zarr.create_group(where)
    group.create_array("X", data=np.ones((9, 2)), chunks=(3, 2), shards=shards)
    reader: Any = open_reader(ooc.open(where), "X")
    assert reader.files._whole == (shards is None)
    assert reader.files._store.most_bytes == most_stored_bytes(3 * 2 * 8)


def test_what_goes_through_zarr_python_says_why_and_takes_the_same_policies(
    tmp_path: Path,
) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    delta = numcodecs.Delta("<f4", "<f8")
    group.create_array("X", data=np.ones((9, 2), "f4"), chunks=(3, 2), filters=[delta])
    dataset = ooc.open(tmp_path / "a.zarr")
    assert read_path(dataset, "X", "direct").describe() == "zarr-python: its codec is delta"
    assert isinstance(open_reader(dataset, "X"), ZarrReader)
    for call in (read_path, open_reader):
        with pytest.raises(InputError, match="io is one of auto, direct, buffered, not 'fast'"):
            call(dataset, "X", "fast")


def test_of_sparse_rows_the_way_of_their_values_is_told(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "a.zarr", random_matrix(30, 5))
    assert read_path(ooc.open(path), "X", "buffered").mode == "buffered"
    reader: Any = open_reader(ooc.open(path), "X", "buffered")
    assert [part.files.mode for part in reader.parts] == ["buffered"] * 3


def array_of(path: Path, version: int = 3, dtype: str = "f4", **options: Any) -> zarr.Array:
    group = zarr.open_group(path, mode="a", zarr_format=version)
    return group.create_array("X", shape=(20, 6), chunks=(4, 3), dtype=dtype, **options)


def why_not(array: zarr.Array) -> str:
    with pytest.raises(NotNativeError) as caught:
        native_layout(array, "here")
    return str(caught.value)


def test_layouts_that_are_not_native_say_why(tmp_path: Path) -> None:
    bytes_ = zarr.codecs.BytesCodec()
    order = zarr.codecs.TransposeCodec(order=(1, 0))
    assert why_not(array_of(tmp_path / "a", dtype="M8[s]")) == "its dtype is datetime64[s]"
    crc = zarr.codecs.Crc32cCodec()
    sharded = zarr.codecs.ShardingCodec(
        chunk_shape=(4, 3), index_codecs=[bytes_, zarr.codecs.ZstdCodec()]
    )
    array = zarr.create(store=tmp_path / "b", shape=(20, 6), chunks=(8, 6), codecs=[sharded])
    assert why_not(array) == "its shard index is encoded by bytes, zstd"
    again = zarr.codecs.ShardingCodec(chunk_shape=(4, 3))
    with quiet():
        array = zarr.create(store=tmp_path / "c", shape=(20, 6), chunks=(8, 6), codecs=[again, crc])
    assert why_not(array) == "its shards are encoded again by crc32c"
    layout = native_layout(array_of(tmp_path / "d", filters=[order]), "here")
    assert layout.axes == (1, 0) and not layout.is_plain
    for order, axes in (("C", (0, 1)), ("F", (1, 0))):
        old = array_of(tmp_path / order, 2, order=order)
        assert native_layout(old, "here").axes == axes


@pytest.mark.parametrize("orders", [[(1, 2, 0)], [(1, 2, 0), (0, 2, 1)], [(2, 0, 1), (1, 2, 0)]])
def test_axes_that_were_changed_twice_are_put_back(tmp_path: Path, orders: Any) -> None:
    values = np.arange(5 * 3 * 4.0).reshape(5, 3, 4)
    filters = [zarr.codecs.TransposeCodec(order=order) for order in orders]
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("X", data=values, chunks=(2, 2, 3), filters=filters)
    dataset = ooc.open(tmp_path / "a.zarr")
    assert read_path(dataset, "X").native
    out = np.zeros((4, 3, 4))
    open_reader(dataset, "X").read_runs([(1, 5)], out)
    np.testing.assert_array_equal(out, values[1:])


def test_an_index_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = array_of(tmp_path / "a.zarr", shards=(20, 6))
    shard = shard_layout(array)
    assert shard is not None
    assert (shard.chunks, shard.index_at_end, shard.index_has_checksum) == ((5, 2), True, True)
    assert shard.index_bytes == 10 * 16 + 4
    monkeypatch.setattr("ooc.store.chunks.layout.MOST_INDEX_BYTES", 164)
    assert shard_layout(array) == shard
    monkeypatch.setattr("ooc.store.chunks.layout.MOST_INDEX_BYTES", 163)
    with pytest.raises(InputError) as caught:
        shard_layout(array)
    assert str(caught.value) == (
        "array X keeps 10 chunks in a shard, whose index alone takes 164 B, above 163 B; write it "
        "again with larger chunks or smaller shards"
    )


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_stored_values_are_seen_in_their_own_order(axes: tuple[int, ...], order: str) -> None:
    values = np.arange(24, dtype="i2").reshape(2, 3, 4)
    stored = values.transpose(axes).astype(f"{order}i2").tobytes()
    layout = ChunkLayout(
        "f", (9, 3, 4), (2, 3, 4), np.dtype("i2"), np.dtype(f"{order}i2"), axes, 0, (),
        str, None,
    )  # type: ignore[arg-type]  # fmt: skip
    assert layout.chunk_bytes == 48
    assert layout.is_plain == (axes == (0, 1, 2) and order == "<")
    np.testing.assert_array_equal(layout.values(np.frombuffer(stored, "u1")), values)


@pytest.mark.parametrize(("location", "codecs", "at_end", "checked"), [
    ("start", ["bytes"], False, False), ("end", ["bytes", "crc32c"], True, True),
])  # fmt: skip
@pytest.mark.parametrize("endian", ["little", "big"])
def test_indices_of_shards_are_where_and_as_metadata_say(
    tmp_path: Path, location: str, codecs: list[str], at_end: bool, checked: bool, endian: Any
) -> None:
    index: list[Any] = [zarr.codecs.BytesCodec(endian=endian)]
    index += [zarr.codecs.Crc32cCodec()] * (len(codecs) - 1)
    sharded = zarr.codecs.ShardingCodec(
        chunk_shape=(4, 3), index_codecs=index, index_location=location
    )
    group = zarr.create_group(tmp_path / "a.zarr")
    array = zarr.create(
        store=group.store, path="X", shape=(20, 6), chunks=(8, 6), codecs=[sharded], dtype="f8"
    )
    array[:] = np.arange(120.0).reshape(20, 6)
    shard = shard_layout(array)
    assert shard is not None
    assert (shard.index_at_end, shard.index_has_checksum) == (at_end, checked)
    assert shard.index_dtype == np.dtype(">u8" if endian == "big" else "<u8")
    for way in (open_reader, ZarrReader):
        out = np.zeros((13, 6))
        way(ooc.open(tmp_path / "a.zarr"), "X").read_runs([(5, 18)], out)
        np.testing.assert_array_equal(out, np.arange(30.0, 108).reshape(13, 6))


SPEC = ArraySpec("X", (10_000, 8), np.dtype("f4"), (100, 8), None)


def test_memory_to_read_is_counted_by_the_larger_way() -> None:
    """Two batches of 2 MiB, two single chunks as stored, one decoded, and the decoder's copies."""
    chunk = 100 * 8 * 4
    native = 4 * MIB + 2 * (chunk + chunk // 8 + 2**16) + chunk + 5 * chunk
    assert scratch_bytes(SPEC, 100) == native
    # Through zarr-python three copies of all chunks that a block touches.
    assert scratch_bytes(SPEC, 100_000) == 3 * 1000 * chunk
    assert scratch_bytes(SPEC, 100_001) == 3 * 1001 * chunk
    large = replace(SPEC, chunks=(10_000, 8))
    assert scratch_bytes(large, 10_000) == max(
        4 * MIB + 2 * (320_000 + 40_000 + 2**16) + 320_000 + 5 * 320_000, 0
    )
    huge = replace(SPEC, shape=(10**6, 8), chunks=(10**5, 8))
    size = 3_200_000
    assert scratch_bytes(huge, 10**5) == max(
        4 * MIB + 2 * (size + size // 8 + 2**16) + size + 5 * MIB // 2, 3 * size
    )
    conventions = read_conventions({"scale_factor": 2}, np.dtype("i2"))
    assert scratch_bytes(replace(SPEC, conventions=conventions), 100) == native + PIECE_BYTES
    units = read_conventions({"units": "m"}, np.dtype("i2"))
    assert scratch_bytes(replace(SPEC, conventions=units), 100) == native


def test_memory_to_read_sparse_rows_is_that_of_their_heaviest_block() -> None:
    parts = (
        ArraySpec("X/data", (10**6,), np.dtype("f4"), (1000,), None),
        ArraySpec("X/indices", (10**6,), np.dtype("i4"), (500,), None),
        ArraySpec("X/indptr", (5,), np.dtype("i8"), (5,), None),
    )
    sparse = SparseSpec(
        "X", (4, 9), np.dtype("f4"), (1, 9), None, parts=parts,
        places=np.array([0, 100_000, 800_000, 900_000, 10**6]), longest=700_000,
    )  # fmt: skip
    for rows, heaviest in ((1, 700_000), (2, 800_000), (4, 10**6), (50, 10**6)):
        wanted = max(chunks.scratch_bytes(part, heaviest) for part in parts[:2])
        assert scratch_bytes(sparse, rows) == wanted
    # What is stored in another type lies aside: eight bytes of each value and column.
    wide = replace(sparse, parts=(replace(parts[0], dtype=np.dtype("f2")), *parts[1:]))
    wanted = max(scratch_bytes(part, 700_000) for part in wide.parts[:2])
    assert scratch_bytes(wide, 1) == wanted + 2 * 8 * 700_000
    # Where few rows have long ones, where they begin may take more.
    long = replace(parts[2], shape=(10**6,), chunks=(10**6,))
    heavy = replace(sparse, parts=(*parts[:2], long))
    assert scratch_bytes(heavy, 1) == scratch_bytes(long, 1) > scratch_bytes(sparse, 1)
    empty = replace(sparse, places=np.zeros(5, np.int64), longest=0)
    assert scratch_bytes(empty, 1) == max(scratch_bytes(part, 1) for part in parts)
