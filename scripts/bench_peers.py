"""Time one cold epoch of logistic regression with ooc and with its peers, on the same store.

Every peer runs in a process of its own, with ooc right before it, several rounds; a ratio is that
of two neighbours, so that a machine that drifts does not decide it. The loss of every final model
on rows that nobody trained on is computed here, by one function.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from commands import best_possible
from peers.bench import (
    Bench,
    drop_page_cache,
    ignored_folder,
    interpreter,
    made_store,
)
from peers.catalogue import ALL_PEERS, OOC, Peer
from peers.environments import UnavailableError
from peers.store import arrays_of
from peers.text import Parser, print_table

from ooc.core.errors import InputError
from ooc.core.sizes import parse_count, parse_size

HELD_OUT_ROWS = "200k"
# A rate does not count as reached by a model that is worse than the peer's by more than this.
LOSS_TOLERANCE = 0.001


@dataclass
class Outcome:
    """What was measured of one peer in one of its variants."""

    peer: Peer
    variant: tuple[str, ...] = ()
    results: list[dict[str, Any]] = field(default_factory=list)
    ooc_seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    reason: str | None = None

    @property
    def seconds(self) -> list[float]:
        """Seconds of every round."""
        return [result["seconds"] for result in self.results]

    @property
    def ratio(self) -> float:
        """The median, over rounds, of ooc's rate over the peer's."""
        pairs = zip(self.seconds, self.ooc_seconds, strict=True)
        return statistics.median(seconds / ooc for seconds, ooc in pairs)


def held_out_loss(held_out: Path, result: dict[str, Any]) -> float:
    """Return the mean logistic loss of a final model on the held-out rows, in float64."""
    features, targets = arrays_of(held_out)
    coefficients = np.array(result["coefficients"])
    total, rows = 0.0, features.shape[0]
    for start in range(0, rows, 2**14):
        part = slice(start, start + 2**14)
        values = np.asarray(features[part], np.float64)
        scores = values @ coefficients + result["intercept"]
        total += float(np.sum(np.logaddexp(0.0, scores) - scores * np.asarray(targets[part])))
    return total / rows


def measure(bench: Bench, held_out: Path, peers: Sequence[Peer], rounds: int) -> list[Outcome]:
    """Time ooc and every peer, in turn, in every round; return ooc's outcome first.

    Raises
    ------
    UnavailableError
        If ooc itself fails.
    """
    own = Outcome(OOC)
    outcomes = [Outcome(peer, variant) for peer in peers for variant in peer.variants]
    for outcome in outcomes:
        try:
            if outcome.peer.environment:
                interpreter(outcome.peer.environment)
            bench.build_cache(outcome.peer)
        except UnavailableError as error:
            outcome.reason = str(error)
    for _ in range(rounds):
        for outcome in outcomes:
            if outcome.reason is None:
                _measure_pair(bench, held_out, own, outcome)
        if not any(outcome.results for outcome in outcomes):
            _note(held_out, own, bench.run_cold(OOC))
    return [own, *outcomes]


def _measure_pair(bench: Bench, held_out: Path, own: Outcome, outcome: Outcome) -> None:
    ooc_result = bench.run_cold(OOC)
    _note(held_out, own, ooc_result)
    try:
        result = bench.run_cold(outcome.peer, outcome.variant)
    except UnavailableError as error:
        outcome.reason = str(error)
        return
    _note(held_out, outcome, result)
    outcome.ooc_seconds.append(ooc_result["seconds"])


def _note(held_out: Path, outcome: Outcome, result: dict[str, Any]) -> None:
    outcome.results.append(result)
    outcome.losses.append(held_out_loss(held_out, result))


def fastest(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Keep of every peer its fastest variant; a variant that failed only if all did."""
    best: dict[str, Outcome] = {}
    for outcome in outcomes:
        known = best.get(outcome.peer.name)
        if known is None or _typical(outcome) < _typical(known):
            best[outcome.peer.name] = outcome
    return list(best.values())


def _typical(outcome: Outcome) -> float:
    failed = outcome.reason is not None or not outcome.results
    return float("inf") if failed else statistics.median(outcome.seconds)


def to_json(bench: Bench, outcome: Outcome, own: Outcome) -> dict[str, Any]:
    """Return one line of the table, JSON-ready."""
    line: dict[str, Any] = {
        "peer": outcome.peer.name,
        "settings": list(outcome.variant),
        "target": outcome.peer.target,
        "reason": outcome.reason,
    }
    if outcome.reason is not None:
        return line
    seconds, loss = outcome.seconds, statistics.median(outcome.losses)
    line |= {
        "versions": outcome.results[0]["versions"],
        "python": outcome.results[0]["python"],
        "seconds": seconds,
        "seconds_median": statistics.median(seconds),
        "bytes_per_second": bench.decoded_bytes / statistics.median(seconds),
        "loss": loss,
        "losses": outcome.losses,
    }
    if outcome is not own:
        worse = statistics.median(own.losses) - loss > LOSS_TOLERANCE
        line |= {"ooc_seconds": outcome.ooc_seconds, "ratio": outcome.ratio}
        if outcome.peer.target is not None:
            line["met"] = outcome.ratio >= outcome.peer.target and not worse
    return line


