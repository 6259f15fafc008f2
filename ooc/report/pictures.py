"""The pictures of a report: matplotlib draws runs side by side, as SVG that a page can hold.

No text from data is drawn, only numbers: names stand on the page, where they are escaped.
"""

import io
import re
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ooc.core.errors import InputError
from ooc.report.axes import FEW, colours, plain_numbers, scale_axis
from ooc.report.curves import Curve
from ooc.report.history import History

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    "path.simplify": True,
}


@dataclass(frozen=True)
class Picture:
    """One picture of a report.

    Attributes
    ----------
    name
        Short and unique on the page.
    title
        What it shows.
    alt
        What it shows, in words, for who cannot see it.
    svg
        The drawing.
    """

    name: str
    title: str
    alt: str
    svg: str


def check_matplotlib() -> None:
    """Check, before any work, that pictures can be drawn.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError(
            "a report's pictures need matplotlib, which is not installed; "
            "pip install 'ooc[pipelines]' brings it"
        ) from None


def curve_picture(
    name: str,
    title: str,
    curves: Sequence[Curve | None],
    along: str,
    unit: str,
    *,
    scale: float = 1.0,
    logarithmic: bool = True,
    points: Sequence[Curve | None] = (),
    marks: Sequence[History] = (),
    limits: list[float] | tuple[float, ...] = (),
    bottom: float | None = None,
) -> Picture:
    """Draw one curve for each run, best run first and on top.

    Parameters
    ----------
    name, title
        See `Picture`.
    curves
        Of each run, or None; the mean is a line, the extremes a band around it.
    along
        "steps" or "seconds".
    unit
        What the vertical axis is called.
    scale
        What values are multiplied with.
    logarithmic
        Whether the vertical axis may be logarithmic where values span a large factor.
    points
        Of each run, a second curve that is drawn with dots, such as validation losses.
    marks
        Histories whose checkpoints and resumes are marked in a strip below.
    limits
        Of each run, a limit that is drawn as a dashed line, such as its budget.
    bottom
        Lower end of the vertical axis, before scaling.
    """
    strip = bool(marks) and any(history.checkpoints or history.resumes for history in marks)
    with _figure(2 if strip else 1, len(curves)) as (figure, axes):
        shades = colours(len(curves))
        for i in reversed(range(len(curves))):
            style = {"color": shades[i], "zorder": 3 + 1 / (1 + i)}
            if (curve := curves[i]) is not None:
                band = 0.18 if len(curves) <= len(FEW) else 0.07
                _draw(axes[0], curve, along, scale, f"curve-run-{i}", band, style)
            if points and (dots := points[i]) is not None:
                _draw_points(axes[0], dots, along, scale, f"dots-run-{i}", style)
        for limit in sorted({limit for limit in limits if np.isfinite(limit)}):
            alone = len(curves) > 1 and limits.count(limit) == 1
            colour = shades[limits.index(limit)] if alone else "#444444"
            axes[0].axhline(limit * scale, color=colour, linestyle=(0, (5, 3)), linewidth=1.2)
        drawn = [curve for curve in (*curves, *points) if curve is not None]
        values = np.concatenate([[curve.low, curve.high] for curve in drawn], axis=1) * scale
        scale_axis(axes[0], values if bottom is None else values.clip(bottom * scale), logarithmic)
        axes[0].set_ylabel(unit)
        if bottom is not None:
            axes[0].set_ylim(bottom=bottom * scale)
        if strip:
            _draw_marks(axes[1], marks, along, shades)
        axes[-1].set_xlabel({"steps": "step", "seconds": "seconds of training"}[along])
        plain_numbers(axes[-1].xaxis)
        svg = _svg(figure, name)
    shown = sum(curve is not None for curve in curves)
    alt = f"{title}, {shown} of {len(curves)} runs, {_in_words(values, unit)}"
    return Picture(name, title, alt, svg)


def bar_picture(
    name: str, title: str, unit: str, whole: Sequence[float], share: Sequence[float]
) -> Picture:
    """Draw a bar for each run, best on top, with a part of it filled.

    Parameters
    ----------
    name, title
        See `Picture`.
    unit
        What the horizontal axis is called.
    whole, share
        Length of each bar, and of its filled part.
    """
    runs = len(whole)
    with _figure(1, runs, height=max(1.3, min(3.4, 0.9 + 0.26 * runs))) as (figure, axes):
        shades = colours(runs)
        for i in range(runs):
            bars = axes[0].barh([i, i], [whole[i], share[i]], height=0.7, color=shades[i])
            bars[0].set_alpha(0.25)
            for k, bar in enumerate(bars):
                bar.set_gid(f"bar{k}-run-{i}")
            if runs <= 16:
                percent = 100 * share[i] / whole[i] if whole[i] else 0.0
                text = axes[0].text(whole[i], i, f" {percent:.1f}%", va="center", fontsize=8)
                text.set_gid(f"text-run-{i}")
        axes[0].set_ylim(runs - 0.4, -0.6)
        axes[0].set_yticks([])
        axes[0].margins(x=0.12)
        axes[0].set_xlim(left=0)
        axes[0].set_xlabel(unit)
        plain_numbers(axes[0].xaxis)
        svg = _svg(figure, name)
    shares = np.asarray(share) / np.maximum(whole, 1e-300)
    low, high = 100 * np.min(shares), 100 * np.max(shares)
    return Picture(name, title, f"{title}, {runs} runs, {low:.1f}% to {high:.1f}%", svg)


@contextmanager
def _figure(
    parts: int, runs: int, height: float = 3.4
) -> "Iterator[tuple[Figure, Sequence[Axes]]]":
    """Make a figure of its own, which no global state of matplotlib's knows; small below."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        below = min(1.0, 0.12 + 0.06 * runs) if parts == 2 else 0.0
        figure = Figure(figsize=(6.0, height + below), layout="constrained")
        FigureCanvasSVG(figure)
        ratios = [height, below][:parts]
        axes = figure.subplots(parts, 1, squeeze=False, sharex=True, height_ratios=ratios)
        yield figure, list(axes[:, 0])


