"""What sorted data do to learning, with each way to shuffle: the loss, and how it was predicted.

8 million rows, sorted by label, and sorted by a feature that drifts. Logistic regression passes
over them once: without a shuffle, with windows of blocks of three sizes, in the exact shuffle's
order, and in an order that was shuffled in memory. The held-out loss is drawn against the steps.
Then pairs of rows that share a block and a batch are counted in the batches of a real loader, of
16,000,057 rows, beside their closed form.
"""

import argparse
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import ooc
from ooc.cli.progress_bar import ProgressDisplay
from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose, generator, key
from ooc.core.sizes import parse_count
from ooc.engines.engine import make_engine
from ooc.engines.train_state import start
from ooc.shuffle.mixing import Mixing
from ooc.shuffle.scan import same_pairs
from ooc.store.dataset import Dataset
from ooc.store.writer import Columns, Field, create
from ooc.stream.loader import Batch, Loader
from ooc.stream.mixing_theory import pairs_expected
from ooc.stream.order import permute
from ooc.synthetic.fill import fill

FEATURES = 32
CHUNK_BYTES = 256 * 2**10
BATCH_SIZE = 256
RATE = 0.005
WINDOW_SHARES = (0.002, 0.02, 0.1)
HELD_OUT = 200_000
TARGET_SHARE, TARGET = 0.02, 0.005
LOWEST_SHOWN = 0.02  # percent; below it is noise
DRIFT = 1.5
CURVE = 1.5
FIELDS = {"X": Field("float32", (FEATURES,)), "y": Field("uint8")}
PAIR_ROWS, PAIR_BLOCK, PAIR_WINDOW, PAIR_BATCH = 16_000_057, 400, 400, 400


@dataclass(frozen=True)
class Outcome:
    """How one way to shuffle went on one dataset.

    Attributes
    ----------
    name
        The way.
    steps, losses
        Held-out loss after numbers of steps.
    mixing
        The report on its order, None for the shuffle in memory.
    """

    name: str
    steps: list[int]
    losses: list[float]
    mixing: Mixing | None

    @property
    def final(self) -> float:
        """Held-out loss at the end."""
        return self.losses[-1]


