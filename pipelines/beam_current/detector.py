"""A detector that watches a stream in bounded memory: statistics of residuals, and alarms.

Four statistics are followed, each on its own scale of time, each divided by its threshold:

- *fast*: mean of a residual over 8 times, less its own level of the last second, in mA, because the
  white noise is: spikes;
- *slow*: mean of a reading over 32 and over 128 units of 0.8 s, relative to the other channels,
  less what these let expect of it: drifts (see `slow`; no network is needed for that);
- *flat*: mean square of a channel's steps from time to time over a window: one that is frozen;
- *common*: fall of the mean over channels from window to window: a loss of the beam.

A fault of one channel shifts what is expected of others. Where several channels are over their fast
threshold within 25 ms the highest counts; the others are taken for its shadow. A channel that is
frozen is filled in before the network sees it (see `filling`), and channels are shown to it without
their levels of the last 0.8 s, which only the slow statistic judges.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipelines.beam_current.filling import fill, held, is_still, steps_of
from pipelines.beam_current.network import LOWEST
from pipelines.beam_current.residuals import Expectation
from pipelines.beam_current.slow import scores as slow_scores
from pipelines.beam_current.state import (
    BOX,
    QUIET,
    SHADOW_STEPS,
    SLOW,
    UNIT,
    Alarm,
    Limits,
    State,
)  # fmt: skip

LEAST_LEVEL = -0.5  # no reading is shown as more than twice what it is


@dataclass(frozen=True)
class Statistics:
    """The statistics of a block of windows.

    Attributes
    ----------
    fast, flat
        (windows, channels), the largest of each window in mA, and mA^2.
    fast_at
        (windows, channels), times in the block at which the largest began.
    slow
        (scales, channels), NaN where too little was seen; None where no unit ends here.
    common
        (windows,) falls.
    times
        Of the block.
    """

    fast: np.ndarray
    fast_at: np.ndarray
    flat: np.ndarray
    slow: np.ndarray | None
    common: np.ndarray
    times: int


def step(expectation: Expectation, state: State, block: np.ndarray) -> Statistics:
    """Take a block of readings (times, channels) into the state; return its statistics.

    A block is of whole windows, and ends no later than the unit in which it begins.
    """
    windows = block.reshape(-1, expectation.length, block.shape[1])
    flat = steps_of(windows)
    still, state.still = held(is_still(flat), state.still)
    if still.any():
        windows = fill(expectation, windows, still, state.units[-1])
    relative = relative_means(windows, expectation.gains)
    if np.isnan(state.common):  # nothing was seen before
        state.units[-1] = np.where(still, 0.0, relative).mean(axis=0)
    # Of levels that training never saw, as heat makes them in some hour of some day, or a drift,
    # all channels would be expected wrongly: each is shown without its level of the last unit.
    levels = 1 + np.maximum(state.units[-1], LEAST_LEVEL)
    found = expectation.residuals(windows / levels.astype(np.float32))
    scale = found.common[:, None] * expectation.gains.astype(np.float32)
    absolute = (found.parts * scale).reshape(windows.shape)
    first = state.time % UNIT // expectation.length
    own = state.means[first : first + len(windows)]
    own[...] = absolute.mean(axis=1, dtype=np.float64)
    # No spike moves the level by itself: it is the middle of the last unit's windows.
    if np.isnan(state.level).any():
        level = np.median(own, axis=0)
    else:
        level = state.level + _put_right(state, float(found.common.mean()), expectation.gains)
    if still.any():  # of a channel that stands nothing is known, until it moves again
        own[...] = np.where(still, level, own)
        absolute = np.where(still[:, None], level.astype(np.float32), absolute)
    moved = absolute.reshape(block.shape) - level.astype(np.float32)
    moved = np.concatenate([state.tail, moved])
    by_window = np.abs(_box(moved)).reshape(windows.shape)
    state.tail = moved[-(BOX - 1) :].copy()
    at = by_window.argmax(axis=1)
    fast = np.take_along_axis(by_window, at[:, None], axis=1)[:, 0]
    common = found.common.reshape(len(windows), -1).mean(axis=1, dtype=np.float64)
    before = np.concatenate([[state.common], common[:-1]])
    falls = np.nan_to_num((before - common) / common, nan=0.0)
    state.common = float(common[-1])
    state.parts += np.where(still, state.units[-1], relative).sum(axis=0)
    state.time += len(block)
    starts = np.arange(len(windows))[:, None] * expectation.length
    slow = _end_unit(state) if state.time % UNIT == 0 else None
    return Statistics(fast, starts + at - (BOX - 1), flat, slow, falls, len(block))


def _put_right(state: State, common: float, gains: np.ndarray) -> np.ndarray:
    """Return by how much residuals move, (channels,) mA, because other levels are taken away.

    Otherwise a step, such as the end of a drift, would be a step once more when it is known.
    """
    moved: np.ndarray = (state.units[-2] - state.units[-1]) * common * gains
    return moved


def relative_means(windows: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Return the mean of each channel in each window, relative to that over all channels."""
    means = windows.mean(axis=1, dtype=np.float64) / gains
    found: np.ndarray = means / np.maximum(means.mean(axis=1, keepdims=True), LOWEST) - 1
    return found


