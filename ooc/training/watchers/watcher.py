"""What a watcher is: something that happens between two steps of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.kernels.counters import NEVER
from ooc.runs.run import Run
from ooc.stream.window import Window


@dataclass(frozen=True)
class Moment:
    """A place between two steps.

    Attributes
    ----------
    step, epoch
        Steps taken since the run began, and epochs that have begun before this one.
    advanced
        Whether a step was taken since the moment before.
    window_ends, epoch_ends
        Whether the window's rows, or the epoch's, are used up.
    window
        The window at hand.
    """

    step: int
    epoch: int
    advanced: bool
    window_ends: bool
    epoch_ends: bool
    window: Window

    def is_multiple(self, every: int | None) -> bool:
        """Tell whether the step just taken is a multiple of `every`; never for None."""
        return every is not None and self.advanced and self.step % every == 0


class Watcher:
    """Logs, evaluates, saves, steers. It overrides what it needs: this one does nothing.

    Attributes
    ----------
    name
        Under which its state is saved.
    number
        The descent that it follows; None for all that are trained at once.
    """

    name = ""
    number: int | None = None

    def begin(self, resumed: bool) -> None:
        """Do what is due before the first step here; `resumed` where a saved run goes on."""

    def next_step(self, step: int) -> int:
        """Return the step after which it must be asked, at most; `NEVER` if any will do."""
        return NEVER

    def after(self, moment: Moment) -> bool:
        """Do what is due; return whether training is to end."""
        return False

    def break_off(self) -> None:
        """Do what is due where the run is not over, and no step can be taken any more."""

    def end(self, runs: Sequence[Run]) -> None:
        """Do what is due after the last step, with the run that each descent has become."""

    def state(self) -> dict[str, Any]:
        """Return what a resumed run goes on from: each value JSON-ready, or an array."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned when the run was saved."""

    def results(self, number: int) -> dict[str, Any]:
        """Return what it adds to the results of a descent's run, under their keys in JSON."""
        return {}

    def solution(self) -> np.ndarray | None:
        """Return the parameters that the run is to keep, where they are not its last ones."""
        return None


def next_multiple(step: int, every: int | None) -> int:
    """Return the first multiple of `every` beyond a step; `NEVER` for None.

    Examples
    --------
    >>> next_multiple(10, 5), next_multiple(10, None) == NEVER
    (15, True)
    """
    return NEVER if every is None else (step // every + 1) * every
