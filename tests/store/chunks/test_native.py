"""The native path trusts no index and no size, and keeps what it has decoded for the next run."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crc32c
import fsspec
import numpy as np
import pytest
import zarr

import ooc
from ooc.core.errors import InputError
from ooc.store.chunks import BadChunkError, native, open_reader
from ooc.store.chunks.beginnings import decode_beginning
from ooc.store.chunks.codecs import most_stored_bytes
from ooc.store.chunks.native import NOT_STORED, NativeReader

pytestmark = pytest.mark.usefixtures("either_way")
VALUES = np.arange(1.0, 20 * 6 + 1).reshape(20, 6)
CHUNK = 4 * 3 * 8


def write(path: Path, version: int = 3, **options: Any) -> Path:
    group = zarr.create_group(path, zarr_format=version)
    options = {"chunks": (4, 3), **options}
    group.create_array("X", shape=(20, 6), dtype="f8", compressors=None, **options)[...] = VALUES
    return path


def reader_of(path: Path, **options: Any) -> NativeReader:
    found = open_reader(ooc.open(path, **options), "X")
    assert isinstance(found, NativeReader)
    return found


def reasons(path: Path) -> dict[tuple[int, ...], str]:
    bad: list[BadChunkError] = []
    out = np.zeros((20, 6))
    reader_of(path).read_runs([(0, 20)], out, bad)
    return {each.cell: each.reason for each in bad}


# An index of 2 x 2 chunks, each an offset and a size, and its checksum.
INDEX = 4 * 16 + 4


def rewrite(path: Path, change: Callable[[np.ndarray], None]) -> int:
    """Change the index of the first shard, with its checksum; return the file's bytes."""
    file = path / "X" / "c" / "0" / "0"
    content = bytearray(file.read_bytes())
    entries = np.frombuffer(bytes(content[-INDEX:-4]), "<u8").reshape(4, 2).copy()
    change(entries)
    content[-INDEX:-4] = entries.tobytes()
    content[-4:] = struct.pack("<I", crc32c.crc32c(bytes(content[-INDEX:-4])))
    file.write_bytes(content)
    return len(content)


def entry(number: int, start: int, size: int) -> Callable[[np.ndarray], None]:
    return lambda entries: entries.__setitem__(number, (start, size))


def test_an_index_that_lies_is_told_of_its_chunk_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", shards=(8, 6))
    assert reasons(path) == {}
    size = rewrite(path, entry(1, 400, 96))
    assert reasons(path) == {(0, 1): f"its index names bytes 400 to 496 of a file of {size}"}
    rewrite(path, entry(1, size - 96, 96))
    assert reasons(path) == {}, "up to its last byte a file may be named"
    rewrite(path, entry(1, size - 95, 96))
    named = f"its index names bytes {size - 95} to {size + 1} of a file of {size}"
    assert reasons(path) == {(0, 1): named}
    rewrite(path, entry(2, 0, 95))
    rewrite(path, entry(1, 96, 96))
    assert reasons(path) == {(1, 0): "it decodes to 95 bytes, not to 96"}
    rewrite(path, entry(2, NOT_STORED, NOT_STORED))
    assert reasons(path)[1, 0].startswith("it is not stored; restore it")
    rewrite(path, entry(2, NOT_STORED, 96))
    assert reasons(path)[1, 0].startswith("its index names bytes 18,446,744,073,709,551,615 to")


def test_a_size_beyond_all_compression_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", shards=(8, 6))
    most = most_stored_bytes(CHUNK)
    file = path / "X" / "c" / "0" / "0"
    file.write_bytes(bytes(2 * most) + file.read_bytes()[-INDEX:])
    rewrite(path, entry(0, 0, most + 1))
    found = reasons(path)
    assert found[0, 0] == f"{most + 1:,} bytes are too many for a chunk of 96"
    rewrite(path, entry(0, 0, most))
    assert reasons(path)[0, 0] == f"it decodes to {most:,} bytes, not to 96"


def test_files_that_are_too_short_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", shards=(8, 6))
    file = path / "X" / "c" / "0" / "0"
    whole = file.read_bytes()
    file.write_bytes(whole[: INDEX - 1])
    said = f"the file has {INDEX - 1} bytes, its index alone takes {INDEX}"
    assert reasons(path) == dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], said)
    damaged = bytearray(whole)
    damaged[-10] ^= 1
    file.write_bytes(damaged)
    assert all(
        each.startswith("the shard's index is damaged: its CRC-32C is ")
        for each in reasons(path).values()
    )
    alone = write(tmp_path / "b.zarr")
    (alone / "X" / "c" / "3" / "1").write_bytes(b"")
    (alone / "X" / "c" / "0" / "0").unlink()
    found = reasons(alone)
    assert found.pop((3, 1)) == "the file is empty"
    assert set(found) == {(0, 0)} and found[0, 0].startswith("it is not stored; restore it")


