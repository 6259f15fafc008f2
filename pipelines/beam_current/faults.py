"""Faults: what breaks, where, from when to when, and how much of it."""

from dataclasses import dataclass

import numpy as np

KINDS = ("spike", "drift", "loss", "freeze")
# A spike falls off by e in so many times; it is over after five of these.
SPIKE_TIMES = 8
SPIKE_SIGMAS, DRIFT_RATES = (3.0, 10.0), (0.05, 0.1, 0.2, 0.5, 1.0)  # percent an hour
LOSS_SHARES, REFILL_SECONDS = (0.02, 0.1), 8.0
FREEZE_SECONDS = (5.0, 60.0)
# After its end, until the next fault of the same channel.
RECOVERY_SECONDS = {"spike": 0.2, "drift": 300.0, "loss": 0.0, "freeze": 60.0}


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    channel
        Of the monitor; -1 where the beam itself is at fault.
    onset, end
        First time, and the one after the last.
    size
        Of a spike in sigmas of the channel's white noise, of a drift in percent an hour, of a loss
        the share of the beam; of a freeze 0.
    """

    kind: str
    channel: int
    onset: int
    end: int
    size: float


def add_faults(
    values: np.ndarray,
    kinds: np.ndarray,
    first: int,
    fault: Fault,
    noise: np.ndarray,
    held: float | None,
) -> None:
    """Put a fault into a chunk that begins at time `first`, in place.

    Parameters
    ----------
    noise
        White noise of each channel, in the units of the values.
    held
        What a frozen channel read before this chunk, where it froze before.
    """
    low, high = max(fault.onset - first, 0), min(fault.end - first, len(values))
    since = np.arange(low + first, high + first) - fault.onset
    kinds[low:high] = 1 + KINDS.index(fault.kind)
    part = values[low:high]
    if fault.kind == "spike":
        sign = 1 if fault.onset % 2 else -1
        part[:, fault.channel] += (
            sign * fault.size * noise[fault.channel] * np.exp(-since / SPIKE_TIMES)
        )
    elif fault.kind == "drift":
        part[:, fault.channel] *= 1 + fault.size / 100 * since / 36e6
    elif fault.kind == "loss":
        refilled = np.clip(since / (REFILL_SECONDS * 1e4), 0, 1)
        part *= (1 - fault.size * (1 - refilled))[:, None]
    else:
        part[:, fault.channel] = part[0, fault.channel] if held is None else held


def schedule(
    seed: int, begin: int, end: int, channels: int, rate: int, share: float | None
) -> tuple[Fault, ...]:
    """Draw the faults of a stretch of times.

    Parameters
    ----------
    share
        Of all readings, how many may be faulty, as in an archive; None for as many as a test
        takes, where each kind comes again and again.
    """
    rng = np.random.Generator(np.random.SFC64(seed))
    minute, found = 60 * rate, list[Fault]()
    every = {"spike": 3.0, "drift": 900.0, "loss": 300.0, "freeze": 300.0}  # seconds
    if share is not None:
        every = {"spike": 60.0, "drift": 1500.0, "loss": 1800.0, "freeze": 1200.0}
    else:  # however short a test is, some faults of each kind are in it
        shortest = (end - begin) / rate / 3
        every = {kind: min(apart, shortest) for kind, apart in every.items()}
    lasts = {"spike": 5 * SPIKE_TIMES, "drift": 17 * minute, "loss": round(REFILL_SECONDS * rate)}
    # In a short test a freeze is short, too, so that there is one.
    lasts["freeze"] = (end - begin) // 10
    free = np.full(channels, begin)
    left = np.inf if share is None else share * channels * (end - begin)
    drifts = 0
    starts = [
        (begin + place, kind)
        for kind in KINDS
        for place in _places(rng, end - begin, every[kind] * rate)
    ]
    for onset, kind in sorted(starts):
        length = lasts[kind] if share is None or kind != "drift" else 5 * minute
        if kind == "freeze":
            length = min(length, round(rate * float(rng.uniform(*FREEZE_SECONDS))))
        idle = np.flatnonzero(free <= onset)
        if onset + length > end or len(idle) < channels // 2:
            continue
        taken = length * (channels if kind == "loss" else 1)
        if taken > left:
            continue
        left -= taken
        channel = -1 if kind == "loss" else int(rng.choice(idle))
        size = 0.0
        if kind == "spike":
            size = float(rng.uniform(*SPIKE_SIGMAS))
        elif kind == "drift":
            size, drifts = DRIFT_RATES[drifts % len(DRIFT_RATES)], drifts + 1
        elif kind == "loss":
            size = float(rng.uniform(*LOSS_SHARES))
        found.append(Fault(kind, channel, onset, onset + length, size))
        if channel >= 0:
            free[channel] = onset + length + round(RECOVERY_SECONDS[kind] * rate)
    return tuple(found)


def _places(rng: np.random.Generator, times: int, every: float) -> list[int]:
    """Draw times at random, so many apart on average."""
    gaps = every * (0.5 + rng.exponential(0.5, int(2 * times / every) + 8))
    found = np.cumsum(gaps) - every / 2
    return [int(place) for place in found if place < times]
