"""Thresholds from training data alone: the tail of each statistic, extrapolated to a wanted rate.

Training data have faults, as every archive has. Levels are medians, spreads are of quantiles that
faults of a hundredth of the data hardly move, and the tail of the fast statistic is extrapolated
from where it is still made of many windows.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from ooc.core.errors import InputError
from pipelines.beam_current import slow
from pipelines.beam_current.detector import Statistics
from pipelines.beam_current.filling import is_still
from pipelines.beam_current.state import UNIT, Limits, State, first_state

Method = Callable[[State, np.ndarray], Statistics]

FALSE_A_DAY = 0.2  # that each statistic may raise
BINS, WIDTH = 4000, 0.005  # of the fast statistic, in units of its median
# Shares of windows above the two points by which the fast tail is extrapolated.
TAIL = (0.05, 0.002)
# What a fast statistic may be beyond its extrapolated tail, which may be heavier than a normal one
# where no window of the training data was.
FAST_ROOM = 1.1
FLAT_SHARE = 0.1  # of the usual mean square step of a channel
# What a fall of the current may be beyond the largest of all but one window in ten thousand.
COMMON_ROOM = 3.0


@dataclass
class Tails:
    """What is gathered on the way through the training data."""

    channels: int
    counts: np.ndarray = field(init=False)
    medians: np.ndarray = field(init=False)  # of a unit in which a channel moved
    flats: list[np.ndarray] = field(default_factory=list)
    falls: list[float] = field(default_factory=list)
    slow: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.channels, BINS), np.int64)
        self.medians = np.zeros(self.channels)

    def add(self, found: Statistics) -> None:
        """Add the statistics of a unit."""
        self.medians = np.where(self.medians > 0, self.medians, np.median(found.fast, axis=0))
        for channel in np.flatnonzero(self.medians > 0):
            # Of windows in which it stands there is nothing.
            fast = found.fast[found.fast[:, channel] > 0, channel] / self.medians[channel]
            bins = np.minimum(fast / WIDTH, BINS - 1).astype(np.int64)
            self.counts[channel] += np.bincount(bins, minlength=BINS)
        self.flats.append(np.median(found.flat, axis=0))
        self.falls.append(float(np.quantile(np.abs(found.common), 0.99)))
        if found.slow is not None:
            self.slow.append(found.slow)


def calibrate(
    method: Method, units: Iterable[np.ndarray], rate: int, alone: bool = False
) -> Limits:
    """Watch the units of the training data, in order; return the limits.

    Parameters
    ----------
    method
        Takes a unit into a state, and returns its statistics.
    rate
        Times a second.
    alone
        Whether each channel's slow statistic is judged by itself, as control charts do.

    Raises
    ------
    InputError
        If a channel hardly moves: it would be taken for one that is frozen.
    """
    state, tails, windows = None, None, 1
    for block in units:
        if state is None or tails is None:
            state, tails = first_state(block.shape[1]), Tails(block.shape[1])
        found = method(state, block)
        windows = len(found.fast)
        tails.add(found)
    assert tails is not None, "there are units"
    usual = np.median(tails.flats, axis=0)
    if (dead := is_still(usual[None])[0]).any() or not usual.any():
        channel = int(dead.argmax())
        raise InputError(
            f"channel {channel} hardly moves in the training data: its mean square step is "
            f"{usual[channel]:.2g}, the middle channel's {np.median(usual):.2g}; leave it out"
        )
    windows_a_day = 86_400 * rate / UNIT * windows
    wanted = FALSE_A_DAY / (windows_a_day * tails.channels)
    rare_values = np.array([tail_of(counts, wanted) for counts in tails.counts])
    fast = FAST_ROOM * rare_values * tails.medians
    series = np.stack(tails.slow)
    if alone:
        level = np.nanmedian(series[:, 0], axis=0)
        moves, spreads = np.eye(tails.channels), np.ones(series.shape[1])
        # Of the absolute values, as a drift in the training data is on one side only.
        own = np.nanquantile(np.abs(series[:, 0] - level), 0.9, axis=0) / 1.645
        precision = np.diag(1 / np.maximum(own, 1e-12) ** 2)
    else:
        level, precision, spreads = slow.fit(series)
        moves = slow.directions(tails.channels)
    # As if every unit were independent of the one before, which has most of its noise.
    rare = FALSE_A_DAY / (86_400 * rate / UNIT * tails.channels)
    deviations = NormalDist().inv_cdf(1 - rare / 2)
    flat = usual * FLAT_SHARE
    common = COMMON_ROOM * float(np.quantile(tails.falls, 0.99))
    return Limits(fast, level, precision, moves, deviations * spreads, flat, common)


def tail_of(counts: np.ndarray, wanted: float, tail: tuple[float, float] = TAIL) -> float:
    """Return the value that a share `wanted` exceeds, as the tail of a normal variable falls.

    log S(z) + log z is a line in z^2 where z is large: two of its points say which.
    """
    shares = 1 - np.cumsum(counts) / counts.sum()
    first, second = (WIDTH * (1 + np.searchsorted(-shares, -share)) for share in tail)
    (a, b) = (np.log(share) + np.log(z) for share, z in zip(tail, (first, second), strict=True))
    slope = (b - a) / (second**2 - first**2)
    z = second
    for _ in range(50):  # a contraction: log z hardly changes
        z = np.sqrt(second**2 + (np.log(wanted) + np.log(z) - b) / slope)
    return float(z)
