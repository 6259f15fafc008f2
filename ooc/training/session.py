"""What a run consists of, from its first step or from where it was saved."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import scipy

from ooc.core.destination import local_path
from ooc.core.errors import InputError
from ooc.core.progress import Report, silent, tell
from ooc.core.random_keys import Purpose, generator
from ooc.engines.engine import Engine
from ooc.models.contract import Layout, Model
from ooc.models.declarations import dtype_of, loss_unit_of, own_steps, phases_of
from ooc.models.train_state import TrainState, start
from ooc.optim import Method
from ooc.store.fingerprint import differences
from ooc.stream.loader import Loader
from ooc.training.range_test import Found, find_rate
from ooc.version import VERSION


@dataclass(frozen=True)
class Track:
    """What is told and kept of one descent of a session.

    Attributes
    ----------
    name
        Tells it from the others.
    settings
        What its bits depend on, as the trainer notes it.
    folder
        Where it is saved; None to save nothing.
    history
        The lines of its history, JSON-ready.
    """

    name: str
    settings: Mapping[str, Any]
    folder: Path | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Session:
    """All that is held while one run goes on, or several on the same pass.

    Attributes
    ----------
    model, layout
        The model, with all that was found in the data, and its parameters' layout.
    loader, engine
        What is read, and what learns from it.
    epochs
        Passes over the dataset, at most.
    tracks
        One for each descent, in their order.
    fingerprint
        Of the rows that are trained on; empty where nothing is saved.
    found
        What a range test found of the learning rate; None where it was given.
    """

    model: Model
    layout: Layout
    loader: Loader
    engine: Engine
    epochs: int
    tracks: Sequence[Track]
    fingerprint: Mapping[str, Any]
    found: Found | None = None

    @property
    def train_state(self) -> TrainState:
        """Parameters and states."""
        return self.engine.train_state

    @property
    def loss_unit(self) -> float:
        """What losses of training are multiplied with to be those of targets in their unit."""
        return loss_unit_of(self.model, self.layout, self.train_state.parameters[0])


def tracks_of(
    settings: Mapping[str, Any], methods: Mapping[str, Method], run_dir: str | Path | None
) -> list[Track]:
    """Return a track for each method, in a folder of its name."""
    folder = None if run_dir is None else local_path(run_dir, "runs")
    return [
        Track(name, {**settings, "optimizer": method.to_config()}, folder and folder / name)
        for name, method in methods.items()
    ]


def first_parameters(
    model: Model, layout: Layout, seed: int, parts: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return the parameters that a run starts from, (P,), with the fixed parts that were found."""
    parameters = model.init(layout, generator(seed, Purpose.PARAMETERS)).astype(dtype_of(model))
    views = layout.views(parameters)
    for name, values in parts.items():
        views[name][...] = values
    return parameters


def with_rates(
    methods: Sequence[Method],
    model: Model,
    loader: Loader,
    parameters: np.ndarray,
    epochs: int,
    report: Report = silent,
) -> tuple[tuple[Method, ...], Found | None]:
    """Find the learning rate of those that have none, and tell schedules the run's length.

    Raises
    ------
    InputError
        If a rate is to be found for parts that take turns: a loss that rises is no sign there.
    """
    found, known = None, []
    for method in methods:
        optimizer = method.optimizer
        if optimizer is not None:
            if optimizer.rate is None:
                if len(phases_of(model)) > 1:
                    raise InputError(
                        f"parts of {model.name} take turns, each with a loss of its own, so that "
                        "no learning rate can be found for them; give one with lr="
                    )
                tell(report, "trying learning rates")
                found = find_rate(model, optimizer, loader, parameters)
                optimizer = optimizer.with_rate(found.rate)
            steps = own_steps(phases_of(model), epochs * loader.plan.steps)
            schedule = optimizer.rates.for_steps(steps)
            method = replace(method, optimizer=replace(optimizer, schedule=schedule))
        known.append(method)
    return tuple(known), found


def load_train_state(method: Method, arrays: Mapping[str, np.ndarray], model: Model) -> TrainState:
    """Return a descent as it was saved.

    Raises
    ------
    ValueError
        If an array has another type or shape than it was saved with.
    """
    if arrays["iterate"].dtype != dtype_of(model) or arrays["iterate"].ndim != 1:
        raise ValueError(f"iterate of type {arrays['iterate'].dtype}")
    train_state = start((method,), arrays["iterate"], model)
    wanted = {"optimizer_state": train_state.state[0], "totals": train_state.totals[0]}
    for name, values in wanted.items():
        if (arrays[name].shape, arrays[name].dtype) != (values.shape, values.dtype):
            raise ValueError(f"{name} of shape {arrays[name].shape}, not {values.shape}")
        values[...] = arrays[name]
    return train_state


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
