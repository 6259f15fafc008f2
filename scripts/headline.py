"""Train logistic regression on 80 GB inside 1 GiB, and on a tenth of it for comparison."""

import argparse
import os
import shutil
import statistics
from pathlib import Path
from typing import Any

from commands import best_possible, print_table, run_ooc

from ooc.core.machine import machine
from ooc.core.sizes import format_size

ROWS = 155_000_000
MEMORY = "1GiB"


def train(data: Path, run: Path, memory: str) -> dict[str, Any]:
    """Train for one epoch, read past the page cache."""
    shutil.rmtree(run, ignore_errors=True)
    options = ["--memory", memory, "--io", "direct", "--lr", "0.01", "--run", str(run)]
    return run_ooc("train", str(data), "--model", "logistic", *options)


def main() -> None:
    """Make what is missing, train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the 155 million rows")
    parser.add_argument("--folder", type=Path, default=Path("headline-data"), help="for the data")
    parser.add_argument("--rounds", type=int, default=1, help="epochs on the large data")
    parser.add_argument("--memory", default=MEMORY, help="budget of every run")
    options = parser.parse_args()
    folder, rows = options.folder, int(ROWS * options.scale)
    folder.mkdir(parents=True, exist_ok=True)
    large, small = folder / f"large-{rows}.zarr", folder / f"small-{rows // 10}.zarr"
    held_out = folder / "held-out.zarr"
    # The free space is checked by make itself, before it writes anything.
    for path, count, more in (
        (large, rows, []),
        (small, rows // 10, []),
        (held_out, 400_000, ["--held-out"]),
    ):
        if not path.exists():
            run_ooc("make", "logistic", str(path), "--rows", str(count), *more)
    # What was just written must not be on its way to the disk while it is read.
    os.sync()
    # Small runs around the large ones, so that a machine that drifts is seen to.
    small_runs = [train(small, folder / "run-small", options.memory) for _ in range(2)]
    large_runs = [train(large, folder / "run-large", options.memory) for _ in range(options.rounds)]
    small_runs += [train(small, folder / "run-small", options.memory) for _ in range(2)]
    evaluated = run_ooc(
        "evaluate", str(folder / "run-large"), str(held_out), "--memory", options.memory
    )
    best = best_possible(held_out)
    _print_closing_table(large_runs, small_runs, evaluated, best)


def _print_closing_table(
    large_runs: list[dict[str, Any]],
    small_runs: list[dict[str, Any]],
    evaluated: dict[str, Any],
    best: dict[str, float],
) -> None:
    run = large_runs[-1]
    cost = statistics.median(1e6 / each["rows_per_second"] for each in large_runs)
    small_costs = [1e6 / each["rows_per_second"] for each in small_runs]
    small_cost = statistics.median(small_costs)
    peaks = [max(each["memory_peak_bytes"] for each in runs) for runs in (large_runs, small_runs)]
    decoded = run["bytes_per_second"] * run["seconds"]
    spread = f"{min(small_costs):.4f} to {max(small_costs):.4f}"
    print_table(
        [
            ("machine", machine()),
            ("data, decoded", f"{decoded / 1e9:.1f} GB"),
            ("rows", f"{run['rows']:,}"),
            ("steps", f"{run['steps']:,}"),
            (
                "seconds",
                f"{run['seconds']:.1f}, of them {run['wait_seconds']:.1f} waiting for data",
            ),
            ("rows/s", f"{run['rows_per_second']:,.0f}"),
            ("GB/s, decoded", f"{run['bytes_per_second'] / 1e9:.2f}"),
            ("first batch after", f"{run['seconds_to_first_batch']:.2f} s"),
            ("microseconds a row", f"{cost:.4f}"),
            (
                "on a tenth of the data",
                f"{small_cost:.4f} ({spread}), ratio {cost / small_cost:.3f}",
            ),
            ("loss on held-out rows", f"{evaluated['loss']:.4f}, best possible {best['loss']:.4f}"),
            ("accuracy", f"{evaluated['accuracy']:.4f}, best possible {best['accuracy']:.4f}"),
            ("memory budget", format_size(run["memory_budget_bytes"])),
            ("memory projected", format_size(run["memory_projected_bytes"])),
            (
                "memory peak",
                f"{format_size(peaks[0])}, on a tenth of the data {format_size(peaks[1])}",
            ),
        ]
    )


if __name__ == "__main__":
    main()
