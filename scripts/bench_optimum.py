"""Time ooc and its peers until their training loss is within 0.1 percent of the optimum.

The optimum is that of the very rows that are trained on. Every tool first searches, on the first
part of the store, the settings with which it needs the fewest rows; then each runs cold at these,
with ooc right before it, and notes its model now and then. The time, from the opened store, is
that of the first model from which on all are near the optimum.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from optimum.checkpoints import saving_cost
from optimum.contenders import CONTENDERS, OWN, Contender, Settings
from optimum.exact import Optimum, optimum_of
from optimum.excess import Reached, excesses, reached, sample_of
from peers.bench import Bench, drop_page_cache, ignored_folder, made_store
from peers.catalogue import OOC
from peers.environments import UnavailableError
from peers.store import arrays_of
from peers.text import Parser, print_table

from ooc.core.errors import InputError
from ooc.core.machine import machine
from ooc.core.sizes import parse_count, parse_size

BATCH_SIZE = 256
# A whole number of every tool's slices and blocks.
UNIT_CHUNKS = 64


@dataclass(frozen=True)
class Race:
    """What all runs of this benchmark share.

    Attributes
    ----------
    bench
        How a run is started.
    optimum
        The goal.
    sample
        (rows, F) features on which models are judged.
    tolerance
        Excess of loss that is near enough.
    """

    bench: Bench
    optimum: Optimum
    sample: np.ndarray
    tolerance: float

    def run(self, contender: Contender, settings: Settings, rows: int, cold: bool) -> "Outcome":
        """Run a contender over so many rows, and judge its models."""
        told = (*contender.fixed, *settings, "snapshots=yes", f"limit={rows}")
        start = self.bench.run_cold if cold else self.bench.run
        result = start(contender.peer, told, rows)
        models = [parameters for _, _, parameters in result["snapshots"]]
        found = excesses(self.sample, np.array(self.optimum.parameters), models)
        return Outcome(settings, rows, reached(result["snapshots"], found, self.tolerance), result)


@dataclass(frozen=True)
class Outcome:
    """A run: what it was told, the rows it had, when it was near the optimum, all that it said."""

    settings: Settings
    rows: int
    reached: Reached
    result: dict[str, Any]

    @property
    def seconds(self) -> float:
        """When it was near, or, if it never was, when it ended: at least that."""
        at: float = self.result["seconds"]
        return at if self.reached.seconds is None else self.reached.seconds

    @property
    def rank(self) -> tuple[bool, float]:
        """What the best setting has least of: rows, which unlike seconds do not vary."""
        rows, last = self.reached.rows, self.reached.last
        if rows is None:
            return True, math.inf if math.isnan(last) else last
        return False, rows

    def to_json(self, store_rows: int) -> dict[str, Any]:
        """Return what is worth keeping."""
        rows = self.reached.rows
        return {
            "settings": list(self.settings),
            "rows": self.rows,
            **asdict(self.reached),
            "epochs": None if rows is None else rows / store_rows,
            "run_seconds": self.result["seconds"],
            "prepare_seconds": self.result["prepare_seconds"],
        }


def search(race: Race, contender: Contender, rows: int) -> list[Outcome]:
    """Run every candidate over the first rows; return the outcomes, the best first."""
    outcomes = []
    for settings in contender.candidates:
        try:
            outcome = race.run(contender, settings, rows, cold=False)
        except UnavailableError as error:
            print(f"{contender.name} {' '.join(settings)}: {error}", file=sys.stderr)
            continue
        outcomes.append(outcome)
        _say(contender, outcome, race.optimum)
    if not outcomes:
        raise UnavailableError(f"{contender.name} has not run at all")
    return sorted(outcomes, key=lambda each: each.rank)


def _say(contender: Contender, outcome: Outcome, optimum: Optimum) -> None:
    near = outcome.reached
    last = 100 * near.last / optimum.loss
    when = f"{near.rows:,} rows, {near.seconds:.3f} s" if near.seconds is not None else "never"
    told = " ".join(outcome.settings)
    print(f"{contender.name} ({told}): near after {when}; last {last:.4f}%", file=sys.stderr)


def search_all(
    race: Race, names: Sequence[str], rows: int, known: Mapping[str, Any]
) -> dict[str, Any]:
    """Return for each contender its "settings", what was "searched", and a "reason" if it fails."""
    found: dict[str, Any] = {}
    for contender in (*OWN, *(CONTENDERS[name] for name in names)):
        try:
            race.bench.build_cache(contender.peer)
            if not known.get(contender.name, {}).get("settings"):
                outcomes = search(race, contender, rows)
                searched = [each.to_json(race.bench.rows) for each in outcomes]
                found[contender.name] = {"settings": outcomes[0].settings, "searched": searched}
            else:
                found[contender.name] = known[contender.name]
        except UnavailableError as error:
            if contender.peer is OOC:
                raise
            found[contender.name] = {"settings": None, "reason": str(error)}
    return found


def time_all(
    race: Race, names: Sequence[str], found: Mapping[str, Any], rows: int, rounds: int
) -> list[dict[str, Any]]:
    """Time every contender, ooc right before each peer; return the table's lines, ooc's first."""
    runs: dict[str, list[Outcome]] = {each.name: [] for each in OWN}
    ratios: dict[str, dict[str, list[float]]] = {}
    reasons: dict[str, str] = {}

    def run(contender: Contender) -> Outcome:
        outcome = race.run(contender, tuple(found[contender.name]["settings"]), rows, cold=True)
        _say(contender, outcome, race.optimum)
        runs.setdefault(contender.name, []).append(outcome)
        return outcome

    for _ in range(rounds):
        contenders: list[Contender | None] = [CONTENDERS[name] for name in names]
        for contender in contenders or [None]:
            if contender is not None and found[contender.name]["settings"] is None:
                reasons[contender.name] = found[contender.name]["reason"]
                continue
            beside = {each.name: run(each) for each in OWN}
            if contender is not None:
                try:
                    theirs = run(contender)
                except UnavailableError as error:
                    reasons[contender.name] = str(error)
                    continue
                for name, ours in beside.items():
                    pair = ratios.setdefault(contender.name, {}).setdefault(name, [])
                    pair.append(theirs.seconds / ours.seconds)
    lines = [_line(race, name, outcomes, ratios.get(name, {})) for name, outcomes in runs.items()]
    missing = [{"name": name, "reason": reasons[name]} for name in sorted({*reasons} - {*runs})]
    return [*lines, *missing]


def _line(
    race: Race, name: str, outcomes: Sequence[Outcome], ratios: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    typical = sorted(outcomes, key=lambda each: each.seconds)[len(outcomes) // 2]
    return {
        "name": name,
        "reason": None,
        "versions": typical.result["versions"],
        **typical.to_json(race.bench.rows),
        "seconds_all": [each.seconds for each in outcomes],
        "reached_all": [each.reached.seconds is not None for each in outcomes],
        "ratios": {own: statistics.median(values) for own, values in ratios.items()},
        "ratios_all": {own: list(values) for own, values in ratios.items()},
    }


HEADINGS = ("tool", "settings", "seconds", "spread", "rows", "epochs", "loss at the end", "ooc is")


def _cells(line: dict[str, Any], optimum: Optimum) -> tuple[str, ...]:
    if line["reason"] is not None:
        return line["name"], f"not measured: {line['reason']}", "", "", "", "", "", ""
    seconds, missed = line["seconds_all"], line["seconds"] is None
    ratios = [f"{ratio:.1f}x" for ratio in line["ratios"].values()]
    at_least = "over " if missed else ""
    return (
        line["name"],
        " ".join(line["settings"]),
        f"{at_least}{statistics.median(seconds):.3f}",
        f"{min(seconds):.3f}..{max(seconds):.3f}",
        "never" if missed else f"{line['rows']:,}",
        "" if missed else f"{line['epochs']:.4f}",
        f"{optimum.loss + line['last']:.6f} (+{100 * line['last'] / optimum.loss:.4f}%)",
        at_least + " / ".join(ratios) if ratios else "",
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="15.5M", help="rows to train on; 520 bytes each")
    parser.add_argument("--store", type=Path, help="a store that is there, instead of one made")
    parser.add_argument(
        "--horizon", type=float, default=0.25, help="epochs that a timed run goes on for"
    )
    parser.add_argument(
        "--search", type=float, default=0.1, help="epochs that a run of the search goes on for"
    )
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="an earlier --json: search only what it lacks"
    )
    parser.add_argument("--search-only", action="store_true", help="search, and time nothing")
    parser.add_argument("--within", type=float, default=0.001, help="share of the least loss")
    parser.add_argument("--rounds", type=int, default=1, help="how often everything is timed")
    parser.add_argument("--memory", default="1GiB", help="what ooc may use")
    parser.add_argument(
        "--folder", type=Path, default=Path("bench-data"), help="where stores are made and kept"
    )
    parser.add_argument(
        "--peers", nargs="*", choices=[*CONTENDERS], default=[*CONTENDERS], help="whom to time"
    )
    parser.add_argument(
        "--saving", action="store_true", help="measure what checkpoints cost, and nothing else"
    )
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for one run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all numbers")
    given = parser.parse_args(arguments)
    if given.rounds < 1:
        raise InputError(f"--rounds must be at least 1, not {given.rounds}")
    for name in ("horizon", "search"):
        if not 0 < getattr(given, name) <= 2:
            raise InputError(f"--{name} must be above 0 and at most 2, not {getattr(given, name)}")
    if not 0 < given.within < 1:
        raise InputError(f"--within must be above 0 and below 1, not {given.within}")
    parse_size(given.memory)
    parse_count(given.rows)
    return given


def _rows_of(store: Path, epochs: float) -> int:
    """Return about so many epochs in rows: whole units, or whole epochs."""
    features, _ = arrays_of(store)
    rows, unit = features.shape[0], UNIT_CHUNKS * features.chunks[0]
    if epochs >= 1:
        return round(epochs) * rows
    return max(int(epochs * rows) // unit, 1) * unit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    try:
        given = _parse(arguments)
        folder = ignored_folder(given.folder)
        if given.store is None:
            rows = parse_count(given.rows)
            store = made_store(folder / f"logistic-{rows}.zarr", "--rows", str(rows))
        else:
            store = given.store
        rows, search_rows = _rows_of(store, given.horizon), _rows_of(store, given.search)
        bench = Bench(folder, store, BATCH_SIZE, given.memory, given.timeout, True, rows)
        if given.saving:
            report = saving_cost(bench, given.rounds)
        else:
            sample = sample_of(store)
            optimum = optimum_of(store, sample)
            race = Race(bench, optimum, sample[0], given.within * optimum.loss)
            known = json.loads(given.settings.read_text())["found"] if given.settings else {}
            found = search_all(race, given.peers, search_rows, known)
            rounds = 0 if given.search_only else given.rounds
            report = {
                "rows": bench.rows,
                "decoded_bytes": bench.decoded_bytes,
                "memory": bench.memory,
                "rounds": given.rounds,
                "within": given.within,
                "rows_run": rows,
                "rows_searched": search_rows,
                "machine": machine(),
                "cold": drop_page_cache([store]),
                "optimum": {"loss": optimum.loss, "above": optimum.above},
                "tools": time_all(race, given.peers, found, rows, rounds) if rounds else [],
                "found": {**known, **found},
            }
            _print_report(report, optimum)
        if given.json:
            given.json.write_text(json.dumps(report, indent=1) + "\n")
    except (InputError, UnavailableError, OSError) as error:
        print(f"scripts/bench_optimum: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _print_report(report: dict[str, Any], optimum: Optimum) -> None:
    print(
        f"{report['rows']:,} rows, {report['decoded_bytes'] / 1e9:.2f} GB decoded, "
        f"{report['machine']}; ooc within {report['memory']}."
    )
    print(
        f"Least loss {optimum.loss:.8f}, by Newton's method known to {optimum.above:.1e}. "
        f"Near is within {100 * report['within']:g}%; runs go on for {report['rows_run']:,} rows."
    )
    how = "all caches dropped" if report["cold"] else "the store's pages dropped"
    print(f"Before each timed run: {how}. Seconds are from the opened store, cold.")
    print("The last column has a peer's seconds over those of ooc's lines, in their order.\n")
    print_table([HEADINGS, *(_cells(line, optimum) for line in report["tools"])])
    for name, each in report["found"].items():
        print(f"{name}: {each.get('reason') or ' '.join(each['settings'])}")
    errors = [line["error"] for line in report["tools"] if line["reason"] is None]
    if errors:
        print(f"\nStandard errors of the losses: at most {100 * max(errors) / optimum.loss:.4f}%.")


if __name__ == "__main__":
    sys.exit(main())
