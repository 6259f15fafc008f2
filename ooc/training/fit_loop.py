"""The fit loop, and what may happen between two steps of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ooc.engines.engine import Engine
from ooc.kernels.counters import NEVER
from ooc.stream.loader import Loader
from ooc.stream.reader import Window


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


class Watcher(Protocol):
    """Something that happens between steps: logging, evaluating, saving."""

    def next_step(self, step: int) -> int:
        """Return the step after which it must be asked, at most; `NEVER` if any will do."""

    def after(self, moment: Moment) -> bool:
        """Do what is due; return whether training is to end."""


def next_multiple(step: int, every: int | None) -> int:
    """Return the first multiple of `every` beyond a step; `NEVER` for None.

    Examples
    --------
    >>> next_multiple(10, 5), next_multiple(10, None) == NEVER
    (15, True)
    """
    return NEVER if every is None else (step // every + 1) * every


def descend(engine: Engine, loader: Loader, epochs: int, watchers: Sequence[Watcher]) -> None:
    """Train from the loader's position until `epochs` epochs are over, or a watcher says stop.

    Watchers are asked in their order at the end of each window, and after each step that one of
    them names; the position is then exactly between two steps.
    """
    for window in loader.windows(epochs):
        used_up = False
        while not used_up:
            step, rows = engine.step, engine.rows
            used_up = engine.advance(window, min(each.next_step(step) for each in watchers))
            ends = used_up and window.last
            loader.advance(engine.step - step, engine.rows - rows, ends)
            moment = Moment(engine.step, window.epoch, engine.step > step, used_up, ends, window)
            stopping = False
            for each in watchers:
                stopping |= each.after(moment)
            if stopping:
                return
