"""A long stretch, watched by the network alone: how many false alarms a day, how many drifts found.

None of it is stored; it is drawn, watched and forgotten, at some fifty times real time.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ooc.core.progress import Progress, Report, silent
from pipelines.beam_current import events
from pipelines.beam_current.calibration import Method
from pipelines.beam_current.data import CHANNELS, CHUNK, Machine
from pipelines.beam_current.detector import alarms
from pipelines.beam_current.faults import Fault
from pipelines.beam_current.state import Alarm, Limits, first_state
from pipelines.beam_current.watching import drawn_units

SURE = 0.95


@dataclass(frozen=True)
class LongWatch:
    """What came of it.

    Attributes
    ----------
    hours
        Of beam.
    seconds
        Of processor time that the detector took.
    """

    found: events.Count
    alarms: tuple[Alarm, ...]
    hours: float
    seconds: float

    @property
    def false_a_day(self) -> float:
        """False alarms, of a day."""
        return len(self.found.false) * 24 / self.hours

    @property
    def most_false_a_day(self) -> float:
        """The highest rate of which so few come with one chance in twenty (Poisson)."""
        from scipy.stats import chi2

        return float(chi2.ppf(SURE, 2 * len(self.found.false) + 2)) / 2 * 24 / self.hours

    def least_recall(self, kind: str, size: float) -> tuple[int, int, float]:
        """Return faults found in time, all of them, and the recall that is exceeded surely.

        It is the lower bound of Clopper and Pearson, one-sided.
        """
        from scipy.stats import beta

        which = [f.kind == kind and f.size >= size for f in self.found.faults]
        count = sum(which)
        found = int(np.sum(self.found.delays[which] <= events.IN_TIME[kind]))
        least = float(beta.ppf(1 - SURE, found, count - found + 1)) if found else 0.0
        return found, count, least


def watch_long(
    machine: Machine,
    begin: int,
    chunks: int,
    faults: Sequence[Fault],
    watcher: tuple[Method, Limits],
    report: Report = silent,
) -> LongWatch:
    """Watch chunks of a machine's time from `begin` on, with faults."""
    method, limits = watcher
    state, raised, spent = first_state(CHANNELS, begin * CHUNK), list[Alarm](), 0.0
    started = time.perf_counter()
    for number, unit in enumerate(drawn_units(machine, begin, chunks, faults)):
        begun = time.process_time()
        raised += alarms(limits, state, method(state, unit))
        spent += time.process_time() - begun
        if number % 64 == 0:
            report(Progress(number * CHUNK, chunks * CHUNK, number * CHUNK * CHANNELS * 4,
                            time.perf_counter() - started))  # fmt: skip
    return LongWatch(events.count(raised, faults), tuple(raised), chunks * CHUNK / 36e6, spent)