def _end_unit(state: State) -> np.ndarray:
    """Take a whole unit into the slow scales; return their means."""
    state.level = np.median(state.means, axis=0)
    state.units = np.concatenate([state.units[1:], state.parts[None] / len(state.means)])
    state.parts = np.zeros_like(state.parts)
    state.seen += 1
    nothing = np.full(len(state.parts), np.nan)
    return np.stack([state.units[-n:].mean(axis=0) if state.seen >= n else nothing for n in SLOW])


def alarms(limits: Limits, state: State, found: Statistics) -> Iterator[Alarm]:
    """Yield the alarms that a block raises, in the order of their kinds; change what is active."""
    begun, length = state.time - found.times, found.times // len(found.fast)
    ends = begun + (1 + np.arange(len(found.fast))) * length
    flat = limits.flat / np.maximum(found.flat, 1e-12)
    fast = _fast_alone(found.fast / limits.fast, state)
    onsets = begun + found.fast_at
    yield from _raise(state, "fast", fast, ends, onsets, found.times)
    starts = np.broadcast_to((ends - length)[:, None], fast.shape)
    # A window whose readings never change is flat without end; no score is that high.
    yield from _raise(state, "flat", np.minimum(flat, 1e6), ends, starts, found.times)
    fall = (found.common / limits.common)[:, None]
    yield from _raise(state, "common", fall, ends, (ends - length)[:, None], found.times)
    if found.slow is None:
        return
    known = np.isfinite(found.slow).all(axis=1)
    beyond = (found.slow - limits.slow_level)[known]
    slow = np.zeros(len(limits.slow_level))
    if known.any():
        slow = slow_scores(
            beyond, limits.slow_precision, limits.slow_moves, limits.slow[known],
            state.active["slow"],
        )  # fmt: skip
    state.low[slow < 0.3] = state.time
    here = np.array([state.time])
    onsets = np.minimum(state.low, state.time - UNIT * SLOW[0] // 2)[None]
    yield from _raise(state, "slow", slow[None], here, onsets, UNIT)


def watch(expectation: Expectation, limits: Limits, state: State, block: np.ndarray) -> list[Alarm]:
    """Take a block of a stream, see `step`; return its alarms by time."""
    found = step(expectation, state, block)
    return sorted(alarms(limits, state, found), key=lambda each: each.raised)


def _raise(
    state: State, kind: str, scores: np.ndarray, ends: np.ndarray, onsets: np.ndarray, times: int
) -> Iterator[Alarm]:
    """Yield an alarm where a score (steps, channels) first reaches 1; end it after some quiet."""
    active, quiet = state.active[kind], state.quiet[kind]
    each = times // len(scores)
    # Most blocks are quiet throughout, and looked at as one.
    loud = scores.max(axis=0) >= 0.5
    quiet[~loud] += times
    for channel in np.flatnonzero(loud):
        for place, score in enumerate(scores[:, channel].tolist()):
            if score >= 1 and not active[channel]:
                active[channel] = True
                number = -1 if kind == "common" else int(channel)
                onset = max(0, int(onsets[place, channel]))
                yield Alarm(number, kind, onset, int(ends[place]), float(score))
            quiet[channel] = 0 if score >= 0.5 else quiet[channel] + each
            if quiet[channel] >= QUIET[kind]:
                active[channel] = False
    np.minimum(quiet, 10**9, out=quiet)
    active[quiet >= QUIET[kind]] = False


def _fast_alone(scores: np.ndarray, state: State) -> np.ndarray:
    """Return scores (windows, channels) without those that are the shadow of another channel.

    A fault may lie in one window with its beginning alone, and be expected in the next.
    """
    own = np.concatenate([state.highest, scores.max(axis=1)])
    state.highest = own[-SHADOW_STEPS:].copy()
    count = len(scores)
    highest = np.max([own[n : n + count] for n in range(SHADOW_STEPS + 1)], axis=0)[:, None]
    return np.where((highest > 1) & (scores < highest), 0.0, scores)


def _box(values: np.ndarray) -> np.ndarray:
    """Return means of BOX times, one for each from the BOX-th on."""
    two = values[1:] + values[:-1]
    four = two[2:] + two[:-2]
    found: np.ndarray = (four[4:] + four[:-4]) / BOX
    return found
