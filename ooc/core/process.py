"""What this process uses and what it may use, as the kernel counts it."""

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

# Of madvise(2), and of mallopt(3).
_DONT_NEED = 4
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1
# What one thread frees another takes; runs are as fast, within their noise, as with one for each.
HEAPS = 2
# Larger pieces are mapped by themselves, and go back when they are freed; decoders' are smaller.
MAPPED_BYTES, KEPT_BYTES = 2**22, 2**23
# Where pieces are used again, those up to this are; the allocator maps larger ones in any case.
REUSED_BYTES = 2**25


def peak_bytes(process: int | str = "self") -> int:
    """Return the largest resident memory of a process so far, in bytes; 0 of one that has ended."""
    # Unlike ru_maxrss it does not inherit the peak of the parent process.
    return _status_bytes("VmHWM", process)


def memory_numbers(budget: int, projected: int) -> dict[str, int]:
    """Return what results tell of memory: the budget, what was projected, and the peak so far."""
    return {
        "memory_budget_bytes": budget,
        "memory_projected_bytes": projected,
        "memory_peak_bytes": peak_bytes(),
    }


def resident_bytes() -> int:
    """Return the resident memory of this process now, in bytes."""
    return _status_bytes("VmRSS")


def age_seconds() -> float:
    """Return the seconds since this process was started, the interpreter's own start included."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def allowed_bytes(proc: Path = Path("/proc"), control_groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that this process may use: the smallest limit of the machine and its groups.

    Those are the process's memory control group and every ancestor of it, version 1 and version 2.
    """
    limits = [int((proc / "meminfo").read_text().split()[1]) * 1024]
    for file in _limit_files(control_groups, (proc / "self" / "cgroup").read_text()):
        with suppress(OSError):
            limit = file.read_text().strip()
            limits += [] if limit == "max" else [int(limit)]
    return min(limits)


@lru_cache(maxsize=1)
def _limit_files(control_groups: Path, memberships: str) -> list[Path]:
    """Return where limits of a process's groups and their ancestors may stand."""
    files = []
    for line in memberships.splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            roots, limit_file = [control_groups, control_groups / "unified"], "memory.max"
        elif "memory" in controllers.split(","):
            roots, limit_file = [control_groups / "memory"], "memory.limit_in_bytes"
        else:
            continue
        for root in roots:
            folder = root / group.lstrip("/")
            ancestors = (folder, *folder.parents)
            files += [each / limit_file for each in ancestors if each.is_relative_to(root)]
    return files


def _status_bytes(key: str, process: int | str = "self") -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    if process != "self":
        return 0
    raise OSError(f"/proc/self/status has no line {key}")


def share_heaps() -> None:
    """Have all threads to come allocate from the first heaps of glibc's allocator, if it is that.

    Else each has a heap of its own, of which the end is not given back, not even by a trim; and
    the size from which pieces are mapped grows to 32 MiB with what is freed.
    """
    with suppress(AttributeError):
        allocator = ctypes.CDLL(None)
        allocator.mallopt(_ARENA_MAX, HEAPS)
        allocator.mallopt(_MMAP_THRESHOLD, MAPPED_BYTES)
        allocator.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)


@contextmanager
def reused_memory() -> Iterator[None]:
    """Let freed pieces be used again in this block, and give them back at its end.

    For work that frees and asks for pieces of the same sizes all the time: each that is mapped anew
    is touched for the first time, page by page.
    """
    with suppress(AttributeError):
        allocator = ctypes.CDLL(None)
        allocator.mallopt(_MMAP_THRESHOLD, REUSED_BYTES)
        allocator.mallopt(_TRIM_THRESHOLD, 4 * REUSED_BYTES)
    try:
        yield
    finally:
        share_heaps()
        trim_allocator()


def trim_allocator() -> None:
    """Give freed memory that the C library's allocator has kept back to the system, if it can."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def give_back_freed() -> None:
    """Give freed memory back to the system that allocators of this process have kept.

    Arrow has one of its own, which keeps what pandas and readers of Parquet have worked with.
    """
    trim_allocator()
    if (arrow := sys.modules.get("pyarrow")) is not None:
        with suppress(AttributeError):
            arrow.default_memory_pool().release_unused()


def release_code(library: str, maps: Path = Path("/proc/self/maps")) -> int:
    """Give back the memory of a library's code, and return its bytes, 0 without such a call.

    Code is never written to, so that nothing is lost: it is read again where it is needed.

    Examples
    --------
    >>> release_code("no such library")
    0
    """
    try:
        give_back = ctypes.CDLL(None, use_errno=True).madvise
        lines = maps.read_text().splitlines()
    except (OSError, AttributeError):
        return 0
    released = 0
    for line in lines:
        if library not in line:
            continue
        span, permissions, *_, file = line.split(maxsplit=5)
        if permissions.startswith("r-x") and library in Path(file).name:
            start, stop = (int(part, 16) for part in span.split("-"))
            size = stop - start
            failed = give_back(ctypes.c_void_p(start), ctypes.c_size_t(size), _DONT_NEED)
            released += 0 if failed else size
    return released