class Truth:
    """Data that are logistic but for a curve along the first feature, which a linear model lacks.

    The best line through a curve is another one in each part of it: what is learned from the last
    part of drifting data is wrong for the whole.
    """

    def __init__(self, seed: int) -> None:
        rng = generator(seed, Purpose.TRUTH)
        weights = rng.standard_normal(FEATURES)
        self.weights = (1.5 * weights / np.linalg.norm(weights)).astype(np.float32)
        self.weights[0] = 0.0

    def labels(self, rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        """Draw the labels of rows."""
        odds = np.einsum("nf,f->n", x, self.weights) + CURVE * (x[:, 0] ** 2 - 0.8)
        return (rng.random(len(x)) < 1 / (1 + np.exp(-odds))).astype(np.uint8)


def by_drift(truth: Truth, seed: int, total: int) -> Callable[[int, int, int], Columns]:
    """Return what draws rows whose first feature drifts from first to last row."""

    def draw(number: int, first: int, rows: int) -> Columns:
        rng = generator(seed, Purpose.DATA, index=number)
        x = rng.standard_normal((rows, FEATURES), dtype=np.float32)
        x[:, 0] = 0.2 * x[:, 0] + 2 * DRIFT * ((first + np.arange(rows)) / total - 0.5)
        return {"X": x, "y": truth.labels(rng, x)}

    return draw


def by_label(truth: Truth, seed: int, total: int) -> Callable[[int, int, int], Columns]:
    """Return what draws rows with label 0 in the first half and 1 in the second."""

    def draw(number: int, first: int, rows: int) -> Columns:
        rng = generator(seed, Purpose.DATA, index=number)
        wanted = (2 * (first + np.arange(rows)) >= total).astype(np.uint8)
        x = np.empty((rows, FEATURES), np.float32)
        missing = np.arange(rows)
        while len(missing):
            drawn = rng.standard_normal((len(missing), FEATURES), dtype=np.float32)
            fits = truth.labels(rng, drawn) == wanted[missing]
            x[missing[fits]] = drawn[fits]
            missing = missing[~fits]
        return {"X": x, "y": wanted}

    return draw


def generate(path: Path, kind: str, rows: int, seed: int) -> tuple[Dataset, Columns]:
    """Make a sorted dataset, unless it is there, and rows of the same truth to be held out."""
    truth = Truth(seed)
    make = {"label": by_label, "drift": by_drift}[kind]
    if not path.exists():
        with (
            ProgressDisplay(f"make {path.name}") as report,
            create(path, FIELDS, chunk_bytes=CHUNK_BYTES) as writer,
        ):
            fill(writer, rows, make(truth, seed, rows), report=report)
    held_out = make(truth, seed + 1, HELD_OUT)(0, 0, HELD_OUT)
    return ooc.open(path), held_out


def held_out_loss(parameters: np.ndarray, columns: Columns) -> float:
    """Return the mean logistic loss."""
    odds = columns["X"] @ parameters[:FEATURES] + parameters[FEATURES]
    return float(np.mean(np.logaddexp(0, odds) - columns["y"] * odds))


def train(
    dataset: Dataset, held_out: Columns, memory: str, shuffle: str, window: int
) -> tuple[list[int], list[float]]:
    """Train for one epoch; return the held-out loss after each window."""
    model, optimizer = ooc.models.Logistic(), ooc.optim.sgd(RATE)
    trainer = ooc.Trainer(model, optimizer, BATCH_SIZE, memory, shuffle=shuffle, window=window)
    loader, layout = trainer.loader(dataset), trainer.layout(dataset)
    descents = start((optimizer,), np.zeros(layout.size, np.float32))
    parameters, engine = descents.parameters[0], make_engine(model, loader, descents)
    steps, losses = [0], [held_out_loss(parameters, held_out)]
    for part in loader.windows(1):
        engine.advance(part)
        steps.append(engine.step)
        losses.append(held_out_loss(parameters, held_out))
    return steps, losses


def train_in_memory(dataset: Dataset, held_out: Columns) -> tuple[list[int], list[float]]:
    """Train for one epoch on rows that are all in memory, in a uniformly random order."""
    model, optimizer = ooc.models.Logistic(), ooc.optim.sgd(RATE)
    layout = model.layout((FEATURES,))
    parameters, gradient = np.zeros(layout.size, np.float32), np.zeros(layout.size)
    state = optimizer.init(layout.size)
    order = np.empty(dataset.rows, np.int32)
    permute(order, key(7, Purpose.ROW_ORDER))
    x, y = (
        np.empty((dataset.rows, *dataset.arrays[n].shape[1:]), dataset.arrays[n].dtype)
        for n in ("X", "y")
    )
    for batch in Loader(dataset, 65536, shuffle="none"):
        x[batch.rows], y[batch.rows] = batch["X"], batch["y"]
    steps, losses = [0], [held_out_loss(parameters, held_out)]
    last = -(-dataset.rows // BATCH_SIZE)
    for step in range(last):
        taken = order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
        arrays = {"X": x[taken], "y": y[taken]}
        batch = Batch(arrays, taken.astype(np.int64), step, 0, ("X", "y", None))
        model.loss_and_grad(parameters, batch, gradient)
        optimizer.update(parameters, gradient, state, step)
        if (step + 1) % (last // 50 or 1) == 0 or step + 1 == last:
            steps.append(step + 1)
            losses.append(held_out_loss(parameters, held_out))
    return steps, losses


def compare(dataset: Dataset, held_out: Columns, folder: Path, memory: str) -> list[Outcome]:
    """Train in every way on one dataset."""
    block_rows = Loader(dataset, BATCH_SIZE, memory).plan.order.block_rows
    blocks = -(-dataset.rows // block_rows)
    windows = {share: max(2, round(share * blocks)) for share in WINDOW_SHARES}
    outcomes = []

    def add(name: str, data: Dataset, shuffle: str, window: int, order: str) -> None:
        steps, losses = train(data, held_out, memory, shuffle, window)
        mixing = ooc.shuffle.measure(
            dataset, order, BATCH_SIZE, memory, window=window, sample_blocks=512
        )
        print(f"  {name}: held-out loss {losses[-1]:.5f}", flush=True)
        outcomes.append(Outcome(name, steps, losses, mixing))

    middle = windows[TARGET_SHARE]
    add("no shuffle", dataset, "none", middle, "none")
    for share, window in windows.items():
        add(f"blocks, window {share:.1%}", dataset, "blocks", window, "blocks")
    shuffled = folder / f"{Path(dataset.path).stem}-exact.zarr"
    if not shuffled.exists():
        with ProgressDisplay(f"shuffle {shuffled.name}") as report:
            ooc.shuffle.exact(dataset, shuffled, memory, seed=0, report=report)
    add("exact shuffle", ooc.open(shuffled), "none", middle, "exact")
    steps, losses = train_in_memory(dataset, held_out)
    print(f"  in memory: held-out loss {losses[-1]:.5f}", flush=True)
    outcomes.append(Outcome("shuffled in memory", steps, losses, None))
    return outcomes


def print_table(title: str, outcomes: list[Outcome]) -> None:
    """Print one line for each way; inflation is that of the column whose blocks differ most."""
    full = outcomes[-1].final
    print(f"\n{title}")
    print(f"{'':>22}  final loss  over full  inflation predicted  observed")
    for outcome in outcomes:
        excess = 100 * (outcome.final / full - 1)
        line = f"{outcome.name:>22}  {outcome.final:10.5f}  {excess:+8.2f}%"
        if outcome.mixing is not None:
            worst = max(outcome.mixing.columns, key=lambda each: each.column.between_share)
            predicted = "" if worst.predicted is None else f"{worst.predicted:.3f}"
            line += f"  {worst.column.name:>9} {predicted:>9}  {worst.observed:8.3f}"
            line += f" +- {worst.observed_error:.3f}"
        print(line)


def draw(found: dict[str, list[Outcome]], path: Path) -> None:
    """Draw how far the held-out loss is above the full shuffle's final one, against the steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(found), sharey=True)
    for axis, (title, outcomes) in zip(axes, found.items(), strict=True):
        full = outcomes[-1].final
        for outcome in outcomes:
            is_full = outcome is outcomes[-1]
            excess = np.maximum(100 * (np.array(outcome.losses) / full - 1), LOWEST_SHOWN)
            axis.plot(
                outcome.steps,
                excess,
                label=outcome.name,
                color="black" if is_full else None,
                linestyle="--" if is_full else "-",
                linewidth=1.2,
            )
        axis.axhline(
            100 * TARGET, color="grey", linewidth=0.9, linestyle=":", label="target at the end"
        )
        axis.set_title(f"{title}; full shuffle ends at {full:.4f}", fontsize="medium")
        axis.set_xlabel("steps")
        axis.set_yscale("log")
        axis.set_ylim(bottom=LOWEST_SHOWN)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("held-out loss above the full shuffle's final one, percent")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=7, frameon=False, fontsize="small"
    )
    figure.savefig(path, dpi=120)


def count_pairs(folder: Path, memory: str) -> tuple[int, float, float]:
    """Count same-block pairs in the batches of a real loader; its closed form, a full shuffle's."""
    path = folder / "pairs.zarr"
    if not path.exists():
        fields = {"X": Field("uint8", (1,))}
        with create(path, fields, chunk_bytes=PAIR_BLOCK, shard_bytes=2**20) as writer:
            for first in range(0, PAIR_ROWS, 2**20):
                rows = min(2**20, PAIR_ROWS - first)
                writer.append({"X": ((first + np.arange(rows)) % 251).astype(np.uint8)[:, None]})
    loader = Loader(ooc.open(path), PAIR_BATCH, memory, block_rows=PAIR_BLOCK, window=PAIR_WINDOW)
    # A plan would make windows of one size; here they are of 400 blocks, and a rest of one.
    order = replace(loader.plan.order, blocks_per_window=PAIR_WINDOW)
    loader.plan = replace(loader.plan, order=order)
    counted = sum(int(same_pairs(batch.rows // PAIR_BLOCK)) for batch in loader)
    sizes = []
    for window in range(order.windows):
        blocks = order.window_blocks(0, window)
        each = [PAIR_BLOCK] * len(blocks)
        each[-1] = order.rows_in(blocks) - PAIR_BLOCK * (len(blocks) - 1)
        sizes.append(each)
    every = [PAIR_BLOCK] * (PAIR_ROWS // PAIR_BLOCK) + [PAIR_ROWS % PAIR_BLOCK]
    expected = pairs_expected(sizes, PAIR_BATCH)
    full = pairs_expected([every], PAIR_BATCH)
    print(
        f"\npairs of rows that share a block of {PAIR_BLOCK} and a batch of {PAIR_BATCH}, of "
        f"{PAIR_ROWS:,} rows:\n  counted {counted:,}; closed form {expected.mean:,.0f} +- "
        f"{expected.deviation:,.0f} (z = {expected.score(counted):+.2f}); a full shuffle "
        f"{full.mean:,.0f}: {counted / full.mean:.1f} times as many"
    )
    return counted, expected.mean, full.mean


def main() -> int:
    """Generate, train, count, print the table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="8M", help="rows of each dataset")
    parser.add_argument("--memory", default="4GiB", help="budget of a run")
    parser.add_argument("--folder", type=Path, default=Path("sorted-data"), help="for the data")
    parser.add_argument("--keep", action="store_true", help="keep the data")
    parser.add_argument("--without-pairs", action="store_true", help="leave the count of pairs out")
    options = parser.parse_args()
    try:
        rows, folder = parse_count(options.rows), options.folder
        folder.mkdir(parents=True, exist_ok=True)
        found = {}
        for kind, title in (
            ("label", "sorted by label"),
            ("drift", "sorted by a drifting feature"),
        ):
            print(title, flush=True)
            path = folder / f"{kind}-{rows}.zarr"
            dataset, held_out = generate(path, kind, rows, seed=3)
            found[title] = compare(dataset, held_out, folder, options.memory)
            if not options.keep:
                shutil.rmtree(path)
                shutil.rmtree(folder / f"{kind}-{rows}-exact.zarr")
        for title, outcomes in found.items():
            print_table(title, outcomes)
        draw(found, folder / "sorted-data.png")
        print(f"\nfigure: {folder / 'sorted-data.png'}")
        if not options.without_pairs:
            count_pairs(folder, options.memory)
            if not options.keep:
                shutil.rmtree(folder / "pairs.zarr")
    except InputError as error:
        print(f"sorted_data: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
