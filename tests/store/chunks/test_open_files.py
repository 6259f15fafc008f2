"""Files are kept open up to a bound, those that were used last; what is in flight stays open."""

import errno
import gc
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ooc.store.chunks import open_files
from ooc.store.chunks.open_files import OpenFiles, most_open_files, release


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    for number in range(12):
        (tmp_path / str(number)).write_bytes(bytes([number]))
    return [str(tmp_path / str(number)) for number in range(12)]


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin without the files of other tests, and leave them theirs."""
    gc.collect()
    kept, names = open_files.OrderedDict(), ("_DESCRIPTORS", "_HELD")
    monkeypatch.setattr(open_files, "_KEPT", kept)
    before = {name: set(getattr(open_files, name)) for name in names}
    for name in names:
        getattr(open_files, name).clear()
    yield
    kept.clear()
    gc.collect()
    for name in names:
        getattr(open_files, name).clear()
        getattr(open_files, name).update(before[name])


def bounded(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(open_files, "most_open_files", lambda: most)


def are_open(paths: list[str]) -> list[int]:
    """Return the numbers of the files that this process has open."""
    found = {os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()}
    return [int(Path(path).name) for path in paths if os.path.realpath(path) in found]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "most"),
    [(-1, 1024), (0, 4), (8, 4), (9, 4), (10, 5), (1000, 500), (2048, 1024), (2050, 1024)],
)
def test_half_of_what_a_process_may_have_open_is_kept(
    monkeypatch: pytest.MonkeyPatch, limit: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    monkeypatch.setattr(open_files, "_OF_OTHERS", [0])
    assert most_open_files() == most
    monkeypatch.setattr(open_files, "_OF_OTHERS", [limit])
    assert most_open_files() == (4 if limit > 0 else most)


@pytest.mark.slow_after(1)
def test_those_that_were_not_used_for_longest_are_closed(
    monkeypatch: pytest.MonkeyPatch, paths: list[str]
) -> None:
    bounded(monkeypatch, 3)
    files = OpenFiles(os.O_RDONLY)
    for path in paths[:3]:
        files.get(path)
    assert are_open(paths) == [0, 1, 2]
    assert files.get(paths[0]) is files.get(paths[0])
    files.get(paths[3])
    assert are_open(paths) == [0, 2, 3]
    # The bound is of all readers of the process.
    other = OpenFiles(os.O_RDONLY)
    assert other.get(paths[0]) is not files.get(paths[0])
    assert len(open_files._DESCRIPTORS) == 3
    assert os.pread(other.get(paths[0]).descriptor, 9, 0) == b"\0"
    other.get(paths[4])
    del other
    gc.collect()
    assert 4 not in are_open(paths), "they go with their reader"
    assert {key[0] for key in open_files._KEPT} == {files._number}, "and no others"


@pytest.mark.slow
def test_what_requests_hold_stays_open_until_it_is_released(
    monkeypatch: pytest.MonkeyPatch, paths: list[str]
) -> None:
    bounded(monkeypatch, 8)
    files = OpenFiles(os.O_RDONLY)
    held = files.hold([paths[0], paths[0], paths[1]])
    assert [os.pread(each.descriptor, 9, 0)[0] for each in held] == [0, 0, 1]
    assert held[0].users == 2 and len(open_files._HELD) == 2
    for path in paths[2:]:
        files.get(path)
    assert {0, 1} <= set(are_open(paths)), "though many were used since"
    release(held[:1])
    assert held[0].users == 1 and len(open_files._HELD) == 2
    release(held[1:])
    assert held[0].users == 0 and not open_files._HELD


@pytest.mark.slow
def test_half_of_them_may_be_held_at_once(
    monkeypatch: pytest.MonkeyPatch, paths: list[str]
) -> None:
    bounded(monkeypatch, 6)
    files = OpenFiles(os.O_RDONLY)
    first = files.hold(paths[:2])
    second = files.hold([paths[1], paths[2], paths[3], paths[2]])
    assert [os.pread(each.descriptor, 9, 0)[0] for each in second] == [1, 2]
    assert files.hold([paths[5]]) == []
    # What is held already takes no more room.
    again = files.hold([paths[2], paths[5]])
    assert [os.pread(each.descriptor, 9, 0)[0] for each in again] == [2]
    release(again)
    release(first)
    assert len(open_files._HELD) == 2 and len(files.hold([paths[5]])) == 1


@pytest.mark.slow
def test_what_cannot_be_opened_ends_the_list(paths: list[str]) -> None:
    files = OpenFiles(os.O_RDONLY)
    held = files.hold([paths[3], "/nowhere/at/all", paths[4]])
    assert [os.pread(each.descriptor, 9, 0)[0] for each in held] == [3]
    release(held)
    with pytest.raises(FileNotFoundError):
        files.get("/nowhere/at/all")


@pytest.mark.slow_after(1)
def test_a_reader_goes_whoever_holds_the_lock(paths: list[str]) -> None:
    """The garbage collector may take it while another thread holds the lock, and waits for this."""
    files = OpenFiles(os.O_RDONLY)
    files.get(paths[0])
    held, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with open_files._locked():
            held.set()
            enough.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    del files
    gc.collect()
    assert holder.is_alive() and are_open(paths) == [0]
    enough.set()
    holder.join()
    assert are_open(paths) == []


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("number", "again"), [(errno.EMFILE, True), (errno.ENFILE, True), (errno.EIO, False)]
)
def test_where_a_process_has_no_room_left_all_are_closed_first(
    monkeypatch: pytest.MonkeyPatch, paths: list[str], number: int, again: bool
) -> None:
    files, opened, failures = OpenFiles(os.O_RDONLY), os.open, [number]
    files.get(paths[0])
    files.get(paths[1])

    def limited(path: str, flags: int, *more: Any) -> int:
        if path == paths[2] and failures:
            raise OSError(failures.pop(), "no")
        return opened(path, flags, *more)

    monkeypatch.setattr(open_files.os, "open", limited)
    if again:
        files.get(paths[2])
        assert are_open(paths) == [2]
        return
    with pytest.raises(OSError, match="no"):
        files.get(paths[2])
    assert are_open(paths) == [0, 1]
