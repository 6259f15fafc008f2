"""An autoencoder of monitors relative to each other, and how it is trained out of core.

The beam's current moves all monitors alike, by a hundred times of what is to be seen. Each reading
is therefore taken relative to the mean over the monitors at the same time, in units of how much it
varies over the whole training data: a fixed map, the same for every window, that keeps a drift.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

import ooc
from ooc.core.compiler import small_kernel
from ooc.kernels import network as kernels
from ooc.kernels.share import Numbers, Output, Share
from ooc.models.contract import Layout
from ooc.models.declarations import Kernel
from ooc.store.columns import pieces_of
from pipelines.common.dataset import Dataset, progress

LENGTH, STRIDE = 64, 32  # times of a window, and from one to the next in training
LOWEST = 1.0  # mA: below it no monitor is relative to anything


@dataclass(frozen=True)
class Training:
    """How the network is trained."""

    epochs: int = 3
    batch_size: int = 256
    lr: float = 2e-3
    code: int = 16
    memory: str = "512MiB"
    seed: int = 0


@small_kernel
def make_relative(rows: np.ndarray, numbers: np.ndarray) -> None:
    """Replace readings (windows, times * channels) by relative ones, in place."""
    channels = numbers.size // 2
    for r in range(rows.shape[0]):
        for first in range(0, rows.shape[1], channels):
            total = 0.0
            for c in range(channels):
                total += rows[r, first + c] / numbers[c]
            common = max(total / channels, LOWEST)
            for c in range(channels):
                part = rows[r, first + c] / (numbers[c] * common) - 1.0
                rows[r, first + c] = part / numbers[channels + c]


def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Do as the network's own, on relative readings; `numbers` end with gains and spreads."""
    layers = numbers.integers[kernels.COUNT]
    make_relative(share.features, numbers.reals[1 + layers :])
    plain = Numbers(numbers.reals[: 1 + layers], numbers.integers)
    return _accumulate(share, parameters, plain, own, output)


_accumulate = small_kernel(kernels.accumulate)


@dataclass(frozen=True)
class RelativeAutoencoder(ooc.models.Autoencoder):
    """The package's autoencoder on readings relative to their common mean.

    Attributes
    ----------
    gains, spreads
        Of each channel: its part of the mean, and how much its relative reading varies.
    """

    gains: Sequence[float] = ()
    spreads: Sequence[float] = ()
    name: ClassVar[str] = "relative_autoencoder"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "gains", tuple(map(float, self.gains)))
        object.__setattr__(self, "spreads", tuple(map(float, self.spreads)))

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return the network's part of the window loop, on relative readings."""
        plain = super().kernel(layout, parameters)
        reals = np.concatenate([plain.reals, self.gains, self.spreads])
        return replace(plain, accumulate=accumulate, reals=reals)

    def inputs(self, parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return windows as they come to the network, (windows, times * channels)."""
        rows = np.array(features, np.float32).reshape(len(features), -1)
        make_relative(rows, np.array([*self.gains, *self.spreads]))
        return rows


def gains_and_spreads(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return what makes readings relative, from one pass over a store's times: medians of chunks.

    Faults of a hundredth of the data do not move them.
    """
    parts = [values["X"].mean(axis=0, dtype=np.float64) for *_, values in pieces_of(dataset, ["X"])]
    means = np.stack(parts)
    gains = np.median(means / means.mean(axis=1, keepdims=True), axis=0)
    spreads = []
    for *_, values in pieces_of(dataset, ["X"]):
        rows = values["X"][:: max(1, len(values["X"]) // 4096)] / gains
        relative = rows / np.maximum(rows.mean(axis=1, keepdims=True), LOWEST) - 1
        low, high = np.quantile(relative, [0.16, 0.84], axis=0)
        spreads.append((high - low) / 2)
    return gains, np.median(spreads, axis=0)


def train(
    dataset: Dataset,
    options: Training,
    run_folder: Path,
) -> tuple[RelativeAutoencoder, np.ndarray, dict]:
    """Train on overlapping windows of a store, out of core; return model, parameters, results."""
    gains, spreads = gains_and_spreads(dataset)
    model = RelativeAutoencoder(
        hidden=(64,), code=options.code, activation="gelu", standardise=False,
        gains=tuple(gains), spreads=tuple(spreads),
    )  # fmt: skip
    rows = ooc.open(dataset.path, target=False, transform=f"sequences:{LENGTH}:{STRIDE}")
    trainer = ooc.Trainer(
        model, ooc.optim.adam(options.lr, schedule=ooc.optim.schedules.cosine()),
        options.batch_size, memory=options.memory, seed=options.seed,
    )  # fmt: skip
    shutil.rmtree(run_folder, ignore_errors=True)
    with progress("train") as report:
        run = trainer.fit(rows, options.epochs, run_folder, report)
    return model, run.parameters, dict(run.results)
