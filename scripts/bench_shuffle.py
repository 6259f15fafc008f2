"""Measure what shuffling costs: fine blocks beside no shuffle, and the exact shuffle.

The first table is of epochs in turn, in one process: training speed on the same store without a
shuffle and with windows of fine blocks. The second one is of an exact shuffle, beside the rates at
which this disk reads and writes past the page cache, measured just before and after it.
"""

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from commands import print_table, run_ooc

import ooc
from ooc.core.machine import machine
from ooc.core.memory import own_memory
from ooc.measure.roofline import drop_from_cache

MIB = 2**20
PROBE_BYTES = 2048 * MIB
PROBE_REQUEST = 8 * MIB
THREADS = 4

# Reads or writes buffers of a file at an offset.
Move = Callable[..., int]


def disk_rates(folder: Path) -> tuple[float, float]:
    """Return bytes a second of direct reads and of direct writes, several requests in flight."""
    path = folder / "disk-probe"
    shape = (PROBE_REQUEST,)
    memory = [own_memory(shape, np.dtype(np.uint8), large_pages=True) for _ in range(THREADS)]
    for each in memory:
        each[:] = np.frombuffer(os.urandom(PROBE_REQUEST), np.uint8)
    rates = {}
    for name, flags in (("write", os.O_WRONLY | os.O_CREAT), ("read", os.O_RDONLY)):
        descriptor = os.open(path, flags | os.O_DIRECT, 0o644)
        move: Move = os.pwritev if name == "write" else os.preadv

        def work(thread: int, descriptor: int = descriptor, move: Move = move) -> None:
            for offset in range(thread * PROBE_REQUEST, PROBE_BYTES, THREADS * PROBE_REQUEST):
                move(descriptor, [memory[thread]], offset)

        begun = time.perf_counter()
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, range(THREADS)))
        os.fsync(descriptor)
        rates[name] = PROBE_BYTES / (time.perf_counter() - begun)
        os.close(descriptor)
    path.unlink()
    return rates["read"], rates["write"]


def spread(values: list[float], digits: int = 2) -> str:
    """Print a median and its spread."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def fine_blocks(data: str, memory: str, rounds: int) -> list[tuple[str, str]]:
    """Train without a shuffle and with fine blocks in turn, past the page cache."""
    rates: dict[str, list[float]] = {"none": [], "blocks": []}
    blocks, run = {}, Path(data).with_suffix(".shuffle-run")
    for number in range(rounds + 1):
        names = ("none", "blocks") if number % 2 else ("blocks", "none")
        for shuffle in names:
            shutil.rmtree(run, ignore_errors=True)
            options = ["--memory", memory, "--io", "direct", "--lr", "0.01", "--run", str(run)]
            result = run_ooc("train", data, "--shuffle", shuffle, *options)
            blocks[shuffle] = (result["blocks_per_window"], result["block_rows"])
            if number > 0:  # the first round compiles
                rates[shuffle].append(result["bytes_per_second"] / 1e9)
    shutil.rmtree(run, ignore_errors=True)
    ratios = [b / a for a, b in zip(rates["none"], rates["blocks"], strict=True)]
    return [
        ("no shuffle, GB/s", spread(rates["none"])),
        ("fine blocks, GB/s", spread(rates["blocks"])),
        ("blocks of a window", f"{blocks['blocks'][0]} of {blocks['blocks'][1]} rows"),
        ("ratio", spread(ratios, 3)),
        (
            "ratio of medians",
            f"{statistics.median(rates['blocks']) / statistics.median(rates['none']):.3f}",
        ),
    ]


def exact(data: str, memory: str, rounds: int) -> list[tuple[str, str]]:
    """Shuffle the store exactly, between two measurements of the disk."""
    target = Path(data).with_suffix(".shuffled.zarr")
    moved, plain, weighed, seconds, peaks, reads, writes = ([] for _ in range(7))
    for _ in range(rounds):
        shutil.rmtree(target, ignore_errors=True)
        drop_from_cache(ooc.open(data))
        before = disk_rates(target.parent)
        result = run_ooc("shuffle", data, str(target), "--memory", memory, "--seed", "0")
        after = disk_rates(target.parent)
        read, write = ((a + b) / 2 for a, b in zip(before, after, strict=True))
        total = result["bytes_read"] + result["bytes_written"]
        ideal = result["bytes_read"] / read + result["bytes_written"] / write
        reads.append(read / 1e9)
        writes.append(write / 1e9)
        moved.append(total / 1e9)
        seconds.append(result["seconds"])
        plain.append(total / result["seconds"] / read)
        weighed.append(ideal / result["seconds"])
        peaks.append(result["memory_peak_bytes"] / MIB)
    shutil.rmtree(target, ignore_errors=True)
    return [
        ("disk reads, GB/s", spread(reads)),
        ("disk writes, GB/s", spread(writes)),
        ("read + written, GB", spread(moved)),
        ("seconds", spread(seconds, 1)),
        ("over the disk's read rate", spread(plain)),
        ("over what the disk takes for it", spread(weighed)),
        ("memory peak, MiB", spread(peaks, 0)),
    ]


def main() -> None:
    """Measure both and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="a dataset that `ooc make logistic` wrote")
    parser.add_argument("--memory", default="1GiB", help="the budget")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--exact-rounds", type=int, default=3)
    parser.add_argument("--only", choices=["blocks", "exact"])
    options = parser.parse_args()
    if options.only != "exact":
        rows = fine_blocks(options.data, options.memory, options.rounds)
        print_table([("machine", machine()), *rows])
    if options.only != "blocks":
        rows = exact(options.data, options.memory, options.exact_rounds)
        print_table([("machine", machine()), *rows])


if __name__ == "__main__":
    main()
