"""What is written is on the disk before it has its name; a lock is on the file that is there."""

import errno
import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from ooc.core import destination
from ooc.core.errors import InputError


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, replace = list[tuple[str, str]](), Path.replace

    def watched(self: Path, target: Path) -> Path:
        events.append(("replace", self.name))
        return replace(self, target)

    def synced(number: int) -> None:
        events.append(("sync", Path(f"/proc/self/fd/{number}").readlink().name))

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", watched)
    destination.write_whole(tmp_path / "a", b"whole")
    aside = "a.partial"
    assert events == [("sync", aside), ("replace", aside), ("sync", tmp_path.name)]
    assert (tmp_path / "a").read_bytes() == b"whole"


@pytest.mark.parametrize("held", [False, True])
def test_what_a_killed_writer_left_goes_unless_another_is_at_work(
    tmp_path: Path, held: bool
) -> None:
    whole = tmp_path / "whole.zarr"
    kinds = ("partial", "shuffle", "convert", "unshuffled")
    names = [f".whole.zarr.{kind}" for kind in kinds]
    others = [".other.zarr.partial", "whole.zarr", ".whole.zarr.mine"]
    for name in (*names, *others):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / ".whole.zarr.lock").touch()
    with destination.claimed(whole) if held else nullcontext():
        destination.clear_leftovers(whole)
        left = {path.name for path in tmp_path.iterdir()}
    assert left == {*others, *((*names, ".whole.zarr.lock") if held else ())}


def test_a_lock_whose_file_has_gone_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last holder removed the file, and another process made it anew, before it was locked."""
    file, lock, locked = tmp_path / "lock", destination._lock, list[int]()

    def too_late(descriptor: int) -> None:
        if not locked:
            file.unlink()
            file.touch()
        locked.append(descriptor)
        lock(descriptor)

    monkeypatch.setattr(destination, "_lock", too_late)
    descriptor = destination.take_lock(file)
    assert os.path.samestat(os.fstat(descriptor), file.stat())
    assert len(locked) == 2
    os.close(descriptor)


@pytest.mark.parametrize("path", ["runs/a", Path("a b"), "c:d", "a:/b", "é" * 127])
def test_a_local_path_is_taken_as_it_is(path: str | Path) -> None:
    assert destination.local_path(path, "runs") == Path(path)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("s3://key:secret@bucket/a?token=1", "s3://bucket/a"),
        (Path("https://host/a"), "https://host/a"),
        ("gs:/", "gs://"),
    ],
)
@pytest.mark.parametrize(
    ("written", "todo"),
    [
        (True, "write to a local path, and copy it there afterwards"),
        (False, "copy it to a local path first"),
    ],
)
def test_a_url_is_no_local_path_and_its_keys_are_not_shown(
    path: str | Path, shown: str, written: bool, todo: str
) -> None:
    with pytest.raises(InputError) as refused:
        destination.local_path(path, "runs", written)
    assert str(refused.value) == (
        f"{shown} is a URL, and runs are kept in local files alone; {todo}"
    )


def test_a_name_is_at_most_255_bytes_long() -> None:
    assert destination.local_path(f"a/{'b' * 255}/c", "runs").name == "c"
    path = f"a/{'é' * 128}/c"
    with pytest.raises(InputError) as refused:
        destination.local_path(path, "runs")
    assert str(refused.value) == (
        f"a name in {path} has 256 bytes, above the 255 that file systems take; choose a shorter "
        "one"
    )


def test_a_path_is_claimed_by_one_writer_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a"
    with destination.claimed(path):
        lock = path.parent / ".a.lock"
        assert lock.read_text() == f"{os.getpid()}\n"
        with pytest.raises(InputError) as refused, destination.claimed(path):
            pass
        assert str(refused.value) == (
            f"process {os.getpid()} is writing {path}; wait for it, or choose another path"
        )
        with destination.claimed(path.with_name("b")):
            pass
        assert lock.exists()
    assert list(tmp_path.iterdir()) == []
    with destination.claimed(path):
        path.mkdir()
    assert [each.name for each in path.parent.iterdir()] == ["a"]


def test_a_claim_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as refused, destination.claimed(tmp_path / "file" / "a"):
        pass
    assert str(refused.value) == (
        f"cannot write to {tmp_path / 'file'}: File exists; choose another folder"
    )
    long = tmp_path / ("b" * 252)
    with pytest.raises(InputError) as refused, destination.claimed(long):
        pass
    assert str(refused.value) == f"cannot write to {long}: File name too long; choose another name"


def test_a_lock_that_a_file_system_does_not_know_is_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int) -> None:
        def flock(*given: object) -> None:
            raise OSError(number, "no")

        monkeypatch.setattr(destination.fcntl, "flock", flock)

    for number in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
        refuse(number)
        os.close(destination.take_lock(tmp_path / "lock"))
    refuse(errno.EIO)
    with pytest.raises(OSError, match="no"):
        destination.take_lock(tmp_path / "lock")


def test_a_lock_that_another_descriptor_holds_names_its_owner(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("a killed one's, which is longer")
    held = destination.take_lock(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    with pytest.raises(destination.TakenError, match=f"^{os.getpid()}$"):
        destination.take_lock(tmp_path / "lock")
    (tmp_path / "lock").write_text("")
    with pytest.raises(destination.TakenError, match=r"^unknown$"):
        destination.take_lock(tmp_path / "lock")
    os.close(held)
    os.close(destination.take_lock(tmp_path / "lock"))


def test_a_file_that_cannot_be_written_is_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    destination.write_whole(path, lambda stream: stream.write(b"old"))
    assert path.read_bytes() == b"old"

    def fail(stream: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full") as failed:
        destination.write_whole(path, fail)
    assert failed.value.filename == str(path)

    def interrupt(stream: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        destination.write_whole(path, interrupt)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    with pytest.raises(OSError, match="other") as failed, destination.blamed(path):
        raise OSError(errno.EIO, "other", "b")
    assert failed.value.filename == "b"


def test_a_folder_is_on_the_disk_from_the_inside_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(number: int) -> None:
        path = Path(f"/proc/self/fd/{number}").readlink()
        synced.append(str(path.relative_to(tmp_path)))

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "aside" / "inner").mkdir(parents=True)
    for name in ("aside/file", "aside/inner/file"):
        (tmp_path / name).touch()
    destination.name_whole(tmp_path / "aside", tmp_path / "whole")
    assert synced == ["aside/inner/file", "aside/inner", "aside/file", "aside", "."]
    assert (tmp_path / "whole" / "inner" / "file").exists()
    assert not (tmp_path / "aside").exists()


def test_only_a_folder_may_be_one_that_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int) -> None:
        def fsync(descriptor: int) -> None:
            raise OSError(number, "no")

        monkeypatch.setattr(os, "fsync", fsync)

    (tmp_path / "file").touch()
    for number in (errno.EINVAL, errno.ENOTSUP):
        refuse(number)
        destination.sync(tmp_path)
        with pytest.raises(OSError, match="no"):
            destination.sync(tmp_path / "file")
    refuse(errno.EIO)
    with pytest.raises(OSError, match="no"):
        destination.sync(tmp_path)


def test_empty_folders_go_and_others_stay(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "file").touch()
    destination.remove_empty([inner, inner.parent, tmp_path / "c", tmp_path / "none"])
    assert [each.name for each in tmp_path.iterdir()] == ["c"]
