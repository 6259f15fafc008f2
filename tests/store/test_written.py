"""Datasets are cut into chunks and shards as they are told to be, and are there whole or not."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import crc32c
import numcodecs
import numpy as np
import pytest
import zarr

import ooc
from ooc.core.errors import InputError
from ooc.store.destinations import check_new, make_folder
from ooc.store.fields import Field, encode_chunk
from ooc.store.members import quiet

RECORD = np.dtype([("a", "<i4"), ("b", "<f8")])
STRUCTURED = Field(RECORD, (2,))
TEXT = Field("string", (3,), value_bytes=20)
BYTES = Field("variable_length_bytes", (), value_bytes=7)


def test_fields_say_what_a_row_takes() -> None:
    for field, told in (
        (Field("float32", (3, 4)), (False, np.dtype("f4"), True, 48)),
        (Field("int64"), (False, np.dtype("i8"), True, 8)),
        (STRUCTURED, (False, RECORD, False, 24)),
        (TEXT, (True, np.dtypes.StringDType(), True, 60)),
        (BYTES, (True, np.dtype(object), True, 7)),
        (Field("string"), (True, np.dtypes.StringDType(), True, 16)),
        (Field(np.dtype("f8"), (2**20, 2**20)), (False, np.dtype("f8"), True, 2**43)),
    ):
        assert (field.variable, field.in_memory, field.sharded, field.row_bytes) == told


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("chunk", "shard", "chunk_rows", "shard_rows"),
    [
        # The widest row has 12 bytes.
        (120, 360, 10, 30), (120, 359, 10, 20), (120, 361, 10, 30), (131, 360, 10, 30),
        (119, 360, 9, 27), (1, 1, 1, 1), (1, 25, 1, 2), (120, 1, 10, 10),
    ],
)  # fmt: skip
def test_chunks_and_shards_are_of_the_widest_array(
    tmp_path: Path, chunk: int, shard: int, chunk_rows: int, shard_rows: int
) -> None:
    fields = {"y": ("int8", ()), "X": ("float32", (3,)), "w": ("float64", ())}
    rows = 2 * shard_rows + 1
    x = np.arange(3.0 * rows).reshape(rows, 3)
    with ooc.create(
        tmp_path / "a.zarr", fields, {"a": 1}, chunk_bytes=chunk, shard_bytes=shard
    ) as writer:
        assert (writer.chunk_rows, writer.shard_rows) == (chunk_rows, shard_rows)
        writer.append({"X": x, "y": x[:, 0] % 7, "w": x[:, 1]})
        assert writer.rows == rows // chunk_rows * chunk_rows
        writer.attributes["b"] = 2
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert dict(group.attrs) == {"a": 1, "b": 2}
    for name, values in (("X", x), ("y", x[:, 0] % 7), ("w", x[:, 1])):
        array = group[name]
        assert isinstance(array, zarr.Array)
        assert array.chunks[0] == chunk_rows and array.shards[0] == shard_rows  # type: ignore[index]
        np.testing.assert_array_equal(array[...], values)
    assert len([*(tmp_path / "a.zarr" / "y" / "c").iterdir()]) == 3


def test_what_is_noted_of_arrays_is_written(tmp_path: Path) -> None:
    fields = {
        "X": Field("int16", (2,), {"units": "m"}, ("row", None), -9),
        "text": TEXT, "bytes": BYTES, "s": STRUCTURED,
    }  # fmt: skip
    texts = np.array([[f"{row}é", "", "x" * row] for row in range(7)], np.dtypes.StringDType())
    raw = np.empty(7, object)
    raw[:] = [bytes(range(row)) for row in range(7)]
    records = np.arange(28).reshape(7, 2, 2)[..., 0].astype(RECORD)
    with ooc.create(tmp_path / "a.zarr", fields, chunk_bytes=180, shard_bytes=360) as writer:
        assert (writer.chunk_rows, writer.shard_rows) == (3, 6)
        writer.append({"X": np.ones((7, 2)), "text": texts, "bytes": raw, "s": records})
    with quiet():
        group = zarr.open_group(tmp_path / "a.zarr", mode="r")
        x: Any = group["X"]
        assert (dict(x.attrs), x.metadata.dimension_names, x.fill_value) == (
            {"units": "m"}, ("row", None), -9,
        )  # fmt: skip
        assert x.dtype == np.int16 and (x[...] == 1).all()
        for name, values in (("text", texts), ("bytes", raw), ("s", records)):
            assert group[name][...].tolist() == values.tolist()  # type: ignore[union-attr]
        assert group["s"].shards is None and group["s"].chunks == (3, 2)  # type: ignore[union-attr]
    assert {path.name for path in (tmp_path / "a.zarr" / "s" / "c").iterdir()} == {"0", "1", "2"}


def test_shards_are_written_in_any_order_by_several_threads(tmp_path: Path) -> None:
    fields = {"X": ("float32", (2,)), "y": ("int64", ())}
    x = np.arange(50, dtype="f4").reshape(25, 2)
    with ooc.create(tmp_path / "a.zarr", fields, chunk_bytes=32, shard_bytes=64) as writer:
        assert (writer.chunk_rows, writer.shard_rows) == (4, 8)

        def write(shard: int) -> None:
            edges = range(8 * shard, min(8 * shard + 8, 25), 4)
            writer.write_shard(
                shard,
                ({"X": x[at : at + 4], "y": np.arange(25)[at : at + 4]} for at in edges),
            )

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(write, (3, 1, 0, 2)))
        assert writer.rows == 25
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(group["X"][...], x)
    np.testing.assert_array_equal(group["y"][...], np.arange(25))


def said(path: Path, columns: dict[str, Any] | None, fields: Any = None) -> str:
    fields = {"X": ("float32", (2,)), "y": ("int64", ())} if fields is None else fields
    with pytest.raises(InputError) as caught, ooc.create(path, fields) as writer:
        if columns is not None:
            writer.append(columns)
    assert not path.exists() and list(path.parent.iterdir()) == []
    return str(caught.value)


def test_rows_that_do_not_fit_are_refused_in_whole_sentences(tmp_path: Path) -> None:
    path, x = tmp_path / "a.zarr", np.zeros((3, 2))
    assert said(path, None) == f"{path} got no rows; append some before closing it"
    assert said(path, {"X": x[:0], "y": np.zeros(0)}).startswith(f"{path} got no rows")
    assert said(path, None, {}) == f"{path} needs at least one array; give fields such as X and y"
    assert said(path, {"X": x}) == f"the rows for {path} have no array 'y'"
    assert said(path, {"X": np.zeros((3, 2, 1)), "y": np.zeros(3)}) == (
        f"a row of X in {path} has shape (2,), not (2, 1)"
    )
    assert said(path, {"X": x, "y": np.zeros(4)}) == f"arrays for {path} differ in rows: [3, 4]"


def test_a_path_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").write_text("mine")
    with pytest.raises(InputError) as caught:
        check_new(tmp_path / "a.zarr")
    assert str(caught.value) == (
        f"{tmp_path / 'a.zarr'} already exists; choose another path or remove it first"
    )
    assert check_new(str(tmp_path / "b.zarr")) == tmp_path / "b.zarr"
    with pytest.raises(InputError, match="datasets that are written"):
        check_new("s3://bucket/a.zarr")
    with pytest.raises(InputError) as caught:
        make_folder(tmp_path / "a.zarr" / "below")
    assert str(caught.value) == (
        f"cannot write to {tmp_path / 'a.zarr'}: Not a directory; choose another folder"
    )
    make_folder(tmp_path / "c" / "d")
    make_folder(tmp_path / "c" / "d")
    with pytest.raises(InputError, match="File exists; choose another folder"):
        make_folder(tmp_path / "c" / "d", exist_ok=False)


def test_what_a_killed_writer_left_beside_the_whole_goes(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / ".a.zarr.partial" / "X").mkdir(parents=True)
    with pytest.raises(InputError, match="already exists"):
        check_new(tmp_path / "a.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_nothing_grows_among_what_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".a.zarr.partial" / "X").mkdir(parents=True)
    monkeypatch.setattr("ooc.store.destinations.shutil.rmtree", lambda *given, **more: None)
    with (
        pytest.raises(InputError, match=r"cannot write to .*: File exists"),
        ooc.create(tmp_path / "a.zarr", {"X": ("float32", ())}) as writer,
    ):
        writer.append({"X": np.ones(3)})
    assert not (tmp_path / "a.zarr").exists()


def test_what_came_before_the_path_was_claimed_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def late(place: Path) -> Iterator[None]:
        place.mkdir()
        yield

    monkeypatch.setattr("ooc.store.destinations.claimed", late)
    with (
        pytest.raises(InputError, match="already exists"),
        ooc.create(tmp_path / "a.zarr", {"X": ("float32", ())}) as writer,
    ):
        writer.append({"X": np.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_whoever_checks_sees_the_whole_and_may_refuse(tmp_path: Path) -> None:
    path, seen = tmp_path / "a.zarr", []

    def look(folder: Path) -> None:
        seen.append((folder, path.exists(), ooc.open(folder).rows))
        if len(seen) == 1:
            raise InputError("not this one")

    with (
        pytest.raises(InputError, match="not this one"),
        ooc.create(path, {"X": ("float32", ())}, check=look) as writer,
    ):
        writer.append({"X": np.ones(5)})
    assert list(tmp_path.iterdir()) == []
    with ooc.create(path, {"X": ("float32", ())}, check=look) as writer:
        writer.append({"X": np.ones(6)})
    hidden = tmp_path / ".a.zarr.partial"
    assert seen == [(hidden, False, 5), (hidden, False, 6)]
    assert ooc.open(path).rows == 6 and [*tmp_path.iterdir()] == [path]
    seen.clear()
    # What was refused as a whole is not gone on with.
    with (
        pytest.raises(InputError, match="not this one"),
        ooc.create(tmp_path / "b.zarr", {"X": ("float32", ())}, check=look, resume=True) as writer,
    ):
        writer.append({"X": np.ones(5)})
    assert [*tmp_path.iterdir()] == [path]


def test_what_was_begun_is_gone_on_with_where_it_may_be(tmp_path: Path) -> None:
    fields = {"X": ("float32", ())}
    rows = np.arange(14, dtype="f4")

    def begin(resume: bool) -> Any:
        return ooc.create(
            tmp_path / "a.zarr", fields, chunk_bytes=16, shard_bytes=32, resume=resume
        )

    for resume in (True, False):
        with pytest.raises(RuntimeError), begin(resume) as writer:
            assert not writer.keep_shard(0, 8)
            writer.write_shard(0, [{"X": rows[:4]}, {"X": rows[4:8]}])
            raise RuntimeError
        assert (tmp_path / ".a.zarr.partial").exists() == resume
        if resume:
            with begin(True) as writer:
                assert writer.keep_shard(0, 8) and writer.rows == 8
                assert not writer.keep_shard(1, 6)
                writer.write_shard(1, [{"X": rows[8:12]}, {"X": rows[12:]}])
            np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr" / "X")[...], rows)
            (tmp_path / "a.zarr").rename(tmp_path / "b.zarr")


def test_a_shard_that_lacks_its_last_piece_is_not_kept(tmp_path: Path) -> None:
    fields = {"s": Field(RECORD)}
    rows = np.zeros(6, RECORD)
    with ooc.create(tmp_path / "a.zarr", fields, chunk_bytes=48, shard_bytes=96) as writer:
        assert (writer.chunk_rows, writer.shard_rows) == (4, 8)
        writer.write_shard(0, [{"s": rows[:4]}, {"s": rows[4:]}])
        assert writer.keep_shard(0, 6) and writer.rows == 12
        (writer.partial / "s" / "c" / "1").unlink()
        assert not writer.keep_shard(0, 6) and not writer.keep_shard(0, 5)
        assert writer.keep_shard(0, 4)


def test_a_chunk_is_blosc_with_its_checksum_behind() -> None:
    values = np.arange(4000, dtype="f4")
    stored = encode_chunk(values)
    body, checksum = stored[:-4], int.from_bytes(stored[-4:], "little")
    assert checksum == crc32c.crc32c(body)
    assert numcodecs.Blosc().decode(body) == values.tobytes()
    # Version 2 of the format, bit shuffle, of elements of four bytes; by lz4.
    assert body[0] == 2 and body[2] & 0b100 and body[3] == 4
    assert body[2] >> 5 == 1
    assert len(encode_chunk(np.zeros(4000))) < 1000 and len(stored) < values.nbytes / 2
    for chunk in (values.tobytes(), values.astype("U4")):
        raw = chunk if isinstance(chunk, bytes) else chunk.tobytes()
        assert numcodecs.Blosc().decode(encode_chunk(chunk)[:-4]) == raw
        assert encode_chunk(chunk)[3] == 1


def test_metadata_say_how_chunks_are_encoded(tmp_path: Path) -> None:
    fields = {"X": ("float32", (2,)), "s": STRUCTURED}
    with ooc.create(tmp_path / "a.zarr", fields, chunk_bytes=96) as writer:
        x = np.ones((3, 2), "f4")
        writer.append({"X": x, "s": np.zeros((3, 2), RECORD)})
        assert writer.chunk_rows == 4
        # The last chunk is filled up with zeros.
        encoded = writer.encode({"X": x, "s": np.zeros((3, 2), RECORD)}, 3)
        last = np.frombuffer(numcodecs.Blosc().decode(encoded["X"][:-4]), "f4")
        assert last.tolist() == [1.0] * 6 + [0.0] * 2
    with quiet():
        group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    for name, size in (("X", 4), ("s", 1)):
        array = group[name]
        assert isinstance(array, zarr.Array)
        blosc, checksum = (codec.to_dict() for codec in array.compressors)  # type: ignore[union-attr]
        assert checksum["name"] == "crc32c"
        told = blosc["configuration"]
        assert isinstance(told, dict)
        assert (told["typesize"], told["clevel"]) == (size, 5)
        assert str(getattr(told["shuffle"], "value", told["shuffle"])) == "bitshuffle"
        assert str(getattr(told["cname"], "value", told["cname"])) == "lz4"
