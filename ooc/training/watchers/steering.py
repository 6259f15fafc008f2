"""Steering: a batch that grows, a temperature that is cooled or heated, while a run goes on.

What SGD's noise does to parameters depends on the learning rate over the batch size: that is the
part of the effective temperature which is in one's hands (Smith, Kindermans,
Ying and Le 2018: a larger batch in place of a smaller rate). Decisions are made after certain
steps, from the step's number and from the totals of the gradient's signal and noise alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.core.numbers import check_counts
from ooc.engines.engine import Engine
from ooc.kernels.counters import NEVER
from ooc.optim.settings import HEAT, SETTINGS
from ooc.training.watchers.noise_log import noise_scale_bound
from ooc.training.watchers.watcher import Moment, Watcher

AUTO = "auto"
BY = ("rate", "batch")


@dataclass(frozen=True)
class Steering:
    """How batch size and temperature change.

    Attributes
    ----------
    batch
        Rows of a batch from certain steps on: pairs of a step and a size, ascending. Or "auto":
        the batch is doubled as long as it is at most half of the gradient noise scale, judged by
        the lower end of its 95 percent interval; it never shrinks.
    temperature
        What the temperature lr/B is multiplied with at certain steps, counted from the rate and
        the batch size that the run was given: pairs of a step and a factor, ascending. Between
        them the factor is interpolated geometrically; before and after them it stays. None: it
        is as the rate and the batch make it.
    by
        How a temperature is met: "rate" multiplies the learning rate; "batch" divides the batch
        size, and leaves to the rate what is less than a row or beyond `largest`.
    largest
        Most rows of a batch, for "auto" and for a temperature that is met by the batch; memory is
        set aside for them. By default the first batch size, or the largest of the schedule.
    every
        Steps between decisions on "auto" and the temperature.

    Raises
    ------
    InputError
        If a schedule is not ascending, or a size or factor is not above zero.

    Examples
    --------
    >>> cooling = Steering(temperature=[(0, 1.0), (1000, 0.01)], by="batch", largest=4096)
    >>> cooling.decide(64, 500, 64, np.zeros(10)), cooling.decide(64, 2000, 64, np.zeros(10))
    ((640, 1.0), (4096, 0.64))
    """

    batch: Sequence[tuple[int, int]] | str | None = None
    temperature: Sequence[tuple[int, float]] | None = None
    by: str = "rate"
    largest: int | None = None
    every: int = 100

    def __post_init__(self) -> None:
        if isinstance(self.batch, str) and self.batch != AUTO:
            raise InputError(f'batch is a schedule of steps and sizes, or "auto", not {self.batch}')
        if self.batch is not None and not isinstance(self.batch, str):
            object.__setattr__(self, "batch", _pairs("batch", self.batch, 1))
        if self.temperature is not None:
            object.__setattr__(self, "temperature", _pairs("temperature", self.temperature, 0))
        if self.by not in BY:
            raise InputError(f"a temperature is met by {' or '.join(BY)}, not {self.by!r}")
        if self.by == "batch" and (self.batch is not None or self.temperature is None):
            raise InputError(
                'by="batch" needs a temperature, and no batch sizes beside it; use by="rate"'
            )
        if self.batch is None and self.temperature is None:
            raise InputError("there is nothing to steer; give batch= or temperature=")
        check_counts(largest=self.largest, every=self.every)
        if self.batch == AUTO and self.largest is None:
            raise InputError("an automatic batch needs a limit; give largest=, such as 4096")

    def largest_batch(self, batch_size: int) -> int:
        """Return the most rows that a batch may come to have, from the size it begins with."""
        sizes = [size for _, size in self._sizes]
        return max([batch_size, *sizes, self.largest or 0])

    def next_step(self, step: int) -> int | None:
        """Return the next step after which something may change; None if nothing will."""
        later = [at for at, _ in self._sizes if at > step]
        if self.batch == AUTO or self.temperature is not None:
            later.append((step // self.every + 1) * self.every)
        return min(later, default=None)

    def decide(
        self, first: int, step: int, batch_size: int, since: np.ndarray
    ) -> tuple[int, float]:
        """Return the batch size after a step, and what the learning rate is multiplied with.

        Parameters
        ----------
        first
            Rows of a batch where the run began.
        step
            Steps taken.
        batch_size
            Rows of a batch until now.
        since
            (TOTALS,) float64, what the totals have grown by since the last decision.
        """
        rows = self._rows(first, step, batch_size, since)
        if self.temperature is None:
            return rows, 1.0
        heat = self.heat(step)
        if self.by == "batch":
            rows = min(max(round(first / heat), 1), self.largest_batch(first))
        return rows, heat * rows / first

    def heat(self, step: int) -> float:
        """Return what the temperature is multiplied with from a step on.

        Examples
        --------
        >>> steering = Steering(temperature=[(100, 1.0), (300, 0.01)])
        >>> [round(steering.heat(step), 6) for step in (0, 100, 200, 300, 400)]
        [1.0, 1.0, 0.1, 0.01, 0.01]
        """
        points = list(self.temperature or [(0, 1.0)])
        before = [point for point in points if point[0] <= step] or points[:1]
        after = [point for point in points if point[0] > step] or before[-1:]
        (start, low), (stop, high) = before[-1], after[0]
        share = 0.0 if stop <= start else (step - start) / (stop - start)
        return float(low * (high / low) ** max(share, 0.0))

    def to_config(self) -> dict[str, Any]:
        """Return the settings, JSON-ready."""
        return asdict(self)

    @property
    def _sizes(self) -> Sequence[tuple[int, int]]:
        return [] if self.batch is None or isinstance(self.batch, str) else self.batch

    def _rows(self, first: int, step: int, batch_size: int, since: np.ndarray) -> int:
        if self.batch == AUTO:
            enough = noise_scale_bound(since) >= 2 * batch_size
            return min(2 * batch_size, self.largest_batch(first)) if enough else batch_size
        return next((size for at, size in reversed(self._sizes) if at <= step), first)


def steering_from_config(config: Mapping[str, Any] | None) -> Steering | None:
    """Make it again from what `to_config` returned, also after a way through JSON.

    Examples
    --------
    >>> steering = Steering(batch=[(0, 64), (1000, 128)])
    >>> steering_from_config(steering.to_config()) == steering
    True
    """
    return None if config is None else Steering(**config)


class SteeringWatcher(Watcher):
    """Sets batch size and rate.

    Of several descents on the same batches, the first one's gradient noise decides for all.

    Parameters
    ----------
    steering, engine
        How, and what.
    first
        Rows of a batch where the run began.
    """

    name = "steering"

    def __init__(self, steering: Steering, engine: Engine, first: int) -> None:
        self._steering, self._engine, self._first = steering, engine, first
        totals = engine.train_state.totals[0]
        self._decided, self._totals = engine.step, totals.copy()
        self._apply(*steering.decide(first, engine.step, first, np.zeros_like(totals)))

    def next_step(self, step: int) -> int:
        """Return the next step after which something may change."""
        coming = self._steering.next_step(step)
        return NEVER if coming is None else coming

    def after(self, moment: Moment) -> bool:
        """Decide, if this is the step to do so."""
        if moment.advanced and moment.step == self.next_step(self._decided):
            totals = self._engine.train_state.totals[0]
            since = totals - self._totals
            size = self._engine.batch_size
            self._apply(*self._steering.decide(self._first, moment.step, size, since))
            self._decided, self._totals = moment.step, totals.copy()
        return False

    def state(self) -> dict[str, Any]:
        """Return the decision taken last."""
        return {
            "decided": self._decided,
            "totals": self._totals,
            "batch_size": self._engine.batch_size,
            "heat": float(self._engine.train_state.settings[0, HEAT]),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the decision taken last."""
        self._decided, self._totals = int(state["decided"]), np.array(state["totals"])
        self._apply(int(state["batch_size"]), float(state["heat"]))

    def _apply(self, batch_size: int, heat: float) -> None:
        self._engine.batch_size = batch_size
        self._engine.train_state.settings[:, HEAT::SETTINGS] = heat


def _pairs(name: str, given: Sequence[Any], least: float) -> tuple[tuple[int, Any], ...]:
    """Return a schedule as tuples.

    Raises
    ------
    InputError
        If it is empty, its steps do not ascend, or a value is not above zero.
    """
    try:
        pairs = tuple((int(step), value) for step, value in given)
    except (TypeError, ValueError):
        raise InputError(f"{name} is made of pairs of a step and a value, not {given!r}") from None
    steps = [step for step, _ in pairs]
    if not pairs or steps[0] < 0 or any(a >= b for a, b in pairwise(steps)):
        raise InputError(f"the steps of {name} must ascend from 0 or more, not {steps}")
    for step, value in pairs:
        if not (value >= least and 0 < value < math.inf):
            raise InputError(f"{name} at step {step} must be above 0, not {value}")
    return pairs
