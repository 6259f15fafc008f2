"""Local stores read plain files of sensible sizes, and know when what they tell was written."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.core.sync import sync
from zarr.storage import ZipStore

import ooc
from ooc.core.errors import InputError
from ooc.store import local
from ooc.store.chunks import open_reader
from ooc.store.local import PlainStore, ZippedStore, is_metadata, metadata_marks, open_zip

BUFFER = zarr.buffer.cpu.buffer_prototype


def test_metadata_are_known_by_their_names() -> None:
    for key in ("zarr.json", "X/zarr.json", "X/.zarray", ".zgroup", "a/.zattrs", ".zmetadata"):
        assert is_metadata(key)
    for key in ("X/c/0", "zarr.json/c", "X/.zarray2"):
        assert not is_metadata(key)


def test_metadata_beyond_any_size_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "MOST_METADATA_BYTES", 10)
    for name in ("zarr.json", "chunk"):
        (tmp_path / name).write_bytes(bytes(11))
    store = PlainStore(tmp_path, read_only=True)
    with pytest.raises(ValueError, match=r"zarr\.json"):
        sync(store.get("zarr.json", BUFFER))
    with pytest.raises(ValueError, match=r"zarr\.json"):
        store.get_sync("zarr.json", prototype=BUFFER)
    assert len(sync(store.get("chunk", BUFFER))) == 11  # type: ignore[arg-type]
    (tmp_path / "zarr.json").write_bytes(bytes(10))
    assert len(sync(store.get("zarr.json", BUFFER))) == 10  # type: ignore[arg-type]
    assert sync(store.get("nothing", BUFFER)) is None
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe"):
        sync(store.get("pipe", BUFFER))


def archive(path: Path, folder: str = "", **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as found:
        for name, content in files.items():
            found.writestr(f"{folder}{name.replace('_', '/')}", content)
    return path


def test_an_archive_holds_no_more_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "a.zip", **{"zarr.json": bytes(2**21), "c_0": bytes(2**21 + 1)})
    store, inside = open_zip(str(path))
    assert isinstance(store, ZippedStore) and inside == ""
    store.check_size("c/0", 2**21 + 1)
    store.check_size("nothing", 0)
    with pytest.raises(ValueError) as caught:
        store.check_size("c/0", 2**20)
    assert str(caught.value) == "c/0 has 2.00 MiB, above the 1.00 MiB that it may hold"
    monkeypatch.setattr(local, "MOST_METADATA_BYTES", 2**20)
    with pytest.raises(ValueError, match=r"zarr\.json has 2\.00 MiB, above the 1\.00 MiB"):
        sync(store.get("zarr.json", BUFFER))
    assert len(sync(store.get("c/0", BUFFER))) == 2**21 + 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("folders", "inside"),
    [
        (("",), ""), (("a/",), "a"), (("a/b/",), "a/b"), (("a/", "a/X/", "b/c/"), "a"),
        # Of several on one floor nobody knows which.
        (("a/", "b/"), ""), (("a/x/", "b/"), "b"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["zarr.json", ".zgroup"])
def test_the_group_of_an_archive_is_the_outermost(
    tmp_path: Path, folders: tuple[str, ...], inside: str, name: str
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as found:
        for folder in folders:
            found.writestr(f"{folder}{name}", b"{}")
        found.writestr("no-zarr.json", b"")
        found.writestr("readme", b"")
    assert open_zip(str(tmp_path / "a.zip"))[1] == inside


def test_an_archive_that_cannot_be_read_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.zip").write_bytes(b"cut")
    with pytest.raises(InputError) as caught:
        open_zip(str(tmp_path / "a.zip"))
    assert str(caught.value) == (
        f"{tmp_path / 'a.zip'} is a file, and no whole zip archive (File is not a zip file); name "
        "the folder or the zip archive of a Zarr group"
    )
    monkeypatch.setattr(local, "MOST_ENTRIES", 2)
    open_zip(str(archive(tmp_path / "b.zip", a=b"", b=b"")))
    with pytest.raises(InputError) as caught:
        open_zip(str(archive(tmp_path / "c.zip", a=b"", b=b"", c=b"")))
    assert str(caught.value) == (
        f"{tmp_path / 'c.zip'} holds 3 files, above the 2 that are read from a zip archive; unpack "
        "it, and name the folder"
    )


def test_an_archive_is_opened_once_until_it_is_written_again(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", a=b"1")
    first = open_zip(str(path))[0]
    assert open_zip(str(path))[0] is first
    archive(path, a=b"12")
    second = open_zip(str(path))[0]
    assert second is not first
    status = path.stat()
    os.utime(path, ns=(1, status.st_mtime_ns + 1))
    third = open_zip(str(path))[0]
    assert third is not second
    archive(path, a=b"123")
    os.utime(path, ns=(1, status.st_mtime_ns + 1))
    assert open_zip(str(path))[0] is not third


def test_an_archive_may_hold_thousands_of_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as found:
        for number in range(2000):
            found.writestr(f"a/X/c/{number}", b"")
        found.writestr("a/zarr.json", b"{}")
    assert open_zip(str(tmp_path / "a.zip"))[1] == "a"


def test_rows_of_an_archive_are_those_that_were_zipped(tmp_path: Path) -> None:
    values = np.arange(60.0).reshape(20, 3)
    with ZipStore(tmp_path / "a.zip", mode="w") as store:
        zarr.create_group(store).create_array("X", data=values, chunks=(7, 3))
    out = np.zeros((9, 3))
    open_reader(ooc.open(tmp_path / "a.zip"), "X").read_runs([(5, 14)], out)
    np.testing.assert_array_equal(out, values[5:14])


def test_marks_change_with_any_file_that_tells_of_a_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("", "a", "a/X"):
        (tmp_path / folder).mkdir(exist_ok=True)
    files = [".zgroup", "a/zarr.json", "a/X/.zarray", "a/X/.zattrs"]
    for file in files:
        (tmp_path / file).write_bytes(b"{}")
    clock: Any = local.time
    now = clock.time_ns() + 60 * 10**9
    monkeypatch.setattr(local.time, "time_ns", lambda: now)
    marks = metadata_marks(str(tmp_path), "a/X")
    assert marks is not None and len(marks) == 4 == len({*marks})
    assert metadata_marks(str(tmp_path), "a/X") == marks
    assert metadata_marks(str(tmp_path), "b") == marks[:1]
    for file in files:
        before = metadata_marks(str(tmp_path), "a/X")
        (tmp_path / file).write_bytes(b"{ }" + file.encode())
        assert metadata_marks(str(tmp_path), "a/X") != before
    assert metadata_marks(str(tmp_path / "nothing"), "X") is None
    # Whatever was written within a tick of the clock might change unseen.
    newest = max((tmp_path / file).stat().st_ctime_ns for file in files)
    for later, known in ((50_000_000, False), (50_000_001, True), (-1, False)):
        monkeypatch.setattr(local.time, "time_ns", lambda later=later: newest + later)
        assert (metadata_marks(str(tmp_path), "a/X") is not None) == known
