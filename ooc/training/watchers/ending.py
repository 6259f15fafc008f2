"""What ends a run before its last epoch: a signal from outside, or a method that is done."""

import threading
from typing import Any

from ooc.engines.engine import Engine
from ooc.engines.full_gradient_engine import full_gradient_results
from ooc.training.watchers.watcher import Moment, Watcher


class StopWatcher(Watcher):
    """Ends the run once an event is set."""

    def __init__(self, stop: threading.Event | None) -> None:
        self._stop = stop

    @property
    def stopping(self) -> bool:
        """Whether the run is to end."""
        return self._stop is not None and self._stop.is_set()

    def after(self, moment: Moment) -> bool:
        """Tell whether the run is to end."""
        return self.stopping


class MethodWatcher(Watcher):
    """Ends the run when its method has nothing more to ask for, and tells what it came to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def after(self, moment: Moment) -> bool:
        """Tell whether the method is at its end."""
        return self._engine.ended

    def results(self, number: int) -> dict[str, Any]:
        """Return what a method on the full gradient tells; nothing for any other."""
        descents = self._engine.descents
        return {} if descents.methods[0].full is None else full_gradient_results(descents)
