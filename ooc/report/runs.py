"""A run as a row of a table: its settings and results, read from its description and history."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ooc.core.errors import InputError
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
    "steps",
    "final loss",
    "best validation loss",
    "rows/s",
    "GB/s",
    "peak of budget",
    "waiting",
    "saves",
    "resumes",
    "parameters sha256",
)


@dataclass(frozen=True)
class ReportedRun:
    """One run of a report.

    Attributes
    ----------
    path
        Its folder, as it was given.
    name
        The part of the path that tells it from the other runs.
    history
        What its history tells.
    description
        What its run.json holds; empty where there is none that can be read.
    cells
        Its row of the table, by the names in `SETTINGS` and `RESULTS`.
    loss
        The loss that it is sorted by after validation; NaN where there is none.
    notes
        What a reader has to know: lines that cannot be read, a description that is missing.
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

    Raises
    ------
    InputError
        If there is no run, or one of the folders holds no history.
    """
    folders = {path.resolve(): path for path in run_dirs if not path.is_file()}
    if not folders:
        raise InputError("there is no run to report on; give a folder that `ooc train --run` wrote")
    paths = list(folders.values())
    # Of many curves in one picture, each has to be calmer than of few.
    points = max(MANY_POINTS, min(POINTS, 8 * POINTS // len(paths)))
    histories = [read_history(path, points) for path in paths]
    read = [_description(path) for path in paths]
    descriptions = [description for description, _ in read]
    runs = []
    for i, path in enumerate(paths):
        notes = (read[i][1], *_notes(histories[i], descriptions[i]))
        runs.append(
            ReportedRun(
                path,
                _names(paths)[i],
                histories[i],
                descriptions[i],
                _cells(histories[i], descriptions, i),
                _final_loss(histories[i], descriptions[i]),
                tuple(note for note in notes if note),
            )
        )
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
        if path.stat().st_size > DESCRIPTION_BYTES:
            return {}, f"{DESCRIPTION} is larger than {format_size(DESCRIPTION_BYTES)}: left out"
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}, f"{DESCRIPTION} is not there yet: nothing was saved, settings are not known"
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"{DESCRIPTION} cannot be read ({error}): settings are not known"
    if not isinstance(found, dict):
        return {}, f"{DESCRIPTION} holds no description: settings are not known"
    return found, ""


def _notes(history: History, description: Mapping[str, Any]) -> list[str]:
    notes = []
    saved, end = number(part(description, "results"), "steps"), history.end.step
    if saved < end:
        notes.append(f"last saved at step {saved:,.0f}, but the history goes on to {end:,.0f}")
    if damaged := history.counts.get("damaged", 0):
        notes.append(f"{damaged:,} lines of the history cannot be read and are left out")
    for name, lines in history.dropped.items():
        what = name.replace("_", " ")
        notes.append(f"{what} is not finite in {lines:,} lines: gaps in the curve")
    return notes


def _cells(
    history: History, descriptions: Sequence[Mapping[str, Any]], index: int
) -> dict[str, str]:
    description = descriptions[index]
    results, optimizer = part(description, "results"), part(description, "optimizer")
    end = history.end
    seconds = end.seconds if end.seconds > 0 else math.nan
    budget = number(results, "memory_budget_bytes", history.memory_budget_bytes)
    peak = number(results, "memory_peak_bytes", history.memory_peak_bytes)
    best = history.best_validation
    sha = results.get("parameters_sha256", description.get("parameters_sha256"))
    return {
        "data": _text(part(description, "dataset").get("path")),
        "model": _model([part(other, "model") for other in descriptions], index),
        "optimizer": _named(optimizer),
        "rate": _text(optimizer.get("rate")),
        "schedule": _schedule(part(optimizer, "schedule")),
        "penalty": _penalty(optimizer),
        "batch size": _batch_size(history, description),
        "steps": f"{end.step:,.0f}",
        "final loss": _loss(_final_loss(history, description)),
        "best validation loss": NOTHING
        if best is None
        else f"{_loss(best[0])} at step {best[1]:,.0f}",
        "rows/s": _rate(end.rows / seconds, ",.0f"),
        "GB/s": _rate(end.bytes / seconds / 1e9, ".3g"),
        "peak of budget": _share_of(peak, budget),
        "waiting": _percent(end.wait_seconds / seconds),
        "saves": _saves(history),
        "resumes": f"{history.counts.get('resume', 0):,}",
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


def _loss(value: float) -> str:
    return f"{value:.5g}" if math.isfinite(value) else "not finite"


def _rate(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else NOTHING


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if math.isfinite(share) else NOTHING


def _share_of(size: float, whole: float) -> str:
    if not (math.isfinite(size) and math.isfinite(whole) and whole > 0):
        return NOTHING
    return f"{100 * size / whole:.0f}% of {format_size(whole)}"


def _model(models: Sequence[Mapping[str, Any]], index: int) -> str:
    """Name a model, with its settings: those that differ between the runs, or all of one run."""
    model = models[index]
    keys = [key for key in model if key != "name" and model[key] is not None]
    if len(models) > 1:
        keys = [key for key in keys if any(other.get(key) != model[key] for other in models)]
    settings = [f"{key}={_text(model[key])}" for key in keys[:12]]
    return " ".join([_text(model.get("name")), *settings])


def _named(config: Mapping[str, Any]) -> str:
    constants = config.get("constants") or ()
    return f"{_text(config.get('name'))} {f'({_text(constants)})' if constants else ''}".strip()


def _schedule(schedule: Mapping[str, Any]) -> str:
    if not schedule:
        return NOTHING
    constants = schedule.get("constants")
    used = constants if isinstance(constants, list) and any(constants) else ()
    warmup = schedule.get("warmup")
    after = f", warm-up of {_text(warmup)} steps" if warmup else ""
    return _named({**schedule, "constants": used}) + after


def _saves(history: History) -> str:
    count = history.counts.get("checkpoint", 0)
    return f"{count:,} in {history.save_seconds:.2f} s" if count else "0"


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
