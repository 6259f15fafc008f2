"""The pictures of a report: matplotlib draws runs side by side, as SVG that a page can hold.

No text from data is drawn, only numbers: names stand on the page, where they are escaped.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ooc.core.figures import make_figure
from ooc.report.axes import FEW, colours, write_numbers
from ooc.report.curves import Curve
from ooc.report.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curves = Sequence[Curve | None]

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ooc",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
}
HEIGHT = 3.4
DOTTED: dict[str, Any] = {
    "linewidth": 0.9,
    "linestyle": (0, (4, 2)),
    "marker": "o",
    "markerfacecolor": "white",
}


@dataclass(frozen=True)
class Picture:
    """One picture of a report: its title, an SVG element, and in words what it shows."""

    title: str
    svg: str
    alt: str


def curve_picture(
    name: str,
    title: str,
    curves: Curves,
    along: str,
    unit: str,
    *,
    scale: float = 1.0,
    logarithmic: bool = True,
    points: Curves = (),
    marks: Sequence[History] = (),
    limits: Sequence[float] = (),
    bottom: float | None = None,
) -> Picture | None:
    """Draw one curve for each run, best run first and on top; None if no run has one.

    The name is unique on the page. Means are lines along "steps" or "seconds", extremes a band.

    Parameters
    ----------
    points
        Of each run, a second curve that is drawn with dots, such as validation losses.
    marks
        Histories whose checkpoints and resumes are marked in a strip below.
    limits
        Of each run, a limit that is drawn as a dashed line, such as its budget.
    bottom
        Lower end of the vertical axis, before values are multiplied with `scale`.
    """
    drawn = [curve for curve in (*curves, *points) if curve is not None]
    if not drawn:
        return None
    values = np.concatenate([[curve.low, curve.high] for curve in drawn], axis=1) * scale
    strip = any(history.checkpoints or history.resumes for history in marks)
    below = min(1.0, 0.12 + 0.06 * len(curves)) if strip else 0.0
    shades = colours(len(curves))
    with _style(HEIGHT + below) as figure:
        ratios = [HEIGHT, below] if strip else [HEIGHT]
        grid = figure.subplots(len(ratios), 1, squeeze=False, sharex=True, height_ratios=ratios)
        axes = grid[0, 0]
        for i in reversed(range(len(curves))):
            style = {"color": shades[i], "zorder": 3 + 1 / (1 + i)}
            if (curve := curves[i]) is not None:
                alpha = 0.18 if len(curves) <= len(FEW) else 0.07
                _draw_line(axes, curve, along, scale, i, style, alpha)
            if points and (dots := points[i]) is not None:
                size = 4.0 if len(dots) <= 40 else 2.5
                line = DOTTED | {"markersize": size, "gid": f"dots-run-{i}"} | style
                axes.plot(getattr(dots, along), dots.mean * scale, **line)
        for limit in sorted({limit for limit in limits if np.isfinite(limit)}):
            alone = len(curves) > 1 and list(limits).count(limit) == 1
            colour = shades[list(limits).index(limit)] if alone else "#444444"
            axes.axhline(limit * scale, color=colour, linestyle=(0, (5, 3)), linewidth=1.2)
        write_numbers(axes, values if bottom is None else values.clip(bottom * scale), logarithmic)
        axes.set_ylabel(unit)
        if bottom is not None:
            axes.set_ylim(bottom=bottom * scale)
        if strip:
            _draw_marks(grid[1, 0], marks, along, shades)
        grid[-1, 0].set_xlabel({"steps": "step", "seconds": "seconds of training"}[along])
        svg = _svg(figure, name)
    known = sum(curve is not None for curve in curves)
    extremes = f"from {np.nanmin(values):.4g} to {np.nanmax(values):.4g} {unit}"
    return Picture(title, svg, f"{title}, {known} of {len(curves)} runs, {extremes}")


def bar_picture(
    name: str, title: str, unit: str, whole: Sequence[float], share: Sequence[float]
) -> Picture:
    """Draw a bar for each run, best on top, as long as `whole` says and filled up to `share`."""
    runs = len(whole)
    shades = colours(runs)
    percent = 100 * np.asarray(share) / np.maximum(whole, 1e-300)
    with _style(max(1.3, min(HEIGHT, 0.9 + 0.26 * runs))) as figure:
        axes = figure.subplots()
        for i in range(runs):
            axes.barh(i, whole[i], height=0.7, color=shades[i], alpha=0.25, gid=f"bar0-run-{i}")
            axes.barh(i, share[i], height=0.7, color=shades[i], gid=f"bar1-run-{i}")
            if runs <= 16:
                text = f" {percent[i]:.1f}%"
                axes.text(whole[i], i, text, va="center", fontsize=8, gid=f"text-run-{i}")
        axes.margins(x=0.12)
        axes.set_xlim(left=0)
        axes.set_xlabel(unit)
        write_numbers(axes, np.asarray(whole), False)
        _number_rows(axes, runs)
        svg = _svg(figure, name)
    extremes = f"{percent.min():.1f}% to {percent.max():.1f}%"
    return Picture(title, svg, f"{title}, {runs} runs, {extremes}")


@contextmanager
def _style(height: float) -> "Iterator[Figure]":
    """Make a figure in the report's style, which holds as long as it is drawn."""
    figure = make_figure(height=height)
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield figure


def _number_rows(axes: "Axes", runs: int) -> None:
    axes.set_ylim(runs - 0.4, -0.6)
    axes.set_yticks([])


def _draw_line(
    axes: "Axes", curve: Curve, along: str, scale: float, run: int, style: Any, alpha: float
) -> None:
    places = getattr(curve, along)
    if np.nanmax(curve.high - curve.low, initial=0.0) > 0:
        low, high = curve.low * scale, curve.high * scale
        band: dict[str, Any] = {"gid": f"band-curve-run-{run}", "alpha": alpha, "linewidth": 0}
        axes.fill_between(places, low, high, **band, **style)
    # A point without neighbours draws no line.
    known = np.isfinite(np.concatenate([[np.nan], curve.mean, [np.nan]]))
    alone = np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:]).tolist()
    line: dict[str, Any] = {"linewidth": 1.3, "marker": "o", "markersize": 4, "markevery": alone}
    axes.plot(places, curve.mean * scale, gid=f"curve-run-{run}", **line, **style)


def _draw_marks(axes: "Axes", marks: Sequence[History], along: str, shades: Sequence[str]) -> None:
    """Draw a row for each run: ticks where it was saved, triangles where it was resumed."""
    column = {"steps": 0, "seconds": 1}[along]
    for i, history in enumerate(marks):
        style: dict[str, Any] = {"linestyle": "none", "markersize": 5, "color": shades[i]}
        kinds = (("saves", history.checkpoints, "|"), ("resumes", history.resumes, ">"))
        for what, moments, marker in kinds:
            if places := [moment[column] for moment in moments]:
                rows = [i] * len(places)
                axes.plot(places, rows, marker=marker, gid=f"{what}-run-{i}", **style)
    _number_rows(axes, len(marks))
    axes.set_ylabel("saves", rotation=0, ha="right", va="center")
    axes.grid(False)
    axes.spines["left"].set_visible(False)


def _svg(figure: "Figure", name: str) -> str:
    """Return a figure as an SVG element whose ids are its own on a page of many."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing)
    text = stream.getvalue()
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}.", text[text.index("<svg") :])
    return re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
