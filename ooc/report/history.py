"""A run's history, read line by line into curves of bounded length."""

import json
import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.report.curves import POINTS, Curve, Thinner
from ooc.runs.run_directory import HISTORY, check_history

# No line of a history comes near; a file that is no history may be one line of gigabytes.
LINE_BYTES = 2**20
# Checkpoints and resumes that are marked, and metrics that get a picture.
MARKS = 400
METRICS = 8
# Saves whose line in the history is remembered, to know where a resume goes on.
REMEMBERED = 16

KINDS = ("train", "validation", "checkpoint", "resume", "range_test")
# Rates that a range test tries, at most.
TRIALS = 100
# Curves that a line has a value of, and no rate.
LEVELS = ("learning_rate", "memory_bytes", "batch_size", "noise_scale", "temperature")
_POSITION = ("kind", "step", "epoch", "rows", "seconds", "best")


@dataclass(frozen=True)
class Standing:
    """Where a run stood at a line of its history; sums over all resumes."""

    step: float = 0.0
    rows: float = 0.0
    bytes: float = 0.0
    seconds: float = 0.0
    wait_seconds: float = 0.0


@dataclass
class History:
    """What a run's history tells; numbers are NaN, and what is optional None, where not noted.

    Attributes
    ----------
    curves
        By name: loss, learning_rate, rows_per_second, bytes_per_second, memory_bytes,
        waiting_share, noise_scale, temperature, batch_size; those that the history has.
    validation
        By metric, loss among them.
    last_loss, best_validation
        Progressive loss of the last line; smallest validation loss and its step.
    memory_peak_bytes
        The most that was resident at a line.
    batch_sizes
        First and last.
    range_test
        The learning rate that was found, and (rate, loss) of those that were tried; infinite
        where the loss rose.
    checkpoints, resumes
        (step, seconds) of each, thinned; how many there were is in `counts`.
    counts
        Of the kinds of lines, and of the lines that could not be read under "damaged".
    dropped
        By curve or metric, lines whose value was not finite and is not on the curve.
    """

    end: Standing = field(default_factory=Standing)
    curves: dict[str, Curve] = field(default_factory=dict)
    validation: dict[str, Curve] = field(default_factory=dict)
    last_loss: float | None = None
    best_validation: tuple[float, float] | None = None
    memory_budget_bytes: float = math.nan
    memory_peak_bytes: float = math.nan
    batch_sizes: tuple[float, float] | None = None
    range_test: tuple[float, list[tuple[float, float]]] | None = None
    checkpoints: list[tuple[float, float]] = field(default_factory=list)
    resumes: list[tuple[float, float]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, int] = field(default_factory=dict)
    save_seconds: float = 0.0


def read_history(run_dir: Path, points: int = POINTS) -> History:
    """Read a run's history into curves of at most `points`; memory does not grow with its length.

    An InputError says that there is none, or none with a training line.

    Examples
    --------
    >>> line = {"kind": "train", "step": 10, "rows": 640, "seconds": 0.5, "loss": 0.25}
    >>> _ = (folder / "history.jsonl").write_text(json.dumps(line))
    >>> history = read_history(folder)
    >>> history.last_loss, history.curves["rows_per_second"].mean.tolist()
    (0.25, [1280.0])
    """
    path, reader = run_dir / HISTORY, _Reader(points)
    check_history(run_dir)
    try:
        with path.open("rb") as stream:
            for line in iter(lambda: stream.readline(LINE_BYTES), b""):
                reader.read(line)
    except (FileNotFoundError, NotADirectoryError):
        problem = f"holds no {HISTORY}" if run_dir.exists() else "does not exist"
        if run_dir.is_dir() and any(run_dir.glob(f"*/{HISTORY}")):
            problem = f"holds runs but is none; give them: ooc report {run_dir}/*"
        else:
            problem += "; give a folder that `ooc train --run` wrote"
        raise InputError(f"{run_dir} {problem}") from None
    history = reader.finish()
    if not history.counts["train"]:
        raise InputError(
            f"{path} has no training line yet ({history.counts['damaged']} lines cannot be read); "
            "let the run take its first logged step, or leave it out"
        )
    return history


def number(entry: Mapping[str, Any], key: str, default: float = math.nan) -> float:
    """Return a number of a line or description, or NaN for what is none."""
    value = entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


