"""Keeps what a training run tells: progress, a history line now and then, results at the end."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ooc.core.errors import DivergedError
from ooc.core.lanes import describe_lanes
from ooc.core.process import age_seconds, memory_numbers, resident_bytes
from ooc.core.progress import Progress, Report
from ooc.engines.engine import passed_rows
from ooc.kernels.counters import FULL_LOSS, GRADIENT_NORM, HALVED, LOSS_SUM, TOTALS
from ooc.models.declarations import terms_of
from ooc.models.train_state import TrainState, rate_of_step
from ooc.runs.run import Run
from ooc.runs.run_directory import append_history
from ooc.stream.window import Window
from ooc.training.session import Session
from ooc.training.watchers.lanes import Telling
from ooc.training.watchers.noise_log import FEWEST_BATCHES, noise_entries
from ooc.training.watchers.trackers import Tracker
from ooc.training.watchers.watcher import Moment, Watcher, next_multiple

SECONDS_BETWEEN_LINES = 1.0
# However short a run is, its history has so many lines, or one for each step; of many runs at
# once, each has fewer.
FEWEST_LINES, FEWEST_OF_MANY = 50, 20
# Lines that are kept in memory; beyond it every second one goes.
MOST_LINES = 4096


class Recorder(Watcher):
    """Follows one descent of a session.

    Parameters
    ----------
    session, number
        What is trained, and which of its descents.
    every
        Steps between history lines; by default a line at a window's end, if a second has passed,
        at an epoch's end, and after each fiftieth of the steps.
    report
        Called at each window's end.
    may_end
        Whether the run may end by itself, before its last epoch.
    trackers
        Each is called with every line of the history, the run's settings before and its results
        after them.
    called
        When the run was asked for, in seconds as of `time.time`; by default now.
    """

    name = "recorder"

    def __init__(
        self,
        session: Session,
        number: int,
        every: int | None,
        report: Report,
        may_end: bool = False,
        trackers: Sequence[Tracker] = (),
        called: float | None = None,
    ) -> None:
        self.number: int = number
        self._session, self._engine, self._loader = session, session.engine, session.loader
        self._history, self._folder = session.tracks[number].history, session.tracks[number].folder
        self._every, self._report, self._unit = every, report, session.loss_unit
        lines = max(FEWEST_OF_MANY, FEWEST_LINES + 1 - len(session.tracks))
        # A method on full gradients ends by itself, long before the most passes that it may make.
        full = any(method.full is not None for method in session.train_state.methods)
        steps = session.loader.plan.steps * (1 if full else session.epochs)
        self._usual = max(1, steps // lines)
        self._may_end, self._trackers = may_end, trackers
        self._begun = time.perf_counter()
        self._called = time.time() if called is None else called
        self._started, self._total_before = datetime.fromtimestamp(self._called, UTC), 0.0
        self._seconds_before, self._rows_before = 0.0, 0
        self._waited = self._first_batch = 0.0
        self._window: Window | None = None
        # Rows, summed loss and terms where the line before, the report before and the epoch begin.
        self._line = self._reported = self._now()
        self._totals = self._descents.totals[number].copy()
        self._line_seconds, self._line_step, self._is_left = -np.inf, -1, False
        self._has_ended = False
        self._epoch_start = self._line
        self._loss: float | None = None
        self._terms: dict[str, float] = {}

    def begin(self, resumed: bool) -> None:
        """Note how the run begins."""
        found = self._session.found
        self._track({"kind": "settings", **self._session.tracks[self.number].settings})
        if resumed:
            self.note("resume", {})
        elif found is not None:
            trials = [list(trial) for trial in found.trials.items()]
            self.note("range_test", {"rate": found.rate, "trials": trials})

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self._seconds_before + time.perf_counter() - self._begun

    @property
    def total_seconds(self) -> float:
        """Seconds since the run was asked for, preparations and evaluations included."""
        return self._total_before + max(0.0, time.time() - self._called)

    @property
    def rows(self) -> int:
        """Rows used so far."""
        return self._rows_before + self._engine.rows

    def next_step(self, step: int) -> int:
        """Return the next step with a history line."""
        return next_multiple(step, self._every or self._usual)

    def after(self, moment: Moment) -> bool:
        """Note what is due.

        Raises
        ------
        DivergedError
            If parameters are not finite.
        """
        if moment.window is not self._window:
            self._window = moment.window
            self._waited += moment.window.wait_seconds
            self._first_batch = self._first_batch or age_seconds()
        if not self._descents.active[self.number]:
            # One that was left behind before its first line has this one, and one whose loss is not
            # finite has it as its last.
            if self._line_step < 0 or not (self._is_left or np.isfinite(self._now()).all()):
                self.log(moment)
            self._is_left = True
            return False
        now = self._now()
        self._loss = _mean(self._epoch_start, now) or self._loss
        self._terms = self._mean_terms(self._epoch_start, now) or self._terms
        if moment.epoch_ends:
            self._epoch_start = now
        if moment.window_ends:
            self._check_finite(moment.step)
            self._report(self._progress(moment, now))
        passed = time.perf_counter() - self._line_seconds
        usual = moment.window_ends and (moment.epoch_ends or passed >= SECONDS_BETWEEN_LINES)
        usual |= moment.is_multiple(self._usual)
        if moment.advanced and (moment.is_multiple(self._every) if self._every else usual):
            self.log(moment)
        return False

    def log(self, moment: Moment) -> None:
        """Add the history line of the step just taken, unless it is there."""
        if self._line_step == moment.step:
            return
        now, self._line_step = self._now(), moment.step
        self._write(self._line_of(moment, now))
        self._line, self._line_seconds = now, time.perf_counter()
        if self._descents.totals[self.number][HALVED] - self._totals[HALVED] >= FEWEST_BATCHES:
            self._totals[:] = self._descents.totals[self.number]

    def leave(self, moment: Moment) -> None:
        """Let the descent end here, well, while others go on."""
        self.log(moment)
        self._descents.active[self.number], self._has_ended = False, True

    def note(self, kind: str, entries: Mapping[str, Any]) -> None:
        """Add a history line of another kind."""
        step = self._engine.step
        self._write({"kind": kind, "step": step, "seconds": self.seconds, **entries})

    def end(self, runs: Sequence[Run]) -> None:
        """Tell the trackers what the run came to."""
        self._track({"kind": "results", **runs[self.number].results})

    def state(self) -> dict[str, Any]:
        """Return what a resumed run goes on from, JSON-ready."""
        return {
            "rows": self.rows,
            "seconds": self.seconds,
            "started": self._started.isoformat(),
            "total_seconds": self.total_seconds,
            "wait_seconds": self._waited,
            "seconds_to_first_batch": self._first_batch,
            "epoch_start": self._epoch_start.tolist(),
            "loss": self._loss,
            "terms": self._terms,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._rows_before, self._seconds_before = int(state["rows"]), float(state["seconds"])
        # Earlier versions did not note them.
        self._total_before = float(state.get("total_seconds", state["seconds"]))
        if "started" in state:
            self._started = datetime.fromisoformat(state["started"])
        self._waited = float(state["wait_seconds"])
        self._first_batch = float(state["seconds_to_first_batch"])
        self._epoch_start = np.array(state["epoch_start"], np.float64)
        self._loss, self._terms = state["loss"], dict(state["terms"])
        self._line = self._reported = self._now()

    def results(self, number: int) -> dict[str, Any]:
        """Return the run's numbers under the keys of the command line's JSON.

        The loss is the mean over the last epoch, each row's taken before it was learned from;
        "terms" are its named parts, where a model tells them apart.
        """
        plan, seconds, loader = self._loader.plan, self.seconds, self._loader
        is_well = self._descents.active[number] or self._has_ended
        return {
            "rows": self.rows,
            "steps": self._engine.step,
            "epochs": loader.epoch,
            "updates_per_epoch": plan.steps,
            "gradient_evaluations": self.rows,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": seconds,
            "total_seconds": self.total_seconds,
            "rows_per_second": self.rows / seconds,
            "bytes_per_second": self.rows * plan.row_bytes / seconds,
            "loss": self._loss,
            **({"terms": self._terms} if self._terms else {}),
            "learning_rate": self._descents.methods[number].rate,
            **memory_numbers(plan.budget, plan.projected),
            "wait_seconds": self._waited,
            "seconds_to_first_batch": self._first_batch,
            "window_rows": plan.order.window_rows,
            "block_rows": plan.order.block_rows,
            "blocks_per_window": plan.order.blocks_per_window,
            "skipped_chunks": loader.skipped_chunks,
            "skipped_rows": loader.skipped_rows,
            **({"missing": dict(loader.missing)} if loader.missing else {}),
            "read_retries": loader.retries,
            **({} if is_well else {"dropped": "its loss is not finite"}),
        }

    @property
    def _descents(self) -> TrainState:
        return self._engine.train_state

    def _now(self) -> np.ndarray:
        """Return rows, summed loss, and sums of its terms, (2 + terms,)."""
        totals = self._descents.totals[self.number]
        return np.array(
            [self.rows, *(self._unit * totals[[LOSS_SUM, *range(TOTALS, totals.size)]])]
        )

    def _mean_terms(self, before: np.ndarray, now: np.ndarray) -> dict[str, float]:
        """Return the named terms of the mean loss; nothing where an engine knows but their sum."""
        names, (rows, _, *sums) = terms_of(self._session.model), (now - before).tolist()
        if len(names) == 1 or rows == 0 or not any(sums):
            return {}
        return {name: value / rows for name, value in zip(names, sums, strict=True)}

    def _check_finite(self, step: int) -> None:
        if not np.isfinite(self._descents.parameters[self.number]).all():
            raise DivergedError(
                f"parameters are not finite after step {step}, at learning rate "
                f"{self._rate(step - 1):g}; lower the learning rate, or standardise the features"
            )

    def _progress(self, moment: Moment, now: np.ndarray) -> Progress:
        plan, before = self._loader.plan, self._reported
        self._reported = now
        dropped = passed_rows(self._engine) - self._engine.rows
        return Progress(
            rows=self.rows + dropped,
            total_rows=self._session.epochs * plan.order.epoch_rows,
            bytes=self.rows * plan.row_bytes,
            seconds=self.seconds,
            wait_seconds=self._waited,
            memory_budget_bytes=plan.budget,
            step=moment.step,
            epoch=moment.epoch,
            loss=_mean(before, now),
            at_most=self._may_end,
            lanes=self._lanes(),
        )

    def _lanes(self) -> str:
        """Say who serves the lanes, where others than the engine do."""
        engine = self._engine
        return describe_lanes(engine.results(), self.seconds) if isinstance(engine, Telling) else ""

    def _line_of(self, moment: Moment, now: np.ndarray) -> dict[str, Any]:
        plan = self._loader.plan
        return {
            "kind": "train",
            "step": moment.step,
            "epoch": moment.epoch,
            "rows": self.rows,
            "bytes": self.rows * plan.row_bytes,
            "seconds": self.seconds,
            "wait_seconds": self._waited,
            "loss": _mean(self._line, now),
            "learning_rate": self._rate(moment.step - 1),
            "batch_size": self._engine.batch_size,
            "memory_bytes": resident_bytes(),
            "memory_budget_bytes": plan.budget,
            **self._noise(moment.step - 1),
            **self._full_gradient(),
            **({"terms": terms} if (terms := self._mean_terms(self._line, now)) else {}),
        }

    def _rate(self, step: int) -> float:
        return rate_of_step(self._session.model, self._descents.settings[self.number], step)

    def _full_gradient(self) -> dict[str, float]:
        """Return loss and gradient's norm over all rows, where the last step took them."""
        one = self._descents.totals[self.number]
        if one[GRADIENT_NORM] == 0:
            return {}
        return {
            "loss": self._unit * float(one[FULL_LOSS]),
            "gradient_norm": float(one[GRADIENT_NORM]),
        }

    def _noise(self, step: int) -> dict[str, float]:
        one = self._descents.alone(self.number)
        size, trained = self._engine.batch_size, self._session.layout.trained
        return noise_entries(self._totals, one.totals[0], size, one.settings[0], step, trained)

    def _write(self, line: dict[str, Any]) -> None:
        self._history.append(line)
        if len(self._history) > MOST_LINES:
            del self._history[1::2]
        if self._folder is not None:
            append_history(self._folder, line)
        self._track(line)

    def _track(self, line: Mapping[str, Any]) -> None:
        name = self._session.tracks[self.number].name
        for tracker in self._trackers:
            tracker({"step": self._engine.step, **line, "run": name})


def _mean(before: np.ndarray, now: np.ndarray) -> float | None:
    rows, loss = (now - before).tolist()[:2]
    return loss / rows if rows else None
