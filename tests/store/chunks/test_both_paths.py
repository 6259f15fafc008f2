"""What is missing or damaged is told alike on the native path and on that through zarr-python."""

import asyncio
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.abc.store import RangeByteRequest, SuffixByteRequest

import ooc
from ooc.core.plain_files import ANY_SIZE
from ooc.store.chunks import BadChunkError, RowReader, general, open_reader
from ooc.store.chunks.codecs import most_stored_bytes
from ooc.store.chunks.general import ZarrReader
from ooc.store.chunks.row_reader import NotStoredError
from ooc.store.dataset import Dataset
from ooc.store.local import PlainStore
from ooc.store.members import quiet

VALUES = np.arange(1.0, 20 * 6 + 1).reshape(20, 6)
BUFFER = zarr.buffer.cpu.buffer_prototype


def write(path: Path, fill: Any = 0, version: int = 3, **options: Any) -> Dataset:
    group = zarr.create_group(path, zarr_format=version)
    array = group.create_array(
        "X", shape=(20, 6), chunks=(4, 3), dtype="f8", fill_value=fill, **options
    )
    array[...] = VALUES
    return ooc.open(path)


WAYS: dict[str, Callable[[Dataset, str], RowReader]] = {
    "native": open_reader, "zarr-python": ZarrReader,
}  # fmt: skip
both_ways = pytest.mark.parametrize("way", WAYS)


def read(dataset: Dataset, way: str, runs: Any, bad: Any = None) -> np.ndarray:
    rows = sum(stop - start for start, stop in runs)
    out = np.full((rows, 6), -7.0)
    WAYS[way](dataset, "X").read_runs(runs, out, bad)
    return out


RUNS = [(1, 7), (9, 18)]
ROWS = np.r_[1:7, 9:18]
SHARDS: list[dict[str, Any]] = [{}, {"shards": (8, 6)}]


def spoil(path: Path, sharded: bool) -> None:
    """Damage what holds chunk (2, 1), of rows 8 to 11 and the last three columns."""
    if not sharded:
        (path / "X" / "c" / "2" / "1").write_bytes(b"cut")
        return
    # Entries of a shard follow each other by rows of chunks: the second one.
    file = path / "X" / "c" / "1" / "0"
    content = bytearray(file.read_bytes())
    index = np.frombuffer(bytes(content[-68:-4]), "<u8").reshape(4, 2)
    start, size = index[1].tolist()
    content[start : start + size] = bytes(size)
    file.write_bytes(content)


