"""What is written is on the disk before it has its name; a lock is on the file that is there."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from ooc.core import destination


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
    names = [".whole.zarr.partial", ".whole.zarr.shuffle", ".whole.zarr.convert"]
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
