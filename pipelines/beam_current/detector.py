"""A detector that watches a stream in bounded memory: statistics of residuals, and alarms.

Four statistics are followed, each on its own scale of time, each divided by its threshold:

- *fast*: mean of a residual over 8 times, less its own level of the last second, in mA, because the
  white noise is: spikes;
- *slow*: mean of a residual over 32 and over 128 units of 0.8 s, less what it was in training, as
  part of what the channel reads, because thermal modes and 1/f noise are: drifts;
- *flat*: mean square of a channel's steps from time to time over a window: one that is frozen;
- *common*: fall of the mean over channels from window to window: a loss of the beam.

A fault of one channel shifts what is expected of others a little. Where several channels are over
their threshold, those that are far below the highest are taken for its shadow.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipelines.beam_current.residuals import Expectation

BOX = 8  # times
UNIT = 8192  # times of a step of the slow scales
SLOW = (32, 128)  # units
LEVEL_UNITS = 1.0  # units over which a residual's own level follows
SHADOW, SHADOW_STEPS = 0.4, 3  # of the highest, of so many windows before as well
FROZEN = 10.0  # what a frozen channel counts as there
# How long a statistic stays below half its threshold before another alarm is raised, in times.
QUIET = {"fast": 400, "slow": 60 * 10_000, "flat": 2000, "common": 20_000}


@dataclass(frozen=True)
class Alarm:
    """Something that does not look like the beam that was learned.

    Attributes
    ----------
    channel
        -1 for the beam itself.
    onset, raised
        Time at which it seems to have begun, and up to which the stream had to be seen to say so.
    score
        How many times the threshold it was.
    """

    channel: int
    kind: str
    onset: int
    raised: int
    score: float


@dataclass(frozen=True)
class Limits:
    """Thresholds and levels, from training data alone: see `calibration`.

    Attributes
    ----------
    fast
        (channels,) mA, of means over 8 times.
    slow_level, slow
        (channels,), and (scales, channels): parts.
    flat
        (channels,) mA^2.
    common
        Part of the current.
    """

    fast: np.ndarray
    slow_level: np.ndarray
    slow: np.ndarray
    flat: np.ndarray
    common: float

    def to_json(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        return {name: np.asarray(value).tolist() for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> "Limits":
        """Return what `to_json` gave."""
        arrays = {name: np.array(value, np.float64) for name, value in saved.items()}
        return cls(**{**arrays, "common": float(saved["common"])})  # type: ignore[arg-type]


@dataclass
class State:
    """All that a detector keeps from one block to the next: its size never grows."""

    time: int
    level: np.ndarray  # (channels,) of the residual in mA
    tail: np.ndarray  # (BOX - 1, channels)
    units: np.ndarray  # (SLOW[-1], channels), the last ones, oldest first
    seen: int  # units
    common: float  # of the window before
    active: dict[str, np.ndarray]  # (channels or 1,) whether an alarm is on
    quiet: dict[str, np.ndarray]  # times since half the threshold was reached
    low: np.ndarray  # (channels,) time at which the slow statistic was low last

    def to_json(self) -> dict[str, Any]:
        """Return all of it, JSON-ready; floats to their last bit."""
        return _plain(asdict(self))

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> "State":
        """Return what `to_json` gave."""
        kinds: dict[str, Any] = {
            "level": np.float64, "tail": np.float32, "units": np.float64, "low": np.int64
        }  # fmt: skip
        found = {name: np.array(saved[name], kind) for name, kind in kinds.items()}
        channels = found["units"].shape[1]
        found["tail"] = found["tail"].reshape(BOX - 1, channels)
        for name, kind in (("active", bool), ("quiet", np.int64)):
            found[name] = {key: np.array(value, kind) for key, value in saved[name].items()}
        return cls(**{**saved, **found})


def first_state(channels: int, time: int = 0) -> State:
    """Return the state before anything was seen."""
    each = {kind: 1 if kind == "common" else channels for kind in QUIET}
    return State(
        time,
        np.full(channels, np.nan),
        np.zeros((BOX - 1, channels), np.float32),
        np.zeros((SLOW[-1], channels)),
        0,
        np.nan,
        {kind: np.zeros(count, bool) for kind, count in each.items()},
        {kind: np.full(count, QUIET[kind], np.int64) for kind, count in each.items()},
        np.full(channels, time, np.int64),
    )


@dataclass(frozen=True)
class Statistics:
    """The statistics of one unit of a stream.

    Attributes
    ----------
    fast, flat
        (windows, channels), the largest of each window in mA, and mA^2.
    fast_at
        (windows, channels), times in the unit at which the largest was reached.
    slow
        (scales, channels), NaN where too little was seen.
    common
        (windows,) falls.
    """

    fast: np.ndarray
    fast_at: np.ndarray
    flat: np.ndarray
    slow: np.ndarray
    common: np.ndarray


def step(expectation: Expectation, state: State, block: np.ndarray) -> Statistics:
    """Take one unit of readings (UNIT, channels) into the state; return its statistics."""
    windows = block.reshape(-1, expectation.length, block.shape[1])
    found = expectation.residuals(windows)
    means = found.parts.reshape(windows.shape).mean(axis=1, dtype=np.float64)
    scale = found.common[:, None] * expectation.gains.astype(np.float32)
    absolute = found.parts * scale
    own = absolute.reshape(windows.shape).mean(axis=1, dtype=np.float64)
    levels = _followed(own, state)
    lead = np.repeat(levels, expectation.length, axis=0).astype(np.float32)
    moved = np.concatenate([state.tail, absolute - lead])
    box = np.abs(_box(moved))
    state.tail = moved[-(BOX - 1) :].copy()
    by_window = box.reshape(windows.shape)
    at = by_window.argmax(axis=1)
    fast = np.take_along_axis(by_window, at[:, None], axis=1)[:, 0]
    flat = np.square(np.diff(windows, axis=1)).mean(axis=1)
    common = found.common.reshape(len(windows), -1).mean(axis=1, dtype=np.float64)
    before = np.concatenate([[state.common], common[:-1]])
    falls = np.nan_to_num((before - common) / common, nan=0.0)
    state.common = float(common[-1])
    state.units = np.concatenate([state.units[1:], means.mean(axis=0)[None]])
    state.seen += 1
    slow = np.stack(
        [
            state.units[-count:].mean(axis=0)
            if state.seen >= count
            else np.full(block.shape[1], np.nan)
            for count in SLOW
        ]
    )
    state.time += len(block)
    starts = np.arange(len(windows))[:, None] * expectation.length
    return Statistics(fast, starts + at - (BOX - 1), flat, slow, falls)


def alarms(limits: Limits, state: State, found: Statistics) -> Iterator[Alarm]:
    """Yield the alarms that a unit raises, in the order of their kinds; change what is active."""
    begun = state.time - UNIT
    fast = found.fast / limits.fast
    length = UNIT // len(fast)
    ends = begun + (1 + np.arange(len(fast))) * length
    flat = limits.flat / np.maximum(found.flat, 1e-12)
    # Without one channel's noise and mains, all that is expected is a little off.
    frozen = np.where(flat.max(axis=1, keepdims=True) >= 1, FROZEN, 0.0)
    fast = _unshadowed(fast, frozen)
    yield from _raise(state, "fast", fast, ends, begun + found.fast_at)
    starts = np.broadcast_to((ends - length)[:, None], fast.shape)
    # A window whose readings never change is flat without end; no score is that high.
    yield from _raise(state, "flat", np.minimum(flat, 1e6), ends, starts)
    fall = (found.common / limits.common)[:, None]
    yield from _raise(state, "common", fall, ends, (ends - length)[:, None])
    slow = np.nan_to_num(np.abs(found.slow - limits.slow_level) / limits.slow).max(axis=0)
    state.low[slow < 0.3] = state.time
    here = np.array([state.time])
    onsets = np.minimum(state.low, state.time - UNIT * SLOW[0] // 2)[None]
    yield from _raise(state, "slow", _unshadowed(slow[None]), here, onsets)


def watch(
    expectation: Expectation, limits: Limits, state: State, block: np.ndarray
) -> list[Alarm]:
    """Take one unit of a stream; return its alarms by time."""
    found = step(expectation, state, block)
    return sorted(alarms(limits, state, found), key=lambda each: each.raised)


def _raise(
    state: State, kind: str, scores: np.ndarray, ends: np.ndarray, onsets: np.ndarray
) -> Iterator[Alarm]:
    """Yield an alarm where a score (steps, channels) first reaches 1; end it after some quiet."""
    active, quiet = state.active[kind], state.quiet[kind]
    step_times = UNIT // len(scores)
    # Most units are quiet throughout, and looked at as one.
    loud = scores.max(axis=0) >= 0.5
    quiet[~loud] += UNIT
    for channel in np.flatnonzero(loud):
        for place, score in enumerate(scores[:, channel].tolist()):
            if score >= 1 and not active[channel]:
                active[channel] = True
                number = -1 if kind == "common" else int(channel)
                onset = max(0, int(onsets[place, channel]))
                yield Alarm(number, kind, onset, int(ends[place]), float(score))
            quiet[channel] = 0 if score >= 0.5 else quiet[channel] + step_times
            if quiet[channel] >= QUIET[kind]:
                active[channel] = False
    np.minimum(quiet, 10**9, out=quiet)
    active[quiet >= QUIET[kind]] = False


def _unshadowed(scores: np.ndarray, others: float | np.ndarray = 0.0) -> np.ndarray:
    """Return scores (steps, channels) without those that are the shadow of another channel.

    A fault may lie in one window with its beginning alone, and be expected in the next.
    """
    highest = np.maximum(scores.max(axis=1, keepdims=True), others)
    for _ in range(SHADOW_STEPS):
        highest[1:] = np.maximum(highest[1:], highest[:-1])
    return np.where((highest > 1) & (scores < SHADOW * highest), 0.0, scores)


def _followed(means: np.ndarray, state: State) -> np.ndarray:
    """Return the level of residuals before each window (windows, channels), as it follows them."""
    if np.isnan(state.level).any():
        state.level = means.mean(axis=0)
    # The level of the units before, which moves once a unit: no spike moves it by itself.
    middle = np.median(means, axis=0)
    before = state.level
    state.level = before + (middle - before) * LEVEL_UNITS
    share = np.linspace(0, 1, len(means), endpoint=False)[:, None]
    levels: np.ndarray = before + share * (state.level - before)
    return levels


def _box(values: np.ndarray) -> np.ndarray:
    """Return means of BOX times, one for each from the BOX-th on."""
    two = values[1:] + values[:-1]
    four = two[2:] + two[:-2]
    found: np.ndarray = (four[4:] + four[:-4]) / BOX
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
