"""Lennard-Jones clusters: a deterministic objective, where mini-batches are the wrong tool.

Clusters are minimised by L-BFGS and conjugate gradient in compiled code, beside SciPy; basin
hopping finds the published global minima from random starts; descent on mini-batches of pair terms
stalls at its noise floor, and a figure shows why; and an archive of millions of minima is written
to Zarr and summarised out of core.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from molecules_archive import Summary, summarise, write_archive
from molecules_batches import WAYS, start_of, trace_batches, trace_full
from molecules_figures import draw_descent, draw_minima
from molecules_scipy import Timed, compare
from molecules_search import PUBLISHED, Found, search, search_many

import ooc
from ooc.cli.progress_bar import ProgressDisplay
from ooc.core.errors import InputError
from ooc.core.process import peak_bytes
from ooc.core.sizes import format_size, parse_count
from ooc.store.dataset import Dataset
from ooc.stream.plan import budget_of

ATOMS = 13  # of the archive, and of the descent on mini-batches


@dataclass(frozen=True)
class Size:
    """How much a run does: searches for each cluster, starts to time, steps, minima to archive."""

    searches: tuple[tuple[int, int], ...]
    timed: tuple[tuple[int, int], ...]
    steps: int
    minima: str


FULL = Size(((13, 100), (38, 10), (55, 10)), ((13, 40), (38, 10)), 4_000_000, "4M")
QUICK = Size(((13, 100), (38, 2), (55, 2)), ((13, 10), (38, 5)), 400_000, "20k")


def parse_searches(text: str) -> tuple[tuple[int, int], ...]:
    """Read atoms and numbers of searches, "13:100,38:10".

    Raises
    ------
    InputError
        If a part is not of that form, or no minimum of so many atoms is in the table.
    """
    pairs = []
    for part in text.split(","):
        atoms, _, searches = part.partition(":")
        if not (atoms.isdecimal() and searches.isdecimal() and int(searches)) or (
            int(atoms) not in PUBLISHED
        ):
            known = ", ".join(map(str, PUBLISHED))
            raise InputError(
                f"{part!r} is no cluster and number of searches; write it as 38:10, with one of "
                f"{known} atoms"
            )
        pairs.append((int(atoms), int(searches)))
    return tuple(pairs)


def find_minima(size: Size, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Search for the published global minima; print and return a row for each cluster."""
    print(
        f"\nglobal minima by basin hopping from random starts, at most {options.quenches} quenches"
    )
    print(
        f"{'atoms':>5}{'published':>14}{'lowest found':>16}{'hits':>11}{'quenches a hit':>16}"
        f"{'worst error':>13}{'worst norm':>12}{'seconds':>9}"
    )
    rows = []
    for atoms, searches in size.searches:
        search(atoms, options.seed, 0, 1)  # compiles, which is not to be timed
        begun = time.perf_counter()
        found = search_many(atoms, options.seed, searches, options.quenches, options.threads)
        row = _found_row(atoms, found, time.perf_counter() - begun)
        rows.append(row)
        print(
            f"{atoms:>5}{PUBLISHED[atoms]:>14.6f}{row['lowest']:>16.9f}"
            f"{row['hits']:>5} of {searches:<3}{row['quenches_per_hit']:>15,.0f}"
            f"{row['worst_error']:>14.1e}{row['worst_norm']:>12.1e}{row['seconds']:>9.2f}",
            flush=True,
        )
    return rows


def _found_row(atoms: int, found: Sequence[Found], seconds: float) -> dict[str, Any]:
    hits = [each for each in found if each.is_global]
    quenches = sum(each.quenches for each in found)
    return {
        "atoms": atoms,
        "published": PUBLISHED[atoms],
        "lowest": min(each.energy for each in found),
        "searches": len(found),
        "hits": len(hits),
        "quenches": [each.quenches for each in found],
        "quenches_per_hit": quenches / len(hits) if hits else float("inf"),
        "worst_error": max((abs(each.error) for each in hits), default=float("nan")),
        "worst_norm": max(each.gradient_norm for each in found),
        "seconds": seconds,
    }