class _Reader:
    """Takes the lines of a history one by one."""

    def __init__(self, points: int) -> None:
        self._history, self._points = History(), points
        self._curves: dict[str, Thinner] = {}
        self._metrics: dict[str, Thinner] = {}
        # What the next line's rates are counted from, and where the run stood at its last saves.
        self._before: Standing | None = self._history.end
        self._saved: deque[Standing] = deque(maxlen=REMEMBERED)

    def read(self, line: bytes) -> None:
        """Take one line; kinds that are not known are left alone."""
        if not line.strip():
            return
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            # A last line that a kill cut short is no damage.
            if line.endswith(b"\n"):
                self._history.counts["damaged"] += 1
        elif (kind := entry.get("kind")) in KINDS:
            step, seconds = number(entry, "step"), number(entry, "seconds")
            finite = math.isfinite(step) and math.isfinite(seconds)
            self._history.counts[kind if finite else "damaged"] += 1
            if finite:
                getattr(self, f"_{kind}")(entry, step, seconds)

    def finish(self) -> History:
        """Return what was read; curves without a point are left out."""
        history = self._history
        for prefix, curves in (("", history.curves), ("validation ", history.validation)):
            for name, thinner in (self._metrics if prefix else self._curves).items():
                if len(curve := thinner.curve()):
                    curves[name] = curve
                if thinner.dropped:
                    history.dropped[prefix + name] = thinner.dropped
        return history

    def _train(self, entry: Mapping[str, Any], step: float, seconds: float) -> None:
        history = self._history
        if step < history.end.step and history.end is self._before:
            self._go_back(step)
        now = Standing(*(number(entry, name) for name in Standing.__dataclass_fields__))
        before = self._before or Standing(*[math.nan] * 5)
        rows, passed = now.rows - before.rows, seconds - before.seconds
        if entry.get("loss") is not None:
            history.last_loss = number(entry, "loss")
            self._point("loss", now, history.last_loss, rows if 0 < rows < math.inf else 1.0)
        rates = {
            "rows_per_second": rows,
            "bytes_per_second": now.bytes - before.bytes,
            "waiting_share": now.wait_seconds - before.wait_seconds,
        }
        for name, amount in rates.items():
            if passed > 0 and math.isfinite(amount):
                self._point(name, now, amount / passed, passed, points=max(10, self._points // 8))
        for name in LEVELS:
            if entry.get(name) is not None:
                value = number(entry, name)
                low, high = (number(entry, f"{name}_{end}", value) for end in ("low", "high"))
                self._point(name, now, value, low=low, high=high)
        budget, memory = history.memory_budget_bytes, number(entry, "memory_bytes")
        history.memory_budget_bytes = number(entry, "memory_budget_bytes", budget)
        history.memory_peak_bytes = float(np.fmax(history.memory_peak_bytes, memory))
        if math.isfinite(size := number(entry, "batch_size")):
            history.batch_sizes = (history.batch_sizes[0] if history.batch_sizes else size, size)
        self._before = history.end = now

    def _point(
        self,
        name: str,
        now: Standing,
        value: float,
        *weight: float,
        points: int | None = None,
        **ends: float,
    ) -> None:
        thinner = self._curves.get(name)
        if thinner is None:
            thinner = self._curves[name] = Thinner(points or self._points)
        thinner.add(now.step, now.seconds, value, *weight, **ends)

    def _validation(self, entry: Mapping[str, Any], step: float, seconds: float) -> None:
        history = self._history
        for name in sorted(entry, key=lambda name: name != "loss"):
            numeric = isinstance(entry[name], int | float) and not isinstance(entry[name], bool)
            known = name in self._metrics or len(self._metrics) < METRICS
            if name not in _POSITION and numeric and known:
                thinner = self._metrics.setdefault(name, Thinner(self._points))
                thinner.add(step, seconds, number(entry, name))
        loss, best = number(entry, "loss"), history.best_validation
        if math.isfinite(loss) and (best is None or loss < best[0]):
            history.best_validation = (loss, step)

    def _checkpoint(self, entry: Mapping[str, Any], step: float, seconds: float) -> None:
        took = number(entry, "save_seconds")
        self._history.save_seconds += took if math.isfinite(took) else 0.0
        _mark(self._history.checkpoints, step, seconds)
        if self._before is not None and self._before.step <= step:
            self._saved.append(self._before)

    def _resume(self, entry: Mapping[str, Any], step: float, seconds: float) -> None:
        _mark(self._history.resumes, step, seconds)
        self._go_back(step)

    def _range_test(self, entry: Mapping[str, Any], step: float, seconds: float) -> None:
        trials, rate = entry.get("trials"), number(entry, "rate")
        pairs = [
            (number({"": each[0]}, ""), number({"": each[1]}, ""))
            for each in (trials if isinstance(trials, list) else ())[:TRIALS]
            if isinstance(each, list) and len(each) == 2
        ]
        known = sorted(pair for pair in pairs if pair[0] > 0 and not math.isnan(pair[1]))
        if rate > 0 and known:
            self._history.range_test = (rate, known)

    def _go_back(self, step: float) -> None:
        """Begin new parts of the curves: the work after the save at this step is done again."""
        for thinner in (*self._curves.values(), *self._metrics.values()):
            thinner.break_off()
        known = [moment for moment in (*self._saved, self._before) if moment is not None]
        at = [moment for moment in known if moment.step <= step]
        self._saved = deque(at, maxlen=REMEMBERED)
        # A line that was written after the save tells of work that is lost: nothing to count from.
        self._before = max(at, key=lambda moment: moment.step, default=None)


def _mark(marks: list[tuple[float, float]], step: float, seconds: float) -> None:
    """Add a mark; where there are too many, each second one goes."""
    marks.append((step, seconds))
    if len(marks) > MARKS:
        marks[:] = marks[::2]
