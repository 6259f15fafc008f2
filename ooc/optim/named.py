"""Entries of a table by name, also with numbers in one text: "step:1000,0.5", "adam:0.9,0.99"."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ooc.core.errors import InputError
from ooc.core.numbers import entry_of

Made = TypeVar("Made")


def make_named(
    what: str, table: Mapping[str, Callable[..., Made]], text: str, *first: Any, **settings: Any
) -> Made:
    """Make what a text names, with the numbers that follow its name.

    The entry takes `first` before its numbers, and `settings` after them.

    Raises
    ------
    InputError
        If there is no such entry, or it cannot be made from such numbers: it tells `what` it is.

    Examples
    --------
    >>> from ooc.optim import OPTIMIZERS
    >>> make_named("optimizer", OPTIMIZERS, "adam:0.9,0.99", 0.001).constants
    (0.9, 0.99, 1e-08)
    """
    name, _, written = text.partition(":")
    make = entry_of(what, table, name)
    try:
        numbers = [_number(part) for part in written.split(",")] if written else []
        return make(*first, *numbers, **settings)
    except InputError:
        raise
    except (TypeError, ValueError):
        parameters = inspect.signature(make).parameters.values()
        by_place = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
        taken = ",".join(by_place[len(first) :])
        wanted = f"write numbers as in {name}:{taken}" if taken else "it has no numbers of its own"
        raise InputError(f"{what} {name} cannot be made from {written!r}; {wanted}") from None


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)
