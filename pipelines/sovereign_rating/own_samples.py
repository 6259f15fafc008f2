"""What was known of a country in a month, and its rating a year later, from a table of one's own.

Rows are divided by whole countries or by time, and by nothing else: two rows of one country lie a
month apart and have nearly the same rating, so that a random row is known from its neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose, generator
from pipelines.sovereign_rating.chain import AHEAD
from pipelines.sovereign_rating.table_file import SPLITS, Observations

OLDEST = 24  # months after its publication for which a value still counts
FEWEST_ROWS, FEWEST_COUNTRIES = 30, 10
LEARNED, CHOOSING = 0.6, 0.2  # of countries, or of the months
NO_RANDOM_ROWS = (
    "a split by random rows is refused: rows of one country lie months apart and have nearly the "
    "same rating, so that each would be known from its neighbours and the score would mean "
    "nothing; take --split countries or --split years"
)


@dataclass(frozen=True)
class Samples:
    """Months of countries from which a rating is foretold.

    Attributes
    ----------
    country, month
        (rows,) as `Observations` has them.
    figures
        (rows, indicators) float32, the latest values that were published; NaN where there is none.
    rating, change
        (rows,) the rating of the month, and how much it moved in twelve months (NaN if unknown).
    later
        (rows,) the rating twelve months on.
    """

    country: np.ndarray
    month: np.ndarray
    figures: np.ndarray
    rating: np.ndarray
    change: np.ndarray
    later: np.ndarray


def samples_of(table: Observations) -> Samples:
    """Return every month that has a rating and, twelve months on, another.

    An indicator counts from the month in which it is published, see `Observations.lags`.

    Raises
    ------
    InputError
        If no month has.
    """
    keys = _keys(table.country, table.month)
    rated = table.rating >= 0
    place = np.searchsorted(keys, keys + AHEAD)
    at = np.minimum(place, len(keys) - 1)
    kept = rated & (place < len(keys)) & (keys[at] == keys + AHEAD) & (table.rating[at] >= 0)
    if not kept.any():
        raise InputError(
            f"no row has a rating and, {AHEAD} months later, another one of the same country; "
            "nothing can be foretold from this table"
        )
    wanted, columns = keys[kept], []
    for lag, values in zip(table.lags, table.indicators.T, strict=True):
        columns.append(_latest(keys, values, wanted - lag))
    before = _latest(keys, np.where(rated, table.rating, np.nan), wanted - AHEAD)
    rating = table.rating[kept]
    return Samples(
        table.country[kept],
        table.month[kept],
        np.stack(columns, axis=1).astype(np.float32),
        rating,
        (rating - before).astype(np.float32),
        table.rating[at[kept]],
    )


def check_split(*ways: str) -> None:
    """Refuse any other way to hold rows out than by countries or years, with the reason.

    Raises
    ------
    InputError
        If a way is none of SPLITS.
    """
    for by in ways:
        if by == "rows":
            raise InputError(NO_RANDOM_ROWS)
        if by not in SPLITS:
            raise InputError(f"--split {by} is none of {', '.join(SPLITS)}")


def split_of(samples: Samples, by: str, seed: int) -> Mapping[str, np.ndarray]:
    """Return which rows teach ("learned"), choose ("choosing") and judge ("judged").

    Parameters
    ----------
    by
        "countries": each is in one of them alone, at random. "years": the last judge, and no label
        of the others lies in them.

    Raises
    ------
    InputError
        If `by` is another way, or any of them has too few rows.
    """
    check_split(by)
    groups = _by_countries(samples, seed) if by == "countries" else _by_years(samples)
    for name, which in groups.items():
        if which.sum() < FEWEST_ROWS:
            raise InputError(
                f"of {len(which):,} rows with a rating twelve months later {which.sum():,} are "
                f"{name} in a split by {by}; {FEWEST_ROWS} are needed: take a longer table, "
                "or the other --split"
            )
    return groups


def _by_countries(samples: Samples, seed: int) -> dict[str, np.ndarray]:
    countries = np.unique(samples.country)
    if len(countries) < FEWEST_COUNTRIES:
        raise InputError(
            f"{len(countries)} countries are too few to hold some out; {FEWEST_COUNTRIES} are "
            "needed, or --split years"
        )
    order = generator(seed, Purpose.SPLIT).permutation(countries)
    first, second = round(LEARNED * len(order)), round((LEARNED + CHOOSING) * len(order))
    parts = order[:first], order[first:second], order[second:]
    names = ("learned", "choosing", "judged")
    return {name: np.isin(samples.country, part) for name, part in zip(names, parts, strict=True)}


def _by_years(samples: Samples) -> dict[str, np.ndarray]:
    first, second = np.quantile(samples.month, [LEARNED, LEARNED + CHOOSING], method="nearest")
    known = samples.month + AHEAD
    return {
        "learned": known < first,
        "choosing": (samples.month >= first) & (known < second),
        "judged": samples.month >= second,
    }


def _keys(country: np.ndarray, month: np.ndarray) -> np.ndarray:
    """Return rising numbers, of which those of two countries are centuries apart."""
    return country.astype(np.int64) * 10**6 + month


def _latest(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the last value up to each wanted month, none older than OLDEST, as float64."""
    present = ~np.isnan(values)
    known, held = keys[present], values[present]
    if not len(known):
        return np.full(len(wanted), np.nan)
    place = np.searchsorted(known, wanted, "right") - 1
    at = np.maximum(place, 0)
    return np.where((place >= 0) & (wanted - known[at] <= OLDEST), held[at], np.nan)
