"""Carries out what `ooc.training.watchers.steering` decides, between two steps of a run."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ooc.engines.engine import Engine
from ooc.kernels.counters import NEVER
from ooc.optim.settings import HEAT
from ooc.training.watchers.steering import Steering
from ooc.training.watchers.watcher import Moment, Watcher


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
        totals = engine.descents.totals[0]
        self._decided, self._totals = engine.step, totals.copy()
        self._apply(*steering.decide(first, engine.step, first, np.zeros_like(totals)))

    def next_step(self, step: int) -> int:
        """Return the next step after which something may change."""
        coming = self._steering.next_step(step)
        return NEVER if coming is None else coming

    def after(self, moment: Moment) -> bool:
        """Decide, if this is the step to do so."""
        if moment.advanced and moment.step == self.next_step(self._decided):
            totals = self._engine.descents.totals[0]
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
            "heat": float(self._engine.descents.settings[0, HEAT]),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the decision taken last."""
        self._decided, self._totals = int(state["decided"]), np.array(state["totals"])
        self._apply(int(state["batch_size"]), float(state["heat"]))

    def _apply(self, batch_size: int, heat: float) -> None:
        self._engine.batch_size = batch_size
        self._engine.descents.settings[:, HEAT] = heat
