"""What a user of the library wants to be called for: after steps, and at epochs' ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.core.numbers import check_counts
from ooc.kernels.counters import LOSS_SUM, NEVER
from ooc.models.train_state import TrainState, rate_of_step
from ooc.training.session import Session
from ooc.training.watchers.validation import Validator
from ooc.training.watchers.watcher import Moment, Watcher, next_multiple


@dataclass(frozen=True)
class Situation:
    """Where a run stands.

    Attributes
    ----------
    step, epoch
        Steps taken, and epochs that were begun before this one.
    parameters
        (P,) float32, the very vector that is trained: copy what is to be kept. Where penalties of
        wide sparse rows are taken late it is a copy that is up to date, and read-only.
    solution
        (P,) float32, what a run that ended here would keep: the average of iterates where the
        optimizer has one, elsewhere `parameters` itself.
    loss
        Mean loss over the rows since the call before, each row's before it was learned from;
        NaN if there were none.
    learning_rate
        Of the step just taken.
    validation
        What the last evaluation measured, see `ooc.runs.evaluation.evaluate_batches`; None where
        there was none yet.
    """

    step: int
    epoch: int
    parameters: np.ndarray
    solution: np.ndarray
    loss: float
    learning_rate: float
    validation: Mapping[str, Any] | None = None


Callback = Callable[[Situation], bool | None]


@dataclass(frozen=True)
class Callbacks:
    """Functions to call; one that returns True ends the run after this step.

    Attributes
    ----------
    step_end
        Called after steps; Python is then entered for each of these.
    epoch_end
        Called at each epoch's end.
    validation_end
        Called after each evaluation.
    every
        Steps between calls of `step_end`, counted from the run's first.

    Raises
    ------
    InputError
        If `every` is below 1.

    Examples
    --------
    >>> import ooc
    >>> trainer = ooc.Trainer(ooc.models.Linear(), ooc.optim.sgd(0.1), batch_size=100)
    >>> stop_early = Callbacks(step_end=lambda now: now.step == 3)
    >>> trainer.fit(ooc.open(example_dataset), callbacks=stop_early).results["steps"]
    3
    >>> steps = []
    >>> now_and_then = Callbacks(step_end=lambda now: steps.append(now.step), every=4)
    >>> run = trainer.fit(ooc.open(example_dataset), 1, callbacks=now_and_then)
    >>> steps
    [4, 8]
    """

    step_end: Callback | None = None
    epoch_end: Callback | None = None
    every: int = 1
    validation_end: Callback | None = None

    def __post_init__(self) -> None:
        check_counts(every=self.every)


NO_CALLBACKS = Callbacks()


class CallbackWatcher(Watcher):
    """Calls the user's functions."""

    name = "callbacks"

    def __init__(
        self,
        callbacks: Callbacks,
        session: Session,
        validator: Validator | None = None,
    ) -> None:
        self._callbacks, self._engine, self._model = callbacks, session.engine, session.model
        self._loss_unit = session.loss_unit
        self._validator, self._evaluations = validator, 0
        self._rows_before = 0
        # Rows and summed loss at the last call of each kind.
        self._called: dict[str, tuple[int, float]] = {}

    def begin(self, resumed: bool) -> None:
        """Count the evaluations that were made before."""
        self._evaluations = 0 if self._validator is None else len(self._validator.losses)

    def next_step(self, step: int) -> int:
        """Return the next step that there is a function for."""
        function, every = self._callbacks.step_end, self._callbacks.every
        return NEVER if function is None else next_multiple(step, every)

    def after(self, moment: Moment) -> bool:
        """Call what is due."""
        stopping, given, validator = False, self._callbacks, self._validator
        if validator is not None and len(validator.losses) > self._evaluations:
            self._evaluations = len(validator.losses)
            if given.validation_end is not None:
                stopping |= bool(given.validation_end(self._situation("validation_end", moment)))
        if given.step_end is not None and moment.is_multiple(given.every):
            stopping |= bool(given.step_end(self._situation("step_end", moment)))
        if given.epoch_end is not None and moment.epoch_ends:
            stopping |= bool(given.epoch_end(self._situation("epoch_end", moment)))
        return stopping

    def state(self) -> dict[str, Any]:
        """Return where calls were made last."""
        called = {kind: list(place) for kind, place in self._called.items()}
        return {"rows": self._rows_before + self._engine.rows, "called": called}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from the calls that were made."""
        self._rows_before = int(state["rows"])
        for kind, (rows, loss) in state["called"].items():
            self._called[kind] = int(rows), float(loss)

    def _situation(self, kind: str, moment: Moment) -> Situation:
        train_state: TrainState = self._engine.train_state
        rows = self._rows_before + self._engine.rows
        loss = self._loss_unit * float(train_state.totals[0, LOSS_SUM])
        rows_then, loss_then = self._called.get(kind, (0, 0.0))
        self._called[kind] = (rows, loss)
        return Situation(
            moment.step,
            moment.epoch,
            train_state.iterate(),
            train_state.solution(),
            (loss - loss_then) / (rows - rows_then) if rows > rows_then else float("nan"),
            rate_of_step(self._model, train_state.settings[0], max(moment.step - 1, 0)),
            None if self._validator is None else self._validator.last,
        )
