"""Countries of a generated world, and what is published of them: figures, late and with gaps.

Everything is drawn from the hidden chain: the figures from rating and regime, the tone of a month's
news from the turn under way. No label is ever looked at.
"""

from dataclasses import dataclass

import numpy as np

from ooc.core.random_keys import Purpose, generator
from pipelines.sovereign_rating.chain import (
    AHEAD,
    NOTCHES,
    STATES,
    first_states,
    links,
    parts_of,
)

# Of each series: mean by regime, what a notch adds, deviation, months until it is
# published, and how often it is missing by regime.
SERIES = ("growth", "inflation", "debt", "reserves")
MEANS = np.array([[3.0, -1.0, 5.0], [4.0, 8.0, 5.0], [60.0, 66.0, 60.0], [5.0, 3.6, 5.4]])
SLOPES = np.array([0.0, -0.3, -3.0, 0.35])
DEVIATIONS = np.array([2.0, 2.0, 6.0, 0.8])
LAGS = (3, 1, 6, 2)
MISSING = np.array([[0.1, 0.1, 0.1], [0.05, 0.1, 0.05], [0.15, 0.25, 0.15], [0.1, 0.4, 0.1]])
MIDDLE = 10.0  # notches, where slopes begin

TONES = ("neutral", "alarmed", "worried", "hopeful")
# The tone of a month's news (column) by the turn under way: none, -2, -1, +1 notches.
TONE_SHARES = np.array([[0.94, 0.02, 0.02, 0.02], [0.03, 0.85, 0.11, 0.01],
                        [0.07, 0.06, 0.86, 0.01], [0.08, 0.01, 0.01, 0.9]])  # fmt: skip
WINDOWS = (12, 36)  # months, of the means of each series
OF_RATING = ("rating", "years since a change", "change in 12 months", "change in 36 months")
FIGURES = (
    *(f"{series}, {what}" for series in SERIES for what in ("latest", "12 months", "36 months")),
    *OF_RATING,
)


@dataclass(frozen=True)
class World:
    """What happened in every country, month by month.

    Attributes
    ----------
    states
        (countries, months + 12) hidden states.
    ratings
        (countries, months + 12) notches; the last year is there to be foretold.
    series
        (countries, months, 4) by the month that they are of, NaN where never published.
    tones
        (countries, months) tone of the news.
    seed
        Of all of it.
    """

    states: np.ndarray
    ratings: np.ndarray
    series: np.ndarray
    tones: np.ndarray
    seed: int

    @property
    def countries(self) -> int:
        """Countries of the world."""
        return self.tones.shape[0]

    @property
    def months(self) -> int:
        """Months in which forecasts are made."""
        return self.tones.shape[1]


def make_world(seed: int, countries: int, months: int) -> World:
    """Draw the hidden lives of countries, and what is published of them."""
    states, ratings = _lives(seed, countries, months + AHEAD)
    regimes, steps = parts_of(states[:, :months])
    rng = generator(seed, Purpose.DATA, index=1)
    series = np.moveaxis(MEANS[:, regimes], 0, -1) + SLOPES * (ratings[:, :months, None] - MIDDLE)
    series += DEVIATIONS * rng.standard_normal(series.shape)
    missing = np.moveaxis(MISSING[:, regimes], 0, -1)
    series[rng.random(series.shape) < missing] = np.nan
    edges = np.cumsum(TONE_SHARES, axis=1)[steps + 1]
    tones = (rng.random(steps.shape)[..., None] > edges[..., :-1]).sum(axis=-1)
    return World(states, ratings, series, tones, seed)


def _lives(seed: int, countries: int, months: int) -> tuple[np.ndarray, np.ndarray]:
    """Walk along the chain's links."""
    rng, chain = generator(seed, Purpose.TRUTH), links()
    ratings = np.empty((countries, months), np.int64)
    states = np.empty_like(ratings)
    ratings[:, 0] = rng.integers(3, NOTCHES - 3, countries)
    states[:, 0] = rng.choice(STATES, countries, p=first_states())
    # The links of one rating and state lie side by side.
    keys = np.repeat(np.arange(NOTCHES), np.diff(chain.first)) * STATES + chain.source
    ends = np.cumsum(chain.chance)
    for month in range(1, months):
        key = ratings[:, month - 1] * STATES + states[:, month - 1]
        first, last = np.searchsorted(keys, key), np.searchsorted(keys, key, "right") - 1
        below = ends[first] - chain.chance[first]
        place = np.searchsorted(ends, below + rng.random(countries) * (ends[last] - below))
        place = np.clip(place, first, last)
        ratings[:, month], states[:, month] = chain.rating[place], chain.target[place]
    return states, ratings


def published(world: World) -> np.ndarray:
    """Return what is known in each month, (countries, months, figures) float32, NaN if missing.

    A series of a month counts from the month in which it is published, see LAGS.
    """
    parts = []
    for place, lag in enumerate(LAGS):
        known = np.full((world.countries, world.months), np.nan)
        known[:, lag:] = world.series[:, : world.months - lag, place]
        parts += [known, *(_trailing_mean(known, window) for window in WINDOWS)]
    ratings = world.ratings[:, : world.months].astype(np.float64)
    parts += [ratings, _years_since_change(ratings)]
    for window in WINDOWS:
        before = np.concatenate(
            [np.repeat(ratings[:, :1], window, axis=1), ratings[:, :-window]], axis=1
        )
        parts.append(ratings - before)
    return np.stack(parts, axis=-1).astype(np.float32)


def movements(world: World) -> np.ndarray:
    """Return how many notches each rating moves within the next year, (countries, months)."""
    found: np.ndarray = world.ratings[:, AHEAD:] - world.ratings[:, :-AHEAD]
    return found


def _trailing_mean(known: np.ndarray, window: int) -> np.ndarray:
    present = ~np.isnan(known)
    sums = np.cumsum(np.where(present, known, 0.0), axis=1)
    counts = np.cumsum(present, axis=1)
    sums[:, window:] -= sums[:, :-window].copy()
    counts[:, window:] -= counts[:, :-window].copy()
    return np.divide(sums, counts, out=np.full(known.shape, np.nan), where=counts > 0)


def _years_since_change(ratings: np.ndarray) -> np.ndarray:
    """Return the years since the last change, five at most."""
    since = np.full(ratings.shape, 5.0)
    for month in range(1, ratings.shape[1]):
        same = ratings[:, month] == ratings[:, month - 1]
        since[:, month] = np.where(same, np.minimum(since[:, month - 1] + 1 / 12, 5.0), 0.0)
    return since
