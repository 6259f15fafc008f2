"""The machine is told in a line, also where the system does not name its processor."""

import os
import platform
from pathlib import Path

import pytest

from ooc.core.machine import machine


def test_processor_cores_and_python_are_named(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nmodel name : A: fast one\nmodel name : B\n")
    told = machine(info)
    assert told.startswith(f"A: fast one, {len(os.sched_getaffinity(0))} cores, ")
    assert told.endswith(f"Python {platform.python_version()}") and "\n" not in told
    assert machine(tmp_path / "none").startswith(platform.machine())


def test_memory_is_told_in_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 31 * 2**18 + 2**17 + 1}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7})
    monkeypatch.setattr(platform, "release", lambda: "6.1.0-13-amd64")
    monkeypatch.setattr(platform, "machine", lambda: "riscv")
    version = platform.python_version()
    assert machine(Path("none")) == f"riscv, 3 cores, 32 GiB, Linux 6.1.0, Python {version}"
