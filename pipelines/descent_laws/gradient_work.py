"""What N/B updates in an epoch buy: batch, mini-batch and stochastic descent at equal work.

First walkers in a bowl, for which the loss after any work has a closed form. Then logistic
regression by the compiled engine, whose loss is followed against gradient work, updates and
seconds, and the memory that batches take.
"""

import itertools
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ooc
from ooc import optim
from ooc.core.sizes import format_size
from pipelines.common.dataset import Dataset
from pipelines.common.figures import Picture, new_figure, picture
from pipelines.common.section import Section
from pipelines.common.table import Table
from pipelines.common.trajectory import follow
from pipelines.descent_laws.data import columns, labelled_rows, write_rows
from pipelines.descent_laws.laws import Effort, Law, above, chapter, exactly, within
from pipelines.descent_laws.model import Quadratic
from pipelines.descent_laws.rate_and_batch_size import expected_loss, repeats
from pipelines.descent_laws.walk import MEMORY, Curve, walk

BOWL_ROWS, WALKERS, BOWL_RATE, BOWL_EPOCHS = 1024, 512, 0.1, 2
TOLERANCE, MEMORY_TOLERANCE = 0.03, 0.02
ROWS, BLOCK_ROWS, WINDOW = 2**17, 2**12, 4
FEWEST_ROWS = 2**15  # two windows, so that the batch of all rows is joined of parts
MINI_BATCH = 256
# Each way takes the one of these rates that reaches the target with the least gradient work.
EPOCHS = {"stochastic": 4, "mini-batch": 6, "batch": 80}
RATES = {
    "stochastic": (0.001, 0.003, 0.01),
    "mini-batch": (0.1, 0.3, 1.0),
    "batch": (3.0, 6.0, 9.0),
}
NARROWEST = 0.2  # spread of the last feature, where that of the first is 1
TARGET = 1e-3  # loss above its minimum
TRACED_BATCHES = 8


@dataclass(frozen=True)
class Descent:
    """How one way to descend went.

    Attributes
    ----------
    name, batch_size, rate
        The way.
    rows, steps, seconds
        What was used, at each point.
    losses
        Mean loss over all rows above the minimum, at each point.
    """

    name: str
    batch_size: int
    rate: float
    rows: np.ndarray
    steps: np.ndarray
    seconds: np.ndarray
    losses: np.ndarray

    def reached(self, cost: np.ndarray) -> float:
        """Return the cost at the first point at or below the target, infinite without one."""
        found = np.flatnonzero(self.losses <= TARGET)
        return float(cost[found[0]]) if len(found) else np.inf


