"""A table of one's own: a CSV of countries, dates, indicators and ratings, and what each column is.

The columns are named in a TOML file, with the months until each indicator is published: an
indicator without that would be known in the forecast before anybody knew it.
"""

import csv
import datetime
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from pipelines.sovereign_rating.notches import SCALES

SPLITS = ("countries", "years")
MOST_NOTCHES = 64
LONGEST_LAG = 120  # months
# What stands for no value, in any case of letters.
NOTHING = frozenset({"", "na", "n/a", "nan", "null", ".", "..", "-"})
EXAMPLE = 'country = "iso3", date = "month", rating = "rating", scale = "sp", [lags] growth = 3'


@dataclass(frozen=True)
class Columns:
    """Which column is what.

    Attributes
    ----------
    country, date, rating
        Names of columns.
    scale
        What is written for a rating, and its notch: 0 is the lowest. None for whole numbers.
    lags
        Names of indicators, and the months until each is published.
    """

    country: str
    date: str
    rating: str
    scale: Mapping[str, int] | None
    lags: Mapping[str, int]


@dataclass(frozen=True)
class Observations:
    """A table as it is in the file, by country and month.

    Attributes
    ----------
    countries
        Names.
    country, month
        (rows,) numbers of countries, and months since the year 0; rising, none twice.
    rating
        (rows,) notches, -1 where there is none.
    indicators
        (rows, indicators) float64, NaN where there is none.
    names
        Of the indicators.
    lags
        (indicators,) months until each is published.
    notches
        Of the scale.
    """

    countries: tuple[str, ...]
    country: np.ndarray
    month: np.ndarray
    rating: np.ndarray
    indicators: np.ndarray
    names: tuple[str, ...]
    lags: np.ndarray
    notches: int


def read_columns(path: Path) -> Columns:
    """Read the TOML file.

    Raises
    ------
    InputError
        If it is missing or no TOML, names no column, has a key that is not known, or an indicator
        without a lag.
    """
    try:
        given: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; write one with {EXAMPLE}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML: {error}") from None
    known = ("country", "date", "rating", "scale", "lags")
    for name in given:
        if name not in known:
            raise InputError(f"{path} has a key {name!r}, which is none of {', '.join(known)}")
    for name in known[:3]:
        if not isinstance(given.get(name), str):
            raise InputError(f'{path} names no column for {name}; write {name} = "its header"')
    lags = given.get("lags")
    if not isinstance(lags, dict) or not lags:
        raise InputError(
            f"{path} has no [lags]; under it write every indicator with the months until it is "
            "published, such as growth = 3 (0 if in the same month)"
        )
    for name, lag in lags.items():
        if type(lag) is not int or not 0 <= lag <= LONGEST_LAG:
            raise InputError(
                f"{path} says that {name} is published after {lag!r} months; write a whole number "
                f"from 0 to {LONGEST_LAG}"
            )
        if name in (given["country"], given["date"], given["rating"]):
            raise InputError(
                f"{path} has the column {name!r} as an indicator and as something else; an "
                "indicator is neither the rating nor what names a row"
            )
    scale = _scale(path, given.get("scale"))
    return Columns(given["country"], given["date"], given["rating"], scale, lags)


def _scale(path: Path, given: Any) -> Mapping[str, int] | None:
    if given == "numbers":
        return None
    if isinstance(given, str) and given in SCALES:
        return SCALES[given]
    if isinstance(given, dict) and given:
        for text, notch in given.items():
            if type(notch) is not int or not 0 <= notch < MOST_NOTCHES:
                raise InputError(
                    f"{path}: the scale says {text!r} is {notch!r}; notches are whole numbers from "
                    f"0, the lowest, to {MOST_NOTCHES - 1}"
                )
        return given
    raise InputError(
        f'{path} has the scale {given!r}; write one of {", ".join(SCALES)}, "numbers" for whole '
        'numbers that rise with quality, or a table [scale] with lines such as "AAA" = 21'
    )


