"""A run as a row of a table: its settings and results, read from its description and history."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ooc.core.errors import InputError
from ooc.core.plain_files import check_plain
from ooc.report.cells import make_results, make_settings, part, text
from ooc.report.curves import POINTS
from ooc.report.history import History, number, read_history
from ooc.runs.checkpoint import DESCRIPTION

DESCRIPTION_BYTES = 64 * 2**20
MANY_POINTS = 50


@dataclass(frozen=True)
class ReportedRun:
    """One run of a report; its name is the part of the path that tells it from the other runs.

    Attributes
    ----------
    description
        What its run.json holds; empty where there is none that can be read.
    settings, results
        By name, in words; of results, those in `ooc.report.cells.RESULTS`.
    loss
        The loss that it is sorted by after validation; NaN where there is none.
    measured
        In words what its loss is; losses are compared where it and the data are the same.
    """

    path: Path
    name: str
    history: History
    description: Mapping[str, Any]
    settings: Mapping[str, str]
    results: Mapping[str, str]
    loss: float
    measured: str
    notes: tuple[str, ...]

    @property
    def data(self) -> str:
        """Where its data are; empty if that is not known."""
        path = part(self.description, "dataset").get("path")
        return path if isinstance(path, str) else ""

    def class_names(self, classes: int) -> list[str]:
        """Return what so many classes are called, by default their numbers."""
        found = part(self.description, "results").get("class_names")
        if not isinstance(found, list) or len(found) != classes:
            return [str(label) for label in range(classes)]
        return [text(name) for name in found]

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """What was measured on validation rows at its best step; empty without a validation."""
        return part(part(self.description, "results"), "validation")


def read_runs(run_dirs: Sequence[Path]) -> list[ReportedRun]:
    """Read runs, best first: by validation loss, then by the last progressive loss.

    A folder that is named twice counts once; plain files among folders are left out, so that
    all of a folder can be named.
    """
    folders = {path.resolve(): path for path in run_dirs if not path.is_file()}
    if not folders:
        raise InputError("there is no run to report on; give a folder that `ooc train --run` wrote")
    paths = list(folders.values())
    # Of many curves in one picture, each has to be calmer than of few.
    points = max(MANY_POINTS, min(POINTS, 8 * POINTS // len(paths)))
    runs = []
    for path, name in zip(paths, _names(paths), strict=True):
        history, (description, note) = read_history(path, points), _description(path)
        loss = _final_loss(history, description)
        settings, results = make_settings(history, description), make_results(history, description)
        notes = tuple(filter(None, (note, *_notes(history, description))))
        measured = loss_in_words(part(description, "model"))
        runs.append(
            ReportedRun(path, name, history, description, settings, results, loss, measured, notes)
        )
    return sorted(runs, key=_merit)


def grouped(runs: Sequence[ReportedRun]) -> list[list[ReportedRun]]:
    """Return runs whose losses can be compared together: of the same data, and the same loss.

    Groups come in the order of their data's names, the largest of one dataset first.
    """
    groups: dict[tuple[str, str], list[ReportedRun]] = {}
    for run in runs:
        groups.setdefault((run.data, run.measured), []).append(run)
    return sorted(groups.values(), key=lambda group: (group[0].data, -len(group)))


def loss_in_words(config: Mapping[str, Any]) -> str:
    """Name the loss of a model by its settings; a model that is not known, by its own name.

    Examples
    --------
    >>> loss_in_words({"name": "mlp", "head": "binary"}), loss_in_words({"name": "mine"})
    ('logistic loss', 'loss of mine')
    """
    from ooc.models import from_config

    name = config.get("name")
    own = f"loss of {name}" if isinstance(name, str) else "loss"
    try:
        model = from_config(config)
    except (InputError, TypeError, ValueError, AttributeError, LookupError, OverflowError):
        return own
    loss = getattr(model, "loss_name", None)
    if name == "autoencoder" or not isinstance(loss, str):
        return own
    # With two classes, the cross-entropy of softmax is the logistic loss.
    return "logistic loss" if loss == "softmax" and _classes(model) == 2 else f"{loss} loss"


def _classes(model: Any) -> int:
    return int(getattr(model, "class_count", 0))


def _merit(run: ReportedRun) -> tuple[bool, float, str]:
    best = run.history.best_validation
    loss = run.loss if best is None else best[0]
    return best is None, loss if math.isfinite(loss) else math.inf, run.name


def _final_loss(history: History, description: Mapping[str, Any]) -> float:
    """Return the last epoch's mean loss where it was saved, and else that of the last line."""
    saved = number(part(description, "results"), "loss")
    return saved if math.isfinite(saved) or history.last_loss is None else history.last_loss


def _names(paths: Sequence[Path]) -> list[str]:
    """Return what tells paths apart: they without the folders that they share."""
    if len(paths) == 1:
        return [paths[0].resolve().name or str(paths[0])]
    whole = [str(path.absolute()) for path in paths]
    return [os.path.relpath(path, os.path.commonpath(whole)) for path in whole]


def _description(run_dir: Path) -> tuple[Mapping[str, Any], str]:
    """Return what run.json holds, and a note where it cannot be used."""
    path = run_dir / DESCRIPTION
    try:
        check_plain(path, DESCRIPTION_BYTES)
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}, f"{DESCRIPTION} is not there yet: nothing was saved, settings are not known"
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"{DESCRIPTION} cannot be read ({error}): settings are not known"
    if not isinstance(found, dict):
        return {}, f"{DESCRIPTION} holds no description: settings are not known"
    return found, ""


def _notes(history: History, description: Mapping[str, Any]) -> list[str]:
    notes, end = [], history.end.step
    results = part(description, "results")
    saved = number(results, "steps")
    if isinstance(why := results.get("dropped"), str):
        notes.append(f"left behind: {why}")
    elif saved < end:
        notes.append(f"last saved at step {saved:,.0f}, but the history goes on to {end:,.0f}")
    elif description.get("finished") is False:
        notes.append(f"not finished: it stopped at step {end:,.0f}; `ooc resume` goes on with it")
    if damaged := history.counts["damaged"]:
        notes.append(f"{damaged:,} lines of the history cannot be read and are left out")
    gaps = "{} is not finite in {:,} lines: gaps in the curve".format
    return notes + [gaps(name.replace("_", " "), n) for name, n in history.dropped.items()]