HEADINGS = ("peer", "version", "seconds", "spread", "GB/s", "ooc is", "target", "met", "loss")


def print_lines(lines: Sequence[dict[str, Any]]) -> None:
    """Print the lines as a table, and below it why peers are missing from it."""
    print_table([HEADINGS, *(_cells(line) for line in lines)])
    for line in lines:
        if line["reason"] is not None:
            print(f"{line['peer']} was not measured: {line['reason']}")


def _cells(line: dict[str, Any]) -> tuple[str, ...]:
    name = " ".join([line["peer"], *(f"({setting})" for setting in line["settings"][1:])])
    target = "" if line["target"] is None else f"{line['target']:g}x"
    if line["reason"] is not None:
        return name, "not measured", "", "", "", "", target, "", ""
    seconds = line["seconds"]
    return (
        name,
        next(iter(line["versions"].values())),
        f"{line['seconds_median']:.2f}",
        f"{min(seconds):.2f}..{max(seconds):.2f}",
        f"{line['bytes_per_second'] / 1e9:.2f}",
        f"{line['ratio']:.2f}x" if "ratio" in line else "",
        target,
        {True: "yes", False: "no"}[line["met"]] if "met" in line else "",
        f"{line['loss']:.5f}",
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="15.5M", help="rows to train on; 520 bytes each")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is timed")
    parser.add_argument("--batch-size", type=int, default=256, help="rows of a step")
    parser.add_argument("--memory", default="512MiB", help="what ooc may use")
    parser.add_argument(
        "--folder", type=Path, default=Path("bench-data"), help="where stores are made and kept"
    )
    parser.add_argument(
        "--peers", nargs="*", choices=[*ALL_PEERS], default=[*ALL_PEERS], help="whom to time"
    )
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for one run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all numbers")
    parser.add_argument("--quiet", action="store_true", help="do not print each run's seconds")
    given = parser.parse_args(arguments)
    if given.rounds < 1 or given.batch_size < 1:
        raise InputError("--rounds and --batch-size must be at least 1")
    parse_size(given.memory)
    parse_count(given.rows)
    return given


def _bench(given: argparse.Namespace) -> tuple[Bench, Path]:
    """Make the stores; return how to run on one of them, and the held-out one."""
    rows, folder = parse_count(given.rows), ignored_folder(given.folder)
    store = made_store(folder / f"logistic-{rows}.zarr", "--rows", str(rows))
    held_out = made_store(folder / "held-out.zarr", "--rows", HELD_OUT_ROWS, "--held-out")
    verbose = not given.quiet
    return (
        Bench(folder, store, given.batch_size, given.memory, given.timeout, verbose),
        held_out,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    try:
        given = _parse(arguments)
        bench, held_out = _bench(given)
        everything = drop_page_cache([bench.store])
        outcomes = measure(bench, held_out, [ALL_PEERS[name] for name in given.peers], given.rounds)
        table = fastest(outcomes)
        slower = [outcome for outcome in outcomes if outcome not in table]
        report = {
            "rows": bench.rows,
            "decoded_bytes": bench.decoded_bytes,
            "batch_size": bench.batch_size,
            "memory": bench.memory,
            "rounds": given.rounds,
            "cold": "all caches dropped" if everything else "the store's pages dropped",
            "held_out_best_loss": best_possible(held_out)["loss"],
            "machine": {"cores": os.cpu_count(), "system": platform.platform()},
            "peers": [to_json(bench, outcome, outcomes[0]) for outcome in table],
            "slower_variants": [to_json(bench, outcome, outcomes[0]) for outcome in slower],
        }
        _print_report(report)
        if given.json:
            given.json.write_text(json.dumps(report, indent=1) + "\n")
    except (InputError, UnavailableError, OSError) as error:
        print(f"scripts/bench_peers: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _print_report(report: dict[str, Any]) -> None:
    print(
        f"{report['rows']:,} rows, {report['decoded_bytes'] / 1e9:.2f} GB decoded, "
        f"batches of {report['batch_size']}, {report['rounds']} rounds, "
        f"{report['machine']['cores']} cores; ooc within {report['memory']}."
    )
    print(f"Before each run: {report['cold']}.")
    print(f"Best possible loss on the held-out rows: {report['held_out_best_loss']:.5f}.\n")
    print_lines(report["peers"])


if __name__ == "__main__":
    sys.exit(main())
