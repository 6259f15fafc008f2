"""A session from where it stands to its end: who watches it, what is saved, what comes of it."""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.errors import DataError, DivergedError
from ooc.engines.engine import Engine
from ooc.kernels.counters import NEVER
from ooc.metrics import Report
from ooc.optim import rate_at
from ooc.runs import checkpoint
from ooc.runs.checkpoint import sha256_of
from ooc.runs.run import Run
from ooc.training.fit_loop import Moment, Watcher, descend
from ooc.training.session import Following, Session, versions
from ooc.training.watchers.callbacks import Callbacks, CallbackWatcher
from ooc.training.watchers.halving import Halving, HalvingWatcher
from ooc.training.watchers.recorder import Recorder
from ooc.training.watchers.saver import Saver
from ooc.training.watchers.steering_watcher import SteeringWatcher
from ooc.training.watchers.validation import Validator


class StopWatcher:
    """Ends the run when it is asked to; see `ooc.training.fit_loop.Watcher`."""

    def __init__(self, stop: threading.Event | None) -> None:
        self._stop = stop

    def next_step(self, step: int) -> int:
        """Return that any step will do."""
        return NEVER

    def after(self, moment: Moment) -> bool:
        """Tell whether the run is to end."""
        return self.asked()

    def asked(self) -> bool:
        """Tell whether the run is to end."""
        return self._stop is not None and self._stop.is_set()


