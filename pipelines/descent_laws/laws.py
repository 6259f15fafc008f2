"""What a law is: a closed form, a measured value with its error, a tolerance, and a verdict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.common import checks
from pipelines.common.checks import Check, format_number
from pipelines.common.figures import Picture
from pipelines.common.section import Section
from pipelines.common.table import Table


@dataclass(frozen=True)
class Effort:
    """How long measurements are, and how much their tolerances are widened for it.

    Attributes
    ----------
    name
        "full" or "quick".
    share
        Factor of the lengths of runs.
    widen
        Factor of the tolerances.
    seeds
        Seeds of the data and of their order; each run is repeated for each of them.
    """

    name: str
    share: float
    widen: float
    seeds: tuple[int, ...]

    def length(self, full: int, least: int = 1) -> int:
        """Return the length of a run, of which `full` is the longest."""
        return max(least, round(full * self.share))


FULL = Effort("full", share=1.0, widen=1.0, seeds=(0, 1, 2, 3))
QUICK = Effort("quick", share=0.02, widen=8.0, seeds=(0, 1))


@dataclass(frozen=True)
class Law:
    """A closed form beside what was measured, and the check whether they agree.

    Attributes
    ----------
    closed_form
        The form, in words and signs.
    expected, error
        Its value, and the standard error of what was measured; 0 where nothing is random.
    check
        What was measured, and how far from `expected` it may be.
    """

    closed_form: str
    expected: float
    error: float
    check: Check

    def to_json(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        numbers = {"expected": self.expected, "error": self.error}
        return {**self.check.to_json(), "closed_form": self.closed_form, **numbers}


Measure = Callable[[Path, Effort], tuple[Section, ...]]


def chapter(
    title: str,
    text: str,
    laws: Sequence[Law],
    pictures: tuple[Picture, ...],
    notes: Mapping[str, Any] | None = None,
    tables: tuple[Table, ...] = (),
) -> Section:
    """Return a family of laws with its pictures.

    Parameters
    ----------
    notes
        Numbers that no law is about, JSON-ready.
    tables
        Such numbers for the page.
    """
    found = {"laws": [law.to_json() for law in laws], "notes": dict(notes or {})}
    kept = tuple(law.check for law in laws)
    return Section(title, text, tables, pictures, kept, {title: found})


def within(
    name: str, closed_form: str, expected: float, measured: float, error: float, share: float
) -> Law:
    """Return the law that a value is `expected` up to a share of it."""
    return _law(closed_form, expected, error, checks.within(name, measured, expected, share))


def near(
    name: str, closed_form: str, expected: float, measured: float, error: float, distance: float
) -> Law:
    """Return the law that a value is `expected` up to a distance."""
    return _law(closed_form, expected, error, checks.near(name, measured, expected, distance))


def above(name: str, closed_form: str, limit: float, measured: float, error: float = 0.0) -> Law:
    """Return the law that a value is above a limit."""
    return _law(closed_form, limit, error, checks.above(name, measured, limit))


def below(name: str, closed_form: str, limit: float, measured: float, error: float = 0.0) -> Law:
    """Return the law that a value is at or below a limit."""
    return _law(closed_form, limit, error, checks.at_most(name, measured, limit))


def exactly(name: str, closed_form: str, expected: float, measured: float) -> Law:
    """Return the law that a value is `expected`, without any tolerance."""
    return _law(closed_form, expected, 0.0, checks.equal(name, measured, expected))


def _law(closed_form: str, expected: float, error: float, check: Check) -> Law:
    detail = f"{closed_form}; standard error {format_number(error)}" if error else closed_form
    return Law(closed_form, float(expected), float(error), replace(check, detail=detail))


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return the mean of independent values and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))
