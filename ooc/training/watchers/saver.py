"""When a run is saved, and what of it."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ooc.core.errors import InputError
from ooc.core.numbers import check_counts
from ooc.runs.run import Run
from ooc.training.run_state import make_run, save_run
from ooc.training.session import Session
from ooc.training.watchers.recorder import Recorder
from ooc.training.watchers.watcher import Moment, Watcher, next_multiple


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
        check_counts(every_steps=self.every_steps, keep=self.keep)


USUAL = Saving()


class Saver(Watcher):
    """Saves every descent of a session when it is due.

    Parameters
    ----------
    saving, session
        When, and what.
    watchers
        All of the session: each gives the state that it will want back.
    recorders
        Where it is noted, one for each descent.
    stop
        Set where the run is to end now: it is saved then, too.
    """

    def __init__(
        self,
        saving: Saving,
        session: Session,
        watchers: Sequence[Watcher],
        recorders: Sequence[Recorder],
        stop: threading.Event,
    ) -> None:
        self._saving, self._session, self._watchers = saving, session, watchers
        self._recorders, self._stop = recorders, stop
        self._seconds = 0.0
        self._last = time.perf_counter()

    def begin(self, resumed: bool) -> None:
        """Save a new run before its first step."""
        if not resumed:
            self._save()

    def next_step(self, step: int) -> int:
        """Return the next step after which the run is saved."""
        return next_multiple(step, self._saving.every_steps)

    def after(self, moment: Moment) -> bool:
        """Save if it is due."""
        passed = time.perf_counter() - self._last
        due = moment.epoch_ends or moment.is_multiple(self._saving.every_steps)
        due |= moment.window_ends and passed >= self._saving.every_seconds
        if due or self._stop.is_set():
            self._save()
        return False

    def break_off(self) -> None:
        """Save the run where it stands."""
        self._save()

    def end(self, runs: Sequence[Run]) -> None:
        """Save the runs as they are returned."""
        self._save(runs, finished=not self._stop.is_set())

    def results(self, number: int) -> dict[str, Any]:
        """Return the seconds that saving took."""
        return {"save_seconds": self._seconds}

    def _save(self, runs: Sequence[Run] | None = None, finished: bool = False) -> None:
        session, watchers = self._session, self._watchers
        for number, recorder in enumerate(self._recorders):
            begun = time.perf_counter()
            run = make_run(session, number, watchers) if runs is None else runs[number]
            if save_run(session, run, number, watchers, self._saving.keep, finished):
                self._last = time.perf_counter()
                recorder.note("checkpoint", {"save_seconds": self._last - begun})
                self._seconds += self._last - begun
