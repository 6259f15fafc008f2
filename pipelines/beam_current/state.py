"""What a detector knows and keeps: alarms, thresholds, and a state whose size never grows."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

BOX = 8  # times
UNIT = 8192  # times of a step of the slow scales
SLOW = (32, 128)  # units
SHADOW_STEPS = 3  # windows in which but the highest fast score counts
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
    slow_level, slow_precision, slow_moves
        (channels,) parts, and (channels, channels) twice: see `slow.deviations`.
    slow
        (scales,) deviations.
    flat
        (channels,) mA^2.
    common
        Part of the current.
    """

    fast: np.ndarray
    slow_level: np.ndarray
    slow_precision: np.ndarray
    slow_moves: np.ndarray
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
    means: np.ndarray  # (windows of a unit, channels) of the unit at hand, in mA
    parts: np.ndarray  # (channels,) sum of its windows' relative means
    highest: np.ndarray  # (SHADOW_STEPS,) scores of the windows before
    units: np.ndarray  # (SLOW[-1], channels) relative means of the last ones, oldest first
    seen: int  # units
    common: float  # of the window before
    still: np.ndarray  # (channels,) whether it stood in the window before
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
            "level": np.float64, "tail": np.float32, "units": np.float64, "low": np.int64,
            "means": np.float64, "parts": np.float64, "highest": np.float64, "still": bool,
        }  # fmt: skip
        found: dict[str, Any] = {name: np.array(saved[name], kind) for name, kind in kinds.items()}
        channels = found["units"].shape[1]
        found["tail"] = found["tail"].reshape(BOX - 1, channels)
        for name, kind in (("active", bool), ("quiet", np.int64)):
            found[name] = {key: np.array(value, kind) for key, value in saved[name].items()}
        return cls(**{**saved, **found})


def first_state(channels: int, time: int = 0, length: int = 64) -> State:
    """Return the state before anything was seen."""
    each = {kind: 1 if kind == "common" else channels for kind in QUIET}
    return State(
        time,
        np.full(channels, np.nan),
        np.zeros((BOX - 1, channels), np.float32),
        np.zeros((UNIT // length, channels)),
        np.zeros(channels),
        np.zeros(SHADOW_STEPS),
        np.zeros((SLOW[-1], channels)),
        0,
        np.nan,
        np.zeros(channels, bool),
        {kind: np.zeros(count, bool) for kind, count in each.items()},
        {kind: np.full(count, QUIET[kind], np.int64) for kind, count in each.items()},
        np.full(channels, time, np.int64),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
