"""A whole stretch watched by several methods at once, at several thresholds."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ooc.store.columns import pieces_of
from pipelines.beam_current.calibration import Method
from pipelines.beam_current.data import CHUNK, Machine, draw
from pipelines.beam_current.detector import alarms
from pipelines.beam_current.faults import Fault
from pipelines.beam_current.state import UNIT, Alarm, Limits, State, first_state
from pipelines.common.dataset import Dataset

# Thresholds are multiplied with these for precision over recall; 1 is what counts.
FACTORS = (0.6, 0.75, 0.9, 1.0, 1.3, 2.0, 3.0)


@dataclass
class Watched:
    """What one method made of a stretch.

    Attributes
    ----------
    alarms
        By factor of the thresholds.
    seconds
        Of each unit, processor time.
    """

    alarms: dict[float, list[Alarm]] = field(
        default_factory=lambda: {factor: [] for factor in FACTORS}
    )
    seconds: list[float] = field(default_factory=list)


def stored_units(dataset: Dataset) -> Iterator[np.ndarray]:
    """Yield the units of a store, in order; each lasts until the next."""
    for *_, values in pieces_of(dataset, ["X"], UNIT):
        rows = values["X"]
        for first in range(0, len(rows) - UNIT + 1, UNIT):
            yield rows[first : first + UNIT]


def drawn_units(
    machine: Machine, begin: int, chunks: int, faults: Sequence[Fault]
) -> Iterator[np.ndarray]:
    """Yield the units of a stretch that is stored nowhere."""
    ordered, active, place = sorted(faults, key=lambda f: f.onset), list[Fault](), 0
    for chunk in range(begin, begin + chunks):
        while place < len(ordered) and ordered[place].onset < (chunk + 1) * CHUNK:
            active.append(ordered[place])
            place += 1
        active = [fault for fault in active if fault.end > chunk * CHUNK]
        yield draw(machine, chunk, tuple(active))[0]


def watch_all(
    methods: Mapping[str, tuple[Method, Limits]], units: Iterable[np.ndarray], time_of_first: int
) -> dict[str, Watched]:
    """Let methods watch the same units."""
    states: dict[str, dict[float, State]] = {}
    found = {name: Watched() for name in methods}
    for block in units:
        for name, (method, limits) in methods.items():
            if name not in states:
                states[name] = {
                    factor: first_state(block.shape[1], time_of_first) for factor in FACTORS
                }
            begun = time.process_time()
            own = states[name][1.0]
            statistics = method(own, block)
            raised = list(alarms(limits, own, statistics))
            found[name].seconds.append(time.process_time() - begun)
            found[name].alarms[1.0] += raised
            for factor, state in states[name].items():
                if factor != 1.0:
                    state.time = own.time
                    found[name].alarms[factor] += alarms(scaled(limits, factor), state, statistics)
    return found


def scaled(limits: Limits, factor: float) -> Limits:
    """Return limits that are so many times as high."""
    return replace(
        limits,
        fast=limits.fast * factor,
        slow=limits.slow * factor,
        flat=limits.flat / factor,
        common=limits.common * factor,
    )
