"""Who watches a session: what its trainer and its caller ask for, as watchers in their order."""

import threading
from dataclasses import dataclass

from ooc.metrics import Report, silent
from ooc.stream.loader import Loader
from ooc.training.session import Session
from ooc.training.watchers.callbacks import Callbacks, CallbackWatcher
from ooc.training.watchers.end import EndWatcher
from ooc.training.watchers.halving import Halving, HalvingWatcher
from ooc.training.watchers.recorder import Recorder
from ooc.training.watchers.saver import Saver, Saving
from ooc.training.watchers.steering import Steering, SteeringWatcher
from ooc.training.watchers.validation import Validation, Validator
from ooc.training.watchers.watcher import Watcher

NO_CALLBACKS = Callbacks()


@dataclass(frozen=True)
class Watch:
    """What happens beside training; see `ooc.training.trainer.Trainer` and its `fit`."""

    validation: Validation | None
    steering: Steering | None
    saving: Saving
    log_every: int | None
    report: Report = silent
    stop: threading.Event | None = None
    callbacks: Callbacks = NO_CALLBACKS
    halving: Halving | None = None


def make_watchers(watch: Watch, session: Session, held_out: Loader | None) -> list[Watcher]:
    """Return all that watches a session, in the order in which it is asked.

    Parameters
    ----------
    watch, session
        What is to happen, beside what.
    held_out
        Loader of the rows to evaluate on, if any.
    """
    engine, plan = session.engine, session.loader.plan
    recorders = [
        Recorder(session, number, watch.log_every, watch.report)
        for number in range(len(session.names))
    ]
    validators: list[Validator] = []
    if watch.validation is not None and held_out is not None:
        validators = [Validator(session, each, watch.validation, held_out) for each in recorders]
    watchers: list[Watcher] = [*recorders, *validators]
    if watch.halving is not None:
        steps = session.epochs * plan.steps
        watchers.append(HalvingWatcher(watch.halving, engine, steps, validators))
    if watch.steering is not None:
        watchers.append(SteeringWatcher(watch.steering, engine, plan.batch_size))
    watchers.append(CallbackWatcher(watch.callbacks, engine))
    end = EndWatcher(engine, watch.stop)
    if session.folders:
        # It is given this list itself: who is entered later is saved, too.
        watchers.append(Saver(watch.saving, session, watchers, recorders, end))
    watchers.append(end)
    return watchers
