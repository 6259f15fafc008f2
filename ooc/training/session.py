"""What a run consists of, from its first step or from where it was saved."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
import scipy

from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose, generator
from ooc.engines.engine import Engine, make_engine
from ooc.engines.train_state import Descents, start
from ooc.kernels.counters import BATCH_LOSS
from ooc.models.classification import LinearClassifier
from ooc.models.contract import Layout, Model
from ooc.models.linear import LinearFamily
from ooc.optim import FACTOR, FullGradient, Optimizer
from ooc.optim.schedules import plateau_factor
from ooc.store.dataset import Dataset
from ooc.store.fingerprint import differences
from ooc.stream.loader import Loader
from ooc.training.preparation import fill_standardisation
from ooc.training.range_test import Found, find_rate
from ooc.training.watchers.saver import Saving
from ooc.training.watchers.steering import Steering
from ooc.training.watchers.validation import Validation
from ooc.version import VERSION


@dataclass(frozen=True)
class Following:
    """How a run is followed while it goes on.

    Attributes
    ----------
    validation, saving, log_every
        See `ooc.training.trainer.Trainer`.
    memory
        The budget, as it was given.
    settings
        What the run's bits depend on, as the trainer notes it, without the optimizer.
    steering
        See `ooc.training.trainer.Trainer`.
    optimizers
        Config of the optimizer of each descent, as it was given.
    """

    validation: Validation | None
    saving: Saving
    log_every: int | None
    memory: str | int
    settings: Mapping[str, Any]
    steering: Steering | None
    optimizers: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Session:
    """All that a run holds while it goes on.

    Attributes
    ----------
    model, layout
        The model, with all that was found in the data, and its parameters' layout.
    dataset
        The rows that are trained on.
    loader, engine
        What is read, and what learns from it.
    validation
        Loader of the rows to evaluate on, or None.
    found
        What a range test found of the learning rate; None where it was given.
    fingerprint
        Of the rows that are trained on.
    """

    model: Model
    layout: Layout
    dataset: Dataset
    loader: Loader
    engine: Engine
    validation: Loader | None
    found: Found | None
    fingerprint: Mapping[str, Any]

    @property
    def descents(self) -> Descents:
        """Parameters and optimizer states."""
        return self.engine.descents


def first_parameters(model: Model, layout: Layout, loader: Loader, memory: str | int) -> np.ndarray:
    """Return the parameters that a run starts from, float32 (P,)."""
    parameters = model.init(layout, generator(loader.plan.order.seed, Purpose.PARAMETERS))
    if isinstance(model, LinearFamily) and model.standardise:
        rows = Loader(
            loader.dataset,
            1,
            memory,
            shuffle="none",
            arrays=[loader.dataset.features],
            readers=loader.plan.readers,
            io=loader.io,
            on_bad_chunk=loader.on_bad_chunk,
            batch_copies=0,
        )
        fill_standardisation(model, rows, parameters)
    return parameters


def with_rates(
    optimizers: Sequence[Optimizer],
    model: Model,
    loader: Loader,
    parameters: np.ndarray,
    epochs: int,
) -> tuple[tuple[Optimizer, ...], Found | None]:
    """Find the learning rate of those that have none, and tell schedules the run's length."""
    found, known = None, []
    for optimizer in optimizers:
        stepping = optimizer.first if isinstance(optimizer, FullGradient) else optimizer
        if stepping is not None and stepping.rate is None:
            found = find_rate(model, stepping, loader, parameters)
            optimizer = optimizer.with_rate(found.rate)
        schedule = optimizer.schedule.for_steps(epochs * loader.plan.steps)
        known.append(replace(optimizer, schedule=schedule))
    return tuple(known), found


def restored(
    optimizer: Optimizer, arrays: Mapping[str, np.ndarray], losses: Sequence[float]
) -> Descents:
    """Return a descent as it was saved."""
    descents = start((optimizer,), arrays["iterate"])
    descents.state[0] = arrays["optimizer_state"]
    descents.totals[0] = arrays["totals"]
    # The rows of a batch that was begun, and never ended, are read again.
    descents.totals[0, BATCH_LOSS] = 0.0
    descents.settings[0, FACTOR] = plateau_factor(optimizer.schedule, losses)
    return descents


def prepared_like(model: Model, saved: Mapping[str, Any]) -> Model:
    """Return a model with what was found in the data when a run began."""
    if isinstance(model, LinearFamily):
        model = replace(model, standardise=bool(saved["standardise"]))
    if isinstance(model, LinearClassifier) and saved["class_weights"] is not None:
        model = replace(model, class_weights=tuple(saved["class_weights"]))
    return model


def versions() -> dict[str, str]:
    """Return the versions on which the bits of a run depend."""
    return {
        "ooc": VERSION,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
    }


def check_same(run_dir: str, what: str, saved: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse to go on where anything differs.

    Raises
    ------
    InputError
        With the differences.
    """
    # What was saved went through JSON.
    found = differences(saved, json.loads(json.dumps(here)))
    if found:
        raise InputError(
            f"{run_dir} cannot go on with another {what}: {'; '.join(found)}; use the {what} of "
            "the run, or train anew in another directory"
        )


def make_session(
    model: Model,
    layout: Layout,
    loader: Loader,
    descents: Descents,
    full: bool,
    validation: Loader | None,
    fingerprint: Mapping[str, Any],
    found: Found | None = None,
) -> Session:
    """Put the parts of a run together."""
    engine = make_engine(model, loader, descents, full)
    return Session(model, layout, loader.dataset, loader, engine, validation, found, fingerprint)
