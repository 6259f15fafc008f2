"""Evaluation while training: rows held out, early stopping, and the best parameters kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.core.numbers import check_counts
from ooc.core.progress import Report, silent, tell
from ooc.optim.schedules import plateau_factor
from ooc.optim.settings import FACTOR, SETTINGS
from ooc.runs.evaluation import evaluate_batches
from ooc.store.dataset import Dataset
from ooc.store.selection import Selection
from ooc.stream.loader import Loader
from ooc.stream.options import StreamOptions
from ooc.stream.splits import split
from ooc.training.session import Session
from ooc.training.watchers.recorder import Recorder
from ooc.training.watchers.watcher import Moment, Watcher, next_multiple


@dataclass(frozen=True)
class Validation:
    """How a run is evaluated while it goes on.

    Attributes
    ----------
    data
        The share of the training rows that is held out for it, or a dataset of its own.
        None where they are chosen `groups`.
    every
        Steps between evaluations; by default an epoch's.
    patience
        Evaluations in a row without a new best loss after which the run ends, of several each
        by itself; by default it never does.
    by
        How a share is held out, see `ooc.split`: blocks are read apart from all others.
    ordered, groups
        Whether it is the last share, as of time, or the rows of which values of the array `by`;
        see `ooc.split`.
    test
        Share of the rows that is kept apart from training and validation, for
        `ooc evaluate RUN --held-out`.

    Examples
    --------
    >>> Validation(0.1, every=1000, patience=3).by
    'block'
    """

    data: float | Dataset | None = None
    every: int | None = None
    patience: int | None = None
    by: str = "block"
    ordered: bool = False
    groups: Sequence[Any] = ()
    test: float | None = None

    def __post_init__(self) -> None:
        check_counts(every=self.every, patience=self.patience)
        object.__setattr__(self, "groups", tuple(self.groups))
        if (self.data is None) != bool(self.groups):
            given = "neither" if self.data is None else "both"
            raise InputError(
                "validation rows are a share, a dataset or chosen groups, one of them; "
                f"{given} of data and groups were given"
            )
        if self.test is not None and not isinstance(self.data, int | float):
            raise InputError(
                "a share to test on goes with a share to validate on; hold it out with ooc.split"
            )

    def sides(self, dataset: Dataset, stream: StreamOptions) -> tuple[Dataset, Dataset]:
        """Return the rows to train on, and those to evaluate on."""
        if isinstance(self.data, Dataset):
            return dataset, self.data
        how: dict[str, Any] = {"ordered": self.ordered, "groups": self.groups or None}
        shares: Any = 0.1 if self.data is None else self.data
        if self.test is not None:
            shares = (shares, self.test)
        how |= {"by": self.by, "missing_values": stream.missing_values}
        found = split(dataset, shares, stream.seed, **how)
        return found[0], found[1]

    def largest_sides(self, dataset: Dataset) -> tuple[Dataset, Dataset]:
        """Return what takes no less memory than the sides; not a row is looked at."""
        if isinstance(self.data, Dataset):
            return dataset, self.data
        whole = replace(dataset, selection=Selection(self.by, 0, (0,), (), dataset.rows))
        return whole, whole

    def to_config(self) -> dict[str, Any]:
        """Return the settings, JSON-ready; a dataset by its path alone."""
        data = self.data.path if isinstance(self.data, Dataset) else self.data
        told = {"data": data, "every": self.every, "patience": self.patience, "by": self.by}
        more = {"ordered": self.ordered, "groups": list(self.groups), "test": self.test}
        # What is not used is not told, as in a run of an earlier version.
        return told | {name: value for name, value in more.items() if value}


class Validator(Watcher):
    """Evaluates a descent when it is due, and keeps the best parameters.

    Parameters
    ----------
    session, recorder
        What is trained, and what follows the same descent.
    validation, loader
        How it is evaluated, and on which rows.
    report
        Called before each evaluation.

    Attributes
    ----------
    losses
        Of every evaluation, in order.
    last
        All that the last one in this process measured; None before it.
    """

    name = "validation"

    def __init__(
        self,
        session: Session,
        recorder: Recorder,
        validation: Validation,
        loader: Loader,
        report: Report = silent,
    ) -> None:
        self.number: int = recorder.number
        self.losses: list[float] = []
        self.last: dict[str, Any] | None = None
        self._session, self._recorder = session, recorder
        self._validation, self._loader, self._report = validation, loader, report
        self._stopped = False
        # Where the best evaluation was, all that was measured then, and the parameters.
        self._step, self._metrics = 0, dict[str, Any]()
        self._parameters = np.zeros_like(session.train_state.parameters[self.number])

    def next_step(self, step: int) -> int:
        """Return the next step with an evaluation."""
        return next_multiple(step, self._validation.every)

    def after(self, moment: Moment) -> bool:
        """Evaluate if it is due; tell whether patience is at its end, and no other goes on."""
        every, active = self._validation.every, self._session.train_state.active
        due = moment.is_multiple(every) if every else moment.epoch_ends
        if due and active[self.number]:
            self._evaluate(moment)
            if self._stopped and np.count_nonzero(active) > 1:
                self._recorder.leave(moment)
        return self._stopped and not np.any(np.delete(active, self.number))

    def state(self) -> dict[str, Any]:
        """Return every loss, and the best evaluation with its parameters."""
        return {
            "losses": self.losses,
            "step": self._step,
            "metrics": self._metrics,
            "parameters": self._parameters,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on after the evaluations that were made."""
        self.losses[:] = state["losses"]
        self._step, self._metrics = int(state["step"]), dict(state["metrics"])
        self._parameters[:] = state["parameters"]
        self._lower_rate()

    def results(self, number: int) -> dict[str, Any]:
        """Return the best evaluation, if there was one."""
        if not self.losses:
            return {}
        return {
            "validation_loss": min(self.losses),
            "best_step": self._step,
            "stopped_early": self._stopped,
            "validation": self._metrics,
        }

    def solution(self) -> np.ndarray | None:
        """Return the best parameters, if there was an evaluation."""
        return self._parameters if self.losses else None

    def _evaluate(self, moment: Moment) -> None:
        solution, loader = self._session.train_state.solution(self.number), self._loader
        loader.epoch = loader.row = 0
        tell(self._report, "evaluating on the rows held out")
        found = evaluate_batches(self._session.model, solution, loader)
        is_best = not self.losses or found["loss"] < min(self.losses)
        self.losses.append(found["loss"])
        self.last = found
        if is_best:
            self._step, self._metrics = moment.step, found
            self._parameters[:] = solution
        told = {"epoch": moment.epoch, "rows": self._recorder.rows, **found, "best": is_best}
        self._recorder.note("validation", told)
        self._lower_rate()
        since = len(self.losses) - 1 - int(np.argmin(self.losses))
        patience = self._validation.patience
        self._stopped = patience is not None and since >= patience

    def _lower_rate(self) -> None:
        """Lower the rate of a schedule that waits for a plateau."""
        one = self._session.train_state.alone(self.number)
        one.settings[0, FACTOR::SETTINGS] = plateau_factor(one.methods[0].schedule, self.losses)
