"""What an engine tells and has beside its train state: of lanes that others serve."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from ooc.training.watchers.watcher import Watcher


@runtime_checkable
class Telling(Protocol):
    """An engine that has results of its own."""

    def results(self) -> dict[str, Any]:
        """Return what it adds to the results of a run, under their keys in JSON."""


@runtime_checkable
class Keeping(Protocol):
    """An engine that has a state of its own."""

    def state(self, number: int) -> dict[str, Any]:
        """Return what a descent goes on from: each value JSON-ready, or an array."""

    def restore(self, number: int, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned when the run was saved."""


class LanesWatcher(Watcher):
    """Gives and takes back what an engine has of one descent."""

    name = "lanes"

    def __init__(self, engine: Keeping, number: int) -> None:
        self._engine = engine
        self.number: int = number

    def state(self) -> dict[str, Any]:
        """Return what the engine has."""
        return self._engine.state(self.number)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Let the engine go on from there; a run is resumed by itself."""
        self._engine.restore(0, state)
