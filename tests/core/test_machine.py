"""The machine is told in a line, also where the system does not name its processor."""

import os
import platform
from pathlib import Path

from ooc.core.machine import machine


def test_processor_cores_and_python_are_named(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nmodel name : A: fast one\nmodel name : B\n")
    told = machine(info)
    assert told.startswith(f"A: fast one, {len(os.sched_getaffinity(0))} cores, ")
    assert told.endswith(f"Python {platform.python_version()}") and "\n" not in told
    assert machine(tmp_path / "none").startswith(platform.machine())
