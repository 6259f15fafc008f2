"""What the kernel says of this process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.core.process import age_seconds, allowed_bytes, peak_bytes, resident_bytes
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
    before = peak_bytes()
    block = np.ones(200 * 2**20, np.uint8)
    grown = peak_bytes()
    assert grown >= resident_bytes() > block.nbytes
    del block
    assert peak_bytes() >= grown > before or before > 200 * 2**20


def test_a_child_does_not_inherit_the_peak() -> None:
    block = np.ones(300 * 2**20, np.uint8)
    code = "from ooc.core.process import peak_bytes; print(peak_bytes())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(child.stdout) < block.nbytes


def test_age_counts_from_the_start_of_the_process() -> None:
    assert age_seconds() > 0
    code = "import time; time.sleep(0.3); from ooc.process import age_seconds; print(age_seconds())"
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
