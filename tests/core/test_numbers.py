"""What a user gives is returned, or refused by its name, with what would do."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from ooc.core import numbers
from ooc.core.errors import InputError

MANY = [-math.inf, -1, -1e-9, 0, 1e-9, 0.5, 1 - 1e-9, 1, 2.5, 1e300, math.inf, math.nan]
CHECKS: dict[Callable[..., Any], tuple[Callable[[float], bool], str]] = {
    numbers.positive: (
        lambda value: 0 < value < math.inf,
        "rate must be a positive finite number, not {}; try rate=0.1",
    ),
    numbers.not_negative: (
        lambda value: 0 <= value < math.inf,
        "rate must be a finite number of at least 0, not {}; rate=0 is none",
    ),
    numbers.fraction: (
        lambda value: 0 <= value < 1,
        "rate must be at least 0 and below 1, not {}; try rate=0.9",
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("value", MANY)
def test_a_number_is_returned_or_refused(check: Callable[..., Any], value: float) -> None:
    is_fine, message = CHECKS[check]
    if is_fine(value):
        assert check("rate", value) == value
        return
    with pytest.raises(InputError) as refused:
        check("rate", value)
    assert str(refused.value) == message.format(value)


@pytest.mark.parametrize("check", [numbers.positive, numbers.fraction])
def test_a_whole_number_becomes_a_float(check: Callable[..., float]) -> None:
    value = 1 if check is numbers.positive else 0
    assert isinstance(check("rate", value), float)


@pytest.mark.parametrize("value", [2, 3, 3.0, 10**12])
def test_a_whole_number_of_at_least_the_least(value: float) -> None:
    found = numbers.whole("lanes", value, 2)
    assert found == value
    assert isinstance(found, int)


@pytest.mark.parametrize("value", [1, 2.5, -3, math.nan, math.inf])
def test_what_is_no_whole_number_or_too_small_is_refused(value: float) -> None:
    with pytest.raises(InputError) as refused:
        numbers.whole("lanes", value, 2)
    assert str(refused.value) == f"lanes must be a whole number of at least 2, not {value}"


def test_counts_that_are_given_are_whole_and_at_least_1() -> None:
    numbers.check_counts(a=None, b=1, c=7)
    with pytest.raises(InputError, match=r"^c must be a whole number of at least 1, not 0$"):
        numbers.check_counts(a=None, b=1, c=0)


@pytest.mark.parametrize("name", ["c", "", None, 3, ["a"]])
def test_an_entry_that_is_not_there_is_refused_with_those_that_are(name: Any) -> None:
    table = {"a": 1, "b": 2}
    assert numbers.entry_of("letter", table, "b") == 2
    with pytest.raises(InputError) as refused:
        numbers.entry_of("letter", table, name)
    assert str(refused.value) == f"no letter is called {name!r}; choose one of: a, b"
