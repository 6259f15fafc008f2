"""What ends a run before its last epoch: a signal from outside, or a method that is done."""

import threading
from typing import Any

from ooc.engines.engine import Engine
from ooc.engines.full_gradient_engine import full_gradient_results
from ooc.training.watchers.watcher import Moment, Watcher


class EndWatcher(Watcher):
    """Ends a run once an event is set, or its method has nothing more to ask for."""

    def __init__(self, engine: Engine, stop: threading.Event | None) -> None:
        self._engine, self._stop = engine, stop

    @property
    def stopped(self) -> bool:
        """Whether the event is set."""
        return self._stop is not None and self._stop.is_set()

    def after(self, moment: Moment) -> bool:
        """Tell whether the run is to end."""
        return self.stopped or self._engine.ended

    def results(self, number: int) -> dict[str, Any]:
        """Return what a method on the full gradient came to; nothing for any other."""
        train_state = self._engine.train_state
        return {} if train_state.methods[0].full is None else full_gradient_results(train_state)
