"""What the kernel says of this process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.core.process import age_seconds, allowed_bytes
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
    assert kept[1] > 64 * 2**20


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
