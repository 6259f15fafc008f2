"""Lennard-Jones clusters: a deterministic objective, where mini-batches are the wrong tool.

Clusters are minimised by L-BFGS and conjugate gradient in compiled code, beside SciPy; basin
hopping finds the published global minima from random starts; descent on mini-batches of pair terms
stalls at its noise floor, and a figure shows why; and an archive of millions of minima is written
to Zarr and summarised out of core.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.core.process import peak_bytes
from ooc.core.sizes import format_size, parse_count
from pipelines.common.arguments import Parser, add_data_options, check_memory
from pipelines.common.checks import Check, at_least, at_most, below, equal, inside_budget, within
from pipelines.common.command import carry_out
from pipelines.common.dataset import decoded_bytes, open_or_make
from pipelines.common.section import Section
from pipelines.common.table import Table
from pipelines.molecules.basin_hopping import AS_PUBLISHED, PUBLISHED, Found, search, search_many
from pipelines.molecules.data import TOLERANCE, write_archive
from pipelines.molecules.figures import draw_descent, draw_minima
from pipelines.molecules.mini_batches import WAYS, Trace, start_of, trace_batches, trace_full
from pipelines.molecules.scipy_minimisers import Timed, compare
from pipelines.molecules.summary import RESOLUTION, Summary, summarise

ATOMS = 13  # of the archive, and of the descent on mini-batches
HITS = {13: 1.0, 38: 0.5, 55: 1.0}  # share of searches that are to find the published minimum
FOUND_HEAD = (
    *("atoms", "published", "lowest found", "hits", "quenches a hit"),
    *("worst error", "worst norm", "seconds"),
)
TIMED_HEAD = (
    *("", "atoms", "ms", "evaluations", "norm < 1e-8", "median norm"),
    *("to 1e-8", "to its norm"),
)
TRACE_HEAD = ("", "pairs", "energy", "norm", "floor by theory", "pairs to a norm of 1e-8")
FLOOR = 0.3  # how far energies may be from the floor that theory gives, as a share of it


@dataclass(frozen=True)
class Size:
    """How much a run does.

    Attributes
    ----------
    searches
        Atoms and searches for each cluster.
    timed
        Atoms and starts to time.
    steps
        Of descent on mini-batches.
    """

    searches: tuple[tuple[int, int], ...]
    timed: tuple[tuple[int, int], ...]
    steps: int


FULL = Size(((13, 100), (38, 10), (55, 10)), ((13, 40), (38, 10)), 4_000_000)
QUICK = Size(((13, 100), (38, 2), (55, 2)), ((13, 10), (38, 5)), 400_000)


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


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Search, time, descend, archive."""
    size = QUICK if options.quick else FULL
    if options.searches:
        size = replace(size, searches=parse_searches(options.searches))
    rows, budget = parse_count(options.minima), check_memory(options.memory)
    if options.quenches < 1 or (options.threads is not None and options.threads < 1):
        raise InputError(
            f"{options.quenches} quenches on {options.threads} threads are not possible; both "
            "must be at least 1"
        )
    yield find_minima(size, options)
    yield time_minimisers(size, options.seed)
    yield descend(size, options)
    yield archive(rows, options)
    peak = peak_bytes()
    memory = {"memory_budget_bytes": budget, "memory_peak_bytes": peak}
    yield Section("Memory", checks=(inside_budget(peak, budget),), results=memory)


def find_minima(size: Size, options: argparse.Namespace) -> Section:
    """Search for the published global minima."""
    rows: list[tuple[str, ...]] = []
    checks: list[Check] = []
    results = []
    for atoms, searches in size.searches:
        search(atoms, options.seed, 0, 1)  # compiles, which is not to be timed
        begun = time.perf_counter()
        found = search_many(atoms, options.seed, searches, options.quenches, options.threads)
        one = _found(atoms, found, time.perf_counter() - begun)
        results.append(one)
        rows.append(_found_cells(one))
        checks += [
            at_least(
                f"searches that find the published minimum of {atoms} atoms, of {searches}",
                one["hits"],
                int(HITS[atoms] * searches),
            ),
            at_most(f"worst error of an energy, {atoms} atoms", one["worst_error"], AS_PUBLISHED),
            below(f"worst gradient norm, {atoms} atoms", one["worst_norm"], TOLERANCE),
        ]
    title = f"searches of at most {options.quenches} quenches"
    return Section(
        "Global minima",
        "Basin hopping from random starts, beside the Cambridge Cluster Database.",
        (Table(title, FOUND_HEAD, tuple(rows)),),
        checks=tuple(checks),
        results={"searches": results},
    )


def _found(atoms: int, found: Sequence[Found], seconds: float) -> dict[str, Any]:
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


def _found_cells(one: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(one["atoms"]),
        f"{one['published']:.6f}",
        f"{one['lowest']:.9f}",
        f"{one['hits']} of {one['searches']}",
        f"{one['quenches_per_hit']:,.0f}",
        f"{one['worst_error']:.1e}",
        f"{one['worst_norm']:.1e}",
        f"{one['seconds']:.2f}",
    )


def time_minimisers(size: Size, seed: int) -> Section:
    """Minimise from the same starts by compiled code and by SciPy, on one thread."""
    timed = [
        each
        for atoms, count in size.timed
        for each in compare([start_of(atoms, seed, index) for index in range(count)])
    ]
    checks = [
        equal(
            f"minimisations that reach 1e-8, {each.label}, {each.atoms} atoms",
            each.converged,
            len(each.energies),
        )
        for each in timed
        if "SciPy" not in each.label
    ]
    return Section(
        "One minimisation from a random start, on one thread",
        "Medians; the last columns have how many times as long as compiled code it takes to a norm "
        "of 1e-8, and to the norm that was reached.",
        (Table("minimisers", TIMED_HEAD, tuple(_timed_cells(each) for each in timed)),),
        checks=tuple(checks),
        results={"minimisers": [_timed_numbers(each) for each in timed]},
    )


