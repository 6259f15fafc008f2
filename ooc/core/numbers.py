"""What a user gives: each check returns the number or entry, or refuses it by its name."""

import math
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from ooc.core.errors import InputError

Entry = TypeVar("Entry")


def positive(name: str, value: float) -> float:
    """Return a positive finite number as a float."""
    if not 0 < value < math.inf:
        raise InputError(f"{name} must be a positive finite number, not {value}; try {name}=0.1")
    return float(value)


def not_negative(name: str, value: float) -> float:
    """Return a finite number of at least 0, where 0 means that there is none of it."""
    if not 0 <= value < math.inf:
        raise InputError(
            f"{name} must be a finite number of at least 0, not {value}; {name}=0 is none"
        )
    return value


def fraction(name: str, value: float) -> float:
    """Return a number of at least 0 and below 1 as a float."""
    if not 0 <= value < 1:
        raise InputError(f"{name} must be at least 0 and below 1, not {value}; try {name}=0.9")
    return float(value)


def whole(name: str, value: float, least: int) -> int:
    """Return a whole number, not below the least, as an int."""
    if not (value >= least and float(value).is_integer()):
        raise InputError(f"{name} must be a whole number of at least {least}, not {value}")
    return int(value)


def check_counts(**values: float | None) -> None:
    """Refuse counts that are not whole numbers of at least 1; one that is None was not given."""
    for name, value in values.items():
        if value is not None:
            whole(name, value, 1)


def check_choice(what: str, names: Collection[str], name: Any) -> None:
    """Refuse what is none of some names, and tell all of them."""
    if not isinstance(name, str) or name not in names:
        raise InputError(f"no {what} is called {name!r}; choose one of: {', '.join(names)}")


def entry_of(what: str, table: Mapping[str, Entry], name: Any) -> Entry:
    """Return the entry of a table that has this name; refuse others, and tell all names."""
    check_choice(what, table, name)
    return table[name]
