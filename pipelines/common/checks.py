"""Checks: values that a pipeline measured, and the bounds that they are held to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.common.table import Table


@dataclass(frozen=True)
class Check:
    """One line of the table that decides a pipeline's status.

    Attributes
    ----------
    name
        What was measured, where.
    value
        What came out.
    bound
        What it is held to, as it is printed: ">= 0.9", "0.125 ± 3%".
    met
        Whether it is; never where the value is not a number.
    detail
        More for the page, such as the closed form of a law.
    """

    name: str
    value: float
    bound: str
    met: bool
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return name, value, bound and met."""
        return {"name": self.name, "value": self.value, "bound": self.bound, "met": self.met}


def at_least(name: str, value: float, bound: float) -> Check:
    """Hold a value to a lower bound.

    Examples
    --------
    >>> at_least("accuracy", 0.95, 0.9).met, at_least("accuracy", float("nan"), 0.9).met
    (True, False)
    """
    return _check(name, value, f">= {format_number(bound)}", value >= bound)


def at_most(name: str, value: float, bound: float) -> Check:
    """Hold a value to an upper bound."""
    return _check(name, value, f"<= {format_number(bound)}", value <= bound)


def above(name: str, value: float, bound: float) -> Check:
    """Hold a value to be larger than a bound."""
    return _check(name, value, f"> {format_number(bound)}", value > bound)


def below(name: str, value: float, bound: float) -> Check:
    """Hold a value to be smaller than a bound."""
    return _check(name, value, f"< {format_number(bound)}", value < bound)


def equal(name: str, value: float, expected: float) -> Check:
    """Hold a value to another, without any tolerance."""
    return _check(name, value, f"= {format_number(expected)}", value == expected)


def near(name: str, value: float, expected: float, distance: float) -> Check:
    """Hold a value to another, up to a distance.

    Examples
    --------
    >>> near("slope", -1.01, -1.0, 0.02).bound
    '-1 ± 0.02'
    """
    bound = f"{format_number(expected)} ± {distance:.3g}"
    return _check(name, value, bound, abs(value - expected) <= distance)


def within(name: str, value: float, expected: float, share: float) -> Check:
    """Hold a value to another, up to a share of it.

    Examples
    --------
    >>> within("variance", 0.13, 0.125, 0.03)
    Check(name='variance', value=0.13, bound='0.125 ± 3%', met=False, detail='')
    """
    bound = f"{format_number(expected)} ± {100 * share:.3g}%"
    return _check(name, value, bound, abs(value - expected) <= share * abs(expected))


def inside_budget(peak: int, budget: int) -> Check:
    """Hold the peak of memory to its budget, in MiB."""
    return at_most("memory peak, MiB", peak / 2**20, budget / 2**20)


def table_of(checks: Sequence[Check]) -> Table:
    """Return the checks as a table; the names, which may be long, come last."""
    rows = [
        ("yes" if each.met else "NO", format_number(each.value), each.bound, each.name)
        for each in checks
    ]
    return Table("checks", ("met", "value", "bound", "of"), tuple(rows))


def format_number(value: float) -> str:
    """Print a number with four digits, whole ones as they are.

    Examples
    --------
    >>> format_number(0.0123456), format_number(4096.0)
    ('0.01235', '4,096')
    """
    if math.isfinite(value) and value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.4g}"


def _check(name: str, value: float, bound: str, met: bool) -> Check:
    """Make a check of Python's own numbers, which JSON takes."""
    return Check(name, float(value), bound, bool(met))
