"""Who watches a session: what its trainer and its caller ask for, as watchers in their order."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ooc.core.progress import Report
from ooc.core.stopping import Stop
from ooc.engines.full_gradient_engine import full_gradient_results
from ooc.stream.loader import Loader
from ooc.training.session import Session
from ooc.training.watchers.callbacks import NO_CALLBACKS, Callbacks, CallbackWatcher
from ooc.training.watchers.halving import Halving, HalvingWatcher
from ooc.training.watchers.lanes import Keeping, LanesWatcher, Telling
from ooc.training.watchers.recorder import Recorder
from ooc.training.watchers.saver import Saver, Saving
from ooc.training.watchers.steering import Steering, SteeringWatcher
from ooc.training.watchers.trackers import Tracker
from ooc.training.watchers.validation import Validation, Validator
from ooc.training.watchers.watcher import Moment, Watcher


@dataclass(frozen=True)
class Roster:
    """What happens beside training; see `ooc.training.trainer.Trainer` and its `fit`."""

    validation: Validation | None
    steering: Steering | None
    saving: Saving
    log_every: int | None
    report: Report
    stop: threading.Event | None
    callbacks: Callbacks = NO_CALLBACKS
    halving: Halving | None = None
    trackers: Sequence[Tracker] = ()
    called: float = field(default_factory=time.time)

    def watchers(self, session: Session, held_out: Loader | None) -> list[Watcher]:
        """Return all that watches a session, in the order in which it is asked.

        Parameters
        ----------
        session
            What it happens beside.
        held_out
            Loader of the rows to evaluate on, if any.
        """
        engine, plan = session.engine, session.loader.plan
        stop = self.stop or threading.Event()
        full = any(each.full is not None for each in session.train_state.methods)
        may_end = full or (self.validation is not None and self.validation.patience is not None)
        recorders = [
            Recorder(
                session, number, self.log_every, self.report, may_end, self.trackers, self.called
            )
            for number in range(len(session.tracks))
        ]
        validators: list[Validator] = []
        if self.validation is not None and held_out is not None:
            how = (self.validation, held_out, self.report)
            validators = [Validator(session, each, *how) for each in recorders]
        watchers: list[Watcher] = [*recorders, *validators]
        if self.halving is not None:
            steps = session.epochs * plan.steps
            watchers.append(HalvingWatcher(self.halving, engine, steps, recorders, validators))
        if self.steering is not None:
            watchers.append(SteeringWatcher(self.steering, engine, plan.batch_size))
        validator = validators[0] if validators else None
        if isinstance(engine, Keeping):
            watchers += [LanesWatcher(engine, number) for number in range(len(session.tracks))]
        watchers.append(CallbackWatcher(self.callbacks, session, validator))
        if any(track.folder for track in session.tracks):
            # It is given this list itself: who is entered later is saved, too.
            watchers.append(Saver(self.saving, session, watchers, recorders, stop))
        watchers.append(EndWatcher(session, stop))
        return watchers


class EndWatcher(Watcher):
    """Ends a run once an event is set, or its method has nothing more to ask for."""

    def __init__(self, session: Session, stop: threading.Event) -> None:
        self._session, self._stop = session, stop
        # Before others write anything: who sees by it that a run has begun may ask it to end.
        if isinstance(stop, Stop):
            stop.in_steps = True

    def after(self, moment: Moment) -> bool:
        """Tell whether the run is to end."""
        return self._stop.is_set() or self._session.engine.ended

    def results(self, number: int) -> dict[str, Any]:
        """Return what a method on the full gradient came to, or a cluster's lanes."""
        session = self._session
        if isinstance(session.engine, Telling):
            return session.engine.results()
        if session.train_state.methods[0].full is None:
            return {}
        return full_gradient_results(session.train_state, session.loss_unit)
