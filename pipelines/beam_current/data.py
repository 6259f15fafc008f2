"""Beam current of an electron storage ring as sixteen monitors read it, at 10 kHz, with faults.

A ring of 200 to 500 mA loses current over a lifetime of 10 to 20 hours and is topped up once a
minute. Each monitor reads it with a gain of its own, which slow thermal modes and 1/f noise change
by parts in ten thousand; the mains (50 Hz and harmonics) and white noise add to that. All of it
changes with the mode of operation. Any stretch of time is a function of seed and time alone, so
that a day of 55 GB is made chunk by chunk, in any order, or streamed and never stored.
"""

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.progress import Report, silent
from ooc.core.random_keys import Purpose, generator, key
from pipelines.beam_current.faults import KINDS, Fault, add_faults
from pipelines.common.dataset import Columns, write

RATE, CHANNELS = 10_000, 16  # times a second
CHUNK = 8192  # times that are drawn together: half a MiB
NOISE = 0.3  # mA, of one reading
# Modes of operation: current in mA, lifetime in seconds, factors of noise and of the mains.
MODES = ((500.0, 36e3, 1.0, 1.0), (400.0, 54e3, 1.1, 0.8), (300.0, 72e3, 1.0, 1.3),
         (200.0, 64e3, 1.05, 0.6))  # fmt: skip
MODE_SECONDS, RAMP_SECONDS = (400.0, 900.0), 20.0
TOP_UP_SECONDS, INJECTION_SECONDS = 60.0, 0.02
HARMONICS, THERMAL = 4, 3
# Parts of the gain: of a thermal mode, and of each octave of 1/f noise.
THERMAL_PART, OCTAVE_PART = 3e-4, 1.2e-5
OCTAVES = 12  # above a chunk: to about an hour


@dataclass(frozen=True)
class Machine:
    """A machine, of whose time any stretch is known.

    Attributes
    ----------
    cycle
        Chunks in which it goes through all modes once, about forty minutes of them.
    """

    seed: int = 0
    cycle: int = 3000


@cache
def _ring(seed: int) -> dict[str, np.ndarray]:
    """Return what stays the same: gains, loadings, phases."""
    rng = generator(seed, Purpose.TRUTH)
    return {
        "gain": rng.uniform(0.95, 1.05, CHANNELS),
        "noise": NOISE * rng.uniform(0.8, 1.2, CHANNELS),
        "loadings": THERMAL_PART * rng.standard_normal((THERMAL, CHANNELS)),
        "periods": rng.uniform(900, 5400, (THERMAL, 3)),
        "phases": rng.uniform(0, 2 * np.pi, (THERMAL, 3)),
        "mains": 0.4
        * rng.uniform(0.5, 1.5, (HARMONICS, CHANNELS))
        / np.arange(1, HARMONICS + 1)[:, None],
        "mains_phases": rng.uniform(0, 2 * np.pi, (HARMONICS, CHANNELS)),
    }


