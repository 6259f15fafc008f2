"""Learning rate and batch size in place of each other: what counts is their ratio.

Walkers fall into a bowl with h = 1 from w = 1; the loss above its minimum is the mean of w^2/2.
"""

from pathlib import Path

import numpy as np

from ooc import optim
from pipelines.common.dataset import Dataset
from pipelines.common.figures import Picture, new_figure, picture
from pipelines.common.section import Section
from pipelines.descent_laws.data import columns, write_rows
from pipelines.descent_laws.laws import Effort, Law, below, chapter, exactly, within
from pipelines.descent_laws.model import Quadratic
from pipelines.descent_laws.walk import Curve, walk

ROWS, WALKERS = 2048, 1024
RATIO = 0.0025 / 8
BATCHES = (4, 8, 16, 32)
EPOCHS, SETTLED = 14, 7
POINTS = 8  # an epoch
AFTER = 8  # epochs after the rate is lowered or the batch is raised
FACTOR = 4
TOLERANCE, OVERLAP = 0.03, 0.05


def expected_loss(steps: np.ndarray, start: np.ndarray, x: float, batch_size: int) -> np.ndarray:
    """Return the mean of w^2/2 after numbers of steps, from a mean of `start` before the first.

    Examples
    --------
    >>> expected_loss(np.array([0, 10**6]), np.array(0.5), 1.0, 8).tolist()
    [0.5, 0.0625]
    """
    left = (1 - x) ** (2 * steps)
    return left * start + (1 - left) * x / (2 * batch_size * (2 - x))


