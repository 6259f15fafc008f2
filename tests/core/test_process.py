"""What the kernel says of this process."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.core.process import (
    _status_bytes,
    age_seconds,
    allowed_bytes,
    memory_numbers,
    peak_bytes,
    release_code,
)
from ooc.stream.plan import budget_of

GIB = 2**30


def fake_machine(folder: Path, cgroup: str, limits: dict[str, str]) -> tuple[Path, Path]:
    proc, groups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 16777216 kB\nMemFree: 1 kB\n")
    (proc / "self" / "cgroup").write_text(cgroup)
    for name, value in limits.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(value + "\n")
    return proc, groups


def test_peak_grows_with_touched_memory_and_stays_when_it_is_freed() -> None:
    """In a process of its own: the peak of this one may be anything by now."""
    code = (
        "import mmap\n"
        "from ooc.core.process import peak_bytes, resident_bytes\n"
        "def see():\n    print(peak_bytes(), resident_bytes())\n"
        "see()\n"
        "block = mmap.mmap(-1, 200 * 2**20)\n"
        "see()\n"
        "for page in range(0, len(block), mmap.PAGESIZE):\n    block[page] = 1\n"
        "see()\n"
        "block.close()\n"
        "see()\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [[int(number) for number in line.split()] for line in child.stdout.splitlines()]
    peaks, resident = zip(*lines, strict=True)
    # Each processor keeps some pages that it has not told the kernel's counters of.
    touched, little = 200 * 2**20, 20 * 2**20
    # Memory that is asked for and not touched takes no room.
    assert peaks[1] - peaks[0] < little
    assert abs(peaks[2] - peaks[1] - touched) < little
    assert abs(resident[2] - resident[1] - touched) < little
    assert peaks[3] > peaks[2] - little
    assert abs(resident[2] - resident[3] - touched) < little


@pytest.mark.slow
def test_a_child_does_not_inherit_the_peak() -> None:
    block = np.ones(300 * 2**20, np.uint8)
    code = "from ooc.core.process import peak_bytes; print(peak_bytes())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(child.stdout) < block.nbytes


def test_what_the_shell_frees_goes_back_to_the_system() -> None:
    """The C library keeps pieces as large as any that was freed before, under what came later."""
    code = (
        "import sys\n"
        "from ooc.core.process import resident_bytes, share_heaps\n"
        "if 'shared' in sys.argv:\n    share_heaps()\n"
        "def piece():\n    return bytearray(b'1') * (24 * 2**20)\n"
        "piece()\n"
        "before, some, later = resident_bytes(), [piece() for _ in range(4)], []\n"
        "later.append([bytearray(1000) for _ in range(1000)])\n"
        "del some\n"
        "print(resident_bytes() - before)\n"
    )
    kept = [
        int(
            subprocess.run(
                [sys.executable, "-c", code, how], capture_output=True, check=True
            ).stdout
        )
        for how in ("shared", "usual")
    ]
    assert kept[0] < 8 * 2**20
    # What is usual is most often all of it; where the system places a heap decides.
    assert kept[0] <= kept[1] + 2**20


def test_memory_that_is_used_again_is_touched_once_and_given_back() -> None:
    code = (
        "import sys\n"
        "from contextlib import nullcontext\n"
        "from resource import RUSAGE_SELF, getrusage\n"
        "from ooc.core.process import resident_bytes, reused_memory, share_heaps\n"
        "share_heaps()\n"
        "before, faults = resident_bytes(), getrusage(RUSAGE_SELF).ru_minflt\n"
        "with reused_memory() if 'reused' in sys.argv else nullcontext():\n"
        "    for _ in range(20):\n"
        "        bytearray(b'1') * (24 * 2**20)\n"
        "print(getrusage(RUSAGE_SELF).ru_minflt - faults, resident_bytes() - before)\n"
    )
    found = {
        how: tuple(map(int, subprocess.check_output([sys.executable, "-c", code, how]).split()))
        for how in ("reused", "usual")
    }
    assert found["reused"][0] < found["usual"][0] / 4
    assert found["reused"][1] < 8 * 2**20


def test_age_counts_from_the_start_of_the_process() -> None:
    assert age_seconds() > 0
    code = (
        "import time; time.sleep(0.3); from ooc.core import process; print(process.age_seconds())"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(child.stdout) >= 0.29


def test_every_ancestor_of_a_version_2_group_counts(tmp_path: Path) -> None:
    limits = {"a/b/memory.max": "max", "a/memory.max": str(3 * GIB), "memory.max": str(8 * GIB)}
    assert allowed_bytes(*fake_machine(tmp_path, "0::/a/b\n", limits)) == 3 * GIB


def test_every_ancestor_of_a_version_1_group_counts(tmp_path: Path) -> None:
    limits = {
        "memory/job/step/memory.limit_in_bytes": str(2**63 - 4096),
        "memory/job/memory.limit_in_bytes": str(2 * GIB),
        "unified/memory.max": "max",
    }
    cgroup = "4:memory,hugetlb:/job/step\n1:cpu:/\n0::/\n"
    assert allowed_bytes(*fake_machine(tmp_path, cgroup, limits)) == 2 * GIB


def test_without_limits_the_machine_counts(tmp_path: Path) -> None:
    assert allowed_bytes(*fake_machine(tmp_path, "0::/\n", {})) == 16 * GIB


def test_a_budget_over_what_the_process_may_use_is_refused() -> None:
    with pytest.raises(InputError, match=r"1024 TiB is more than the .* that this process may use"):
        budget_of("1024TiB")


def test_a_limit_of_the_machine_counts_where_groups_allow_more(tmp_path: Path) -> None:
    limits = {"a/memory.max": str(99 * GIB), "other/memory.max": str(GIB), "cpu.max": "1"}
    assert allowed_bytes(*fake_machine(tmp_path, "0::/a\n2:cpu:/other\n", limits)) == 16 * GIB


def test_results_tell_the_budget_the_projection_and_the_peak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ooc.core.process.peak_bytes", lambda: 7)
    assert memory_numbers(9, 8) == {
        "memory_budget_bytes": 9,
        "memory_projected_bytes": 8,
        "memory_peak_bytes": 7,
    }


def test_a_process_that_has_ended_has_no_peak() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert peak_bytes(child) == 0  # it has ended, and is still listed
    os.waitpid(child, 0)
    assert peak_bytes() > 2**20
    with pytest.raises(OSError, match="has no line Nothing"):
        _status_bytes("Nothing")


def test_the_code_of_a_library_is_given_back_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int | None, int | None, int]] = []

    class Library:
        def __init__(self, *given: object, **options: object) -> None:
            pass

        def madvise(self, start: Any, size: Any, advice: int) -> int:
            given.append((start.value, size.value, advice))
            return int(start.value == 0x5000)

    monkeypatch.setattr("ooc.core.process.ctypes.CDLL", Library)
    maps = tmp_path / "maps"
    maps.write_text(
        "1000-3000 r-xp 00000000 08:01 12 /usr/lib/libfast.so.1\n"
        "3000-4000 r--p 00002000 08:01 12 /usr/lib/libfast.so.1\n"
        "4000-5000 rw-p 00003000 08:01 12 /usr/lib/libfast.so.1\n"
        "5000-7000 r-xp 00000000 08:01 12 /usr/lib/libfast.so.1\n"
        "7000-8000 r-xp 00000000 08:01 13 /usr/libfast/other.so\n"
        "8000-9000 r-xp 00000000 00:00 0 [vdso]\n"
    )
    assert release_code("libfast", maps) == 0x2000
    assert given == [(0x1000, 0x2000, 4), (0x5000, 0x2000, 4)]
    assert release_code("libfast", tmp_path / "none") == 0


@pytest.mark.slow
def test_memory_that_was_freed_is_no_longer_held() -> None:
    """Of Arrow's own allocator too, which keeps what readers of tables have worked with."""
    pytest.importorskip("pyarrow")
    code = (
        "import numpy as np, pyarrow as pa\n"
        "from ooc.core.process import give_back_freed, resident_bytes\n"
        "give_back_freed()\n"
        "before = resident_bytes()\n"
        "tables = [pa.array(np.arange(50_000, dtype=float)).cast(pa.string()) for _ in range(60)]\n"
        "held = resident_bytes()\n"
        "del tables\n"
        "give_back_freed()\n"
        "print(before, held, resident_bytes())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, held, after = map(int, done.stdout.split())
    assert held - before > 60 * 2**20
    # An allocator keeps some of its own.
    assert held - after > 20 * 2**20
