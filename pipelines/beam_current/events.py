"""How alarms are counted: by faults found and alarms that no fault explains, never by times.

An alarm is of a fault if it is raised while that lasts, or a while after, on its channel, by a
statistic that such a fault moves. A fault is found by its first alarm, and in time if that came
soon enough. Nothing is adjusted afterwards: an alarm late in a long fault finds it late.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.beam_current.faults import Fault
from pipelines.beam_current.state import UNIT, Alarm

# Which statistics a fault moves, and for how many times after its end.
MOVES = {
    "spike": (("fast",), 200),
    "drift": (("slow",), 160 * UNIT),
    "loss": (("fast", "common", "slow"), 160 * UNIT),
    "freeze": (("fast", "flat", "slow"), 160 * UNIT),
}
# A channel that drifted is put right in one step, a true event of its own: a statistic may tell it
# until the level of the channel has followed, two units at most.
PUT_RIGHT = {"drift": ("fast", 2 * UNIT)}
# Within which times a fault is to be found.
IN_TIME = {"spike": 100, "drift": 15 * 600_000, "loss": 10_000, "freeze": 10_000}


@dataclass(frozen=True)
class Count:
    """What was found.

    Attributes
    ----------
    delays
        (faults,) times from onset to alarm, NaN where there was none.
    false
        Alarms that no fault explains.
    """

    faults: tuple[Fault, ...]
    delays: np.ndarray
    alarms: int
    false: tuple[Alarm, ...]

    def recall(self, kind: str, least: float = 0.0, within: float | None = None) -> float:
        """Return the share of faults of a kind and size that were found in time."""
        limit = IN_TIME[kind] if within is None else within
        which = np.array([f.kind == kind and f.size >= least for f in self.faults], bool)
        return float((self.delays[which] <= limit).mean()) if which.any() else float("nan")

    def recall_of(self, kinds: Sequence[str]) -> float:
        """Return the share of faults of some kinds that were found in time."""
        limits = np.array([IN_TIME[fault.kind] for fault in self.faults])
        which = np.array([fault.kind in kinds for fault in self.faults], bool)
        return float((self.delays <= limits)[which].mean()) if which.any() else float("nan")

    def found(self) -> float:
        """Return the share of all faults that were found in time."""
        limits = np.array([IN_TIME[fault.kind] for fault in self.faults])
        return float((self.delays <= limits).mean()) if len(limits) else float("nan")

    def precision(self) -> float:
        """Return the share of alarms that are of a fault."""
        return 1 - len(self.false) / self.alarms if self.alarms else 1.0


def count(alarms: Sequence[Alarm], faults: Iterable[Fault], names_channel: bool = True) -> Count:
    """Hold alarms against faults.

    Parameters
    ----------
    names_channel
        Whether alarms tell a channel; those of a method that cannot are of any.

    Examples
    --------
    >>> fault = Fault("spike", 3, onset=1000, end=1040, size=7.0)
    >>> found = count([Alarm(3, "fast", 1001, 1064, 1.2), Alarm(4, "fast", 9, 64, 1.0)], [fault])
    >>> found.recall("spike"), found.precision(), [alarm.channel for alarm in found.false]
    (1.0, 0.5, [4])
    """
    kept = tuple(faults)
    delays, false = np.full(len(kept), np.nan), []
    onsets = np.array([fault.onset for fault in kept])
    order = np.argsort(onsets, kind="stable")
    longest = max((f.end - f.onset + MOVES[f.kind][1] for f in kept), default=0)
    for alarm in alarms:
        first, last = np.searchsorted(onsets[order], [alarm.raised - longest, alarm.raised])
        explained = False
        for place in order[first:last]:
            fault = kept[place]
            if names_channel and fault.channel not in (-1, alarm.channel):
                continue
            if _is_put_right(fault, alarm):
                explained = True
                continue
            kinds, after = MOVES[fault.kind]
            if alarm.kind not in (*kinds, "any") or alarm.raised > fault.end + after:
                continue
            explained = True
            if np.isnan(delays[place]):
                delays[place] = alarm.raised - fault.onset
        if not explained:
            false.append(alarm)
    return Count(kept, delays, len(alarms), tuple(false))


def _is_put_right(fault: Fault, alarm: Alarm) -> bool:
    kind, after = PUT_RIGHT.get(fault.kind, ("", 0))
    return alarm.kind == kind and fault.end <= alarm.raised <= fault.end + after


def area(points: Sequence[tuple[float, float]]) -> float:
    """Return the area under precision over recall, by trapezia between thresholds.

    Below the lowest recall precision is that of the highest threshold; beyond the highest it is 0.

    Examples
    --------
    >>> area([(0.5, 1.0), (1.0, 0.5)])
    0.875
    """
    recall, precision = np.array(sorted(points)).T
    recall = np.concatenate([[0.0], recall])
    precision = np.concatenate([precision[:1], precision])
    return float(np.trapezoid(precision, recall))