def descend(
    dataset: Dataset,
    batch_size: int,
    rate: float,
    epochs: int,
    start: float | np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss at `POINTS` places of each epoch, the start included, and the end."""
    every = dataset.rows // batch_size // POINTS
    curve = Curve(every)
    model = Quadratic(start, curvatures=np.ones(WALKERS))
    run = walk(model, optim.sgd(rate), dataset, batch_size, epochs, curve, seed)
    return np.array(curve.values), run.parameters


def repeats(effort: Effort) -> range:
    """Return more seeds than usual: these runs are short."""
    return range(effort.length(8, 2))


def equal_ratios(folder: Path, effort: Effort) -> Section:
    """Measure whether equal lr/B gives the same loss at the same rows."""
    dataset = write_rows(folder / "ratios.zarr", {"X": columns(ROWS, WALKERS, seed=8)})
    curves, laws = [], []
    for batch_size in BATCHES:
        rate = RATIO * batch_size
        # Each batch size has seeds of its own: none is to see the rows that another one drew.
        seeds = [100 * batch_size + seed for seed in repeats(effort)]
        each = [descend(dataset, batch_size, rate, EPOCHS, 1.0, seed)[0] for seed in seeds]
        mean = np.mean(each, axis=0)
        steps = np.arange(len(mean)) * (ROWS // batch_size // POINTS)
        form = expected_loss(steps, np.array(0.5), rate, batch_size)
        curves.append((batch_size, rate, mean, form))
        rest = np.array(each)[:, SETTLED * POINTS :].mean(axis=1)
        closed = float(form[SETTLED * POINTS :].mean())
        laws.append(
            within(
                f"loss in the last {EPOCHS - SETTLED} epochs, learning rate {rate:g}, "
                f"B = {batch_size}",
                "h/2 [a²ᵗ w₀² + x s² (1 - a²ᵗ) / (B (2 - x))]",
                closed,
                float(rest.mean()),
                float(rest.std(ddof=1) / np.sqrt(len(rest))),
                TOLERANCE * effort.widen,
            )
        )
    logs = np.log([mean for _, _, mean, _ in curves])
    forms = np.log([form for _, _, _, form in curves])
    laws.append(
        below(
            f"root mean square distance of the {len(BATCHES)} curves from their mean, in parts",
            f"equal lr/B, equal curves; closed form: {_distance(forms):.4f}",
            OVERLAP * effort.widen,
            _distance(logs),
        )
    )
    return chapter(
        "Equal ratios of learning rate and batch size",
        "Four batch sizes, each with a learning rate in proportion: against the rows that were "
        "used, that is at equal gradient work, the losses fall on one curve and come to rest at "
        "one level. The larger batches take an eighth of the updates.",
        tuple(laws),
        (_draw_ratios(curves),),
    )


def _distance(logs: np.ndarray) -> float:
    return float(np.sqrt(np.mean((logs - logs.mean(axis=0)) ** 2)))


def raising_the_batch(folder: Path, effort: Effort) -> Section:
    """Measure whether raising B does what lowering the rate does."""
    dataset = write_rows(folder / "raised.zarr", {"X": columns(ROWS, WALKERS, seed=9)})
    batch_size, rate, before = 8, 8 * 4 * RATIO, 3
    ways = {
        "neither": (batch_size, rate),
        f"learning rate / {FACTOR}": (batch_size, rate / FACTOR),
        f"batch size · {FACTOR}": (batch_size * FACTOR, rate),
    }
    first: list[np.ndarray] = []
    curves: dict[str, list[np.ndarray]] = {name: [] for name in ways}
    for seed in repeats(effort):
        losses, places = descend(dataset, batch_size, rate, before, 1.0, seed)
        first.append(losses)
        for number, (name, (size, slower)) in enumerate(ways.items(), start=1):
            own = 100 * number + seed
            curves[name].append(descend(dataset, size, slower, AFTER, places, own)[0])
    laws: list[Law] = []
    last = slice(-(AFTER // 2) * POINTS, None)
    for name, (size, slower) in ways.items():
        rest = np.array(curves[name])[:, last].mean(axis=1)
        steps = np.arange(AFTER * POINTS + 1)[last] * (ROWS // size // POINTS)
        start = np.mean([losses[-1] for losses in first])
        closed = float(expected_loss(steps, start, slower, size).mean())
        laws.append(
            within(
                f"loss in the last {AFTER // 2} epochs, {name}",
                "h/2 [a²ᵗ w₀² + x s² (1 - a²ᵗ) / (B (2 - x))]",
                closed,
                float(rest.mean()),
                float(rest.std(ddof=1) / np.sqrt(len(rest))),
                TOLERANCE * effort.widen,
            )
        )
    slower_curve, larger_curve = (np.mean(curves[name], axis=0) for name in list(ways)[1:])
    laws.append(
        below(
            f"root mean square distance of the curves of rate / {FACTOR} and batch · {FACTOR} "
            "from their mean, in parts",
            "lr/B falls alike, so do the losses",
            OVERLAP * effort.widen,
            _distance(np.log([slower_curve, larger_curve])),
        )
    )
    updates = [AFTER * ROWS // size for size, _ in list(ways.values())[1:]]
    laws.append(
        exactly(
            "updates saved by raising the batch instead, as a factor",
            f"B'/B = {FACTOR}",
            FACTOR,
            updates[0] / updates[1],
        )
    )
    shown = {name: np.mean(each, axis=0) for name, each in curves.items()}
    return chapter(
        "Raising the batch size instead of lowering the rate",
        f"After {before} epochs the learning rate is divided by {FACTOR}, or the batch size is "
        f"multiplied by {FACTOR}. Both go down to the same lower level along the same curve, and "
        "the second takes fewer updates (Smith et al. 2018).",
        tuple(laws),
        (_draw_raised(np.mean(first, axis=0), shown, before),),
    )


def _draw_ratios(curves: list[tuple[int, float, np.ndarray, np.ndarray]]) -> Picture:
    figure = new_figure()
    axes = figure.subplots(1, 2, sharey=True)
    for batch_size, rate, mean, _ in curves:
        rows = np.arange(len(mean)) / POINTS
        label = f"B = {batch_size}, learning rate {rate:g}"
        axes[0].semilogy(rows, mean, linewidth=1.2, label=label)
        axes[1].semilogy(rows * ROWS / batch_size, mean, linewidth=1.2, label=label)
    axes[0].semilogy(rows, curves[-1][3], "k:", linewidth=1, label="closed form")
    axes[0].set_xlabel("epochs: gradient work")
    axes[1].set_xlabel("updates")
    axes[0].set_ylabel("loss above the minimum")
    axes[0].legend(frameon=False, fontsize="small")
    return picture(
        figure,
        "equal-ratios",
        "Equal ratios: one curve against gradient work, four against updates.",
        "Against epochs the four loss curves lie on each other; against updates the larger "
        "batches are faster.",
    )


def _draw_raised(first: np.ndarray, curves: dict[str, np.ndarray], before: int) -> Picture:
    figure = new_figure(6.5, 4.2)
    axis = figure.subplots()
    axis.semilogy(np.arange(len(first)) / POINTS, first, color="black", linewidth=1.2)
    styles = ("-", "-", "--")
    for style, (name, mean) in zip(styles, curves.items(), strict=True):
        epochs = before + np.arange(len(mean)) / POINTS
        axis.semilogy(epochs, mean, style, linewidth=1.4, label=name)
    axis.axvline(before, color="0.7", linewidth=0.8)
    axis.set_xlabel("epochs")
    axis.set_ylabel("loss above the minimum")
    axis.legend(frameon=False)
    return picture(
        figure,
        "raising-the-batch",
        f"At epoch {before} the rate is lowered, or the batch is raised.",
        "Lowering the rate and raising the batch size give the same curve, below the one of "
        "neither.",
    )


def measure(folder: Path, effort: Effort) -> tuple[Section, ...]:
    """Measure all of it."""
    return equal_ratios(folder, effort), raising_the_batch(folder, effort)
