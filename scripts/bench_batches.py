"""Time one cold epoch of batches for PyTorch, with ooc and over zarr-python, on the same store.

Each way runs in a process of its own, all of them in turn, several rounds.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from peers.bench import drop_page_cache, ignored_folder, interpreter, made_store
from peers.catalogue import TORCH_AND_OOC
from peers.environments import UnavailableError, run_checked
from peers.text import Parser, print_table

from ooc.core.errors import InputError
from ooc.core.sizes import parse_count, parse_size

# What ooc.torch promises: so much of the loader's rate, and so many times that of a `Dataset`.
LOADER = "ooc.Loader"
OURS = "BatchDataset"
# What PyTorch's own loader costs is told beside it: its batches are the same, of nothing.
IN_LOADERS = ("BatchDataset, 0 workers", "BatchDataset, 2 workers")
ALONE = ("DataLoader alone, 0 workers", "DataLoader alone, 2 workers")
OTHERS = ("zarr-python, batches in order", "zarr-python, rows in order")
OF_LOADER, OF_OTHERS = 0.9, 3.0


def measure(store: Path, batch_size: int, memory: str, rounds: int) -> dict[str, list[float]]:
    """Return rows a second of every way in every round."""
    rates: dict[str, list[float]] = {
        way: [] for way in (LOADER, OURS, *IN_LOADERS, *ALONE, *OTHERS)
    }
    python = interpreter(TORCH_AND_OOC)
    for _ in range(rounds):
        for way, found in rates.items():
            drop_page_cache([store])
            with tempfile.TemporaryDirectory() as folder:
                output = Path(folder, "result.json")
                command = [str(python), "-m", "peers.batches", str(store.resolve())]
                run_checked([*command, str(batch_size), memory, way, str(output)])
                result = json.loads(output.read_text())
            found.append(result["rows"] / result["seconds"])
    return rates


def print_rates(rates: dict[str, list[float]]) -> bool:
    """Print them beside the loader's, round by round; tell whether what is promised is met."""
    lines, met_all = [("batches from", "rows a second", "of ooc.Loader", "spread", "met")], True
    medians = {way: statistics.median(found) for way, found in rates.items()}
    for way, found in rates.items():
        ratios = [one / loader for one, loader in zip(found, rates[LOADER], strict=True)]
        met = ""
        if way == OURS:
            others = max(medians[other] for other in OTHERS)
            of_loader = statistics.median(ratios)
            is_met = of_loader >= OF_LOADER and medians[way] >= OF_OTHERS * others
            met, met_all = "yes" if is_met else "no", met_all and is_met
        spread = f"{min(ratios):.3f}..{max(ratios):.3f}"
        lines.append((way, f"{medians[way]:,.0f}", f"{statistics.median(ratios):.3f}", spread, met))
    print_table(lines)
    return met_all


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="2M", help="rows of the store; 520 bytes each")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is timed")
    parser.add_argument("--batch-size", type=int, default=256, help="rows of a batch")
    parser.add_argument("--memory", default="1GiB", help="what each process of ooc may use")
    parser.add_argument("--folder", type=Path, default=Path("bench-data"), help="for the store")
    try:
        given: argparse.Namespace = parser.parse_args(arguments)
        rows, folder = parse_count(given.rows), ignored_folder(given.folder)
        parse_size(given.memory)
        store = made_store(folder / f"logistic-{rows}.zarr", "--rows", str(rows))
        rates = measure(store, given.batch_size, given.memory, given.rounds)
    except (InputError, UnavailableError, OSError) as error:
        print(f"scripts/bench_batches: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    cores = os.cpu_count()
    print(f"{rows:,} rows, batches of {given.batch_size}, {given.rounds} rounds, {cores} cores.\n")
    return 0 if print_rates(rates) else 1


if __name__ == "__main__":
    sys.exit(main())
