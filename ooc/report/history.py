"""A run's history, read line by line into curves of bounded length."""

import json
import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.report.curves import POINTS, Curve, Thinner
from ooc.runs.run_directory import HISTORY

# No line of a history comes near; a file that is no history may be one line of gigabytes.
LINE_BYTES = 2**20
# Checkpoints and resumes that are marked, and metrics that get a picture.
MARKS = 400
METRICS = 8
# Saves whose line in the history is remembered, to know where a resume goes on.
REMEMBERED = 16

_POSITION = ("kind", "step", "epoch", "rows", "seconds", "best")


@dataclass(frozen=True)
class Moment:
    """Where a run stood at a line of its history; sums over all resumes.

    Attributes
    ----------
    step, rows, bytes
        Steps taken, rows used, bytes decoded.
    seconds, wait_seconds
        Time trained, and the part of it spent waiting for data.
    """

    step: float = 0.0
    rows: float = 0.0
    bytes: float = 0.0
    seconds: float = 0.0
    wait_seconds: float = 0.0


@dataclass(frozen=True)
class History:
    """What a run's history tells.

    Attributes
    ----------
    end
        Where the run stood at the last line.
    curves
        By name: loss, learning_rate, rows_per_second, bytes_per_second, memory_bytes,
        waiting_share, noise_scale, temperature, batch_size; those that the history has.
    validation
        By metric, loss among them.
    last_loss, best_validation
        Progressive loss of the last line; smallest validation loss and its step. None where
        there is none.
    memory_budget_bytes, memory_peak_bytes
        The last budget, and the most that was resident at a line; NaN where not noted.
    batch_sizes
        First and last, where noted.
    checkpoints, resumes
        (step, seconds) of each, thinned; how many there were is in `counts`.
    counts
        Of the kinds of lines, and of the lines that could not be read under "damaged".
    dropped
        By curve or metric, lines whose value was not finite and is not on the curve.
    save_seconds
        Time that checkpoints took in all.
    """

    end: Moment
    curves: Mapping[str, Curve]
    validation: Mapping[str, Curve]
    last_loss: float | None
    best_validation: tuple[float, float] | None
    memory_budget_bytes: float
    memory_peak_bytes: float
    batch_sizes: tuple[float, float] | None
    checkpoints: tuple[tuple[float, float], ...]
    resumes: tuple[tuple[float, float], ...]
    counts: Mapping[str, int]
    dropped: Mapping[str, int]
    save_seconds: float


def read_history(run_dir: Path, points: int = POINTS) -> History:
    """Read a run's history; memory does not grow with its length.

    Parameters
    ----------
    run_dir
        A run's folder.
    points
        The most that a curve may have.

    Raises
    ------
    InputError
        If the folder holds no history, or a history without a training line.

    Examples
    --------
    >>> line = {"kind": "train", "step": 10, "rows": 640, "seconds": 0.5, "loss": 0.25}
    >>> _ = (folder / "history.jsonl").write_text(json.dumps(line))
    >>> history = read_history(folder)
    >>> history.last_loss, history.curves["rows_per_second"].mean.tolist()
    (0.25, [1280.0])
    """
    path, reading = run_dir / HISTORY, _Reading(points)
    try:
        with path.open("rb") as stream:
            for entry in _entries(iter(lambda: stream.readline(LINE_BYTES), b""), reading):
                reading.take(entry)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(_no_history(run_dir)) from None
    if not reading.counts.get("train"):
        damaged = reading.counts.get("damaged", 0)
        raise InputError(
            f"{path} has no training line yet ({damaged} lines cannot be read); "
            "let the run take its first logged step, or leave it out"
        )
    return reading.history()


def _no_history(run_dir: Path) -> str:
    if not run_dir.exists():
        return f"{run_dir} does not exist; give a folder that `ooc train --run` wrote"
    if run_dir.is_dir() and any(run_dir.glob(f"*/{HISTORY}")):
        return f"{run_dir} holds runs but is none; give them: ooc report {run_dir}/*"
    return f"{run_dir} holds no {HISTORY}; give a folder that `ooc train --run` wrote"


def _entries(lines: Iterator[bytes], reading: "_Reading") -> Iterator[Mapping[str, Any]]:
    """Yield what can be read; a last line that a kill cut short is no damage."""
    for line in lines:
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict):
            yield entry
        elif line.endswith(b"\n"):
            reading.count("damaged")


def number(entry: Mapping[str, Any], key: str, default: float = math.nan) -> float:
    """Return a number of a line or description, or NaN for what is none."""
    value = entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


