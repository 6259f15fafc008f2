"""Entries of a table with numbers of their own, in one text: "step:1000,0.5", "adam:0.9,0.99"."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ooc.core.errors import InputError

Made = TypeVar("Made")


def make_named(
    what: str, table: Mapping[str, Callable[..., Made]], text: str, *first: Any, **settings: Any
) -> Made:
    """Make what a text names, with the numbers that follow its name.

    Parameters
    ----------
    what
        What the table holds, for messages.
    first, settings
        What the entry takes before its numbers, and after them.

    Raises
    ------
    InputError
        If there is no such entry, or it cannot be made from such numbers.

    Examples
    --------
    >>> from ooc.optim import OPTIMIZERS
    >>> make_named("optimizer", OPTIMIZERS, "adam:0.9,0.99", 0.001).constants
    (0.9, 0.99, 1e-08)
    """
    name, _, written = text.partition(":")
    if name not in table:
        raise InputError(f"no {what} is called {name!r}; choose one of: {', '.join(table)}")
    try:
        numbers = [_number(part) for part in written.split(",")] if written else []
        return table[name](*first, *numbers, **settings)
    except InputError:
        raise
    except (TypeError, ValueError):
        taken = ",".join(numbers_of(table[name])[len(first) :])
        wanted = f"write numbers as in {name}:{taken}" if taken else "it has no numbers of its own"
        raise InputError(f"{what} {name} cannot be made from {written!r}; {wanted}") from None


def numbers_of(constructor: Callable[..., Any]) -> list[str]:
    """Return the names of what a constructor takes by place.

    Examples
    --------
    >>> from ooc.optim.schedules import SCHEDULES
    >>> numbers_of(SCHEDULES["step"])
    ['every', 'factor']
    """
    parameters = inspect.signature(constructor).parameters.values()
    return [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)
