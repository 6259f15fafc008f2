"""Compare training in a memory control group, page cache counted, with training outside one."""

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from commands import print_table, run_ooc

from ooc.core.machine import machine
from ooc.core.sizes import parse_size

ROOT = Path("/sys/fs/cgroup")


@contextmanager
def control_group(limit: int) -> Iterator[Callable[[], None]]:
    """Make a group below this process's own; yield a function that enters it."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    fields = [line.split(":", 2) for line in lines]
    version_1 = [group for _, controllers, group in fields if "memory" in controllers.split(",")]
    if version_1:
        parent, limit_file = ROOT / "memory" / version_1[0].lstrip("/"), "memory.limit_in_bytes"
    else:
        parent, limit_file = ROOT / fields[0][2].lstrip("/"), "memory.max"
    group = parent / f"ooc-bench-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit_file).write_text(str(limit))
    except OSError as error:
        print(
            f"bench_limit: no control group at {group}: {error.strerror}; run as root",
            file=sys.stderr,
        )
        sys.exit(2)

    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    try:
        yield enter
    finally:
        group.rmdir()


def main() -> None:
    """Run both in turn, several times, and print medians, spread and ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="a dataset that `ooc make logistic` wrote")
    parser.add_argument("--memory", default="1GiB", help="the budget, and the group's limit")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    run = Path(options.data).with_suffix(".limit-run")
    rates: dict[str, list[float]] = {"free": [], "limited": []}
    peaks = []
    with control_group(parse_size(options.memory)) as enter:
        for _ in range(options.rounds):
            for name, before in (("free", None), ("limited", enter)):
                shutil.rmtree(run, ignore_errors=True)
                settings = ["--memory", options.memory, "--io", "direct", "--run", str(run)]
                result = run_ooc("train", options.data, "--lr", "0.01", *settings, before=before)
                rates[name].append(result["bytes_per_second"] / 1e9)
                peaks.append(result["memory_peak_bytes"] / 2**20)
    shutil.rmtree(run, ignore_errors=True)
    ratios = [b / a for a, b in zip(rates["free"], rates["limited"], strict=True)]
    described = {
        name: f"{statistics.median(each):.2f} GB/s ({min(each):.2f} to {max(each):.2f})"
        for name, each in rates.items()
    }
    print_table(
        [
            ("machine", machine()),
            ("free", described["free"]),
            (f"in a group of {options.memory}", described["limited"]),
            ("ratio", f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"),
            ("memory peak", f"{max(peaks):.0f} MiB"),
        ]
    )


if __name__ == "__main__":
    main()
