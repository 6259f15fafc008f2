"""Time one cold epoch of logistic regression with ooc and with its peers, on the same store.

Every peer runs in a process of its own, with ooc right before it, several rounds; a ratio is that
of two neighbours, so that a machine that drifts does not decide it. The loss of every final model
on rows that nobody trained on is computed here, by one function.
"""

import argparse
import functools
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import zarr
from peers.environments import ROOT, Environment, UnavailableError, run_checked

from ooc.errors import InputError
from ooc.memory import parse_count, parse_size

PEERS = Path(__file__).resolve().parent / "peers"
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
HELD_OUT_ROWS = "200k"
# A rate does not count as reached by a model that is worse than the peer's by more than this.
LOSS_TOLERANCE = 0.001
ZARR = "zarr==3.1.6"


@dataclass(frozen=True)
class Peer:
    """Something to be timed.

    Attributes
    ----------
    name
        What the table calls it.
    script
        Its file in `PEERS`.
    environment
        Where it runs, or None for the project's own.
    target
        How many times as fast ooc has to be; None for ooc itself.
    variants
        Settings of its ways to be run; the fastest way counts.
    cached
        Whether it reads a cache of its own that has to be built from the store.
    """

    name: str
    script: str
    environment: Environment | None
    target: float | None
    variants: tuple[tuple[str, ...], ...] = ((),)
    cached: bool = False


ANNBATCH = Environment(
    "annbatch",
    (
        "annbatch[zarrs]==0.3.1",
        "zarrs==0.2.3",
        "anndata==0.13.4",
        "zarr==3.4.2",
        "numpy==2.5.5",
        "--editable",
        str(ROOT),
    ),
    oldest=(3, 12),
)
SCIKIT_LEARN = Environment("scikit-learn", ("scikit-learn==1.9.1", ZARR, "numpy==2.4.6"))
VOWPAL_WABBIT = Environment(
    "vowpal-wabbit", ("vowpalwabbit==9.11.9", ZARR, "numba==0.68.1", "numpy==2.4.6")
)
TORCH = Environment("torch", ("torch==2.13.0", ZARR, "numpy==2.4.6"))
DASK_ML = Environment(
    "dask-ml",
    (
        "dask-ml==2025.1.0",
        "dask==2026.8.0",
        "distributed==2026.8.0",
        "scikit-learn==1.9.1",
        ZARR,
        "numpy==2.4.6",
    ),
)

OOC = Peer("ooc", "ooc_trainer.py", None, None)
ALL_PEERS = {
    "annbatch": Peer("annbatch, direct I/O", "annbatch_loader.py", ANNBATCH, 2.0),
    "scikit-learn": Peer("scikit-learn partial_fit", "sklearn_partial_fit.py", SCIKIT_LEARN, 8.0),
    "vowpal-wabbit": Peer(
        "Vowpal Wabbit, cache", "vowpal_wabbit.py", VOWPAL_WABBIT, 8.0, cached=True
    ),
    "torch": Peer(
        "PyTorch DataLoader, rows",
        "torch_dataloader.py",
        TORCH,
        15.0,
        (("batches=row", "workers=0"), ("batches=row", "workers=2")),
    ),
    "torch-batches": Peer(
        "PyTorch DataLoader, whole batches",
        "torch_dataloader.py",
        TORCH,
        15.0,
        (("batches=whole", "workers=0"), ("batches=whole", "workers=2")),
    ),
    "dask-ml": Peer(
        "dask-ml Incremental, stored chunks",
        "dask_ml_incremental.py",
        DASK_ML,
        15.0,
        (("blocks=stored",),),
    ),
    "dask-ml-large": Peer(
        "dask-ml Incremental, 64 chunks a block",
        "dask_ml_incremental.py",
        DASK_ML,
        15.0,
        (("blocks=large",),),
    ),
}


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


@dataclass(frozen=True)
class Bench:
    """The stores and settings that every peer is run with."""

    folder: Path
    store: Path
    held_out: Path
    batch_size: int
    memory: str
    timeout: float
    verbose: bool

    @property
    def decoded_bytes(self) -> int:
        """Bytes of one epoch, decoded: features and targets."""
        return sum(array.nbytes for array in _arrays(self.store))

    @property
    def rows(self) -> int:
        """Rows of the store."""
        return _arrays(self.store)[0].shape[0]

    def settings(self, peer: Peer) -> tuple[str, ...]:
        """Return what a peer is told besides its variant."""
        if peer is OOC:
            return (f"memory={self.memory}",)
        return (f"cache={self.cache(peer).resolve()}",) if peer.cached else ()

    def cache(self, peer: Peer) -> Path:
        """Return the file that a peer makes of the store for itself."""
        return self.folder / f"{self.store.stem}-{Path(peer.script).stem}.cache"

    def build_cache(self, peer: Peer) -> None:
        """Let a peer build its cache, unless it is there."""
        if peer.cached and not self.cache(peer).exists():
            print(f"building {self.cache(peer)}", file=sys.stderr)
            self.run(peer, ("build=yes",))

    def run(self, peer: Peer, settings: Sequence[str] = ()) -> dict[str, Any]:
        """Run a peer once and return its result.

        Raises
        ------
        UnavailableError
            If it fails, takes too long, or has not used every row once.
        """
        python = interpreter(peer.environment) if peer.environment else sys.executable
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "result.json")
            command = [str(python), str(PEERS / peer.script), str(self.store.resolve())]
            command += [str(self.batch_size), str(output), *self.settings(peer), *settings]
            run_checked(command, self.timeout)
            result: dict[str, Any] = json.loads(output.read_text())
        if result["rows"] != self.rows:
            raise UnavailableError(f"used {result['rows']} rows of {self.rows}")
        return result

    def run_cold(self, peer: Peer, settings: Sequence[str] = ()) -> dict[str, Any]:
        """Run a peer once after dropping what the system has cached of its files."""
        drop_page_cache([self.store, *([self.cache(peer)] if peer.cached else [])])
        result = self.run(peer, settings)
        if self.verbose:
            told = " ".join([peer.name, *settings])
            print(f"{told}: {result['seconds']:.2f} s", file=sys.stderr)
        return result


