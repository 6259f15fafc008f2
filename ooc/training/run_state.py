"""What is kept of a session: the run that a descent is by now, its checkpoint, and back again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ooc.core.errors import DivergedError
from ooc.core.machine import machine
from ooc.models.contract import Model
from ooc.models.declarations import prepared_like
from ooc.models.train_state import rate_of_step
from ooc.runs import checkpoint
from ooc.runs.checkpoint import sha256_of
from ooc.runs.classes import labelled_as, names_in
from ooc.runs.run import Run
from ooc.runs.trained_on import TrainedOn
from ooc.store.dataset import Dataset
from ooc.store.transforms import transform_in, transformed
from ooc.training.session import Session, check_same, versions
from ooc.training.watchers.watcher import Watcher

# What a run keeps of how its data call things, where they do.
_NAMES = ("class_names", "feature_names")


def make_run(session: Session, number: int, watchers: Sequence[Watcher]) -> Run:
    """Return the run that a descent would leave if it ended here."""
    parameters = session.train_state.solution(number)
    results: dict[str, Any] = {}
    for watcher in _followers(watchers, number):
        solution = watcher.solution()
        parameters = parameters if solution is None else solution
        results |= watcher.results(number)
    parameters = parameters.copy()
    results["parameters_sha256"] = sha256_of(parameters)
    dataset, lines = session.loader.dataset, session.tracks[number].history
    if dataset.class_names:
        results["class_names"] = list(dataset.class_names)
    own = (session.model, session.layout, parameters, dataset.row_shape)
    names = (dataset.class_names, dataset.feature_names)
    return Run(*own, lines, results, *names, TrainedOn.of(dataset), dataset.transform)


def as_saved(
    where: str, saved: Mapping[str, Any], config: Mapping[str, Any], model: Model, dataset: Dataset
) -> tuple[Model, Dataset]:
    """Return the model and the dataset as a run had them that goes on with the same settings.

    Parameters
    ----------
    where
        The run's directory.
    saved
        What its checkpoint says.
    config, model, dataset
        The trainer's settings and model, and the rows to go on with.

    Raises
    ------
    InputError
        If a version or a setting is another one; it is named.
    ValueError, KeyError
        If the checkpoint cannot be of these rows, see `ooc.runs.checkpoint.understood`.
    """
    check_same(where, "version", saved["versions"], versions())
    check_same(where, "setting", saved["trainer"], config)
    dataset = transformed(dataset, transform_in(saved))
    if tuple(saved["row_shape"]) != dataset.row_shape:
        raise ValueError(f"rows of shape {saved['row_shape']}")
    epoch, epochs = saved["position"]["epoch"], saved["epochs"]
    if type(saved["finished"]) is not bool or not 0 <= epoch <= epochs:
        raise ValueError(f"epoch {epoch} of {epochs}, finished: {saved['finished']}")
    dataset = labelled_as(dataset, names_in(saved, "class_names"))
    names = tuple(map(str, names_in(saved, "feature_names")))
    return prepared_like(model, saved["model"]), replace(dataset, feature_names=names)


def save_run(
    session: Session,
    run: Run,
    number: int,
    watchers: Sequence[Watcher],
    keep: int,
    finished: bool = False,
) -> bool:
    """Save a descent as a run of its own; `finished` where there is nothing to go on with.

    Returns
    -------
    bool
        False where it was left behind, and has nothing that is worth to be saved.

    Raises
    ------
    DivergedError
        If its parameters are not finite.
    """
    one = session.train_state.alone(number)
    active = bool(one.active[0])
    arrays = {
        "parameters": run.parameters,
        "iterate": one.parameters[0],
        "optimizer_state": one.state[0],
    }
    if not all(np.isfinite(values).all() for values in arrays.values()):
        if active:
            step = session.engine.step
            rate = rate_of_step(session.model, one.settings[0], max(step - 1, 0))
            raise DivergedError(
                f"parameters are not finite after step {step}, at learning rate {rate:g}; lower "
                "it, or standardise the features"
            )
        return False
    arrays["totals"] = one.totals[0]
    states: dict[str, dict[str, Any]] = {}
    for watcher in _followers(watchers, number):
        for key, value in watcher.state().items():
            if isinstance(value, np.ndarray):
                arrays[f"{watcher.name}.{key}"] = value
            else:
                states.setdefault(watcher.name, {})[key] = value
    dataset, track = session.loader.dataset, session.tracks[number]
    assert track.folder is not None  # who saves nothing has no saver
    names = {key: getattr(dataset, key) for key in ("features", "target", "weight", "missing")}
    names |= {"transform": dataset.transform} if dataset.transform else {}
    description = {
        "model": run.model.to_config(),
        "optimizer": one.methods[0].to_config(),
        "row_shape": list(run.row_shape),
        **{key: list(getattr(run, key)) for key in _NAMES if getattr(run, key)},
        "parameters_sha256": sha256_of(run.parameters),
        "results": dict(run.results),
        "epochs": session.epochs,
        "finished": finished or not active,
        "dataset": {**names, "path": dataset.saved_path},
        "trained_on": run.trained_on and run.trained_on.to_json(),
        "fingerprint": dict(session.fingerprint),
        "memory": session.loader.stream.memory,
        "plan": session.loader.plan.to_json(),
        "position": session.loader.state_dict(),
        "trainer": track.settings,
        "watchers": states,
        "versions": versions(),
        "machine": machine(),
    }
    checkpoint.save(track.folder, session.engine.step, arrays, description, keep)
    return True


def restore_watchers(
    watchers: Sequence[Watcher], arrays: Mapping[str, np.ndarray], saved: Mapping[str, Any]
) -> None:
    """Give each watcher of a run's only descent what it had when the run was saved."""
    for watcher in watchers:
        own = {
            name.removeprefix(f"{watcher.name}."): values
            for name, values in arrays.items()
            if watcher.name and name.startswith(f"{watcher.name}.")
        }
        state = {**saved["watchers"].get(watcher.name, {}), **own}
        if state:
            watcher.restore(state)


def _followers(watchers: Sequence[Watcher], number: int) -> list[Watcher]:
    return [each for each in watchers if each.number in (None, number)]
