"""Time to the same loss: ooc on a cluster beside peers that train on several processes."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from distributed import Client
from optimum.excess import sample_of
from peers.bench import Bench
from peers.catalogue import CLUSTER_PEERS
from peers.harness import FIRST_SNAPSHOT, after

import ooc

# What a snapshot is: seconds, rows so far, and parameters.
Snapshot = tuple[float, int, Sequence[float]]


def losses_of(bench: Bench, snapshots: Sequence[Snapshot]) -> np.ndarray:
    """Return the mean logistic loss of each snapshot on a sample of the store's rows."""
    x, y = sample_of(bench.store)
    parameters = np.array([each for _, _, each in snapshots], np.float64)
    scores = x @ parameters[:, :-1].T.astype(np.float32) + parameters[:, -1].astype(np.float32)
    losses = np.logaddexp(0, scores) - scores * y[:, None]
    return np.asarray(losses.mean(axis=0, dtype=np.float64))


def train_here(trainer: ooc.Trainer, bench: Bench, client: Client | None) -> list[Snapshot]:
    """Train an epoch, and note models as peers do, off the clock."""
    found, due, looking, begun = list[Snapshot](), FIRST_SNAPSHOT, 0.0, time.perf_counter()

    def look(now: Any) -> None:
        nonlocal due, looking
        rows = now.step * bench.batch_size
        if rows >= due:
            entered = time.perf_counter()
            found.append((entered - begun - looking, rows, now.parameters.tolist()))
            due = after(rows)
            looking += time.perf_counter() - entered

    run = trainer.fit(
        ooc.open(bench.store), 1, report=False, client=client,
        callbacks=ooc.Callbacks(step_end=look),
    )  # fmt: skip
    seconds = time.perf_counter() - begun - looking
    found.append((seconds, bench.rows, run.parameters.tolist()))
    return found


def train_peer(bench: Bench, name: str) -> list[Snapshot]:
    """Let a peer train an epoch in processes of its own, from the opened store."""
    peer = CLUSTER_PEERS[name]
    result = bench.run(peer, (*peer.variants[0], "snapshots=yes"))
    final = [*result["coefficients"], result["intercept"]]
    return [*map(tuple, result["snapshots"]), (result["seconds"], result["rows"], final)]


def race(bench: Bench, trainer: ooc.Trainer, client: Client, rounds: int) -> list[tuple[str, str]]:
    """Train in turn, round by round, and return a line for each contender.

    The goal is the highest of the losses with which they end their first epoch: all get there.
    """
    contenders = {"ooc, cluster": client, "ooc, one process": None, **CLUSTER_PEERS}
    runs: dict[str, list[tuple[list[Snapshot], np.ndarray]]] = {name: [] for name in contenders}
    train_here(trainer, bench, client)  # what is compiled, and opened, for the first time
    for _ in range(rounds):
        for name, served in contenders.items():
            ours = served is None or isinstance(served, Client)
            found = train_here(trainer, bench, served) if ours else train_peer(bench, name)  # type: ignore[arg-type]
            runs[name].append((found, losses_of(bench, found)))
    goal = max(float(losses[-1]) for each in runs.values() for _, losses in each)
    times = {
        name: [reached(found, losses, goal) for found, losses in each]
        for name, each in runs.items()
    }
    return _lines(runs, times, goal)


def reached(snapshots: Sequence[Snapshot], losses: np.ndarray, goal: float) -> float:
    """Return the seconds of the first snapshot from which on no loss is above the goal.

    Examples
    --------
    >>> reached([(1.0, 10, []), (2.0, 20, []), (3.0, 30, [])], np.array([0.4, 0.6, 0.5]), 0.5)
    3.0
    """
    above = np.flatnonzero(losses > goal)
    return float(snapshots[above[-1] + 1 if len(above) else 0][0])


def _lines(
    runs: Mapping[str, list[tuple[list[Snapshot], np.ndarray]]],
    times: Mapping[str, list[float]],
    goal: float,
) -> list[tuple[str, str]]:
    own = statistics.median(times["ooc, cluster"])
    lines = []
    for name, each in times.items():
        epochs = [found[-1][0] for found, _ in runs[name]]
        shown = CLUSTER_PEERS[name].name if name in CLUSTER_PEERS else name
        wanted = f", {CLUSTER_PEERS[name].target:g} wanted" if name in CLUSTER_PEERS else ""
        middle = statistics.median(each)
        told = (
            f"{middle:.2f} s to loss {goal:.4f} ({min(each):.2f} to {max(each):.2f})",
            f"{middle / own:.2f} times the cluster's{wanted}",
            f"an epoch {statistics.median(epochs):.2f} s",
        )
        lines.append((shown, "; ".join(told)))
    return lines
