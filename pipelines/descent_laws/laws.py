"""What a law is: a closed form, a measured value with its error, a tolerance, and a verdict."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    """One row of the table.

    Attributes
    ----------
    name
        What was measured, where.
    closed_form
        The form, in words and signs.
    expected, measured
        Its value, and what the trainer or the loader did.
    error
        Standard error of `measured`; 0 where nothing is drawn at random.
    tolerance
        How far apart they may be, as it is printed.
    passed
        Whether they are not farther apart.
    """

    name: str
    closed_form: str
    expected: float
    measured: float
    error: float
    tolerance: str
    passed: bool


@dataclass(frozen=True)
class Picture:
    """A figure of the page: PNG, with a caption and a text for those who cannot see it."""

    caption: str
    alternative: str
    png: bytes


@dataclass(frozen=True)
class Chapter:
    """A family of laws with its pictures.

    Attributes
    ----------
    title, text
        What it is about.
    laws, pictures
        What was measured.
    notes
        Numbers that no law is about, JSON-ready.
    table
        Rows of such numbers for the page, the first one its head.
    """

    title: str
    text: str
    laws: tuple[Law, ...]
    pictures: tuple[Picture, ...]
    notes: dict[str, Any] = field(default_factory=dict)
    table: tuple[tuple[str, ...], ...] = ()


Measure = Callable[[Path, Effort], tuple[Chapter, ...]]


def within(
    name: str, closed_form: str, expected: float, measured: float, error: float, share: float
) -> Law:
    """Return the law that a value is `expected` up to a share of it."""
    passed = abs(measured - expected) <= share * abs(expected)
    return _law(name, closed_form, expected, measured, error, f"{100 * share:.3g}%", passed)


def near(
    name: str, closed_form: str, expected: float, measured: float, error: float, distance: float
) -> Law:
    """Return the law that a value is `expected` up to a distance."""
    passed = abs(measured - expected) <= distance
    return _law(name, closed_form, expected, measured, error, f"± {distance:.3g}", passed)


def above(name: str, closed_form: str, limit: float, measured: float, error: float = 0.0) -> Law:
    """Return the law that a value is above a limit."""
    return _law(name, closed_form, limit, measured, error, "above", measured > limit)


def below(name: str, closed_form: str, limit: float, measured: float, error: float = 0.0) -> Law:
    """Return the law that a value is at or below a limit."""
    return _law(name, closed_form, limit, measured, error, "at most", measured <= limit)


def exactly(name: str, closed_form: str, expected: float, measured: float) -> Law:
    """Return the law that a value is `expected`, without any tolerance."""
    return _law(name, closed_form, expected, measured, 0.0, "exact", measured == expected)


def _law(
    name: str,
    closed_form: str,
    expected: float,
    measured: float,
    error: float,
    tolerance: str,
    passed: bool,
) -> Law:
    """Make a law of Python's own numbers, which JSON takes."""
    numbers = (float(expected), float(measured), float(error))
    return Law(name, closed_form, *numbers, tolerance, bool(passed))


def new_figure(width: float = 9.5, height: float = 4.4) -> "Figure":
    """Return an empty figure that draws without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def picture(figure: "Figure", caption: str, alternative: str) -> Picture:
    """Turn a figure into PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return Picture(caption, alternative, stream.getvalue())


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
