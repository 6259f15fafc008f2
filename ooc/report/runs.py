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
from ooc.core.sizes import format_size
from ooc.report.curves import POINTS
from ooc.report.history import History, number, read_history
from ooc.runs.checkpoint import DESCRIPTION

DESCRIPTION_BYTES = 64 * 2**20
MANY_POINTS = 50
NOTHING = "–"  # noqa: RUF001

# Settings, which may be the same in all runs, and results.
SETTINGS = ("data", "model", "optimizer", "rate", "schedule", "penalty", "batch size")
RESULTS = (
    "steps", "final loss", "best validation loss", "rows/s", "GB/s", "peak of budget", "waiting",
    "saves", "resumes", "parameters sha256",
)  # fmt: skip


@dataclass(frozen=True)
class ReportedRun:
    """One run of a report; its name is the part of the path that tells it from the other runs.

    Attributes
    ----------
    description
        What its run.json holds; empty where there is none that can be read.
    cells
        Its row of the table, by the names in `SETTINGS` and `RESULTS`.
    loss
        The loss that it is sorted by after validation; NaN where there is none.
    """

    path: Path
    name: str
    history: History
    description: Mapping[str, Any]
    cells: Mapping[str, str]
    loss: float
    notes: tuple[str, ...]


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
    read = [_description(path) for path in paths]
    models = [part(description, "model") for description, _ in read]
    runs = []
    for i, (path, name) in enumerate(zip(paths, _names(paths), strict=True)):
        history, (description, note) = read_history(path, points), read[i]
        cells = make_cells(history, description, models)
        notes = tuple(filter(None, (note, *_notes(history, description))))
        loss = _final_loss(history, description)
        runs.append(ReportedRun(path, name, history, description, cells, loss, notes))
    return sorted(runs, key=_merit)


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
    saved = number(part(description, "results"), "steps")
    if saved < end:
        notes.append(f"last saved at step {saved:,.0f}, but the history goes on to {end:,.0f}")
    if damaged := history.counts["damaged"]:
        notes.append(f"{damaged:,} lines of the history cannot be read and are left out")
    gaps = "{} is not finite in {:,} lines: gaps in the curve".format
    return notes + [gaps(name.replace("_", " "), n) for name, n in history.dropped.items()]


def make_cells(
    history: History, description: Mapping[str, Any], models: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Return a run's row of the table; of models, the settings are told that differ."""
    results, optimizer = part(description, "results"), part(description, "optimizer")
    end = history.end
    seconds = end.seconds if end.seconds > 0 else math.nan
    budget = number(results, "memory_budget_bytes", history.memory_budget_bytes)
    peak = number(results, "memory_peak_bytes", history.memory_peak_bytes)
    saves, best = history.counts["checkpoint"], history.best_validation
    sha = results.get("parameters_sha256", description.get("parameters_sha256"))
    share = _shown(peak / budget if budget > 0 else math.nan, ".0%")
    return {
        "data": _text(part(description, "dataset").get("path")),
        "model": _model(part(description, "model"), models),
        "optimizer": _named(optimizer),
        "rate": _text(optimizer.get("rate")),
        "schedule": _schedule(part(optimizer, "schedule")),
        "penalty": _penalty(optimizer),
        "batch size": _batch_size(history, description),
        "steps": f"{end.step:,.0f}",
        "final loss": _shown(_final_loss(history, description), ".5g", "not finite"),
        "best validation loss": f"{best[0]:.5g} at step {best[1]:,.0f}" if best else NOTHING,
        "rows/s": _shown(end.rows / seconds, ",.0f"),
        "GB/s": _shown(end.bytes / seconds / 1e9, ".3g"),
        "peak of budget": share if share == NOTHING else f"{share} of {format_size(budget)}",
        "waiting": _shown(end.wait_seconds / seconds, ".1%"),
        "saves": f"{saves:,} in {history.save_seconds:.2f} s" if saves else "0",
        "resumes": f"{history.counts['resume']:,}",
        "parameters sha256": str(sha)[:8] if sha else NOTHING,
    }


def part(description: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return an object inside a description; an empty one where there is none."""
    found = description.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str:
    """Write a setting from a file shortly."""
    if value is None:
        return NOTHING
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value[:8]) + (", …" if len(value) > 8 else "")
    text = str(value)
    return text if len(text) <= 80 else text[:38] + "…" + text[-38:]


def _shown(value: float, form: str, otherwise: str = NOTHING) -> str:
    return format(value, form) if math.isfinite(value) else otherwise


def _model(model: Mapping[str, Any], models: Sequence[Mapping[str, Any]]) -> str:
    """Name a model, with its settings: those that differ between the runs, or all of one run."""
    keys = [key for key in model if key != "name" and model[key] is not None]
    if len(models) > 1:
        keys = [key for key in keys if any(other.get(key) != model[key] for other in models)]
    settings = [f"{key}={_text(model[key])}" for key in keys[:12]]
    return " ".join([_text(model.get("name")), *settings])


def _named(config: Mapping[str, Any]) -> str:
    constants = config.get("constants")
    return _text(config.get("name")) + (f" ({_text(constants)})" if constants else "")


def _schedule(schedule: Mapping[str, Any]) -> str:
    if not schedule:
        return NOTHING
    constants, warmup = schedule.get("constants"), schedule.get("warmup")
    used = constants if isinstance(constants, list) and any(constants) else ()
    after = f", warm-up of {_text(warmup)} steps" if warmup else ""
    return _named({**schedule, "constants": used}) + after


def _penalty(optimizer: Mapping[str, Any]) -> str:
    if not optimizer:
        return NOTHING
    names = {"l2": "L2", "l1": "L1", "clip_norm": "clip"}
    used = [f"{name} {_text(optimizer[key])}" for key, name in names.items() if optimizer.get(key)]
    return ", ".join(used) or "none"


def _batch_size(history: History, description: Mapping[str, Any]) -> str:
    if history.batch_sizes is not None:
        first, last = history.batch_sizes
        return f"{first:,.0f}" if first == last else f"{first:,.0f} to {last:,.0f}"
    return _text(description.get("batch_size", part(description, "plan").get("batch_size")))
