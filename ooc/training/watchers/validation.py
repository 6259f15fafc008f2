"""Evaluation while training: rows held out, early stopping, and the best parameters kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.engines.train_state import Descents
from ooc.models.contract import Layout, Model
from ooc.optim import FACTOR
from ooc.optim.schedules import plateau_factor
from ooc.runs.evaluation import evaluate_batches
from ooc.runs.scoring import scoring_loader
from ooc.store.dataset import Dataset
from ooc.stream.loader import Loader
from ooc.stream.splits import split
from ooc.training.fit_loop import Moment, next_multiple
from ooc.training.watchers.recorder import Recorder

# What compiling the kernels that score rows takes, beside those that train.
COMPILER_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Validation:
    """How a run is evaluated while it goes on.

    Attributes
    ----------
    data
        The share of the training rows that is held out for it, or a dataset of its own.
    every
        Steps between evaluations; by default an epoch's.
    patience
        Evaluations in a row without a new best loss after which the run ends; by default it
        never does.
    by
        How a share is held out, see `ooc.split`: blocks are read apart from all others.

    Examples
    --------
    >>> Validation(0.1, every=1000, patience=3).by
    'block'
    """

    data: float | Dataset
    every: int | None = None
    patience: int | None = None
    by: str = "block"

    def __post_init__(self) -> None:
        for name, value in (("every", self.every), ("patience", self.patience)):
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, not {value}")

    def sides(self, dataset: Dataset, seed: int) -> tuple[Dataset, Dataset]:
        """Return the rows to train on, and those to evaluate on."""
        if isinstance(self.data, Dataset):
            return dataset, self.data
        return split(dataset, self.data, seed, self.by)

    def to_config(self) -> dict[str, Any]:
        """Return the settings, JSON-ready; a dataset by its path alone."""
        data = self.data.path if isinstance(self.data, Dataset) else self.data
        return {"data": data, "every": self.every, "patience": self.patience, "by": self.by}


def validation_loader(model: Model, layout: Layout, dataset: Dataset, memory: str | int) -> Loader:
    """Return the smallest loader of the rows to evaluate on: it lives beside the run's own."""
    return scoring_loader(model, layout, dataset, memory, True, readers=2, window=1)


def extra_bytes(loader: Loader) -> int:
    """Return the bytes that a loader takes in a process that has a run in it already."""
    return loader.plan.projected - loader.plan.terms["reserved"] + COMPILER_BYTES


@dataclass
class Best:
    """The best evaluation so far.

    Attributes
    ----------
    losses
        Of every evaluation, in order.
    step, loss
        Where the best one was, and its loss.
    parameters
        (P,) float32, the parameters then.
    metrics
        All that was measured then.
    """

    losses: list[float]
    step: int
    loss: float
    parameters: np.ndarray
    metrics: dict[str, Any]

    @property
    def since(self) -> int:
        """Evaluations since the best one."""
        return len(self.losses) - 1 - int(np.argmin(self.losses)) if self.losses else 0

    def state(self) -> dict[str, Any]:
        """Return all but the parameters, JSON-ready."""
        return {
            "losses": self.losses,
            "step": self.step,
            "loss": self.loss,
            "metrics": self.metrics,
        }


class Validator:
    """Evaluates a descent when it is due; see `ooc.training.fit_loop.Watcher`.

    Parameters
    ----------
    model, validation, loader
        What is evaluated, how, and on which rows.
    descents, number
        Which descent.
    recorder
        Where history lines go.
    saved, parameters
        What was saved of `Best`, and its parameters, where a run goes on.

    Attributes
    ----------
    best
        The best evaluation so far.
    stopped
        Whether patience is at its end.
    """

    def __init__(
        self,
        model: Model,
        validation: Validation,
        loader: Loader,
        descents: Descents,
        number: int,
        recorder: Recorder,
        saved: Mapping[str, Any] | None = None,
        parameters: np.ndarray | None = None,
    ) -> None:
        self._model, self._validation, self._loader = model, validation, loader
        self._descents, self._number, self._recorder = descents, number, recorder
        size = descents.parameters.shape[1]
        kept = np.zeros(size, np.float32) if parameters is None else parameters.copy()
        state = saved or {"losses": [], "step": 0, "loss": float("inf"), "metrics": {}}
        self.best = Best(
            list(state["losses"]), state["step"], state["loss"], kept, dict(state["metrics"])
        )
        self.stopped = False

    def next_step(self, step: int) -> int:
        """Return the next step with an evaluation."""
        return next_multiple(step, self._validation.every)

    def after(self, moment: Moment) -> bool:
        """Evaluate if it is due; tell whether patience is at its end."""
        every = self._validation.every
        due = moment.is_multiple(every) if every else moment.epoch_ends
        if due and self._descents.active[self._number]:
            self._evaluate(moment)
        return self.stopped

    def _evaluate(self, moment: Moment) -> None:
        solution, best = self._descents.solution(self._number), self.best
        loader = self._loader
        loader.epoch = loader.row = 0
        found = evaluate_batches(self._model, solution, loader)
        best.losses.append(found["loss"])
        is_best = found["loss"] < best.loss
        if is_best:
            best.step, best.loss, best.metrics = moment.step, found["loss"], found
            best.parameters[:] = solution
        told = {"epoch": moment.epoch, "rows": self._recorder.rows, **found, "best": is_best}
        self._recorder.note("validation", moment.step, told)
        one = self._descents.alone(self._number)
        one.settings[0, FACTOR] = plateau_factor(one.optimizers[0].schedule, best.losses)
        patience = self._validation.patience
        self.stopped = patience is not None and best.since >= patience
