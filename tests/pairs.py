"""Settings of which a part is tested always, the rest if slow; of pairs, each setting of both."""

from collections.abc import Iterable
from typing import Any

import pytest


def few(values: Iterable[Any], always: Iterable[Any]) -> list[Any]:
    """Return all values, or tuples of several; those that are not among `always` are slow."""
    chosen = list(always)
    return [
        pytest.param(
            *(each if isinstance(each, tuple) else (each,)),
            marks=[] if each in chosen else pytest.mark.slow,
        )
        for each in values
    ]


def pairs(first: Iterable[Any], second: Iterable[Any], always: Iterable[Any] = ()) -> list[Any]:
    """Return all pairs; beyond the covering part and `always` of the second they are slow."""
    firsts, seconds = list(first), list(second)
    fewer, chosen = min(len(firsts), len(seconds)), list(always)
    return [
        pytest.param(one, other, marks=[] if covers or other in chosen else pytest.mark.slow)
        for i, one in enumerate(firsts)
        for j, other in enumerate(seconds)
        for covers in [(i - j) % fewer == 0]
    ]