def _draw(
    axes: "Axes",
    curve: Curve,
    along: str,
    scale: float,
    gid: str,
    band: float,
    style: dict[str, Any],
) -> None:
    places = getattr(curve, along)
    if np.nanmax(curve.high - curve.low, initial=0.0) > 0:
        axes.fill_between(
            places,
            curve.low * scale,
            curve.high * scale,
            alpha=band,
            linewidth=0,
            gid=f"band-{gid}",
            **style,
        )
    # A point without neighbours draws no line.
    known = np.isfinite(np.concatenate([[np.nan], curve.mean, [np.nan]]))
    alone = np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:]).tolist()
    line: dict[str, Any] = {"linewidth": 1.3, "marker": "o", "markersize": 4, "markevery": alone}
    axes.plot(places, curve.mean * scale, gid=gid, **line, **style)


def _draw_points(
    axes: "Axes", curve: Curve, along: str, scale: float, gid: str, style: dict[str, Any]
) -> None:
    size = 4.0 if len(curve) <= 40 else 2.5
    axes.plot(
        getattr(curve, along),
        curve.mean * scale,
        linewidth=0.9,
        linestyle=(0, (4, 2)),
        marker="o",
        markersize=size,
        markerfacecolor="white",
        markeredgewidth=1.0,
        gid=gid,
        **style,
    )


def _draw_marks(axes: "Axes", marks: Sequence[History], along: str, shades: Sequence[str]) -> None:
    """Draw a row for each run: ticks where it was saved, triangles where it was resumed."""
    column = {"steps": 0, "seconds": 1}[along]
    for i, history in enumerate(marks):
        rows = (("saves", history.checkpoints, "|"), ("resumes", history.resumes, ">"))
        for what, places, marker in rows:
            if places:
                axes.plot(
                    [place[column] for place in places],
                    [i] * len(places),
                    linestyle="none",
                    marker=marker,
                    markersize=5,
                    color=shades[i],
                    gid=f"{what}-run-{i}",
                )
    axes.set_ylim(len(marks) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_ylabel("saves", rotation=0, ha="right", va="center")
    axes.grid(False)
    axes.spines["left"].set_visible(False)


def _in_words(values: np.ndarray, unit: str) -> str:
    return f"from {np.nanmin(values):.4g} to {np.nanmax(values):.4g} {unit}"


def _svg(figure: "Figure", name: str) -> str:
    """Return a figure as an SVG element whose ids are its own on a page of many."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}.", text)
    return re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
