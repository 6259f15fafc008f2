"""Sizes and counts in text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooc.core.errors import InputError
from ooc.core.sizes import UNITS, format_size, parse_count, parse_size


@given(st.integers(1, 2**60), st.sampled_from(sorted(UNITS)))
def test_a_size_is_its_number_times_its_unit(number: int, unit: str) -> None:
    number = number % 1000 + 1
    assert parse_size(f"{number}{unit}") == number * UNITS[unit]
    assert parse_size(f" {number} {unit.lower()} ") == number * UNITS[unit]


@pytest.mark.parametrize("text", ["", "0", "-1GiB", "1 XB", "GiB", "1e9", "nan", 0, -5])
def test_what_is_no_size_is_refused(text: str | int) -> None:
    with pytest.raises(InputError, match="size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["", "0", "1.5", "-3", "20m", "1e6", "2.0001k"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="count"):
        parse_count(text)


@given(st.integers(0, 2**50))
def test_a_printed_size_is_within_half_a_percent(size: int) -> None:
    number, unit = format_size(size).split()
    assert float(number) * UNITS[unit.upper()] == pytest.approx(size, rel=0.006)
