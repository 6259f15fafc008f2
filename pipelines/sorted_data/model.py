"""Logistic regression on one dataset, in the order of each way to shuffle."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import numpy as np

import ooc
from ooc.shuffle.mixing import ColumnMixing
from pipelines.common.dataset import Columns, Dataset, progress
from pipelines.common.trajectory import Trajectory, follow
from pipelines.sorted_data.data import FEATURES, FIELDS

BATCH_SIZE = 256
WINDOW_SHARES = (0.002, 0.02, 0.1)
TARGET_SHARE = 0.02
LOOKS = 100  # at the loss, in an epoch
PART_ROWS = 65_536
SAMPLE_BLOCKS = 512


@dataclass(frozen=True)
class Outcome:
    """How one way to shuffle went on one dataset.

    Attributes
    ----------
    name
        The way.
    trajectory
        Held-out loss after numbers of steps.
    mixing
        Of the column whose blocks differ most; None for the shuffle in memory.
    """

    name: str
    trajectory: Trajectory
    mixing: ColumnMixing | None

    @property
    def final(self) -> float:
        """Held-out loss at the end."""
        return float(self.trajectory.losses[-1])


def held_out_loss(parameters: np.ndarray, columns: Columns) -> float:
    """Return the mean logistic loss."""
    odds = columns["X"] @ parameters[:FEATURES] + parameters[FEATURES]
    return float(np.mean(np.logaddexp(0, odds) - columns["y"] * odds))


def way_of(share: float) -> str:
    """Name the blockwise shuffle whose windows have a share of all blocks."""
    return f"blocks, window {share:.1%}"


def block_rows_of(dataset: Dataset, memory: str) -> int:
    """Return the rows that are read as one unit."""
    return ooc.Loader(dataset, BATCH_SIZE, memory=memory).plan.order.block_rows


def train(
    dataset: Dataset, held_out: Columns, memory: str, rate: float, shuffle: str, window: int
) -> Trajectory:
    """Train for one epoch from zero, and look at the held-out loss on the way."""
    model, optimizer = ooc.models.Logistic(), ooc.optim.sgd(rate)
    trainer = ooc.Trainer(
        model, optimizer, BATCH_SIZE, memory=memory, shuffle=shuffle, window=window
    )
    start = np.zeros(trainer.layout(dataset).size, np.float32)
    every = max(1, dataset.rows // BATCH_SIZE // LOOKS)
    return follow(trainer, dataset, 1, every, start, lambda w: held_out_loss(w, held_out))


@contextmanager
def shuffled_in_memory(dataset: Dataset, path: Path) -> Iterator[Dataset]:
    """Write all rows in a uniformly random order, drawn and put together in memory."""
    x = np.empty((dataset.rows, FEATURES), np.float32)
    y = np.empty(dataset.rows, np.uint8)
    for batch in ooc.Loader(dataset, min(PART_ROWS, dataset.rows), shuffle="none"):
        x[batch.rows], y[batch.rows] = batch["X"], batch["y"]
    order = np.random.default_rng(7).permutation(dataset.rows)
    rmtree(path, ignore_errors=True)
    with ooc.create(path, FIELDS) as writer:
        for first in range(0, dataset.rows, PART_ROWS):
            rows = order[first : first + PART_ROWS]
            writer.append({"X": x[rows], "y": y[rows]})
    try:
        yield ooc.open(path)
    finally:
        rmtree(path)


def compare(
    dataset: Dataset, held_out: Columns, folder: Path, memory: str, rate: float
) -> Iterator[Outcome]:
    """Train in every way on one dataset; the shuffle in memory comes last."""
    blocks = -(-dataset.rows // block_rows_of(dataset, memory))
    windows = {share: max(2, round(share * blocks)) for share in WINDOW_SHARES}
    middle, stem = windows[TARGET_SHARE], Path(dataset.path).stem

    def outcome(name: str, data: Dataset, shuffle: str, window: int, order: str) -> Outcome:
        way = train(data, held_out, memory, rate, shuffle, window)
        mixing = ooc.shuffle.measure(
            dataset, order, BATCH_SIZE, memory, window=window, sample_blocks=SAMPLE_BLOCKS
        )
        worst = max(mixing.columns, key=lambda each: each.column.between_share)
        return Outcome(name, way, worst)

    yield outcome("no shuffle", dataset, "none", middle, "none")
    for share, window in windows.items():
        yield outcome(way_of(share), dataset, "blocks", window, "blocks")
    exact = folder / f"{stem}-exact.zarr"
    if not exact.exists():
        with progress(f"shuffle {exact.name}") as report:
            ooc.shuffle.exact(dataset, exact, memory, seed=0, report=report)
    yield outcome("exact shuffle", ooc.open(exact), "none", middle, "exact")
    with shuffled_in_memory(dataset, folder / f"{stem}-memory.zarr") as shuffled:
        way = train(shuffled, held_out, memory, rate, "none", middle)
        yield Outcome("shuffled in memory", way, None)
