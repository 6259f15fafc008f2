"""A narrow deep well and a wide one: the hotter descent is, the more it stays in the wide one."""

from pathlib import Path

import numpy as np

from ooc import optim
from pipelines.common.figures import Picture, new_figure, picture
from pipelines.common.section import Section
from pipelines.descent_laws.data import columns, write_rows
from pipelines.descent_laws.escape_times import escape_time, temperature
from pipelines.descent_laws.laws import Effort, above, chapter, mean_and_error, near
from pipelines.descent_laws.model import DoubleWell
from pipelines.descent_laws.walk import walk

ROWS, WALKERS = 2**14, 256
WELLS = DoubleWell(start=-0.6, places=(0.6, 1.5), depths=(1.2, 1.0))
SLOPE_SPREAD, RATE, BATCHES = 40.0, 0.001, (1, 2, 3)
SHARE = 0.03


class Occupation:
    """Counts steps in the right well, for each walker, after a number of first steps."""

    def __init__(self, walkers: int, first: int) -> None:
        self.right, self.steps = np.zeros(walkers, np.int64), 0
        self._first = first

    def __call__(self, parameters: np.ndarray, step: int) -> None:
        """Count a step."""
        if step >= self._first:
            self.right += parameters > 0
            self.steps += 1


def relaxation_time(well: DoubleWell, heat: float) -> float:
    """Return the time in which the wells' occupations come to rest: 1/(1/t + 1/t').

    Examples
    --------
    >>> bool(np.isclose(relaxation_time(DoubleWell(), 0.2), escape_time(DoubleWell(), 0.2) / 2))
    True
    """
    mirrored = DoubleWell(places=well.places[::-1], depths=well.depths[::-1])
    return 1 / (1 / escape_time(well, heat) + 1 / escape_time(mirrored, heat))


def share_of_time(well: DoubleWell, heat: float) -> float:
    """Return the share of time right of the barrier, by the Gibbs distribution exp(-V/T).

    Examples
    --------
    >>> round(share_of_time(DoubleWell(), 0.2), 6)
    0.5
    """
    grid = np.linspace(-2.5 * well.places[0], 2.5 * well.places[1], 100_001)
    weights = np.exp(-well.energy(grid) / heat)
    return float(weights[grid > 0].sum() / weights.sum())


def measure(folder: Path, effort: Effort) -> tuple[Section, ...]:
    """Measure the share of time in the wide well, at several temperatures."""
    dataset = write_rows(
        folder / "uneven.zarr", {"X": SLOPE_SPREAD * columns(ROWS, WALKERS, seed=7)}
    )
    laws, points = [], []
    for batch_size in BATCHES[: effort.length(len(BATCHES), 2)]:
        heat = temperature(RATE, batch_size, SLOPE_SPREAD)
        relaxation = relaxation_time(WELLS, heat) / RATE
        first = round(5 * relaxation)
        steps = first + effort.length(round(5 * relaxation))
        epochs = -(-steps * batch_size // ROWS)
        found = []
        for seed in effort.seeds[:2]:
            observer = Occupation(WALKERS, first)
            walk(WELLS, optim.sgd(RATE), dataset, batch_size, epochs, observer, seed)
            found.append(observer.right / observer.steps)
        share, error = mean_and_error(np.concatenate(found))
        points.append((heat, share, error))
        laws.append(
            near(
                f"share of time in the wide well, T = {heat:.2g}",
                "∫ exp(-V/T) over the wide well, of all",
                share_of_time(WELLS, heat),
                share,
                error,
                SHARE * effort.widen,
            )
        )
    points.sort()
    steps_up = np.diff([share for _, share, _ in points])
    laws.append(
        above(
            "growth of that share from each temperature to the next, the smallest",
            "a wide well wins by its width: above 0",
            0.0,
            float(steps_up.min()),
        )
    )
    occupation = chapter(
        "Wide wells at high temperature",
        "The narrow well is deeper, the wide one has more room. The hotter the walk, that is the "
        "larger lr/B, the larger the share of time that it spends in the wide well.",
        tuple(laws),
        (_draw_occupation(points),),
    )
    return (occupation,)


def _draw_occupation(points: list[tuple[float, float, float]]) -> Picture:
    figure = new_figure()
    left, right = figure.subplots(1, 2)
    w = np.linspace(-0.85, 2.2, 300)
    left.plot(w, WELLS.energy(w), color="black")
    left.set_ylim(top=0.6)
    left.set_xlabel("w")
    left.set_ylabel("V, the mean loss over all rows")
    heat = np.linspace(0.1, 1.15 * points[-1][0], 80)
    right.plot(
        heat,
        [share_of_time(WELLS, each) for each in heat],
        color="black",
        linewidth=0.9,
        label="exp(-V/T)",
    )
    right.errorbar(
        [point[0] for point in points],
        [point[1] for point in points],
        [2 * point[2] for point in points],
        fmt="o",
        capsize=2,
        label="measured",
    )
    right.set_xlabel("T = lr s_g² / (2B)")
    right.set_ylabel("share of time in the wide well")
    right.legend(frameon=False)
    return picture(
        figure,
        "well-occupation",
        "A narrow deep well and a wide one; the share of time in the wide one.",
        "The share of time in the wide well grows with the temperature along the Gibbs "
        "distribution.",
    )