@cache
def _modes(machine: Machine, cycle: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the chunks of a cycle at which modes begin, and which they are.

    Cycles are of one length, so that none has to be known for the next.
    """
    rng = generator(machine.seed, Purpose.DATA, 1 + OCTAVES, cycle)
    lengths = rng.uniform(*MODE_SECONDS, len(MODES))
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]) / lengths.sum()
    return np.round(starts * machine.cycle).astype(np.int64), rng.permutation(len(MODES))


def mode_at(machine: Machine, chunk: int) -> tuple[int, int, int]:
    """Return the mode of a chunk, the one before that, and the chunks since it began."""
    cycle, inside = divmod(chunk, machine.cycle)
    starts, order = _modes(machine, cycle)
    place = int(np.searchsorted(starts, inside, "right")) - 1
    earlier = _modes(machine, cycle - 1)[1][-1] if cycle else order[0]
    before = order[place - 1] if place else earlier
    return int(order[place]), int(before), inside - int(starts[place])


def _smooth(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _current(machine: Machine, chunk: int, seconds: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return the beam's current in mA, and the factors of noise and of the mains."""
    now, before, since = mode_at(machine, chunk)
    share = _smooth((since * CHUNK + np.arange(CHUNK)) / (RAMP_SECONDS * RATE))
    (low, _, *_), (high, lifetime, noise, mains) = MODES[before], MODES[now]
    phase = np.mod(seconds, TOP_UP_SECONDS)
    lost = -np.expm1(-phase / lifetime)
    at_end = -np.expm1(-TOP_UP_SECONDS / lifetime)
    injected = _smooth(phase / INJECTION_SECONDS)
    lost += (1 - injected) * at_end
    return (low + (high - low) * share) * (1 - lost), noise, mains


def _coarse(seed: int, chunk: int) -> np.ndarray:
    """Return the 1/f noise of each channel at a chunk's begin: octaves of values in between."""
    total = np.zeros(CHANNELS)
    for octave in range(OCTAVES):
        knot, inside = divmod(chunk, 2**octave)
        share = inside / 2**octave
        left, right = (_knot(seed, octave, each) for each in (knot, knot + 1))
        # What lies between two knots varies as much as they do.
        total += ((1 - share) * left + share * right) / np.hypot(1 - share, share)
    return OCTAVE_PART * total


@cache
def _knots(seed: int, octave: int, group: int) -> np.ndarray:
    rng = generator(seed, Purpose.DATA, 1 + octave, group)
    return rng.standard_normal((64, CHANNELS))


def _knot(seed: int, octave: int, number: int) -> np.ndarray:
    group, place = divmod(number, 64)
    found: np.ndarray = _knots(seed, octave, group)[place]
    return found


def _flicker(seed: int, chunk: int, rng: np.random.Generator) -> np.ndarray:
    """Return (CHUNK, channels) of 1/f noise, by halving between the chunk's ends."""
    values = np.stack([_coarse(seed, chunk), _coarse(seed, chunk + 1)])
    while len(values) <= CHUNK // 16:
        middle = (values[1:] + values[:-1]) / 2
        middle += OCTAVE_PART * rng.standard_normal(middle.shape)
        wider = np.empty((2 * len(values) - 1, CHANNELS))
        wider[::2], wider[1::2] = values, middle
        values = wider
    return np.repeat(values[:-1], CHUNK // (len(values) - 1), axis=0)


def draw_chunk(machine: Machine, chunk: int) -> np.ndarray:
    """Draw times chunk * CHUNK on, (CHUNK, channels) in mA, without faults."""
    seed = machine.seed
    ring, rng = _ring(seed), generator(seed, Purpose.DATA, index=chunk)
    seconds = (chunk * CHUNK + np.arange(CHUNK)) / RATE
    current, noise, mains = _current(machine, chunk, seconds)
    ends = seconds[[0, -1]]
    waves = np.sin(2 * np.pi * ends[:, None, None] / ring["periods"] + ring["phases"]).sum(
        axis=2
    )  # (2, modes)
    thermal = waves @ ring["loadings"]
    share = np.linspace(0, 1, CHUNK)[:, None]
    gain = 1 + thermal[0] + share * (thermal[1] - thermal[0]) + _flicker(seed, chunk, rng)
    angle = 2 * np.pi * (50 * seconds + 0.4 * np.sin(2 * np.pi * seconds / 97))
    turns = np.exp(1j * angle[:, None] * np.arange(1, HARMONICS + 1))
    phasors = mains * ring["mains"] * np.exp(1j * ring["mains_phases"])
    read = gain * (ring["gain"] * current[:, None]) + (turns @ phasors).real
    white = rng.standard_normal((CHUNK, CHANNELS), np.float32)
    return (read + white * (noise * ring["noise"])).astype(np.float32)


def noise_of(machine: Machine) -> np.ndarray:
    """Return the white noise of each channel in mA: one sigma of a spike."""
    found: np.ndarray = _ring(machine.seed)["noise"]
    return found


def draw(machine: Machine, chunk: int, faults: tuple[Fault, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Draw a chunk with its faults, and which kind each time has (0 for none), uint8."""
    values = draw_chunk(machine, chunk)
    kinds = np.zeros(CHUNK, np.uint8)
    first = chunk * CHUNK
    for fault in faults:
        if fault.onset < first + CHUNK and fault.end > first:
            begun = fault.onset // CHUNK
            held = None
            if fault.kind == "freeze" and begun < chunk:
                held = draw_chunk(machine, begun)[fault.onset - begun * CHUNK, fault.channel]
            add_faults(values, kinds, first, fault, noise_of(machine), held)
    return values, kinds


def make(
    path: Path,
    seconds: float,
    machine: Machine,
    faults: tuple[Fault, ...],
    begin: int = 0,
    report: Report = silent,
) -> None:
    """Write a stretch of time as "X" (times, channels) in mA and "fault" (times,).

    Parameters
    ----------
    begin
        The first chunk: training and test are stretches of one machine's time.
    """

    def rows_of(number: int, first: int, count: int) -> Columns:
        values, kinds = draw(machine, begin + number, faults)
        return {"X": values[:count], "fault": kinds[:count]}

    fields = {"X": ("float32", (CHANNELS,)), "fault": ("uint8", ())}
    write(path, fields, notes(seconds, machine, faults, begin), times_of(seconds), rows_of,
          report=report, chunk_bytes=CHUNK * CHANNELS * 4)  # fmt: skip


def notes(
    seconds: float, machine: Machine, faults: tuple[Fault, ...], begin: int
) -> dict[str, Any]:
    """Return the attributes of such a store, by which one that is there is known again."""
    return {
        "rate": RATE,
        **asdict(machine),
        "seconds": seconds,
        "begin": begin,
        "faults": [asdict(fault) for fault in faults],
        "kinds": ["none", *KINDS],
    }


def times_of(seconds: float) -> int:
    """Return the times of so many seconds, in whole chunks."""
    return max(1, round(seconds * RATE / CHUNK)) * CHUNK


def fault_key(seed: int, what: str) -> int:
    """Return the seed of the faults of a stretch."""
    return key(seed, Purpose.DATA, index=10**9 + ("training", "test", "long").index(what)) >> 1