@dataclass
class _Reading:
    """What has been read so far."""

    points: int
    before: Moment | None = field(default_factory=Moment)
    end: Moment = field(default_factory=Moment)
    curves: dict[str, Thinner] = field(default_factory=dict)
    validation: dict[str, Thinner] = field(default_factory=dict)
    saved: deque[Moment] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    checkpoints: list[tuple[float, float]] = field(default_factory=list)
    resumes: list[tuple[float, float]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    last_loss: float | None = None
    best: tuple[float, float] | None = None
    budget: float = math.nan
    peak: float = math.nan
    batch_sizes: tuple[float, float] | None = None
    save_seconds: float = 0.0

    def count(self, kind: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def take(self, entry: Mapping[str, Any]) -> None:
        """Take one line; kinds that are not known are left alone."""
        kind = entry.get("kind")
        takers = {"train": self._train, "validation": self._validation}
        takers |= {"checkpoint": self._checkpoint, "resume": self._resume}
        if not isinstance(kind, str) or kind not in takers:
            return
        if not (math.isfinite(number(entry, "step")) and math.isfinite(number(entry, "seconds"))):
            self.count("damaged")
            return
        self.count(kind)
        takers[kind](entry)

    def history(self) -> History:
        thinners = [*self.curves.items()]
        thinners += [(f"validation {name}", thinner) for name, thinner in self.validation.items()]
        return History(
            self.end,
            {name: thinner.curve() for name, thinner in self.curves.items()},
            {name: thinner.curve() for name, thinner in self.validation.items()},
            self.last_loss,
            self.best,
            self.budget,
            self.peak,
            self.batch_sizes,
            tuple(self.checkpoints),
            tuple(self.resumes),
            self.counts,
            {name: thinner.dropped for name, thinner in thinners if thinner.dropped},
            self.save_seconds,
        )

    def _train(self, entry: Mapping[str, Any]) -> None:
        now = Moment(*(number(entry, key) for key in Moment.__dataclass_fields__))
        if now.step < self.end.step and self.end is self.before:
            self._go_back(now.step)
        rows = now.rows - self.before.rows if self.before else math.nan
        if entry.get("loss") is not None:
            weight = rows if math.isfinite(rows) and rows > 0 else 1.0
            self._point("loss", now, number(entry, "loss"), weight)
            self.last_loss = number(entry, "loss")
        if self.before is not None and now.seconds > self.before.seconds:
            passed = now.seconds - self.before.seconds
            rates = {
                "rows_per_second": rows,
                "bytes_per_second": now.bytes - self.before.bytes,
                "waiting_share": now.wait_seconds - self.before.wait_seconds,
            }
            for name, amount in rates.items():
                if math.isfinite(amount):
                    self._point(name, now, amount / passed, passed)
        for name in ("learning_rate", "memory_bytes", "batch_size"):
            if entry.get(name) is not None:
                self._point(name, now, number(entry, name))
        for name in ("noise_scale", "temperature"):
            if entry.get(name) is not None:
                value = number(entry, name)
                low, high = (number(entry, f"{name}_{end}", value) for end in ("low", "high"))
                self._point(name, now, value, low=low, high=high)
        self.budget = number(entry, "memory_budget_bytes", self.budget)
        self.peak = float(np.fmax(self.peak, number(entry, "memory_bytes")))
        if math.isfinite(size := number(entry, "batch_size")):
            self.batch_sizes = (self.batch_sizes[0] if self.batch_sizes else size, size)
        self.before = self.end = now

    def _point(self, name: str, now: Moment, value: float, *weight: float, **ends: float) -> None:
        thinner = self.curves.setdefault(name, Thinner(self.points))
        thinner.add(now.step, now.seconds, value, *weight, **ends)

    def _validation(self, entry: Mapping[str, Any]) -> None:
        step, seconds = number(entry, "step"), number(entry, "seconds")
        for name in sorted(entry, key=lambda name: name != "loss"):
            value = entry[name]
            numeric = isinstance(value, int | float) and not isinstance(value, bool)
            known = name in self.validation or len(self.validation) < METRICS
            if name not in _POSITION and numeric and known:
                thinner = self.validation.setdefault(name, Thinner(self.points))
                thinner.add(step, seconds, number(entry, name))
        loss = number(entry, "loss")
        if math.isfinite(loss) and (self.best is None or loss < self.best[0]):
            self.best = (loss, step)

    def _checkpoint(self, entry: Mapping[str, Any]) -> None:
        seconds = number(entry, "save_seconds")
        self.save_seconds += seconds if math.isfinite(seconds) else 0.0
        self.checkpoints = _marked(self.checkpoints, entry)
        if self.before is not None and self.before.step <= number(entry, "step"):
            self.saved.append(self.before)

    def _resume(self, entry: Mapping[str, Any]) -> None:
        self.resumes = _marked(self.resumes, entry)
        self._go_back(number(entry, "step"))

    def _go_back(self, step: float) -> None:
        """Begin new parts of the curves: the work after the save at this step is done again."""
        for thinner in (*self.curves.values(), *self.validation.values()):
            thinner.break_off()
        known = [moment for moment in (*self.saved, self.before) if moment is not None]
        at = [moment for moment in known if moment.step <= step]
        self.saved = deque(at, maxlen=REMEMBERED)
        # A line that was written after the save tells of work that is lost: nothing to count from.
        self.before = max(at, key=lambda moment: moment.step, default=None)


def _marked(
    marks: list[tuple[float, float]], entry: Mapping[str, Any]
) -> list[tuple[float, float]]:
    """Add a mark; where there are too many, each second one goes."""
    marks.append((number(entry, "step"), number(entry, "seconds")))
    return marks[::2] if len(marks) > MARKS else marks