def time_minimisers(size: Size, seed: int) -> list[dict[str, Any]]:
    """Minimise from the same starts by compiled code and by SciPy, on one thread; print a table."""
    print(
        "\none minimisation from a random start, on one thread: medians, and how many times as long"
    )
    print("as compiled code takes to a norm of 1e-8, and to the norm that was reached")
    print(
        f"{'':<33}{'atoms':>5}{'ms':>9}{'evaluations':>13}{'norm < 1e-8':>13}{'median norm':>13}"
        f"{'to 1e-8':>10}{'to its norm':>13}"
    )
    rows = []
    for atoms, count in size.timed:
        for each in compare([start_of(atoms, seed, index) for index in range(count)]):
            row = _timed_row(each)
            rows.append(row)
            line = (
                f"{each.label:<33}{atoms:>5}{1e3 * each.seconds:>9.3f}{each.evaluations:>13.0f}"
                f"{each.converged:>6} of {count:<3}{row['median_norm']:>13.1e}"
            )
            if "SciPy" in each.label:
                line += f"{each.times_slower:>9.1f}x{each.times_slower_to_its_norm:>12.1f}x"
            print(line, flush=True)
    return rows


def _timed_row(timed: Timed) -> dict[str, Any]:
    return {
        "way": timed.label,
        "atoms": timed.atoms,
        "seconds": timed.seconds,
        "times_slower": timed.times_slower,
        "times_slower_to_its_norm": timed.times_slower_to_its_norm,
        "evaluations": timed.evaluations,
        "converged": timed.converged,
        "starts": len(timed.energies),
        "median_norm": float(np.median(timed.gradient_norms)),
    }


def descend(size: Size, seed: int, picture: Path) -> list[dict[str, Any]]:
    """Go downhill from one start in all ways; draw the figure, print a table."""
    start = start_of(ATOMS, seed)
    full = [trace_full(method, start) for method in ("L-BFGS", "CG")]
    batches = [trace_batches(way, start, size.steps, seed) for way in WAYS]
    draw_descent(picture, full, batches, ATOMS)
    print(f"\nLJ{ATOMS} from one random start; energies above the minimum that each way ends at")
    print(f"{'':<33}{'pairs':>12}{'energy':>10}{'norm':>10}{'floor by theory':>17}")
    for trace in (*full, *batches):
        floor = f"{trace.floor:.2e}" if trace.floor else ""
        print(
            f"{trace.label:<33}{trace.work[-1]:>12,.0f}{trace.settled:>10.1e}"
            f"{trace.gradient_norm[-1]:>10.1e}{floor:>17}"
        )
    for trace in batches:
        if trace.needed:
            print(f"{trace.label} would reach a norm of 1e-8 after about {trace.needed:.0e} pairs")
    return [
        {
            "way": trace.label,
            "pairs": float(trace.work[-1]),
            "energy_above": trace.settled,
            "gradient_norm": float(trace.gradient_norm[-1]),
            "floor": trace.floor,
            "pairs_needed": trace.needed,
        }
        for trace in (*full, *batches)
    ]


def open_or_make(path: Path, rows: int, options: argparse.Namespace) -> Dataset:
    """Open an archive, made first if it is not there.

    Raises
    ------
    InputError
        If what is there is another one.
    """
    if not path.exists():
        with ProgressDisplay(f"minimise LJ{ATOMS}") as report:
            write_archive(path, ATOMS, rows, options.seed, options.threads, report)
    dataset = ooc.open(path)
    there = (dataset.rows, dataset.attributes.get("seed"), dataset.attributes.get("atoms"))
    if there != (rows, options.seed, ATOMS):
        raise InputError(
            f"{path} has {there[0]} minima of {there[2]} atoms and seed {there[1]}, not {rows} of "
            f"{ATOMS} and seed {options.seed}; remove it, or choose another folder with --folder"
        )
    return dataset


