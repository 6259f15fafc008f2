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


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (10_234, "9.99 KiB"),
        (10_240, "10.0 KiB"),
        (102_300, "99.9 KiB"),
        (102_400, "100 KiB"),
        (2**20 - 1, "1024 KiB"),
        (1.5 * 2**20, "1.50 MiB"),
        (2**30, "1.00 GiB"),
        (12.34 * 2**40, "12.3 TiB"),
        (1.5, "1 B"),
    ],
)
def test_a_size_is_printed_with_three_digits(size: float, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *[("1kB", 1000), ("1.5MB", 1_500_000), ("2g", None), ("2GB", 2 * 10**9), ("1TB", 10**12)],
        *[("1KiB", 1024), ("0.5MiB", 2**19), ("1TiB", 2**40), ("7", 7), ("7B", 7), (7, 7)],
    ],
)
def test_units_are_what_they_are_called(text: str | int, size: int | None) -> None:
    if size is not None:
        assert parse_size(text) == size
        return
    with pytest.raises(InputError) as refused:
        parse_size(text)
    assert str(refused.value) == f"{text!r} is not a size; write it as 512MiB, 1GiB or 2GB"


@pytest.mark.parametrize("size", [0, -5, "0", "0.0GiB", "0.1B"])
def test_a_size_is_positive(size: str | int) -> None:
    with pytest.raises(InputError) as refused:
        parse_size(size)
    assert str(refused.value) == (
        f"a size must be positive, not {size!r}; write it as 512MiB, 1GiB or 2GB"
    )


@pytest.mark.parametrize(
    ("text", "count"),
    [
        *[("1", 1), ("400k", 400_000), ("1.5k", 1500), ("20M", 20 * 10**6), ("2G", 2 * 10**9)],
        *[("1T", 10**12), (" 7 ", 7), (12, 12), ("0.5k", 500)],
    ],
)
def test_a_count_is_its_number_times_its_multiple(text: str | int, count: int) -> None:
    found = parse_count(text)
    assert found == count
    assert isinstance(found, int)


@pytest.mark.parametrize("text", ["0.5", "1.0001k", "many", 0])
def test_what_is_no_count_is_told_as_it_was_written(text: str | int) -> None:
    with pytest.raises(InputError) as refused:
        parse_count(text)
    assert str(refused.value) == (
        f"{text!r} is not a positive count; write it as 5000, 400k or 20M"
    )