def test_a_chunk_that_several_runs_need_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.zarr", chunks=(10, 6))
    reader, decoded = reader_of(path), list[int]()

    def counted(*given: Any) -> int:
        decoded.append(1)
        return decode_beginning(*given)

    monkeypatch.setattr(native, "decode_beginning", counted)
    out = np.zeros((6, 6))
    reader.read_runs([(1, 3), (3, 5), (7, 9)], out)
    np.testing.assert_array_equal(out, VALUES[[1, 2, 3, 4, 7, 8]])
    reader.read_runs([(0, 2)], out[:2])
    assert len(decoded) == 1
    reader.read_runs([(12, 14), (0, 4)], out)
    np.testing.assert_array_equal(out, VALUES[[12, 13, 0, 1, 2, 3]])
    assert len(decoded) == 3
    # What failed half way is none that is kept.
    (path / "X" / "c" / "1" / "0").write_bytes(b"cut")
    other = reader_of(path)
    other.read_runs([(0, 2)], out[:2])
    with pytest.raises(BadChunkError):
        other.read_runs([(12, 14)], out[:2])
    other.read_runs([(2, 4)], out[:2])
    np.testing.assert_array_equal(out[:2], VALUES[2:4])


def test_one_thread_s_scratch_is_not_another_array_s(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.zarr"), write(tmp_path / "b.zarr", chunks=(5, 4))
    readers = [reader_of(first), reader_of(second)]
    for start in (0, 1, 6, 13):
        for reader in readers:
            out = np.zeros((3, 6))
            reader.read_runs([(start, start + 3)], out)
            np.testing.assert_array_equal(out, VALUES[start : start + 3])


def test_requests_are_those_that_reading_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.zarr", chunks=(4, 6), shards=(8, 6))
    reader = reader_of(path)
    told = [(r.path, r.start, r.stop) for r in reader.requests([(0, 4), (8, 20)])]
    made: list[Any] = []
    whole = reader.files.read_all

    def noted(requests: Any) -> Any:
        kept = list(requests)
        made.extend((r.path, r.start, r.stop) for r in kept)
        return whole(kept)

    monkeypatch.setattr(reader.files, "read_all", noted)
    monkeypatch.setattr("ooc.store.chunks.at_once.loaded_kernel", lambda: None)
    reader.read_runs([(0, 4), (8, 20)], np.zeros((16, 6)))
    assert made == told
    shard = f"{path}/X/c"
    assert told == [
        (f"{shard}/0/0", 0, 192), (f"{shard}/1/0", 0, 384), (f"{shard}/2/0", 0, 192),
    ]  # fmt: skip


@pytest.mark.parametrize("fill", [0, 7])
def test_a_shard_that_is_not_there_is_filled_where_that_is_said(tmp_path: Path, fill: int) -> None:
    path = write(tmp_path / "a.zarr", shards=(8, 6), fill_value=fill)
    (path / "X" / "c" / "1" / "0").unlink()
    out = np.zeros((20, 6))
    reader_of(path, missing="fill").read_runs([(0, 20)], out)
    wanted = VALUES.copy()
    wanted[8:16] = fill
    np.testing.assert_array_equal(out, wanted)
    assert set(reasons(path)) == {(2, 0), (2, 1), (3, 0), (3, 1)}


def test_an_index_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, asked = reader_of(write(tmp_path / "a.zarr", shards=(8, 6))), list[str]()
    whole = reader.files.read_end

    def read_end(path: str, *given: Any) -> Any:
        asked.append(path)
        return whole(path, *given)

    monkeypatch.setattr(reader.files, "read_end", read_end)
    for _ in range(3):
        reader.read_runs([(0, 20)], np.zeros((20, 6)))
    assert len(asked) == 3 == len({*asked})


def test_what_is_read_again_after_a_failure_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = reader_of(write(tmp_path / "a.zarr"))

    def failing(requests: Any) -> Any:
        yield from ((request, None) for request in requests)

    monkeypatch.setattr(reader.files, "read_all", failing)
    out = np.zeros((20, 6))
    reader.read_runs([(0, 20)], out)
    np.testing.assert_array_equal(out, VALUES)


def test_a_chunk_that_goes_between_is_filled_unless_its_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.zarr", fill_value=7)
    for missing in ("fill", "raise"):
        reader = reader_of(path, missing=missing)
        monkeypatch.setattr(reader.files, "size", lambda path: CHUNK)
        (path / "X" / "c" / "1" / "0").unlink(missing_ok=True)
        out, bad = np.zeros((20, 6)), list[BadChunkError]()
        reader.read_runs([(0, 20)], out, bad)
        if missing == "fill":
            assert (out[4:8, :3] == 7).all() and bad == []
        else:
            assert [each.cell for each in bad] == [(1, 0)]
            assert bad[0].reason.startswith("it is not stored; restore it")
        (path / "X").rename(tmp_path / "X")
        with pytest.raises(InputError, match="bring it back, then go on"):
            reader.read_runs([(0, 20)], out, bad)
        (tmp_path / "X").rename(path / "X")


def test_objects_are_told_and_filled_as_files_are(tmp_path: Path) -> None:
    where: Any = f"memory://{tmp_path.name}.zarr"
    write(where, shards=(8, 6), fill_value=7)
    memory = fsspec.filesystem("memory")
    file = f"/{tmp_path.name}.zarr/X/c/0/0"
    whole = memory.cat(file)
    memory.pipe(file, whole[: INDEX - 1])
    said = f"the file has {INDEX - 1} bytes, its index alone takes {INDEX}"
    assert reasons(where) == dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], said)
    memory.rm(file)
    out = np.zeros((20, 6))
    reader_of(where, missing="fill").read_runs([(0, 20)], out)
    assert (out[:8] == 7).all()
    np.testing.assert_array_equal(out[8:], VALUES[8:])


def test_retries_are_those_of_its_files(tmp_path: Path) -> None:
    reader = reader_of(write(tmp_path / "a.zarr"))
    reader.files.retries = 3  # type: ignore[misc]
    assert reader.retries == 3