def archive(rows: int, options: argparse.Namespace, picture: Path) -> dict[str, Any]:
    """Write the archive, summarise it out of core, draw the figure, print what it holds."""
    path = options.folder / f"minima-{rows}-seed{options.seed}.zarr"
    begun = time.perf_counter()
    dataset = open_or_make(path, rows, options)
    made = time.perf_counter() - begun
    begun = time.perf_counter()
    summary = summarise(dataset, options.memory)
    read = time.perf_counter() - begun
    draw_minima(picture, summary, ATOMS)
    size = sum(array.row_bytes for array in dataset.arrays.values()) * rows
    print(f"\narchive of {rows:,} minima of LJ{ATOMS}, {format_size(size)} decoded: {path}")
    lines = _archive_lines(summary)
    lines += [("seconds to write, to summarise", f"{made:.1f}, {read:.1f}")]
    for name, value in lines:
        print(f"{name:>38}  {value}")
    return {
        "rows": rows,
        "bytes": size,
        "unconverged": summary.unconverged,
        "distinct": summary.distinct,
        "expected_distinct": summary.expected_distinct,
        "lowest": float(summary.energies[0]),
        "lowest_share": summary.lowest_share,
        "mean_nearest": summary.mean_nearest,
        "evaluations": summary.evaluations,
        "largest_error": summary.largest_error,
        "write_seconds": made,
        "summarise_seconds": read,
    }


def _archive_lines(summary: Summary) -> list[tuple[str, str]]:
    estimate = f"{summary.expected_distinct:,.0f}"
    return [
        ("gradient norm of 1e-8 or more", f"{summary.unconverged:,}"),
        ("distinct minima", f"{summary.distinct:,}, of about {estimate} by Chao's estimate"),
        ("lowest", f"{summary.energies[0]:.5f}, {100 * summary.lowest_share:.2f}% of all"),
        ("found once", f"{int((summary.counts == 1).sum()):,}"),
        ("distance to the nearest atom", f"{summary.mean_nearest:.5f}"),
        ("evaluations of a minimisation", f"{summary.evaluations:.1f}"),
        ("energy stored and of stored positions", f"{summary.largest_error:.1e} apart at most"),
    ]


def run(options: argparse.Namespace) -> None:
    """Search, time, descend, archive, draw and print."""
    size = QUICK if options.quick else FULL
    if options.searches:
        size = replace(size, searches=parse_searches(options.searches))
    rows, budget = parse_count(options.minima or size.minima), budget_of(options.memory)
    if options.quenches < 1 or (options.threads is not None and options.threads < 1):
        raise InputError(
            f"{options.quenches} quenches on {options.threads} threads are not possible; both "
            "must be at least 1"
        )
    options.folder.mkdir(parents=True, exist_ok=True)
    pictures = [options.folder / name for name in ("descent.png", "minima.png")]
    begun = time.perf_counter()
    found = find_minima(size, options)
    timed = time_minimisers(size, options.seed)
    traces = descend(size, options.seed, pictures[0])
    archived = archive(rows, options, pictures[1])
    peak, seconds = peak_bytes(), time.perf_counter() - begun
    print(f"{'memory peak, of a budget of':>38}  {format_size(peak)}, {format_size(budget)}")
    print(f"saved {pictures[0]} and {pictures[1]} after {seconds:.0f} s")
    if options.json:
        results = {
            "searches": found,
            "minimisers": timed,
            "descent": traces,
            "archive": archived,
            "seconds": seconds,
            "memory_budget_bytes": budget,
            "memory_peak_bytes": peak,
        }
        print(json.dumps(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status, 2 for bad input."""
    parser = argparse.ArgumentParser(
        description="Find the lowest minima of Lennard-Jones clusters, and archive millions.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a small run, of seconds")
    parser.add_argument("--minima", help="minima to archive, 4M by default, 20k with --quick")
    parser.add_argument(
        "--searches", help="for each cluster how many, 13:100,38:10,55:10 by default"
    )
    parser.add_argument("--quenches", type=int, default=5000, help="most quenches of a search")
    parser.add_argument("--memory", default="512MiB", help="bytes that the whole process may use")
    parser.add_argument(
        "--folder", type=Path, default=Path("molecules-data"), help="for all results"
    )
    parser.add_argument("--threads", type=int, help="by default one a core")
    parser.add_argument("--seed", type=int, default=0, help="everything random is a function of it")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    options = parser.parse_args(arguments)
    try:
        run(options)
    except InputError as error:
        print(f"molecules: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
