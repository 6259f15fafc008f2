"""How many steps descent takes to a loss, by the rows of its batches: trained, not modelled."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

import ooc
from ooc import optim
from ooc.core.random_keys import Purpose, generator
from ooc.training.watchers.callbacks import Situation
from pipelines.common.dataset import Dataset
from pipelines.common.section import Section
from pipelines.common.table import Table

FEATURES, BLOCK_ROWS, MEMORY = 32, 2**10, "1GiB"
NARROWEST = 0.2  # spread of the last feature, where that of the first is 1
TARGET = 1e-3  # loss above its minimum
# Each batch takes the one of these rates that gets there in the fewest steps.
MINI_RATES, FULL_RATES = (0.5, 1.0, 2.0, 4.0), (6.0, 9.0)
MINI_EPOCHS, FULL_EPOCHS = 4, 40
BATCHES = 64  # mini-batches of an epoch
LOOKS = 16  # at the loss, in an epoch


@dataclass(frozen=True)
class Descent:
    """Steps to the target with batches of so many rows, at the best of some rates."""

    batch_size: int
    rate: float
    steps: float


@dataclass(frozen=True)
class Descents:
    """Steps to the target with all rows, with mini-batches, and with half of these."""

    rows: int
    full: Descent
    mini: Descent
    half: Descent

    def steps_without(self, share: float) -> float:
        """Return the steps of mini-batches of which a share, up to a half, is dropped.

        It lies on the power law through whole and half mini-batches.
        """
        if share == 0:
            return self.mini.steps
        power = np.log2(self.half.steps / self.mini.steps)
        return float(self.mini.steps * (1 - share) ** -power)


def count_steps(folder: Path, rows: int, seed: int) -> Descents:
    """Train logistic regression to the target, and count."""
    x, y = _draw(rows, seed)
    dataset = _write(folder / "rows-to-learn.zarr", x, y)
    least = _least_loss(x, y)

    def descend(batch_size: int, rates: tuple[float, ...], epochs: int) -> Descent:
        found = [_descend(dataset, x, y, least, batch_size, rate, epochs) for rate in rates]
        best = min(found, key=lambda each: each.steps)
        assert np.isfinite(best.steps), "one of the rates gets to the target"
        return best

    mini = rows // BATCHES
    return Descents(
        rows, descend(rows, FULL_RATES, FULL_EPOCHS), descend(mini, MINI_RATES, MINI_EPOCHS),
        descend(mini // 2, MINI_RATES, MINI_EPOCHS),
    )  # fmt: skip


def section_of(found: Descents) -> Section:
    """Return a line for each size of batch."""
    lines = tuple(
        (
            name, f"{each.batch_size:,}", f"{each.rate:g}", f"{each.steps:,.0f}",
            f"{each.steps * each.batch_size / found.rows:.2f}",
        )
        for name, each in (
            ("full batch", found.full), ("mini-batch", found.mini), ("half of it", found.half),
        )
    )  # fmt: skip
    head = ("", "rows of a step", "rate", "steps", "passes over the rows")
    text = (
        f"Logistic regression on {found.rows:,} rows, to {TARGET:g} above the least loss, with the "
        "best of some learning rates each."
    )
    results = {name: vars(getattr(found, name)) for name in ("full", "mini", "half")}
    return Section(
        "Steps to the loss", text, (Table("to the loss", head, lines),),
        results={"steps_to_loss": results},
    )  # fmt: skip


def _draw(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = generator(seed, Purpose.DATA)
    spread = np.geomspace(1, NARROWEST, FEATURES, dtype=np.float32)
    x = spread * drawn.standard_normal((rows, FEATURES), dtype=np.float32)
    odds = x @ drawn.standard_normal(FEATURES).astype(np.float32) / 3
    return x, (drawn.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.uint8)


def _write(path: Path, x: np.ndarray, y: np.ndarray) -> Dataset:
    fields = {"X": ("float32", (FEATURES,)), "y": ("uint8", ())}
    size = BLOCK_ROWS * FEATURES * x.itemsize
    with ooc.create(path, fields, chunk_bytes=size, shard_bytes=size) as writer:
        writer.append({"X": x, "y": y})
    return ooc.open(path)


def _mean_loss(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    odds = x @ w[:-1].astype(x.dtype) + x.dtype.type(w[-1])
    return float(np.mean(np.logaddexp(0, odds) - y * odds, dtype=np.float64))


def _least_loss(x: np.ndarray, y: np.ndarray) -> float:
    def slope(w: np.ndarray) -> np.ndarray:
        odds = (x @ w[:-1].astype(x.dtype)).astype(np.float64) + w[-1]
        residual = 1 / (1 + np.exp(-odds)) - y
        return np.append(residual.astype(x.dtype) @ x, residual.sum()) / len(y)

    start = np.zeros(FEATURES + 1)
    found = minimize(_mean_loss, start, (x, y), "L-BFGS-B", jac=lambda w, x, y: slope(w))
    return float(found.fun)


def _descend(
    dataset: Dataset, x: np.ndarray, y: np.ndarray, least: float, batch_size: int, rate: float,
    epochs: int,
) -> Descent:  # fmt: skip
    trainer = ooc.Trainer(
        ooc.models.Logistic(standardise=False), optim.sgd(rate), batch_size, memory=MEMORY
    )
    reached = np.inf

    def look(now: Situation) -> bool:
        nonlocal reached
        if _mean_loss(now.parameters, x, y) - least <= TARGET:
            reached = min(reached, now.step)
        return bool(np.isfinite(reached))

    every = max(dataset.rows // batch_size // LOOKS, 1)
    callbacks = ooc.Callbacks(step_end=look, every=every)
    trainer.fit(dataset, epochs, report=False, callbacks=callbacks)
    return Descent(batch_size, rate, reached)
