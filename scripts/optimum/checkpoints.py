"""What it costs to save a run while it goes on: with and without, in turn, on the same rows."""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from peers.bench import Bench
from peers.catalogue import OOC

# How often a run is saved, by what it is told; None for a run without a folder.
WAYS: dict[str, tuple[str, ...] | None] = {
    "not saved": None,
    "saved as usual": (),
    "saved every second": ("every=1",),
}


def saving_cost(bench: Bench, rounds: int) -> dict[str, Any]:
    """Time one cold epoch in each way, in turn, and print what saving takes.

    Returns
    -------
    dict
        For each way "seconds" of every round, "save_seconds" that the run itself counted, and
        "percent", the median over rounds of what it took longer than the unsaved neighbour.
    """
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    saved: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds):
        # Each goes first in its turn, so that none always follows the same one.
        ways = [*WAYS][number % len(WAYS) :] + [*WAYS][: number % len(WAYS)]
        for way in ways:
            options = WAYS[way]
            with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
                told = () if options is None else (f"run={Path(folder, 'run')}", *options)
                result = bench.run_cold(OOC, told)
            seconds[way].append(result["seconds"])
            saved[way].append(result["save_seconds"])
            print(
                f"{way}: {seconds[way][-1]:.3f} s, saving {saved[way][-1]:.4f} s", file=sys.stderr
            )
    unsaved = seconds["not saved"]
    found: dict[str, dict[str, Any]] = {
        way: {
            "seconds": seconds[way],
            "save_seconds": saved[way],
            "percent": statistics.median(
                100 * (own / other - 1) for own, other in zip(seconds[way], unsaved, strict=True)
            ),
            "percent_counted": statistics.median(
                100 * own / whole for own, whole in zip(saved[way], seconds[way], strict=True)
            ),
        }
        for way in WAYS
    }
    for way, numbers in found.items():
        print(
            f"{way}: median {statistics.median(numbers['seconds']):.3f} s, "
            f"{numbers['percent']:+.2f}% against not saved; "
            f"in saves, as the run counted, {numbers['percent_counted']:.2f}%"
        )
    return {"rounds": rounds, "ways": found}
