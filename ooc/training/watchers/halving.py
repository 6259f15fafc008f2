"""Successive halving: of many descents on the same rows, the worst are dropped on the way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.core.numbers import check_counts, whole
from ooc.engines.engine import Engine
from ooc.kernels.counters import LOSS_SUM, NEVER
from ooc.training.watchers.recorder import Recorder
from ooc.training.watchers.validation import Validator
from ooc.training.watchers.watcher import Moment, Watcher


@dataclass(frozen=True)
class Halving:
    """How descents are dropped (Jamieson and Talwalkar 2016).

    Attributes
    ----------
    factor
        At each rung one of so many is kept, rounded up. Rungs lie at 1/factor of all steps, at
        1/factor^2 and so on, so that the last one is left for most of the run.
    least
        Descents that are kept to the end.

    Examples
    --------
    >>> Halving().rungs(models=8, steps=1000)
    (125, 250, 500)
    """

    factor: int = 2
    least: int = 1

    def __post_init__(self) -> None:
        whole("factor", self.factor, 2)
        check_counts(least=self.least)

    def rungs(self, models: int, steps: int) -> tuple[int, ...]:
        """Return the steps after which descents are dropped, ascending."""
        count, left = 0, models
        while left > self.least:
            left, count = max(self.least, -(-left // self.factor)), count + 1
        places = {steps // self.factor**number for number in range(count, 0, -1)}
        return tuple(sorted(place for place in places if place > 0))


class HalvingWatcher(Watcher):
    """Drops descents at the rungs.

    They are ranked by the last evaluation, or, without any, by the loss over the rows since the
    rung before, each row's taken before it was learned from.
    """

    def __init__(
        self,
        halving: Halving,
        engine: Engine,
        steps: int,
        recorders: Sequence[Recorder],
        validators: Sequence[Validator],
    ) -> None:
        # For each descent that was dropped the step at which it was.
        self._dropped: dict[int, int] = {}
        self._halving, self._engine = halving, engine
        self._recorders, self._validators = recorders, validators
        self._rungs = halving.rungs(len(engine.train_state), steps)
        self._before = np.zeros(len(engine.train_state))

    def next_step(self, step: int) -> int:
        """Return the next rung."""
        return next((rung for rung in self._rungs if rung > step), NEVER)

    def after(self, moment: Moment) -> bool:
        """Drop the worst if this is a rung."""
        if moment.advanced and moment.step in self._rungs:
            train_state = self._engine.train_state
            active = np.flatnonzero(train_state.active)
            kept = max(self._halving.least, -(-len(active) // self._halving.factor))
            losses = self._losses()
            for number in active[np.argsort(losses[active], kind="stable")][kept:].tolist():
                self._recorders[number].log(moment)
                train_state.active[number] = False
                self._dropped[number] = moment.step
        return False

    def results(self, number: int) -> dict[str, Any]:
        """Return why a descent did not go on to the end, if it was dropped."""
        step = self._dropped.get(number)
        return {} if step is None else {"dropped": f"among the worst after step {step}"}

    def _losses(self) -> np.ndarray:
        sums = self._engine.train_state.totals[:, LOSS_SUM].copy()
        since, self._before = sums - self._before, sums
        if self._validators and all(each.losses for each in self._validators):
            return np.array([each.losses[-1] for each in self._validators])
        return since
