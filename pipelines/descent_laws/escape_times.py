"""Leaving a well by the noise of sampled rows alone: escape times, and where walkers stay.

The mean loss over all rows is a double well V; each row adds a slope of its own, and the slopes
average to zero over the rows. Full-batch descent sees V and stays; on mini-batches walkers hop,
as particles do at the temperature T = lr s_g^2 / (2B). Nothing is added to a gradient: the only
noise is which rows are drawn.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ooc import optim
from ooc.core.compiler import exact_kernel
from pipelines.common.dataset import Dataset
from pipelines.common.figures import Picture, new_figure, picture
from pipelines.common.section import Section
from pipelines.descent_laws.data import columns, write_rows
from pipelines.descent_laws.laws import Effort, Law, above, below, chapter, exactly, within
from pipelines.descent_laws.model import DoubleWell
from pipelines.descent_laws.walk import walk

ROWS, WALKERS = 2**14, 256
SLOPE_SPREAD = 20.0  # s_g, standard deviation of the rows' slopes
RATE, BATCHES = 0.01, (6, 8, 10, 12, 14)
FIXED_BATCH = 10
FULL_BATCH_RATE = 0.1
ESCAPES, FEWEST_ESCAPES = 700, 200
QUICK_ESCAPES, QUICK_FEWEST, QUICK_STRAIGHT = 60, 20, 0.95
STRAIGHT, KRAMERS = 0.99, 0.05
WELL = DoubleWell(start=-1.0)


@dataclass(frozen=True)
class Point:
    """Escapes at one learning rate and batch size.

    Attributes
    ----------
    rate, batch_size
        lr and B.
    escapes
        Times that a walker came from one well's bottom to the other's.
    mean_time
        Mean time for that, in steps times the learning rate.
    """

    rate: float
    batch_size: int
    escapes: int
    mean_time: float

    @property
    def coldness(self) -> float:
        """B/lr, which is s_g^2/2 over the temperature."""
        return self.batch_size / self.rate


class Hops:
    """Counts how often walkers come from one bottom to the other.

    Parameters
    ----------
    walkers
        W; all begin in the left well.
    """

    def __init__(self, walkers: int) -> None:
        self.sides = np.zeros(walkers, np.bool_)
        self.count, self.steps = 0, 0

    def __call__(self, parameters: np.ndarray, step: int) -> None:
        """Count the walkers that have arrived at the other bottom."""
        self.count += hops(parameters, self.sides, WELL.places[0], WELL.places[1])
        self.steps = step


def temperature(rate: float, batch_size: int, spread: float = SLOPE_SPREAD) -> float:
    """Return T = lr s_g^2 / (2B).

    Examples
    --------
    >>> temperature(0.01, 10)
    0.2
    """
    return rate * spread**2 / (2 * batch_size)


def escape_time(well: DoubleWell, heat: float) -> float:
    """Return the mean time from the left bottom to the right one at a temperature.

    The integral for a particle with friction (Kramers 1940; Gardiner, "Stochastic methods",
    5.5.23): 1/T times that of exp(V(y)/T) exp(-V(z)/T) over z below y, y between the bottoms.

    Examples
    --------
    >>> cold = escape_time(WELL, 1 / 8)  # close to 2 pi / sqrt(V'' |V''|) exp(depth / T)
    >>> round(float(cold / (2 * np.pi / np.sqrt(32) * np.exp(8))), 1)
    1.1
    """
    grid = np.linspace(-2.5 * well.places[0], well.places[1], 40_001)
    energy = well.energy(grid)
    spacing = grid[1] - grid[0]
    below_ = np.cumsum(np.exp(-energy / heat)) * spacing
    between = grid >= -well.places[0]
    return float(np.sum(np.exp(energy[between] / heat) * below_[between]) * spacing / heat)


def measure(folder: Path, effort: Effort) -> tuple[Section, ...]:
    """Measure mean escape times against B/lr, over batch sizes and over learning rates."""
    dataset = write_rows(
        folder / "slopes.zarr", {"X": SLOPE_SPREAD * columns(ROWS, WALKERS, seed=5)}
    )
    by_batch = [_escape_point(dataset, RATE, batch_size, effort) for batch_size in BATCHES]
    rates = [RATE * FIXED_BATCH / batch_size for batch_size in BATCHES]
    by_rate = [_escape_point(dataset, rate, FIXED_BATCH, effort) for rate in rates]
    laws: list[Law] = []
    for name, points in (
        (f"B = {BATCHES[0]} to {BATCHES[-1]} at learning rate {RATE:g}", by_batch),
        (f"learning rates {rates[-1]:.2g} to {rates[0]:.2g} at B = {FIXED_BATCH}", by_rate),
    ):
        slope, error, straight = _line(points)
        form = [np.log(escape_time(WELL, temperature(p.rate, p.batch_size))) for p in points]
        expected = float(np.polyfit([p.coldness for p in points], form, 1)[0])
        fewest = QUICK_FEWEST if effort.widen > 1 else FEWEST_ESCAPES
        laws += [
            above(
                f"log escape time linear in B/lr, {name}: R²",
                "log τ = ΔV/T + const, T = lr s_g²/(2B)",
                STRAIGHT if effort.widen == 1 else QUICK_STRAIGHT,
                straight,
            ),
            within(
                f"its slope, {name}",
                "that of Kramers' integral, about 2 ΔV / s_g²",
                expected,
                slope,
                error,
                KRAMERS * effort.widen,
            ),
            above(
                f"fewest escapes of a point, {name}",
                "at least as many as asked for",
                fewest - 1,
                min(p.escapes for p in points),
            ),
        ]
    steps = effort.length(2000)
    usual = FULL_BATCH_RATE * steps * WALKERS / by_batch[0].mean_time
    still = Hops(WALKERS)
    few = write_rows(folder / "few.zarr", {"X": SLOPE_SPREAD * columns(1024, WALKERS, seed=6)})
    full_batch = optim.sgd(FULL_BATCH_RATE)
    well = DoubleWell(start=-1.3)
    run = walk(well, full_batch, few, few.rows, steps, still, sampling="once")
    laws.append(
        exactly(
            f"full-batch descent: escapes, in a time in which B = {BATCHES[0]} makes {usual:,.0f}",
            "no noise, no escape: 0",
            0,
            still.count,
        )
    )
    laws.append(
        below(
            "full-batch descent from w = -1.3: distance to the first bottom at the end",
            "V' vanishes there",
            1e-3,
            float(np.abs(run.parameters + 1).max()),
        )
    )
    escapes = chapter(
        "Escape from a well",
        "Walkers begin in the left of two wells, and cross by the noise of sampled rows alone. "
        "The mean time they take, in steps times the learning rate, grows exponentially with "
        "B/lr, whether B or the learning rate is changed. Full-batch descent never leaves.",
        tuple(laws),
        (_draw_escapes(by_batch, by_rate),),
        {
            "points": [
                {
                    "lr": p.rate,
                    "batch_size": p.batch_size,
                    "escapes": p.escapes,
                    "time": p.mean_time,
                }
                for p in by_batch + by_rate
            ]
        },
    )
    return (escapes,)


def _escape_point(dataset: Dataset, rate: float, batch_size: int, effort: Effort) -> Point:
    """Let walkers hop for as long as about `ESCAPES` of them take."""
    expected = escape_time(WELL, temperature(rate, batch_size)) / rate
    wanted = effort.length(ESCAPES, QUICK_ESCAPES)
    steps = round(wanted * expected / WALKERS)
    epochs = max(1, round(steps / len(effort.seeds) * batch_size / ROWS))
    count, total = 0, 0
    for seed in effort.seeds:
        observer = Hops(WALKERS)
        walk(WELL, optim.sgd(rate), dataset, batch_size, epochs, observer, seed)
        count, total = count + observer.count, total + observer.steps
    # Walkers that are still on their way have waited, too: time over escapes is without bias.
    return Point(rate, batch_size, count, rate * total * WALKERS / max(count, 1))


def _line(points: list[Point]) -> tuple[float, float, float]:
    """Return slope, its standard error from the numbers of escapes, and R2 of a straight line."""
    x = np.array([point.coldness for point in points])
    y = np.log([point.mean_time for point in points])
    slope, _ = np.polyfit(x, y, 1)
    centred = x - x.mean()
    error = np.sqrt(np.sum(centred**2 / [point.escapes for point in points])) / np.sum(centred**2)
    return float(slope), float(error), float(np.corrcoef(x, y)[0, 1] ** 2)


@exact_kernel
def hops(places: np.ndarray, sides: np.ndarray, left: float, right: float) -> int:
    """Count walkers that have arrived at the bottom of the other well, and note their side.

    Parameters
    ----------
    places
        (W,) float32.
    sides
        (W,) bool, whether a walker was last at the right bottom; updated in place.
    left, right
        Distances of the bottoms from the barrier at 0.
    """
    count = 0
    for j in range(places.size):
        arrived = places[j] <= -left if sides[j] else places[j] >= right
        if arrived:
            sides[j] = not sides[j]
            count += 1
    return count


def _draw_escapes(by_batch: list[Point], by_rate: list[Point]) -> Picture:
    figure = new_figure()
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    w = np.linspace(-1.45, 1.45, 200)
    left.plot(w, WELL.energy(w) + WELL.depths[0], color="black")
    left.plot([-1], [0], "o", color="tab:blue")
    left.annotate("start", (-1, 0), (-1.12, 0.18))
    left.set_xlabel("w")
    left.set_ylabel("V, the mean loss over all rows")
    coldness = np.linspace(0.95 * by_batch[0].coldness, 1.05 * by_batch[-1].coldness, 50)
    form = [escape_time(WELL, SLOPE_SPREAD**2 / (2 * each)) for each in coldness]
    right.semilogy(coldness, form, color="black", linewidth=0.9, label="Kramers' integral")
    for name, marker, points in (
        (f"B changed, learning rate {RATE:g}", "o", by_batch),
        (f"learning rate changed, B = {FIXED_BATCH}", "s", by_rate),
    ):
        times = np.array([point.mean_time for point in points])
        error = 2 * times / np.sqrt([max(point.escapes, 1) for point in points])
        right.errorbar(
            [p.coldness for p in points],
            times,
            error,
            fmt=marker,
            markersize=5,
            capsize=2,
            label=name,
        )
    right.set_xlabel("B / learning rate")
    right.set_ylabel("mean escape time, steps · learning rate")
    right.legend(frameon=False)
    return picture(
        figure,
        "escape-times",
        "The double well, and mean escape times from it.",
        "The logarithm of the mean escape time is a straight line in B over learning rate, the "
        "same for changed batch sizes and changed learning rates.",
    )
