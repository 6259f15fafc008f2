"""Columns that somebody has named, as places in a row of an array."""

import difflib
from collections.abc import Sequence

from ooc.core.errors import InputError
from ooc.store.feature_choice import Column, text_of_column
from ooc.store.labels import listed

# Names that an error lists.
MOST_LISTED = 20


def places_of(
    what: str, columns: Sequence[Column], width: int, names: Sequence[str]
) -> tuple[int, ...]:
    """Return the places of columns in a row of `width` numbers, in their order.

    Parameters
    ----------
    what
        The array, as errors call it.
    names
        Of all columns; none where the store has none.

    Raises
    ------
    InputError
        If there is no such column, one is named twice, or a number may be a place or a name.

    Examples
    --------
    >>> places_of("array X", ["age", 0, range(2, 4)], 4, ["sex", "age", "size", "income"])
    (1, 0, 2, 3)
    """
    found: dict[int, Column] = {}
    for column in columns:
        if isinstance(column, str):
            places = range(_place_of(what, column, width, names), width)[:1]
        else:
            places = column if isinstance(column, range) else range(column, column + 1)
            _check_places(what, places, width)
            if isinstance(column, int):
                _check_one_meaning(what, column, names)
        for place in places:
            if place in found:
                told = " and by ".join(map(text_of_column, dict.fromkeys((found[place], column))))
                raise InputError(
                    f"column {_called(place, names)} of {what} is named twice, by {told}; name it "
                    "once"
                )
            found[place] = column
    return tuple(found)


def _place_of(what: str, name: str, width: int, names: Sequence[str]) -> int:
    if not names:
        raise InputError(
            f"columns of {what} have no names in the store, and {name!r} is one; name them by "
            f"their places, 0 to {width - 1}"
        )
    if name in names:
        return names.index(name)
    close = difflib.get_close_matches(name, names, 3)
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    raise InputError(
        f"{what} has no column {name!r}; it has {width}: {listed(tuple(names), MOST_LISTED)}{meant}"
    )


def _check_places(what: str, places: range, width: int) -> None:
    if places.start < 0 or places.stop > width:
        wrong = places.start if places.start < 0 else max(places.start, width)
        told = f"its {width} columns have the places 0 to {width - 1}"
        raise InputError(
            f"{what} has no column {wrong}; {'it has one, at place 0' if width == 1 else told}"
        )


def _check_one_meaning(what: str, place: int, names: Sequence[str]) -> None:
    text = str(place)
    if text in names and names[place] != text:
        raise InputError(
            f"column {place} of {what} is called {names[place]!r}, and column {names.index(text)} "
            f"is called {text!r}; name the one that you mean, "
            f"{text_of_column(names[place])} or {text_of_column(text)}"
        )


def _called(place: int, names: Sequence[str]) -> str:
    return f"{place} ({names[place]})" if names else str(place)
