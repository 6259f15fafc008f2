"""Rows that are sorted, taken as they are stored: a bias, and a shuffle that removes it.

Linear regression without features: the best w is the mean of the targets, which are -1 in the
first half of the rows and +1 in the second. Taken in this order, each epoch ends among the latter.
"""

from pathlib import Path

import numpy as np

import ooc
from ooc import optim
from pipelines.common.dataset import Dataset
from pipelines.common.figures import Picture, new_figure, picture
from pipelines.common.section import Section
from pipelines.descent_laws.data import write_rows
from pipelines.descent_laws.laws import Effort, Law, chapter, mean_and_error, near, within
from pipelines.descent_laws.stationary_variance import reshuffled_variance
from pipelines.descent_laws.walk import walk

ROWS, BATCH = 1024, 16
STEPS = ROWS // BATCH
# For the picture: the same pattern in 32 blocks of the fewest bytes that are read as one.
BLOCKS, BLOCK_ROWS, FEW_BLOCKS = 32, 2**15, 4
RATES = (0.2, 0.05, 0.01)
SHUFFLED_RATE = 0.05
SHOWN_EPOCHS, FORGET_EPOCHS = 4, 3
BIAS, SPREAD = 0.01, 0.08


class Places:
    """Keeps the one parameter after each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def __call__(self, parameters: np.ndarray, step: int) -> None:
        """Keep a place."""
        self.values.append(float(parameters[0]))


def expected_bias(x: float, steps: int) -> float:
    """Return w - w* at an epoch's end, for targets -1 and then +1, m steps an epoch.

    The cycle that a^m w + x sum a^(m-1-k) y_k = w leaves: (1 - a^(m/2)) / (1 + a^(m/2)).

    Examples
    --------
    >>> expected_bias(1.0, 64)
    1.0
    >>> round(expected_bias(0.01, 64), 4)
    0.1594
    """
    half = (1 - x) ** (steps // 2)
    return (1 - half) / (1 + half)


def sorted_rows(path: Path, rows: int, block_rows: int) -> Dataset:
    """Write rows with targets -1 in the first half and +1 in the second, in blocks."""
    target = np.where(np.arange(rows) < rows // 2, -1, 1).astype(np.float32)
    return write_rows(path, {"X": np.ones((rows, 1), np.float32), "y": target}, block_rows)


def places(
    dataset: Dataset, rate: float, epochs: int, shuffle: str, window: int | None, seed: int
) -> np.ndarray:
    """Return the parameter after each step."""
    seen = Places()
    model, optimizer = ooc.models.Linear(intercept=False), optim.sgd(rate)
    batch_size = dataset.rows // STEPS
    walk(model, optimizer, dataset, batch_size, epochs, seen, seed, "once", shuffle, window)
    return np.array(seen.values)


def measure(folder: Path, effort: Effort) -> tuple[Section, ...]:
    """Measure the bias without a shuffle, and what is left with one."""
    dataset = sorted_rows(folder / "sorted.zarr", ROWS, ROWS)
    laws: list[Law] = []
    biases: list[float] = []
    for rate in RATES:
        # As many epochs as it takes for the start to be forgotten.
        epochs = round(12 / (rate * STEPS)) + 2
        biases.append(float(places(dataset, rate, epochs, "none", None, 0)[-1]))
        laws.append(
            within(
                f"sorted rows, no shuffle, x = {rate:g}: w - w* at an epoch's end",
                "(1 - aᵐᐟ²) / (1 + aᵐᐟ²), a = 1 - x",
                expected_bias(rate, STEPS),
                biases[-1],
                0.0,
                BIAS,
            )
        )
    epochs = effort.length(600, 60)
    ends = [
        places(dataset, SHUFFLED_RATE, epochs, "blocks", None, seed)[STEPS * 4 :: STEPS]
        for seed in effort.seeds
    ]
    pooled = np.concatenate(ends)
    bias, error = mean_and_error(pooled)
    laws.append(
        near(
            f"the same rows shuffled, x = {SHUFFLED_RATE:g}: mean of w - w*",
            "0, up to 4 standard errors",
            0.0,
            bias,
            error,
            4 * error,
        )
    )
    square, square_error = mean_and_error(pooled**2)
    laws.append(
        within(
            f"the same rows shuffled, x = {SHUFFLED_RATE:g}: mean of (w - w*)²",
            "that of random reshuffling, N = 1024, B = 16",
            reshuffled_variance(SHUFFLED_RATE, ROWS, BATCH),
            square,
            square_error,
            SPREAD * effort.widen,
        )
    )

    large = sorted_rows(folder / "large.zarr", BLOCKS * BLOCK_ROWS, BLOCK_ROWS)
    ways = {
        "no shuffle": ("none", None),
        f"blocks, {FEW_BLOCKS} of {BLOCKS} in a window": ("blocks", FEW_BLOCKS),
        "blocks, all in one window": ("blocks", BLOCKS),
    }
    paths = {
        name: places(large, SHUFFLED_RATE, FORGET_EPOCHS + SHOWN_EPOCHS, shuffle, window, 0)
        for name, (shuffle, window) in ways.items()
    }
    return (
        chapter(
            "Sorted rows",
            "Targets are -1 in the first half of the rows and +1 in the second; the best w is 0. "
            "Taken as stored, w follows the rows, and each epoch ends with a bias towards the last "
            "ones. Shuffled, the bias is gone, and what is left is the noise of random "
            "reshuffling; windows of few blocks leave more of it.",
            tuple(laws),
            (_draw(paths, biases, float(np.sqrt(square))),),
        ),
    )


def _draw(paths: dict[str, np.ndarray], biases: list[float], deviation: float) -> Picture:
    figure = new_figure()
    left, right = figure.subplots(1, 2)
    for name, path in paths.items():
        values = path[FORGET_EPOCHS * STEPS :]
        left.plot(np.arange(len(values)) / STEPS, values, linewidth=1.1, label=name)
    for epoch in range(SHOWN_EPOCHS + 1):
        left.axvline(epoch, color="0.85", linewidth=0.7, zorder=0)
    left.axhline(0, color="black", linewidth=0.7)
    left.set_xlabel("epochs")
    left.set_ylabel("w - w*")
    left.set_title(f"x = {SHUFFLED_RATE:g}", fontsize="medium")
    left.set_ylim(-0.75, 1.15)
    left.legend(frameon=False, fontsize="small", loc="upper right")
    fine = np.geomspace(0.001, 0.5, 100)
    right.semilogx(fine, [expected_bias(x, STEPS) for x in fine], label="bias without a shuffle")
    spread = [np.sqrt(reshuffled_variance(x, ROWS, BATCH)) for x in fine]
    right.semilogx(fine, spread, label="shuffled: no bias, standard deviation")
    right.semilogx(RATES, biases, "ko", markersize=4, label="measured")
    right.semilogx([SHUFFLED_RATE], [deviation], "ko", markersize=4)
    right.set_xlabel("x = learning rate · curvature")
    right.set_ylabel("distance from w* at an epoch's end")
    right.legend(frameon=False, fontsize="small")
    return picture(
        figure,
        "sorted-rows",
        "What sorted rows do to the parameter, with and without a shuffle.",
        "Without a shuffle the parameter swings from one half's target to the other's in every "
        "epoch; shuffled it stays near its best value.",
    )