@pytest.mark.slow_after(1)
@both_ways
@pytest.mark.parametrize("options", SHARDS)
def test_only_the_damaged_chunk_is_blamed_and_the_others_are_read(
    tmp_path: Path, options: dict[str, Any], way: str
) -> None:
    dataset = write(tmp_path / "a.zarr", **options)
    np.testing.assert_array_equal(read(dataset, way, RUNS), VALUES[ROWS])
    spoil(tmp_path / "a.zarr", bool(options))
    bad: list[BadChunkError] = []
    found = read(dataset, way, RUNS, bad)
    assert [(each.cell, each.rows, each.run) for each in bad] == [((2, 1), (8, 11), 1)]
    file = "c/1/0" if options else "c/2/1"
    assert bad[0].file == f"{tmp_path / 'a.zarr'}/X/{file}"
    wanted = VALUES[ROWS]
    lost = (ROWS[:, None] // 4 == 2) & (np.arange(6) // 3 == 1)
    np.testing.assert_array_equal(found[~lost], wanted[~lost])
    with pytest.raises(BadChunkError, match=r"chunk 2\.1 of array X"):
        read(dataset, way, RUNS)
    # A run of one chunk across is blamed at once.
    with pytest.raises(BadChunkError, match="rows 8 to 11"):
        read(dataset, way, [(9, 11)])


@both_ways
@pytest.mark.parametrize("options", SHARDS)
@pytest.mark.parametrize(("missing", "fill"), [("raise", 0), ("fill", 5)])
def test_a_chunk_that_is_not_stored_is_filled_where_that_is_said(
    tmp_path: Path, options: dict[str, Any], missing: str, fill: int, way: str
) -> None:
    write(tmp_path / "a.zarr", fill, **options)
    array: Any = zarr.open_group(tmp_path / "a.zarr", mode="r+")["X"]
    array[8:12, 3:] = fill
    dataset = ooc.open(tmp_path / "a.zarr", missing=missing)
    wanted = VALUES.copy()
    wanted[8:12, 3:] = fill
    bad: list[BadChunkError] = []
    found = read(dataset, way, RUNS, bad)
    if missing == "fill":
        assert bad == []
        np.testing.assert_array_equal(found, wanted[ROWS])
        return
    assert [(each.cell, each.run) for each in bad] == [((2, 1), 1)]
    assert bad[0].reason == str(NotStoredError(fill))
    kept = (ROWS[:, None] // 4 != 2) | (np.arange(6) < 3)
    np.testing.assert_array_equal(found[kept], wanted[ROWS][kept])


@both_ways
def test_an_array_without_a_fill_value_has_none(tmp_path: Path, way: str) -> None:
    write(tmp_path / "a.zarr", None, 2)
    (tmp_path / "a.zarr" / "X" / "2.1").unlink()
    for missing in ("raise", "fill"):
        bad: list[BadChunkError] = []
        read(ooc.open(tmp_path / "a.zarr", missing=missing), way, RUNS, bad)
        assert [each.reason for each in bad] == [str(NotStoredError(None))]


@both_ways
@pytest.mark.parametrize("options", SHARDS)
@pytest.mark.parametrize("missing", ["raise", "fill"])
def test_a_folder_that_is_gone_is_no_fill_value(
    tmp_path: Path, missing: str, way: str, options: dict[str, Any]
) -> None:
    write(tmp_path / "a.zarr", **options)
    reader = WAYS[way](ooc.open(tmp_path / "a.zarr", missing=missing), "X")
    (tmp_path / "a.zarr" / "X").rename(tmp_path / "elsewhere")
    with pytest.raises(ooc.core.errors.InputError, match="bring it back, then go on"):
        reader.read_runs(RUNS, np.zeros((15, 6)))


def test_indices_of_shards_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = write(tmp_path / "a.zarr", shards=(8, 6))
    asked: list[Any] = []
    whole = PlainStore.get

    async def get(self: Any, key: str, prototype: Any, byte_range: Any = None) -> Any:
        asked.append((key, byte_range))
        return await whole(self, key, prototype, byte_range)

    monkeypatch.setattr(PlainStore, "get", get)
    reader = ZarrReader(dataset, "X")
    for _ in range(3):
        out = np.zeros((20, 6))
        reader.read_runs([(0, 20)], out)
        np.testing.assert_array_equal(out, VALUES)
    # Four entries of an offset and a size, and a checksum.
    of_index = [key for key, part in asked if part == SuffixByteRequest(4 * 16 + 4)]
    assert sorted(of_index) == [f"X/c/{number}/0" for number in range(3)]


class Inner:
    """A store whose answers are told."""

    def __init__(self, **objects: bytes) -> None:
        self.objects, self.asked = objects, list[Any]()

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        self.asked.append(key)
        found = self.objects.get(key)
        return None if found is None else prototype.buffer.from_bytes(found)


def chunk_store(strict: bool, index: Any = None, **objects: bytes) -> Any:
    store = object.__new__(general.ChunkStore)
    inner: Any = Inner(**objects)
    vars(store).update(
        _store=inner, _strict=strict, _fill_value=3, _index=index, _most_bytes=100, indices={}
    )
    return store


def test_what_is_not_there_is_an_error_where_that_is_strict() -> None:
    def got(store: Any, key: str, part: Any = None) -> Any:
        found = asyncio.run(store.get(key, BUFFER, part))
        return None if found is None else found.to_bytes()

    strict, lax = chunk_store(True, c0=b"x"), chunk_store(False, c0=b"x")
    assert got(strict, "c0") == got(lax, "c0") == b"x"
    assert got(lax, "c1") is None
    with pytest.raises(NotStoredError) as caught:
        got(strict, "c1")
    assert caught.value.fill_value == 3
    for key in ("zarr.json", "X/.zarray", ".zattrs", ".zgroup", ".zmetadata"):
        assert got(strict, key) is None
    # Only what is asked for as the index is kept.
    index = RangeByteRequest(0, 20)
    store = chunk_store(False, index, c0=b"x")
    for part in (index, index, RangeByteRequest(0, 9), RangeByteRequest(0, 9)):
        assert got(store, "c0", part) == b"x"
    assert store._store.asked == ["c0"] * 3 and set(store.indices) == {"c0"}
    assert got(store, "c1", index) is None and got(store, "c1", index) is None
    assert store._store.asked == ["c0"] * 3 + ["c1"]
    plain = chunk_store(False, None, c0=b"x")
    assert got(plain, "c0") == got(plain, "c0") == b"x" and plain.indices == {}


def test_objects_have_a_bound_by_their_chunks(tmp_path: Path) -> None:
    def most(**options: Any) -> int:
        array = zarr.create_array(
            {}, **{"shape": (20, 6), "chunks": (4, 3), "dtype": "f8", **options}
        )
        return general._most_bytes_of(array)

    chunk = most_stored_bytes(12 * 8) + 16
    assert most() == chunk
    assert most(shards=(8, 6)) == 4 * chunk
    assert most(dtype="i2") == most_stored_bytes(12 * 2) + 16
    assert most(dtype=np.dtypes.StringDType()) == ANY_SIZE
    with quiet():
        assert most(dtype="variable_length_bytes") == ANY_SIZE
    path = tmp_path / "a.zarr"
    dataset = write(path)
    (path / "X" / "c" / "2" / "1").write_bytes(bytes(chunk + 1))
    for way in WAYS:
        with pytest.raises(BadChunkError, match=r"rows 8 to 11, cannot be read"):
            read(dataset, way, RUNS)


def test_a_reader_that_travels_opens_its_own_store(tmp_path: Path) -> None:
    dataset = write(tmp_path / "a.zarr", shards=(8, 6))
    for way in WAYS.values():
        out = np.zeros((15, 6))
        reader = pickle.loads(pickle.dumps(way(dataset, "X")))
        assert (reader.name, reader.where) == ("X", dataset.path)
        reader.read_runs(RUNS, out)
        np.testing.assert_array_equal(out, VALUES[ROWS])