def read_table(path: Path, columns: Columns) -> Observations:
    """Read the CSV file: UTF-8, a header, commas.

    Raises
    ------
    InputError
        If it is missing or cannot be read, lacks a column, or has a line that cannot be used: file,
        line and column are named.
    """
    rows = list[tuple[str, int, int, list[float]]]()
    lines = dict[tuple[str, int], int]()
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            wanted = (columns.country, columns.date, columns.rating, *columns.lags)
            _check_header(path, reader.fieldnames, wanted)
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise InputError(
                        f"{where} has not as many values as the header's "
                        f"{len(reader.fieldnames or ())} columns"
                    )
                country = row[columns.country].strip()
                if not country:
                    raise InputError(f"{where}, column {columns.country}: no country")
                month = _month(row[columns.date], f"{where}, column {columns.date}")
                if (country, month) in lines:
                    raise InputError(
                        f"{where}: {country} has {month // 12}-{month % 12 + 1:02d} already in "
                        f"line {lines[country, month]}; leave one row a month"
                    )
                lines[country, month] = reader.line_num
                rating = _rating(row[columns.rating], columns, where)
                numbers = [_number(row[name], f"{where}, column {name}") for name in columns.lags]
                rows.append((country, month, rating, numbers))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; --csv takes the path of a table") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no CSV in UTF-8: {error}") from None
    if not rows:
        raise InputError(f"{path} has a header and no rows")
    return _observations(path, rows, columns)


def _check_header(path: Path, header: Any, wanted: tuple[str, ...]) -> None:
    found = list(header or ())
    for name in wanted:
        if found.count(name) != 1:
            raise InputError(
                f"{path} has {found.count(name)} columns {name!r}, and needs one; its header is "
                f"{', '.join(found) or 'empty'}"
            )


def _observations(
    path: Path, rows: list[tuple[str, int, int, list[float]]], columns: Columns
) -> Observations:
    rows.sort(key=lambda row: row[:2])
    names = tuple(sorted({row[0] for row in rows}))
    places = {name: place for place, name in enumerate(names)}
    ratings = np.array([row[2] for row in rows])
    # Of another's words, the highest that is named.
    highest = ratings.max() if columns.scale is None else max(columns.scale.values())
    if len(np.unique(ratings[ratings >= 0])) < 2:
        raise InputError(f"{path} has not two different ratings; there is nothing to foretell")
    return Observations(
        names,
        np.array([places[row[0]] for row in rows]),
        np.array([row[1] for row in rows]),
        ratings,
        np.array([row[3] for row in rows], np.float64),
        tuple(columns.lags),
        np.array([*columns.lags.values()]),
        int(highest) + 1,
    )


def _month(text: str, where: str) -> int:
    """Return months since the year 0 of 1998-03-31, 1998-03 or 1998, which is its December."""
    text = text.strip()
    try:
        if len(text) == 4:
            date = datetime.date(int(text), 12, 1)
        else:
            date = datetime.date.fromisoformat(text if len(text) > 7 else f"{text}-01")
    except ValueError:
        raise InputError(
            f"{where}: {text!r} is no date; write 1998-03-31, 1998-03 or 1998"
        ) from None
    return 12 * date.year + date.month - 1


def _rating(text: str, columns: Columns, where: str) -> int:
    text = text.strip()
    if text.lower() in NOTHING:
        return -1
    if columns.scale is not None:
        if text not in columns.scale:
            raise InputError(
                f"{where}, column {columns.rating}: {text!r} is not in the scale; it has "
                f"{', '.join(columns.scale)}. Correct it, leave it empty, or write a table [scale]"
            )
        return columns.scale[text]
    try:
        notch = int(text)
    except ValueError:
        notch = -1
    if not 0 <= notch < MOST_NOTCHES:
        raise InputError(
            f"{where}, column {columns.rating}: {text!r} is no whole number from 0 to "
            f"{MOST_NOTCHES - 1}"
        )
    return notch


def _number(text: str, where: str) -> float:
    text = text.strip()
    if text.lower() in NOTHING:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{where}: {text!r} is no finite number; leave it empty if it is missing")
    return number
