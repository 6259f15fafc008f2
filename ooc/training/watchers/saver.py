"""When a run is saved, and what of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ooc.core.errors import InputError
from ooc.training.fit_loop import Moment, next_multiple


@dataclass(frozen=True)
class Saving:
    """When a run is saved: at each epoch's end, and in between.

    Attributes
    ----------
    every_seconds
        Save at the first window's end after so many seconds.
    every_steps
        Save after exactly these steps, too.
    keep
        Checkpoints that are kept.

    Examples
    --------
    >>> Saving(every_steps=1000).keep
    3
    """

    every_seconds: float = 60.0
    every_steps: int | None = None
    keep: int = 3

    def __post_init__(self) -> None:
        if not self.every_seconds > 0:
            raise InputError(f"seconds between saves must be above 0, not {self.every_seconds}")
        if self.every_steps is not None and self.every_steps < 1:
            raise InputError(f"steps between saves must be at least 1, not {self.every_steps}")
        if self.keep < 1:
            raise InputError(f"at least 1 checkpoint must be kept, not {self.keep}")


USUAL = Saving()


class Saver:
    """Saves when it is due; see `ooc.training.fit_loop.Watcher`.

    Parameters
    ----------
    saving, run_dir
        When, and where.
    save
        Writes the checkpoint.
    stopping
        Whether the run is to end now: it is saved then, too.
    """

    def __init__(
        self,
        saving: Saving,
        run_dir: Path,
        save: Callable[[], None],
        stopping: Callable[[], bool],
    ) -> None:
        self.run_dir, self._saving = run_dir, saving
        self._save, self._stopping = save, stopping
        self.seconds = 0.0
        self._last = time.perf_counter()

    def next_step(self, step: int) -> int:
        """Return the next step after which the run is saved."""
        return next_multiple(step, self._saving.every_steps)

    def after(self, moment: Moment) -> bool:
        """Save if it is due."""
        passed = time.perf_counter() - self._last
        due = moment.epoch_ends or moment.is_multiple(self._saving.every_steps)
        if due or (moment.window_ends and passed >= self._saving.every_seconds) or self._stopping():
            self.save()
        return False

    def save(self) -> None:
        """Save now."""
        begun = time.perf_counter()
        self._save()
        self._last = time.perf_counter()
        self.seconds += self._last - begun
