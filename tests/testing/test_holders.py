"""What holds most memory: lines outside of libraries, and mappings that no line asked for."""

import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ooc.testing import holders
from ooc.testing.holders import Watch, largest_holder, largest_mapping

SMAPS = """\
00400000-00401000 r-xp 00000000 08:01 123    /usr/bin/with a name
Size:               9999 kB
Rss:                 300 kB
Pss:                8888 kB
7f00-7f01 rw-p 00000000 00:00 0
Rss:                 {} kB
7f02-7f03 rw-s 00000000 00:01 7              /dev/zero (deleted)
Rss:                 200 kB
"""


@pytest.mark.parametrize(
    ("without", "name", "kib"),
    [
        (100, "/usr/bin/with a name", 300), (300, "/usr/bin/with a name", 300),
        (301, "memory that is mapped without a file", 301),
    ],
)  # fmt: skip
def test_the_mapping_with_most_resident_memory(
    tmp_path: Path, without: int, name: str, kib: int
) -> None:
    (tmp_path / "smaps").write_text(SMAPS.format(without))
    assert largest_mapping(tmp_path / "smaps") == (name, kib * 1024)


def test_shared_memory_without_a_file_is_called_that(tmp_path: Path) -> None:
    (tmp_path / "smaps").write_text(SMAPS.format(1).replace(" 200 kB", " 2000 kB"))
    assert largest_mapping(tmp_path / "smaps")[0] == "memory that is mapped without a file"
    (tmp_path / "smaps").write_text("")
    assert largest_mapping(tmp_path / "smaps") == ("", 0)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start(holders.FRAMES)
    yield
    tracemalloc.stop()


def line_of(mark: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.endswith(f"# {mark}"))


def held() -> list[np.ndarray]:
    made = [np.ones(2**20)]  # 8 MiB
    made += [np.concatenate([each, each]) for each in made]  # 16 MiB
    return made


def test_the_line_that_holds_most_is_outside_of_libraries(
    traced: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "largest_mapping", lambda: ("a mapping", 19 * 2**20))
    made = held()
    place = f"{__file__}:{line_of('16 MiB')}"
    # NumPy's own lines are those of whoever called them.
    assert largest_holder() == f"{place}, 16.0 MiB" or largest_holder() == f"{place}, 16 MiB"
    monkeypatch.setattr(holders, "largest_mapping", lambda: ("a mapping", 20 * 2**20))
    assert largest_holder().startswith("a mapping, 20")
    del made[1]
    monkeypatch.setattr(holders, "largest_mapping", lambda: ("a mapping", 9 * 2**20))
    assert largest_holder().startswith(f"{__file__}:{line_of('8 MiB')}, 8")


def test_a_look_comes_when_so_much_more_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    traced, looks = [0], list[int]()

    def looked() -> str:
        looks.append(traced[0])
        return f"at {traced[0]}"

    monkeypatch.setattr(holders.tracemalloc, "get_traced_memory", lambda: (traced[0], 0))
    monkeypatch.setattr(holders, "largest_holder", looked)
    watch = Watch(0, lambda holder: None)
    for size in (2**20, 2**20 + 1, 2**20 + 1, 2 * 2**20, 2**22, 2**21, 2**22 + 2**20):
        traced[0] = size
        watch._look()
    # A fifth more than the largest, and a MiB.
    assert looks == [2**20 + 1, 2**22]
    watch._called(None, "call", None)  # type: ignore[arg-type]
    traced[0] = 2**24
    watch._called(None, "c_call", None)  # type: ignore[arg-type]
    assert looks[-1] == 2**22
    watch._called(None, "c_return", None)  # type: ignore[arg-type]
    traced[0] = 2**26
    watch._called(None, "return", None)  # type: ignore[arg-type]
    assert looks[-2:] == [2**24, 2**26] and watch._holder == f"at {2**26}"


def test_a_look_that_others_overtook_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(0, lambda holder: None)

    def slow() -> str:
        monkeypatch.setattr(holders, "largest_holder", lambda: "new")
        watch._keep()
        return "old"

    monkeypatch.setattr(holders, "largest_holder", slow)
    watch._keep()
    assert watch._holder == "new"


def test_what_is_beyond_the_bound_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    resident, told = iter([100, 110, 150, 201, 201]), list[str]()
    monkeypatch.setattr(holders, "resident_bytes", lambda: next(resident) + 7)
    monkeypatch.setattr(holders.tracemalloc, "get_tracemalloc_memory", lambda: 7)
    monkeypatch.setattr(holders.tracemalloc, "get_traced_memory", lambda: (0, 0))
    monkeypatch.setattr(holders, "largest_holder", lambda: "the holder")
    watch = Watch(200, told.append)

    class Ended(threading.Event):
        rounds = 4

        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == holders.POLL_SECONDS
            self.rounds -= 1
            return self.rounds < 0

    watch._ended = Ended()
    watch._poll()
    assert told == ["the holder"] and watch._most_resident == 201
    assert watch._holder == "the holder"


def test_a_watch_traces_from_its_begin_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "largest_mapping", lambda: ("a mapping", 0))
    monkeypatch.setattr(holders, "POLL_SECONDS", 60)
    watch = Watch(10**15, lambda holder: None)
    watch.begin()
    assert tracemalloc.is_tracing() and tracemalloc.get_traceback_limit() == holders.FRAMES
    assert sys.getprofile() == threading.getprofile() == watch._called
    made = held()
    assert watch.end().startswith(f"{__file__}:{line_of('16 MiB')}, 16")
    assert not tracemalloc.is_tracing() and len(made) == 2
    assert sys.getprofile() is None and threading.getprofile() is None
    assert watch._ended.is_set()
