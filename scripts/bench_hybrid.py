"""Measure the hybrid beside its halves: Adam in the same time, and L-BFGS in passes.

The data are made for it: logistic regression, whose features are mixtures of independent sources
with standard deviations from 1 to 1/30, as real features are mixtures of few causes. A minimum in
such a valley is what makes full-gradient methods slow. (With the independent features of `ooc make
logistic`, all of them are fast: try --spread 1.)

First, on the large data: the hybrid until its gradient is below a tolerance; then Adam with a
cosine schedule, which ends with small steps, for as many epochs as take at least as long. Both
find their learning rate themselves. Then, on small data of several seeds, the passes that the
hybrid, its first one on mini-batches among them, and L-BFGS alone need to the same tolerance.
"""

import argparse
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from commands import print_table, run_ooc

import ooc
from ooc.core.machine import machine
from ooc.core.random_keys import Purpose, generator
from ooc.store.writer import Columns
from ooc.synthetic.fill import fill

FEATURES = 128
GRID = 256
BATCH_ROWS = 8192


def make(path: Path, rows: int, seed: int, spread: float) -> None:
    """Generate correlated features and labels of a logistic model, the same bits always."""
    rng = generator(seed, Purpose.TRUTH)
    turns = [np.linalg.qr(rng.standard_normal((FEATURES, FEATURES)))[0] for _ in range(2)]
    deviations = np.geomspace(1.0, 1.0 / spread, FEATURES)
    mixing = ((turns[0] * deviations) @ turns[1]).astype(np.float32)
    weights = rng.standard_normal(FEATURES)
    weights *= 2.0 / np.linalg.norm(mixing @ weights)

    def draw(number: int, first: int, count: int) -> Columns:
        own = generator(seed, Purpose.DATA, index=number)
        x = own.standard_normal((count, FEATURES), dtype=np.float32) @ mixing
        x = np.rint(x * GRID) / np.float32(GRID)
        odds = x.astype(np.float64) @ weights
        return {"X": x, "y": (own.random(count) < 1 / (1 + np.exp(-odds))).astype(np.int64)}

    fields = {"X": ("float32", (FEATURES,)), "y": ("int64", ())}
    with ooc.create(path, fields) as writer:
        fill(writer, rows, draw)


def gradient_norm(run_dir: Path, data: Path, memory: str) -> float:
    """Return the norm of the gradient over all rows at a run's parameters."""
    run, dataset = ooc.load(run_dir), ooc.open(data)
    gradient, total = np.zeros(run.parameters.size), np.zeros(run.parameters.size)
    for batch in ooc.Loader(dataset, min(BATCH_ROWS, dataset.rows), memory=memory, shuffle="none"):
        run.model.loss_and_grad(run.parameters, batch, gradient)
        total += len(batch.rows) * gradient
    return float(np.linalg.norm(total / dataset.rows))


def train(data: Path, run: Path, memory: str, *options: str) -> dict[str, Any]:
    """Train logistic regression on features as they are, anew."""
    shutil.rmtree(run, ignore_errors=True)
    fixed = ["--model", "logistic", "--standardise", "no", "--memory", memory, "--run", str(run)]
    return run_ooc("train", str(data), *fixed, *options)


def same_time(data: Path, memory: str, passes: int) -> list[tuple[str, str]]:
    """Train the hybrid, then Adam for at least as long; compare their gradients."""
    runs = {name: data.with_suffix(f".{name}-run") for name in ("hybrid", "adam")}
    both = train(data, runs["hybrid"], memory, "--optimizer", "hybrid", "--epochs", str(passes))
    one = train(data, runs["adam"], memory, "--optimizer", "adam", "--epochs", "1")
    adam, epochs = one, 1
    while adam["seconds"] < both["seconds"]:
        epochs = math.ceil(1.05 * epochs * both["seconds"] / adam["seconds"])
        adam = train(data, runs["adam"], memory, "--optimizer", "adam", "--epochs", str(epochs))
    norms = {name: gradient_norm(run, data, memory) for name, run in runs.items()}
    for run in runs.values():
        shutil.rmtree(run)
    gigabytes = both["bytes_per_second"] * both["seconds"] / both["epochs"] / 1e9
    return [
        ("data, decoded", f"{gigabytes:.1f} GB"),
        ("hybrid: seconds, passes", f"{both['seconds']:.1f}, {both['epochs']}"),
        (
            "gradient norm",
            f"{both['gradient_norm']:.2e} (float32 parameters {norms['hybrid']:.2e})",
        ),
        ("loss", f"{both['loss']:.9f}"),
        ("Adam: seconds, passes", f"{adam['seconds']:.1f}, {adam['epochs']}"),
        ("gradient norm", f"{norms['adam']:.2e}"),
        ("Adam's over the hybrid's", f"{norms['adam'] / norms['hybrid']:.0f}"),
        ("memory peak", f"{both['memory_peak_bytes'] / 2**20:.0f} MiB of {memory}"),
    ]


def fewer_passes(
    folder: Path, rows: int, seeds: int, spread: float, memory: str
) -> list[tuple[str, str]]:
    """Count the passes of the hybrid and of L-BFGS alone to the same gradient norm."""
    found, wins = [], 0
    for seed in range(seeds):
        data = folder / f"seed-{seed}.zarr"
        make(data, rows, seed, spread)
        passes = {}
        for name in ("hybrid", "lbfgs"):
            options = ["--optimizer", name, "--epochs", "400", "--seed", str(seed)]
            result = train(data, folder / f"{name}-run", memory, *options)
            reached = result["ended"] == "tolerance"
            passes[name] = result["epochs"] if reached else math.inf
            shutil.rmtree(folder / f"{name}-run")
        shutil.rmtree(data)
        wins += passes["hybrid"] < passes["lbfgs"]
        found.append((f"seed {seed}", f"hybrid {passes['hybrid']}, L-BFGS {passes['lbfgs']}"))
    return [*found, ("hybrid needs fewer", f"{wins} of {seeds}")]


def main() -> None:
    """Make the data, measure, print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("bench-data"), help="for the data")
    parser.add_argument("--rows", type=int, default=15_500_000, help="of the large data")
    parser.add_argument("--spread", type=float, default=30.0, help="largest deviation to smallest")
    parser.add_argument("--passes", type=int, default=40, help="of the hybrid, at most")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seed-rows", type=int, default=300_000, help="of the data of each seed")
    parser.add_argument("--memory", default="1GiB", help="the budget")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print_table([("machine", machine())])
    if options.rows:
        data = options.folder / f"correlated-{options.rows}-{options.spread:g}.zarr"
        if not data.exists():
            make(data, options.rows, 0, options.spread)
        print_table(same_time(data, options.memory, options.passes))
    if options.seeds:
        rows = options.seed_rows
        print_table(
            fewer_passes(options.folder, rows, options.seeds, options.spread, options.memory)
        )


if __name__ == "__main__":
    main()