@functools.cache
def interpreter(environment: Environment) -> Path:
    """Return an environment's Python; it is looked at once, so that nothing changes midway."""
    return environment.install()


def drop_page_cache(paths: Sequence[Path]) -> bool:
    """Ask the system to forget the files under these paths; tell whether all caches went."""
    os.sync()
    for path in paths:
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file():
                descriptor = os.open(file, os.O_RDONLY)
                try:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)
    try:
        DROP_CACHES.write_text("3\n")
    except OSError:
        return False
    return True


def held_out_loss(bench: Bench, result: dict[str, Any]) -> float:
    """Return the mean logistic loss of a final model on the held-out rows, in float64."""
    features, targets = _arrays(bench.held_out)
    coefficients = np.array(result["coefficients"])
    total, rows = 0.0, features.shape[0]
    for start in range(0, rows, 2**14):
        part = slice(start, start + 2**14)
        values = np.asarray(features[part], np.float64)
        scores = values @ coefficients + result["intercept"]
        total += float(np.sum(np.logaddexp(0.0, scores) - scores * np.asarray(targets[part])))
    return total / rows


def _arrays(store: Path) -> tuple[zarr.Array, zarr.Array]:
    return zarr.open_array(store / "X", mode="r"), zarr.open_array(store / "y", mode="r")


def measure(bench: Bench, peers: Sequence[Peer], rounds: int) -> list[Outcome]:
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
                _measure_pair(bench, own, outcome)
        if not any(outcome.results for outcome in outcomes):
            _note(bench, own, bench.run_cold(OOC))
    return [own, *outcomes]


def _measure_pair(bench: Bench, own: Outcome, outcome: Outcome) -> None:
    ooc_result = bench.run_cold(OOC)
    _note(bench, own, ooc_result)
    try:
        result = bench.run_cold(outcome.peer, outcome.variant)
    except UnavailableError as error:
        outcome.reason = str(error)
        return
    _note(bench, outcome, result)
    outcome.ooc_seconds.append(ooc_result["seconds"])


def _note(bench: Bench, outcome: Outcome, result: dict[str, Any]) -> None:
    outcome.results.append(result)
    outcome.losses.append(held_out_loss(bench, result))


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


def print_table(lines: Sequence[dict[str, Any]]) -> None:
    """Print the lines as a Markdown table, and below it why peers are missing from it."""
    rows = [HEADINGS, *(_cells(line) for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"| {' | '.join(padded)} |")
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


def _make(path: Path, *arguments: str) -> Path:
    """Make a store, unless it is there."""
    if not path.exists():
        print(f"making {path}", file=sys.stderr)
        run_checked([sys.executable, "-m", "ooc", "make", "logistic", str(path), *arguments])
    return path


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything here does."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(description=__doc__.splitlines()[0])
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


def _bench(given: argparse.Namespace) -> Bench:
    """Make the stores; their folder tells git to ignore it."""
    rows = parse_count(given.rows)
    folder: Path = given.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from None
    store = _make(folder / f"logistic-{rows}.zarr", "--rows", str(rows))
    held_out = _make(folder / "held-out.zarr", "--rows", HELD_OUT_ROWS, "--held-out")
    return Bench(
        folder, store, held_out, given.batch_size, given.memory, given.timeout, not given.quiet
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    try:
        given = _parse(arguments)
        bench = _bench(given)
        everything = drop_page_cache([bench.store])
        outcomes = measure(bench, [ALL_PEERS[name] for name in given.peers], given.rounds)
        table = fastest(outcomes)
        slower = [outcome for outcome in outcomes if outcome not in table]
        report = {
            "rows": bench.rows,
            "decoded_bytes": bench.decoded_bytes,
            "batch_size": bench.batch_size,
            "memory": bench.memory,
            "rounds": given.rounds,
            "cold": "all caches dropped" if everything else "the store's pages dropped",
            "held_out_best_loss": _best_loss(bench.held_out),
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


def _best_loss(held_out: Path) -> float:
    noted: Any = zarr.open_group(held_out, mode="r").attrs["generator"]
    return float(noted["best"]["loss"])


def _print_report(report: dict[str, Any]) -> None:
    print(
        f"{report['rows']:,} rows, {report['decoded_bytes'] / 1e9:.2f} GB decoded, "
        f"batches of {report['batch_size']}, {report['rounds']} rounds, "
        f"{report['machine']['cores']} cores; ooc within {report['memory']}."
    )
    print(f"Before each run: {report['cold']}.")
    print(f"Best possible loss on the held-out rows: {report['held_out_best_loss']:.5f}.\n")
    print_table(report["peers"])


if __name__ == "__main__":
    sys.exit(main())