def bowl(folder: Path, effort: Effort) -> list[Law]:
    """Measure updates of an epoch, and the loss after equal work."""
    dataset = write_rows(folder / "bowl.zarr", {"X": columns(BOWL_ROWS, WALKERS, seed=10)})
    laws: list[Law] = []
    for batch_size in (1, 32, BOWL_ROWS):
        per_epoch = BOWL_ROWS // batch_size
        every = max(per_epoch // 16, 1)
        sampling = "once" if batch_size == BOWL_ROWS else "replacement"
        found = []
        for seed in repeats(effort):
            curve = Curve(every)
            model = Quadratic(1.0, curvatures=np.ones(WALKERS))
            own = 100 * batch_size + seed
            optimizer = optim.sgd(BOWL_RATE)
            run = walk(model, optimizer, dataset, batch_size, BOWL_EPOCHS, curve, own, sampling)
            # The last epoch's second half.
            found.append(float(np.mean(curve.values[-max(8 // every, 1) :])))
            steps = np.arange(len(curve.values)) * every
        if batch_size == BOWL_ROWS:
            form = 0.5 * (1 - BOWL_RATE) ** (2 * steps)
        else:
            form = expected_loss(steps, np.array(0.5), BOWL_RATE, batch_size)
        updates = run.results["steps"] / BOWL_EPOCHS
        laws += [
            exactly(
                f"updates of an epoch, N = 1,024, B = {batch_size:,}", "N/B", per_epoch, updates
            ),
            within(
                f"loss after {BOWL_EPOCHS} epochs of gradient work, x = {BOWL_RATE:g}, "
                f"B = {batch_size:,}",
                "h/2 [a²ᵗ w₀² + x s² (1 - a²ᵗ) / (B (2 - x))]; B = N: h/2 a²ᵗ w₀²",
                float(np.mean(form[-max(8 // every, 1) :])),
                float(np.mean(found)),
                float(np.std(found, ddof=1) / np.sqrt(len(found))),
                TOLERANCE * effort.widen,
            ),
        ]
    return laws


def least_loss(columns: dict[str, np.ndarray]) -> float:
    """Return the minimum of the mean logistic loss, by SciPy's L-BFGS."""
    from scipy.optimize import minimize

    x, y = columns["X"].astype(np.float64), columns["y"].astype(np.float64)

    def loss_and_slope(w: np.ndarray) -> tuple[float, np.ndarray]:
        odds = x @ w[:-1] + w[-1]
        residual = 1 / (1 + np.exp(-odds)) - y
        slope = np.append(residual @ x, residual.sum()) / len(y)
        return mean_loss(w, x, y), slope

    start = np.zeros(x.shape[1] + 1)
    found = minimize(loss_and_slope, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-8})
    return float(found.fun)


def mean_loss(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean logistic loss."""
    odds = x @ w[:-1] + w[-1]
    return float(np.mean(np.logaddexp(0, odds) - y * odds))


def descend(
    name: str,
    dataset: Dataset,
    columns: dict[str, np.ndarray],
    least: float,
    batch_size: int,
    rate: float,
    epochs: int,
) -> Descent:
    """Train, and look at the loss about once a window."""
    model, optimizer = ooc.models.Logistic(), optim.sgd(rate)
    trainer = ooc.Trainer(model, optimizer, batch_size, memory=MEMORY, window=WINDOW)
    x, y = columns["X"], columns["y"]
    every = max(WINDOW * BLOCK_ROWS // batch_size, 1)
    start = np.zeros(trainer.layout(dataset).size, np.float32)
    way = follow(trainer, dataset, epochs, every, start, lambda w: mean_loss(w, x, y))
    rows, losses = way.steps * batch_size, way.losses - least
    return Descent(name, batch_size, rate, rows, way.steps, way.seconds, losses)


def batch_memory(dataset: Dataset, batch_size: int) -> int:
    """Return the most bytes that Python held while batches were cut."""
    loader = ooc.Loader(dataset, batch_size, memory=MEMORY, window=WINDOW)
    tracemalloc.start()
    for _ in itertools.islice(loader, TRACED_BATCHES):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def measure(folder: Path, effort: Effort) -> tuple[Section, ...]:
    """Measure all of it."""
    laws = bowl(folder, effort)
    rows = max(effort.length(ROWS), FEWEST_ROWS)
    columns = labelled_rows(rows, seed=11, narrowest=NARROWEST)
    dataset = write_rows(folder / "work.zarr", columns, BLOCK_ROWS)
    least = least_loss(columns)
    sizes = {"stochastic": 1, "mini-batch": MINI_BATCH, "batch": rows}
    chosen = []
    for name, size in sizes.items():
        # The first run also compiles.
        descend(name, dataset, columns, least, size, RATES[name][0], 1)
        tried = [
            descend(name, dataset, columns, least, size, rate, EPOCHS[name])
            for rate in RATES[name][: effort.length(len(RATES[name]), 2)]
        ]
        chosen.append(min(tried, key=lambda each: (each.reached(each.rows), each.losses[-1])))
    single, mini, full = chosen
    laws += [
        above(
            "logistic regression: gradient work to the target, batch over mini-batch",
            "more updates for the same work: above 1",
            1.0,
            full.reached(full.rows) / mini.reached(mini.rows),
        ),
        above(
            "logistic regression: updates to the target, stochastic over mini-batch",
            "noise of one row needs a small rate: above 1",
            1.0,
            single.reached(single.steps) / mini.reached(mini.steps),
        ),
    ]
    batch_memory(dataset, MINI_BATCH)  # what is imported for the first batch is no part of it
    peaks = {size: batch_memory(dataset, size) for size in sizes.values()}
    row_bytes = sum(each[:1].nbytes for each in columns.values())
    laws.append(
        within(
            f"bytes of batches cut in Python, B = {rows:,}, beyond those of B = 1",
            "2 (B - 1) · (bytes of a row + 8 for its number)",
            2 * (rows - 1) * (row_bytes + 8),
            peaks[rows] - peaks[1],
            0.0,
            MEMORY_TOLERANCE,
        )
    )
    notes = [
        {
            "name": each.name,
            "batch_size": each.batch_size,
            "learning_rate": each.rate,
            "rows_to_target": each.reached(each.rows),
            "updates_to_target": each.reached(each.steps),
            "seconds_to_target": each.reached(each.seconds),
            "batch_bytes": 2 * each.batch_size * (row_bytes + 8),
        }
        for each in chosen
    ]
    return (
        chapter(
            "Batch, mini-batch and stochastic descent",
            "An epoch is N/B updates, whatever B is, for the same gradient work. Few updates go "
            "slowly, updates by single rows are noisy and pay the overhead of a step for each "
            "row; mini-batches are in between. The compiled engine streams a batch through its "
            "kernels, so that it holds none; batches that are handed to Python take memory in "
            "proportion to B.",
            tuple(laws),
            (_draw(chosen, rows),),
            {"descents": notes},
            (_table(chosen, peaks),),
        ),
    )


def _table(chosen: list[Descent], peaks: dict[int, int]) -> Table:
    head = (
        "to the target",
        "batch size",
        "rate",
        "epochs",
        "updates",
        "seconds",
        "batches cut in Python",
    )
    least = min(peaks.values())
    lines = tuple(
        (
            each.name,
            f"{each.batch_size:,}",
            f"{each.rate:g}",
            f"{each.reached(each.rows) / chosen[-1].batch_size:.2f}",
            f"{each.reached(each.steps):,.0f}",
            f"{each.reached(each.seconds):.3f}",
            f"{format_size(peaks[each.batch_size] - least)} more than B = 1",
        )
        for each in chosen
    )
    return Table("what it takes to the target", head, lines)


def _draw(chosen: list[Descent], rows: int) -> Picture:
    from matplotlib.ticker import NullFormatter

    figure = new_figure(10.5, 4.2)
    axes = figure.subplots(1, 3, sharey=True)
    for each in chosen:
        label = f"{each.name}, B = {each.batch_size:,}, learning rate {each.rate:g}"
        costs = (each.rows / rows, each.steps, each.seconds)
        for axis, cost in zip(axes, costs, strict=True):
            axis.plot(cost[1:], each.losses[1:], ".-", markersize=3, linewidth=1, label=label)
    names = ("gradient work: epochs", "updates", "seconds")
    for axis, name in zip(axes, names, strict=True):
        axis.axhline(TARGET, color="0.6", linewidth=0.8, linestyle=":")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(name)
    axes[0].set_ylabel("loss above the minimum")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return picture(
        figure,
        "gradient-work",
        "Logistic regression: loss against gradient work, updates and seconds; dotted: target.",
        "Mini-batch descent reaches the target with the least gradient work and time; batch "
        "descent needs the fewest updates but the most work.",
    )
