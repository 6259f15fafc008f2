"""Which arrays, and which of their columns, a row of features is made of: as text and as values.

The text is what the shell takes, what a dataset calls such features, and what a run keeps of them:
``t2m,obsm/X_pca[0:10],X[age,3]``. A bare number is a place, and a name that would not stand for
itself is in double quotes, as JSON has it.
"""

import json
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.core.errors import InputError

# A column by its name, by its place, or a run of places.
Column = str | int | range
Columns = str | int | Sequence[str | int | range]

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(rf'\s*({_QUOTED}|[^,\[\]"]*[^,\[\]"\s])\s*')
_PLACE, _RUN = re.compile(r"-?\d+"), re.compile(r"(-?\d+):(-?\d+)")
_FORM = (
    "commas are between arrays, and between columns, which are in brackets after an array or in "
    "--columns: t2m,obsm/X_pca[0:10],X[age,3]"
)


@dataclass(frozen=True)
class ArrayChoice:
    """An array of a group, and those of its columns that are wanted: None for all."""

    name: str
    columns: tuple[Column, ...] | None = None


def read_choices(
    features: str | Sequence[str] | None, columns: Columns | None = None, usual: str = "X"
) -> tuple[ArrayChoice, ...]:
    """Return the arrays that features are made of, each with its columns.

    Parameters
    ----------
    features
        A text, or several; None for the `usual` array.
    columns
        Columns of the one array: a text, or names (text) and places (numbers, ranges).

    Raises
    ------
    InputError
        If a text cannot be read, nothing is named, an array is named twice, or columns are given
        for several arrays.

    Examples
    --------
    >>> read_choices("t2m,X[age,3]")
    (ArrayChoice(name='t2m', columns=None), ArrayChoice(name='X', columns=('age', 3)))
    >>> read_choices(None, ["age", range(2)])
    (ArrayChoice(name='X', columns=('age', range(0, 2))),)
    """
    if features is None or features == "":
        found = [ArrayChoice(usual)]
    elif isinstance(features, str):
        found = _read_arrays(features)
    else:
        items = list(features) if isinstance(features, Sequence) else []
        if not items or not all(isinstance(each, str) for each in items):
            raise InputError(f"features are names of arrays, not {features!r}; {_FORM}")
        found = [choice for each in items for choice in _read_arrays(each)]
    names = [choice.name for choice in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"array {name} is named twice among the features; name its columns together, as "
                f"in {name}[0,3]"
            )
    if columns is None:
        return tuple(found)
    if len(found) > 1 or found[0].columns is not None:
        raise InputError(
            f"columns are of one array, and features are {text_of(found)}; name them in brackets "
            "after each array, as in obs/score,obsm/X_pca[0,3]"
        )
    return (ArrayChoice(names[0], _given_columns(columns)),)


def text_of(choices: Sequence[ArrayChoice]) -> str:
    """Return the text that `read_choices` reads as these.

    Examples
    --------
    >>> text_of(read_choices(["t2m", "X[age]"]))
    't2m,X[age]'
    >>> text_of(read_choices("X", ["income, gross", "7", 3]))
    'X["income, gross","7",3]'
    """
    return ",".join(map(_text, choices))


def _text(choice: ArrayChoice) -> str:
    name = choice.name if _is_bare(choice.name, numbers=True) else _quoted(choice.name)
    if choice.columns is None:
        return name
    return f"{name}[{','.join(map(text_of_column, choice.columns))}]"


def text_of_column(column: Column) -> str:
    """Return a column as it stands in the text.

    Examples
    --------
    >>> text_of_column("age"), text_of_column(range(0, 10)), text_of_column("3")
    ('age', '0:10', '"3"')
    """
    if isinstance(column, range):
        return f"{column.start}:{column.stop}"
    if isinstance(column, str):
        return column if _is_bare(column) else _quoted(column)
    return str(column)


def _is_bare(text: str, numbers: bool = False) -> bool:
    """Tell whether a name stands for itself; of arrays, which have no places, numbers do."""
    match = _TOKEN.fullmatch(text)
    if match is None or match[1] != text or text.startswith('"'):
        return False
    return numbers or not (_PLACE.fullmatch(text) or _RUN.fullmatch(text))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _read_arrays(text: str) -> list[ArrayChoice]:
    found, at, said = [], 0, f"features {text!r} cannot be read from"
    while True:
        name, at = _read_token(text, at, said)
        columns = None
        if text[at : at + 1] == "[":
            columns, at = _read_columns(text, at + 1, said)
            if text[at : at + 1] != "]":
                raise _unread(text, at, said)
            at += 1 + len(text[at + 1 :]) - len(text[at + 1 :].lstrip())
        found.append(ArrayChoice(_name(name), columns))
        if at == len(text):
            return found
        if text[at] != ",":
            raise _unread(text, at, said)
        at += 1


def _read_columns(text: str, at: int, said: str) -> tuple[tuple[Column, ...], int]:
    """Read columns from a place on, up to what is none; return where that is, too."""
    found = list[Column]()
    while True:
        token, at = _read_token(text, at, said)
        found.append(_column(token))
        if text[at : at + 1] != ",":
            return tuple(found), at
        at += 1


def _read_token(text: str, at: int, said: str) -> tuple[str, int]:
    match = _TOKEN.match(text, at)
    if match is None:
        raise _unread(text, at, said)
    return match[1], match.end()


def _unread(text: str, at: int, said: str) -> InputError:
    where = "their end" if at >= len(text) else repr(text[at:])
    return InputError(f"{said} {where} on; {_FORM}")


def _name(token: str) -> str:
    if not token.startswith('"'):
        return token
    try:
        return str(json.loads(token))
    except ValueError:
        raise InputError(f"{token} is no text in quotes as JSON has it; correct it") from None


def _column(token: str) -> Column:
    if _PLACE.fullmatch(token):
        return int(token)
    if run := _RUN.fullmatch(token):
        return _run(int(run[1]), int(run[2]))
    return _name(token)


def _run(start: int, stop: int) -> range:
    if not 0 <= start < stop:
        raise InputError(
            f"{start}:{stop} is no run of columns; it begins at 0 or above, and ends before its "
            "second number, as in 0:10"
        )
    return range(start, stop)


def _given_columns(columns: Any) -> tuple[Column, ...]:
    if isinstance(columns, str):
        said = f"columns {columns!r} cannot be read from"
        found, at = _read_columns(columns, 0, said)
        if at != len(columns):
            raise _unread(columns, at, said)
        return found
    several = columns if isinstance(columns, Sequence | np.ndarray) else [columns]
    several = [columns] if isinstance(columns, range) else list(several)
    if not several:
        raise InputError("columns are none; name some, or leave columns out for all")
    return tuple(map(_given_column, several))


def _given_column(column: Any) -> Column:
    if isinstance(column, str):
        return str(column)
    if isinstance(column, range):
        if column.step != 1:
            raise InputError(f"{column} has a step of {column.step}, and a run of columns has none")
        return _run(column.start, column.stop)
    try:
        if isinstance(column, bool):
            raise TypeError
        return operator.index(column)
    except TypeError:
        raise InputError(
            f"a column is a name or a place, not {column!r}; give columns=['age', 3]"
        ) from None
