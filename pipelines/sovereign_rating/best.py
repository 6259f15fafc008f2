"""The best forecast that is possible: the exact filter of the hidden chain (Rabiner 1989).

It knows every number of the generator but nothing hidden, and in each month only what is published
by then: ratings and news up to that month, every series up to its lag. No forecast of any method
has a better expected log score. It shares nothing with the network but what is published.
"""

from functools import cache

import numpy as np

from ooc.core.compiler import exact_kernel
from pipelines.sovereign_rating.chain import (
    AHEAD,
    NOTCHES,
    STATES,
    first_states,
    links,
    parts_of,
)
from pipelines.sovereign_rating.world import (
    DEVIATIONS,
    LAGS,
    MEANS,
    MIDDLE,
    MISSING,
    SLOPES,
    TONE_SHARES,
    World,
)


@cache
def outlook() -> np.ndarray:
    """Return how likely each rating is in twelve months, (NOTCHES, STATES, NOTCHES)."""
    from scipy.sparse import csr_array

    chain, size = links(), NOTCHES * STATES
    before = np.repeat(np.arange(NOTCHES), np.diff(chain.first)) * STATES + chain.source
    after = chain.rating * STATES + chain.target
    month = csr_array((chain.chance, (before, after)), shape=(size, size))
    likely = np.repeat(np.eye(NOTCHES), STATES, axis=0)
    for _ in range(AHEAD):
        likely = month @ likely
    return likely.reshape(NOTCHES, STATES, NOTCHES)


def best_forecast(world: World, evidence: np.ndarray | None) -> np.ndarray:
    """Return how likely each rating is in twelve months, (countries, months, NOTCHES).

    Parameters
    ----------
    evidence
        (countries, months, tones) log-likelihood of a month's headlines by tone; None for figures
        alone.
    """
    chain, tables = links(), outlook()
    regimes, steps = parts_of(np.arange(STATES))
    filtered = np.empty((world.months, STATES))
    likely = np.empty((world.countries, world.months, NOTCHES))
    for country in range(world.countries):
        ratings = world.ratings[country]
        figures = _log_figures(world.series[country], ratings[: world.months], regimes)
        news = np.zeros((world.months, len(TONE_SHARES)))
        if evidence is not None:
            each = evidence[country] - evidence[country].max(axis=-1, keepdims=True)
            news = np.log(np.exp(each) @ TONE_SHARES.T)
        _filter(
            ratings, figures, news, steps + 1, first_states(), np.array(LAGS), chain.first,
            chain.source, chain.target, chain.rating, chain.chance, filtered,
        )  # fmt: skip
        likely[country] = np.einsum("ms,msn->mn", filtered, tables[ratings[: world.months]])
    return likely


def _log_figures(series: np.ndarray, ratings: np.ndarray, regimes: np.ndarray) -> np.ndarray:
    """Return the log-likelihood of each value, or of its lack, (months, series, STATES)."""
    parts = []
    for place, deviation in enumerate(DEVIATIONS):
        values = series[:, place, None]
        mean = MEANS[place, regimes] + SLOPES[place] * (ratings[:, None] - MIDDLE)
        density = -0.5 * ((values - mean) / deviation) ** 2 + np.log1p(-MISSING[place, regimes])
        parts.append(np.where(np.isnan(values), np.log(MISSING[place, regimes]), density))
    return np.stack(parts, axis=1)


@exact_kernel
def _filter(
    ratings: np.ndarray,
    figures: np.ndarray,
    news: np.ndarray,
    kinds: np.ndarray,
    start: np.ndarray,
    lags: np.ndarray,
    first: np.ndarray,
    source: np.ndarray,
    target: np.ndarray,
    rating: np.ndarray,
    chance: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill `out` with how likely each state is, given what is published by each month."""
    months, states = out.shape
    longest = lags.max()
    settled, now, after = np.empty(states), np.empty(states), np.empty(states)
    settled[:] = start
    for month in range(months):
        # All series up to `begin` are published: from there on some are not.
        begin = month - longest
        if begin > 0:
            _step(settled, after, ratings[begin - 1], ratings[begin], first, source, target,
                  rating, chance)  # fmt: skip
            settled[:] = after
        if begin >= 0:
            _weigh(settled, figures[begin], news[begin], kinds, lags, longest)
        now[:] = settled
        for each in range(max(begin, 0), month + 1):
            if each > max(begin, 0):
                _step(now, after, ratings[each - 1], ratings[each], first, source, target,
                      rating, chance)  # fmt: skip
                now[:] = after
            if each > begin:
                _weigh(now, figures[each], news[each], kinds, lags, month - each)
        out[month] = now


@exact_kernel
def _step(
    before: np.ndarray,
    after: np.ndarray,
    old: int,
    new: int,
    first: np.ndarray,
    source: np.ndarray,
    target: np.ndarray,
    rating: np.ndarray,
    chance: np.ndarray,
) -> None:
    after[:] = 0.0
    for each in range(first[old], first[old + 1]):
        if rating[each] == new:
            after[target[each]] += before[source[each]] * chance[each]
    total = after.sum()
    for state in range(after.size):
        after[state] /= total


@exact_kernel
def _weigh(
    likely: np.ndarray,
    figures: np.ndarray,
    news: np.ndarray,
    kinds: np.ndarray,
    lags: np.ndarray,
    age: int,
) -> None:
    """Weigh states by the news and by the series that are published at an age in months."""
    highest = -np.inf
    logs = np.empty(likely.size)
    for state in range(likely.size):
        logs[state] = news[kinds[state]]
        for series in range(lags.size):
            if lags[series] <= age:
                logs[state] += figures[series, state]
        if likely[state] > 0:
            highest = max(highest, logs[state])
    total = 0.0
    for state in range(likely.size):
        likely[state] *= np.exp(logs[state] - highest)
        total += likely[state]
    for state in range(likely.size):
        likely[state] /= total
