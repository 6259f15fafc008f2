"""The machine that this process runs on, in words."""

import os
import platform
from contextlib import suppress
from pathlib import Path


def machine(cpu_info: Path = Path("/proc/cpuinfo")) -> str:
    """Describe the machine in one line: processor, cores, memory, system, Python."""
    model = platform.machine()
    with suppress(OSError):
        lines = cpu_info.read_text().splitlines()
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        model = next(names, model)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return (
        f"{model}, {cores} cores, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}"
    )
