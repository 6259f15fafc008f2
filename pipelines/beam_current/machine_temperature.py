"""A real signal: the temperature of an industrial machine, from CSV to alarms.

The series and its four labelled windows are the Numenta Anomaly Benchmark's (Lavin and Ahmad 2015).
As there, nothing counts in the first 750 readings, the probation. The network learns the first half
of it and nothing else; from the second half on, how far it is off is known as a distribution, of
all readings before the one that is judged. That and its numbers (means over 10 readings, a normal
tail, the first alarm of a run) are the benchmark's anomaly likelihood (Ahmad et al. 2017) as it was
published, with a tail of one reading a year: nothing was chosen by what comes after the probation.
An alarm in a window finds it, and later ones in the same window do not count; others are false.
"""

import csv
import json
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import NormalDist

import numpy as np

import ooc
from ooc.core.errors import InputError

SERIES, WINDOWS = "nab-machine-temperature.csv", "nab-windows.json"
LABELS = "realKnownCause/machine_temperature_system_failure.csv"
PROBATION, A_DAY = 750, 288  # readings
LEARNED = PROBATION // 2
LENGTH = 12  # readings of a window: an hour
MEANS = 10  # windows over which an error is averaged
FALSE_A_YEAR = 1.0
QUIET = A_DAY  # readings without a score above 1, after which the next is another alarm
# NAB's standard profile.
FALSE_COST = 0.11


@dataclass(frozen=True)
class Found:
    """What came of the series.

    Attributes
    ----------
    scores
        (readings,) over the threshold, 0 in the probation.
    alarms
        Readings at which one was raised.
    windows
        First and last reading of each labelled window that is not in the probation.
    """

    times: list[datetime]
    values: np.ndarray
    scores: np.ndarray
    alarms: list[int]
    windows: list[tuple[int, int]]

    @property
    def found(self) -> int:
        """Windows with an alarm."""
        return sum(any(a <= at <= b for at in self.alarms) for a, b in self.windows)

    @property
    def false(self) -> int:
        """Alarms in no window."""
        return sum(not any(a <= at <= b for a, b in self.windows) for at in self.alarms)

    @property
    def score(self) -> float:
        """NAB's score of the standard profile, 0 for no alarm and 100 for a perfect detector."""
        total = 0.0
        for first, last in self.windows:
            inside = [at for at in self.alarms if first <= at <= last]
            total += _sigmoid(-(last - inside[0]) / (last - first)) if inside else -1.0
        for at in self.alarms:
            if any(a <= at <= b for a, b in self.windows):
                continue
            before = [(a, b) for a, b in self.windows if b < at]
            late = (at - before[-1][1]) / (before[-1][1] - before[-1][0]) if before else np.inf
            total += FALSE_COST * _sigmoid(late)
        perfect = sum(_sigmoid(-1.0) for _ in self.windows)
        worst = -len(self.windows)
        return float(100 * (total - worst) / (perfect - worst))


def _sigmoid(place: float) -> float:
    """Return NAB's weight of an alarm, by its place relative to a window's end."""
    return float(2 / (1 + np.exp(5 * min(place, 3.0))) - 1) if np.isfinite(place) else -1.0


def watch_machine(folder: Path, store: Path, seed: int, memory: str) -> Found:
    """Write the series as a Zarr, learn from its probation, and watch the rest."""
    times, values = read_series(folder / SERIES)
    if store.exists():
        raise InputError(f"{store} is there already; remove it")
    with ooc.create(store, {"X": ("float32", (1,))}) as writer:
        writer.append({"X": values[:, None]})
    learned = store.with_name(f"learned-{store.name}")
    with ooc.create(learned, {"X": ("float32", (1,))}) as writer:
        writer.append({"X": values[:LEARNED, None]})
    text = f"sequences:{LENGTH}"
    model = ooc.models.Autoencoder(hidden=(16,), code=3, activation="tanh", standardise=True)
    trainer = ooc.Trainer(model, ooc.optim.adam(3e-3), 32, memory=memory, seed=seed)
    run = trainer.fit(ooc.open(learned, transform=text), 60, report=False)
    errors = run.predict(ooc.open(store, transform=text), "error", report=False)
    errors = np.sqrt(np.concatenate([np.full(LENGTH - 1, errors[0]), errors]).astype(np.float64))
    scores = deviations(errors) / NormalDist().inv_cdf(1 - FALSE_A_YEAR / (365 * A_DAY))
    scores[:PROBATION] = 0
    alarms, last = list[int](), -QUIET
    for at in np.flatnonzero(scores >= 1).tolist():
        if at - last >= QUIET:
            alarms.append(at)
        last = at
    return Found(times, values, scores, alarms, read_windows(folder / WINDOWS, times))


def deviations(errors: np.ndarray) -> np.ndarray:
    """Return how far mean errors are from those before, in standard deviations, (readings,).

    Each is judged by what came before it alone; it is 0 while that is less than two means.
    """
    sums = np.concatenate([[0.0], np.cumsum(errors)])
    ends = np.arange(1, len(errors) + 1)
    begins = np.maximum(0, ends - MEANS)
    means = ((sums[ends] - sums[begins]) / (ends - begins))[LEARNED:]
    count = np.arange(1, len(means))
    middle = np.cumsum(means)[:-1] / count
    variance = np.cumsum(means**2)[:-1] / count - middle**2
    spread = np.sqrt(np.maximum(variance, 1e-12 * middle**2))
    found = np.zeros(len(errors))
    found[LEARNED + 2 :] = ((means[1:] - middle) / np.maximum(spread, 1e-300))[1:]
    return found


def read_series(path: Path) -> tuple[list[datetime], np.ndarray]:
    """Read times and values; what cannot be read is named by its line."""
    times, values = [], []
    with path.open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                times.append(datetime.fromisoformat(row["timestamp"]))
                values.append(float(row["value"]))
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"line {number} of {path} cannot be read: {error}") from None
    return times, np.array(values, np.float32)


def read_windows(path: Path, times: list[datetime]) -> list[tuple[int, int]]:
    """Return the labelled windows that end after the probation, as places of readings."""
    found = []
    for first, last in json.loads(path.read_text())[LABELS]:
        ends = [bisect_left(times, datetime.fromisoformat(each)) for each in (first, last)]
        if ends[1] > PROBATION:
            found.append((ends[0], ends[1]))
    return found
