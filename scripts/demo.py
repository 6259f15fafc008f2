"""Generate data, train within a memory budget, evaluate on other rows, and print what came out."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from commands import best_possible, print_table, run_ooc

from ooc.core.machine import machine
from ooc.core.sizes import format_size

FOLDER = Path("demo-data")
MEMORY = "512MiB"


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="7750k", help="rows to train on; 516 bytes each")
    rows = parser.parse_args().rows
    data, held_out = FOLDER / f"logistic-{rows}.zarr", FOLDER / "held-out.zarr"
    if not data.exists():
        run_ooc("make", "logistic", str(data), "--rows", rows)
    if not held_out.exists():
        run_ooc("make", "logistic", str(held_out), "--rows", "400k", "--held-out")
    run = FOLDER / "run"
    shutil.rmtree(run, ignore_errors=True)
    settings = ["--model", "logistic", "--memory", MEMORY, "--run", str(run)]
    trained = run_ooc("train", str(data), *settings)
    evaluated = run_ooc("evaluate", str(run), str(held_out), "--memory", MEMORY)
    best = best_possible(held_out)
    _print_table(data, trained, evaluated, best)


def _print_table(
    data: Path, trained: dict[str, Any], evaluated: dict[str, Any], best: dict[str, float]
) -> None:
    decoded = trained["bytes_per_second"] * trained["seconds"]
    lines = [
        ("data, decoded", f"{decoded / 1e9:.2f} GB in {data}"),
        ("rows trained on", f"{trained['rows']:,}"),
        ("steps", f"{trained['steps']:,}"),
        ("learning rate found", f"{trained['learning_rate']:.4g}"),
        ("seconds", f"{trained['seconds']:.1f}"),
        ("rows/s", f"{trained['rows_per_second']:,.0f}"),
        ("GB/s, decoded", f"{trained['bytes_per_second'] / 1e9:.2f}"),
        ("rows held out", f"{evaluated['rows']:,}"),
        ("loss on them", f"{evaluated['loss']:.4f}   best possible {best['loss']:.4f}"),
        ("accuracy on them", f"{evaluated['accuracy']:.4f}   best possible {best['accuracy']:.4f}"),
        ("machine", machine()),
        ("memory budget", format_size(trained["memory_budget_bytes"])),
        ("memory projected", format_size(trained["memory_projected_bytes"])),
        ("memory peak", format_size(trained["memory_peak_bytes"])),
    ]
    print_table(lines)


if __name__ == "__main__":
    main()
