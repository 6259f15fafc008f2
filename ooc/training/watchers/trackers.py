"""Where what a run tells goes while it goes on, beside its own history: the user's trackers.

A tracker is any function of one line, a dictionary that is JSON-ready. Its "kind" is one of

- "settings", the first: those of the run;
- "train", "validation", "checkpoint", "range_test", "resume": as the run's history has them;
- "results", the last: those of the run, where it came to its end or was asked to stop.

"run" is the name of a descent of several, empty of one, and "step" counts the steps taken.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ooc.core.destination import local_path
from ooc.core.errors import InputError
from ooc.core.numbers import entry_of
from ooc.core.terminal import one_line

Tracker = Callable[[Mapping[str, Any]], object]
# Metrics of a line, and of the end, that are of use beside others.
_PLOTTED = ("train", "validation", "results")
_APART = ("kind", "run", "step", "best", "confusion_matrix")


def tensorboard(folder: str | Path) -> Tracker:
    """Return a tracker that writes scalars for TensorBoard: a run in the folder, several below it.

    It needs the package `tensorboard`.

    Examples
    --------
    >>> track = tensorboard(folder / "logs")
    >>> track({"kind": "train", "run": "", "step": 10, "loss": 0.5})
    >>> track({"kind": "results", "run": "", "step": 10, "loss": 0.5})
    >>> len(list((folder / "logs").iterdir()))
    1
    """
    place, writers = local_path(folder, "logs"), dict[str, Any]()
    if str(folder) in ("", "."):
        raise InputError("tensorboard needs a folder, as in tensorboard:logs/a")
    if place.exists() and not place.is_dir():
        raise InputError(f"tensorboard cannot write to {place}: it is a file; choose a folder")
    summary = _imported("tensorboard.summary", "tensorboard")

    def track(line: Mapping[str, Any]) -> None:
        name = line["run"]
        if name not in writers:
            writers[name] = summary.Writer(str(place / name))
        writer = writers[name]
        for tag, value in scalars_of(line).items():
            writer.add_scalar(tag, value, line["step"])
        if line["kind"] == "results":
            writers.pop(name).close()
        elif line["kind"] in ("validation", "checkpoint"):
            writer.flush()

    return _going_on("tensorboard", track, OSError)


def mlflow(experiment: str = "") -> Tracker:
    """Return a tracker that logs to MLflow: settings as parameters, all else as metrics.

    Where that is, the environment says, as for MLflow itself (`MLFLOW_TRACKING_URI`). It goes to
    the active run, if there is one, else to a new one; it needs the package `mlflow`.
    """
    package = _imported("mlflow", "mlflow")
    runs, own = dict[str, str](), set[str]()
    try:
        client = package.MlflowClient()
        number = package.set_experiment(experiment).experiment_id if experiment else "0"
        client.get_experiment(number)
    except package.exceptions.MlflowException as error:
        raise InputError(
            f"mlflow cannot be written to: {one_line(error)[:300]}; see where MLFLOW_TRACKING_URI "
            "points"
        ) from None

    def run_of(name: str) -> str:
        active = package.active_run()
        if active is not None and not name:
            return str(active.info.run_id)
        made = client.create_run(number, run_name=name or None)
        own.add(name)
        return str(made.info.run_id)

    def track(line: Mapping[str, Any]) -> None:
        name = line["run"]
        if name not in runs:
            runs[name] = run_of(name)
        if line["kind"] == "settings":
            for key, value in _flat(line).items():
                client.log_param(runs[name], key, value)
        for tag, value in scalars_of(line).items():
            client.log_metric(runs[name], tag, value, step=line["step"])
        if line["kind"] == "results":
            number = runs.pop(name)
            if name in own:
                client.set_terminated(number)

    return _going_on("mlflow", track, package.exceptions.MlflowException)


TRACKERS: dict[str, Callable[[str], Tracker]] = {"tensorboard": tensorboard, "mlflow": mlflow}


def _going_on(name: str, track: Tracker, kind: type[Exception]) -> Tracker:
    """Return a tracker without which a run goes on: once it fails, that is told, and it is left."""
    has_failed = False

    def careful(line: Mapping[str, Any]) -> None:
        nonlocal has_failed
        try:
            if not has_failed:
                track(line)
        except kind as error:
            has_failed = True
            warnings.warn(
                f"the run goes on without its tracker {name}: {one_line(error)[:300]}", stacklevel=2
            )

    return careful


def tracker_named(text: str) -> Tracker:
    """Make a tracker from a text such as "tensorboard:logs/a": its name, and where it writes.

    Raises
    ------
    InputError
        If there is none of this name, or its package is not installed.
    """
    name, _, where = text.partition(":")
    return entry_of("tracker", TRACKERS, name)(where)


def scalars_of(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a line under their tags.

    Examples
    --------
    >>> scalars_of({"kind": "validation", "run": "", "step": 9, "loss": 0.5, "auc": None})
    {'validation/loss': 0.5}
    """
    if line["kind"] not in _PLOTTED:
        return {}
    return {
        f"{line['kind']}/{key}": float(value)
        for key, value in _flat(line).items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line's values with those of its parts, without what names the line."""
    found = dict[str, Any]()
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{key}/{name}": each for name, each in _flat(value).items()}
        elif key not in _APART:
            found[key] = value
    return found


def _imported(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise InputError(
            f"the tracker {package} needs a package that is not installed; pip install {package} "
            "brings it"
        ) from None