class EndWatcher:
    """Ends the run when its method has nothing more to ask for; see `Watcher`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def next_step(self, step: int) -> int:
        """Return that any step will do."""
        return NEVER

    def after(self, moment: Moment) -> bool:
        """Tell whether the run is to end."""
        return self.reached

    @property
    def reached(self) -> bool:
        """Whether the engine is at its end."""
        return self._engine.ended


class Progression:
    """Runs a session to its end.

    Parameters
    ----------
    following, session, epochs
        How it is followed, what is trained, and for how long.
    folders
        Where each descent is saved, by name; empty to save nothing.
    report, stop, callbacks
        See `ooc.training.trainer.Trainer.fit`.
    names
        Of the descents, in their order.
    halving
        When the worst are dropped, or None.
    saved, best
        Description of the checkpoint from which the run goes on, and the best parameters in it.
    """

    def __init__(
        self,
        following: Following,
        session: Session,
        epochs: int,
        folders: Mapping[str, Path],
        report: Report,
        stop: threading.Event | None,
        callbacks: Callbacks,
        names: Sequence[str] = ("",),
        halving: Halving | None = None,
        saved: Mapping[str, Any] | None = None,
        best: np.ndarray | None = None,
    ) -> None:
        self._following, self._session, self._epochs = following, session, epochs
        self._folders, self._names, self._saved = folders, names, saved
        engine, loader = session.engine, session.loader
        self._recorders = [
            Recorder(
                engine,
                loader,
                epochs,
                number,
                folders.get(name),
                following.log_every,
                report,
                saved["recorder"] if saved else None,
                session.layout.trained,
            )
            for number, name in enumerate(names)
        ]
        self._validators: list[Validator] = []
        if following.validation is not None and session.validation is not None:
            self._validators = [
                Validator(
                    session.model,
                    following.validation,
                    session.validation,
                    session.descents,
                    number,
                    recorder,
                    saved["validation"] if saved else None,
                    best,
                )
                for number, recorder in enumerate(self._recorders)
            ]
        self._stop = StopWatcher(stop)
        self._savers = {
            number: Saver(
                following.saving,
                folders[name],
                lambda number=number: self._save(number),  # type: ignore[misc]
                self._stop.asked,
            )
            for number, name in enumerate(names)
            if folders
        }
        steps = epochs * loader.plan.steps
        self._halving = (
            None if halving is None else HalvingWatcher(halving, engine, steps, self._validators)
        )
        middle: list[Watcher] = [] if self._halving is None else [self._halving]
        self._steering: SteeringWatcher | None = None
        if following.steering is not None:
            so_far = saved["steering"] if saved else None
            first = loader.plan.batch_size
            self._steering = SteeringWatcher(following.steering, engine, first, so_far)
            middle.append(self._steering)
        if callbacks.step_end is not None or callbacks.epoch_end is not None:
            middle.append(CallbackWatcher(callbacks, engine))
        self._end = EndWatcher(engine)
        self._watchers: list[Watcher] = [
            *self._recorders, *self._validators, *middle, *self._savers.values(), self._end,
            self._stop,
        ]  # fmt: skip

    def go_on(self) -> dict[str, Run]:
        """Train to the end, save, and return a run for each descent.

        Raises
        ------
        DataError, DivergedError
            If a row cannot be used, or the loss is not finite. What was saved before stays; a
            run that was never saved after a step leaves nothing.
        """
        if self._saved is not None and self._saved["finished"]:
            return {name: self._run(number) for number, name in enumerate(self._names)}
        first = self._session.engine.step
        try:
            if self._saved is None:
                for saver in self._savers.values():
                    saver.save()
                for number in range(len(self._names)):
                    self._note_range_test(number)
            else:
                self._recorders[0].note("resume", first, {})
            if not self._end.reached:
                descend(self._session.engine, self._session.loader, self._epochs, self._watchers)
        except (DataError, DivergedError) as error:
            raise self._explained(error) from None
        runs = {name: self._run(number) for number, name in enumerate(self._names)}
        for number in self._savers:
            self._save(number, runs[self._names[number]], finished=not self._stop.asked())
        return runs

    def _note_range_test(self, number: int) -> None:
        found = self._session.found
        if found is not None:
            trials = [[trial.rate, trial.loss] for trial in found.trials]
            self._recorders[number].note("range_test", 0, {"rate": found.rate, "trials": trials})

    def _explained(self, error: DataError | DivergedError) -> DataError | DivergedError:
        """Say what is left; what was only begun is removed."""
        kept = []
        for number in self._savers:
            folder = self._folders[self._names[number]]
            last = checkpoint.steps(folder)[-1]
            if last > 0:
                kept.append(f"{folder} holds the run after step {last}")
            else:
                checkpoint.discard(folder)
        return type(error)(f"{error}; {kept[0]}") if kept else error

    def _save(self, number: int, run: Run | None = None, finished: bool = False) -> None:
        """Save a descent as a run of its own; `finished` where there is nothing to go on with."""
        session, name = self._session, self._names[number]
        descents, active = session.descents, bool(session.descents.active[number])
        run = self._run(number) if run is None else run
        one = descents.alone(number)
        arrays = {
            "parameters": run.parameters,
            "iterate": one.parameters[0],
            "optimizer_state": one.state[0],
            "totals": one.totals[0],
        }
        validation = None
        if self._validators:
            validation = self._validators[number].best.state()
            arrays["best_parameters"] = self._validators[number].best.parameters
        learned = (arrays["parameters"], arrays["iterate"], arrays["optimizer_state"])
        if not all(np.isfinite(values).all() for values in learned):
            if active:
                raise DivergedError(
                    f"parameters are not finite after step {session.engine.step}, at learning "
                    f"rate {rate_at(one.settings[0], session.engine.step):g}; lower it, or "
                    "standardise the features"
                )
            return
        dataset = session.dataset
        description = {
            "model": run.model.to_config(),
            "optimizer": one.optimizers[0].to_config(),
            "row_shape": list(run.row_shape),
            "parameters_sha256": sha256_of(run.parameters),
            "results": dict(run.results),
            "epochs": self._epochs,
            "finished": finished or not active,
            "dataset": {
                "path": dataset.path
                if "://" in dataset.path
                else str(Path(dataset.path).absolute()),
                "features": dataset.features,
                "target": dataset.target,
                "weight": dataset.weight,
                "missing": dataset.missing,
            },
            "fingerprint": dict(session.fingerprint),
            "memory": self._following.memory,
            "plan": session.loader.plan.to_json(),
            "position": session.loader.state_dict(),
            "trainer": {
                **self._following.settings,
                "optimizer": self._following.optimizers[number],
            },
            "recorder": self._recorders[number].state(),
            "validation": validation,
            "steering": None if self._steering is None else self._steering.state(),
            "versions": versions(),
        }
        saving = self._following.saving
        folder = self._folders[name]
        begun = time.perf_counter()
        checkpoint.save(folder, session.engine.step, arrays, description, saving.keep)
        seconds = time.perf_counter() - begun
        told = {"save_seconds": seconds}
        self._recorders[number].note("checkpoint", session.engine.step, told)

    def _run(self, number: int) -> Run:
        session, results = self._session, self._recorders[number].results()
        parameters = session.descents.solution(number).copy()
        if self._validators:
            best = self._validators[number].best
            if best.losses:
                parameters = best.parameters.copy()
                results |= {
                    "validation_loss": best.loss,
                    "best_step": best.step,
                    "stopped_early": self._validators[number].stopped,
                    "validation": best.metrics,
                }
        if number in self._savers:
            results["save_seconds"] = self._savers[number].seconds
        if self._saved is not None and self._saved["finished"]:
            results = dict(self._saved["results"])
        dropped = None if self._halving is None else self._halving.dropped.get(number)
        if dropped is not None:
            results["dropped"] = f"among the worst after step {dropped}"
        elif not session.descents.active[number]:
            results["dropped"] = "its loss is not finite"
        results["parameters_sha256"] = sha256_of(parameters)
        shape = session.dataset.row_shape
        history = self._recorders[number].history
        return Run(session.model, session.layout, parameters, shape, history, results)