def _timed_cells(each: Timed) -> tuple[str, ...]:
    slower = (f"{each.times_slower:.1f}x", f"{each.times_slower_to_its_norm:.1f}x")
    return (
        each.label,
        str(each.atoms),
        f"{1e3 * each.seconds:.3f}",
        f"{each.evaluations:.0f}",
        f"{each.converged} of {len(each.energies)}",
        f"{np.median(each.gradient_norms):.1e}",
        *(slower if "SciPy" in each.label else ("", "")),
    )


def _timed_numbers(timed: Timed) -> dict[str, Any]:
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


def descend(size: Size, options: argparse.Namespace) -> Section:
    """Go downhill from one start in all ways."""
    start = start_of(ATOMS, options.seed)
    full = [trace_full(method, start) for method in ("L-BFGS", "CG")]
    batches = [trace_batches(way, start, size.steps, options.seed) for way in WAYS]
    picture = draw_descent(full, batches, ATOMS)
    picture.save(options.folder)
    traces = (*full, *batches)
    checks = [
        below(f"gradient norm of {each.label}", each.gradient_norm[-1], 1e-8) for each in full
    ]
    checks += [
        within(f"energy of {each.label}, and its floor", each.settled, each.floor, FLOOR)
        for each in batches
        if each.floor
    ]
    return Section(
        f"LJ{ATOMS} from one random start",
        "Energies above the minimum that each way ends at. The noise of a batch of pairs stays "
        "where the gradient vanishes.",
        (_trace_table(traces),),
        (picture,),
        tuple(checks),
        {"descent": [_trace_numbers(trace) for trace in traces]},
    )


def _trace_table(traces: Sequence[Trace]) -> Table:
    rows = []
    for trace in traces:
        reached = (f"{trace.settled:.1e}", f"{trace.gradient_norm[-1]:.1e}")
        floor = f"{trace.floor:.2e}" if trace.floor else ""
        needed = f"{trace.needed:.0e}" if trace.needed else ""
        rows.append((trace.label, f"{trace.work[-1]:,.0f}", *reached, floor, needed))
    return Table("ways to go downhill", TRACE_HEAD, tuple(rows))


def _trace_numbers(trace: Trace) -> dict[str, Any]:
    return {
        "way": trace.label,
        "pairs": float(trace.work[-1]),
        "energy_above": trace.settled,
        "gradient_norm": float(trace.gradient_norm[-1]),
        "floor": trace.floor,
        "pairs_needed": trace.needed,
    }


def archive(rows: int, options: argparse.Namespace) -> Section:
    """Write the archive and summarise it out of core."""
    seed, threads = options.seed, options.threads
    path = options.folder / f"minima-{rows}-seed{seed}.zarr"
    begun = time.perf_counter()
    dataset = open_or_make(
        path,
        {"rows": rows, "seed": seed, "atoms": ATOMS},
        lambda report: write_archive(path, ATOMS, rows, seed, threads, report),
    )
    made = time.perf_counter() - begun
    begun = time.perf_counter()
    summary = summarise(dataset, options.memory)
    read = time.perf_counter() - begun
    picture = draw_minima(summary, ATOMS)
    picture.save(options.folder)
    size, lowest = decoded_bytes(dataset), float(summary.energies[0])
    return Section(
        f"An archive of {rows:,} minima of LJ{ATOMS}",
        f"{format_size(size)} decoded, in {path}, written in {made:.1f} s, read in {read:.1f} s.",
        (Table("what it holds", ("", ""), _summary_cells(summary)),),
        (picture,),
        (
            equal(
                "minima of the archive with a gradient norm of 1e-8 or more", summary.unconverged, 0
            ),
            at_most(
                "lowest of the archive, and the published minimum: how far apart",
                abs(lowest - PUBLISHED[ATOMS]),
                RESOLUTION,
            ),
            at_most("energy stored and of stored positions, apart", summary.largest_error, 1e-6),
        ),
        {"archive": _summary_numbers(summary, size, made, read)},
    )


def _summary_cells(summary: Summary) -> tuple[tuple[str, str], ...]:
    estimate = f"{summary.expected_distinct:,.0f}"
    return (
        ("gradient norm of 1e-8 or more", f"{summary.unconverged:,}"),
        ("distinct minima", f"{summary.distinct:,}, of about {estimate} by Chao's estimate"),
        ("lowest", f"{summary.energies[0]:.5f}, {100 * summary.lowest_share:.2f}% of all"),
        ("found once", f"{int((summary.counts == 1).sum()):,}"),
        ("distance to the nearest atom", f"{summary.mean_nearest:.5f}"),
        ("evaluations of a minimisation", f"{summary.evaluations:.1f}"),
        ("energy stored and of stored positions", f"{summary.largest_error:.1e} apart at most"),
    )


def _summary_numbers(summary: Summary, size: int, made: float, read: float) -> dict[str, Any]:
    return {
        "rows": summary.rows,
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status."""
    parser = Parser("molecules", str(__doc__), {"minima": "20k"})
    parser.add_argument("--minima", default="4M", help="minima to archive")
    parser.add_argument(
        "--searches", help="for each cluster how many, 13:100,38:10,55:10 by default"
    )
    parser.add_argument("--quenches", type=int, default=5000, help="most quenches of a search")
    add_data_options(parser, "molecules-data", "512MiB")
    parser.add_argument("--threads", type=int, help="by default one a core")
    return carry_out(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
