"""Curves of bounded length from any number of points: what a picture can show, extremes kept."""

import math
import operator
from dataclasses import dataclass

import numpy as np

# Points of a curve, at most: a picture is about 600 pixels wide, and its line should be a line.
POINTS = 150


@dataclass(frozen=True)
class Curve:
    """A thinned curve, columns of (n,) float64; rows of NaN stand where it is broken.

    Of the points that were put together it has the mean places, and the mean, smallest and
    largest of their values.
    """

    steps: np.ndarray
    seconds: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __len__(self) -> int:
        return int(np.count_nonzero(np.isfinite(self.mean)))


def without_beginning(curve: Curve, share: float) -> Curve:
    """Return a curve without the first share of its steps; of two points or fewer, all of it.

    Examples
    --------
    >>> line = np.arange(11.0)
    >>> without_beginning(Curve(line, line, line, line, line), 0.25).steps.tolist()
    [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    """
    if len(curve) <= 2:
        return curve
    kept = ~(curve.steps < share * np.nanmax(curve.steps))
    return Curve(*(column[kept] for column in vars(curve).values()))


class Thinner:
    """Takes the points of a curve one by one, and holds no more than twice `points` of them.

    Neighbours are put together, two at a time, whenever there are too many, so that each point
    of the result stands for about as many as any other. `dropped` counts points that are not on
    the curve, because they were not finite.

    Examples
    --------
    >>> thinner = Thinner(points=4)
    >>> for step in range(1000):
    ...     thinner.add(step, step / 100, 7.0 if step == 500 else 1.0)
    >>> curve = thinner.curve()
    >>> len(curve), float(curve.low.min()), float(curve.high.max())
    (4, 1.0, 7.0)
    """

    def __init__(self, points: int = POINTS) -> None:
        self._points, self._width, self._part = points, 1, 0
        # Part and count of points; sums of step, seconds, weight and weighted value; low and high.
        self._groups: list[list[float]] = []
        self.dropped = 0

    def add(
        self,
        step: float,
        seconds: float,
        value: float,
        weight: float = 1.0,
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        """Add the next point, which lies before the last one where a run was taken up again.

        A value that is not finite breaks the curve. The weight is what it counts for in a mean:
        rows for a loss, seconds for a rate. `low` and `high` are the ends of its interval.
        """
        low, high = value if low is None else low, value if high is None else high
        if not all(map(math.isfinite, (step, seconds, value, low, high))):
            self.dropped += 1
            self.break_off()
            return
        weight = max(weight, 1e-300)
        self._append([self._part, 1, step, seconds, weight, weight * value, low, high])
        if len(self._groups) > 2 * self._points:
            self._halve()

    def break_off(self) -> None:
        """Let the next point begin a new part, which no line joins to the one before."""
        self._part += 1

    def curve(self) -> Curve:
        """Return the curve of all points so far; the thinner is used up."""
        while len(self._groups) > self._points:
            self._halve()
        columns = np.reshape(self._groups, (-1, 8)).T
        part, points, steps, seconds, weights, totals, low, high = columns
        drawn = np.stack([steps / points, seconds / points, totals / weights, low, high])
        breaks = np.flatnonzero(np.diff(part)) + 1
        return Curve(*np.insert(drawn, breaks, np.nan, axis=1))

    def _append(self, group: list[float], across: bool = False) -> None:
        """Put a group into the last one if there is room and, but across, no break between."""
        last = self._groups[-1] if self._groups else None
        fits = last is not None and last[1] + group[1] <= self._width
        if last is not None and fits and (across or last[0] == group[0]):
            last[1:6] = map(operator.add, last[1:6], group[1:6])
            last[6], last[7] = min(last[6], group[6]), max(last[7], group[7])
        else:
            self._groups.append(group)

    def _halve(self) -> None:
        """Put neighbours together; over breaks as well, if the parts alone are too many."""
        self._width *= 2
        groups, self._groups = self._groups, []
        many = len({group[0] for group in groups}) > self._points // 2
        for group in groups:
            self._append(group, across=many)
