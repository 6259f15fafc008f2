"""Pairs of settings: a part that has every setting of both is tested always, the rest if slow."""

from collections.abc import Iterable
from typing import Any

import pytest


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
