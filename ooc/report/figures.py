"""The figures of a report, as what plotly.js draws: traces and a layout, JSON-ready.

Names from data are escaped: plotly.js takes some markup in names for what it says.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from ooc.report.curves import Curve
from ooc.report.history import History
from ooc.report.styles import FEW, Style, pale

# A logarithmic scale helps where the values span more than this factor.
SPAN = 8.0
# Up to so many runs, all values at a place are shown together; and bands are drawn.
FEW_RUNS, MOST_BANDS = 6, 3
# Curves of so few points show each of them.
FEW_POINTS = 60
NAME_CHARACTERS = 28
GREY = "#555555"
_AXIS = {"gridcolor": "#e6e6e6", "zeroline": False, "automargin": True, "exponentformat": "power"}
BASE: dict[str, Any] = {
    "height": 300,
    "margin": {"l": 56, "r": 14, "t": 12, "b": 42},
    "font": {"family": "system-ui, sans-serif", "size": 12, "color": "#333"},
    "hoverlabel": {"namelength": -1, "bgcolor": "#fff", "font": {"size": 12, "color": "#222"}},
    "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 11}},
    "modebar": {"bgcolor": "rgba(255,255,255,0.7)"},
    "xaxis": {**_AXIS, "linecolor": "#888"},
    "yaxis": _AXIS,
}


@dataclass(frozen=True)
class Named:
    """A run as figures know it: its name, which is escaped, and its style."""

    name: str
    style: Style


@dataclass(frozen=True)
class Figure:
    """One figure: its title, in words what it shows, and what plotly.js draws.

    A trace's "meta" is the number of its run, where it belongs to one.
    """

    title: str
    alt: str
    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]


def with_base(layout: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layout with what all figures share, which its own entries win over."""
    whole = {**BASE, **layout}
    for axis in ("xaxis", "yaxis"):
        whole[axis] = {**BASE[axis], **layout.get(axis, {})}
    return whole


def named(name: str, style: Style) -> Named:
    """Return a run's name as figures write it."""
    return Named(short(name), style)


def short(name: str) -> str:
    """Return a name as figures write it: not long, and escaped.

    Examples
    --------
    >>> short("<b>")
    '&lt;b&gt;'
    """
    half = NAME_CHARACTERS // 2 - 1
    return escape(name if len(name) <= NAME_CHARACTERS else f"{name[:half]}…{name[-half:]}")


def curve_figure(
    title: str,
    runs: Sequence[Named],
    curves: Sequence[Curve | None],
    along: str,
    unit: str,
    *,
    scale: float = 1.0,
    logarithmic: bool = True,
    points: Sequence[Curve | None] = (),
    marks: Sequence[History] = (),
    limits: Mapping[float, str] | None = None,
    bottom: float | None = None,
) -> Figure | None:
    """Return one curve for each run, best run first and on top; None if no run has one.

    Means are lines along "steps" or "seconds", extremes a band.

    Parameters
    ----------
    points
        Of each run, a second curve that is drawn with dots, such as validation losses.
    marks
        Histories whose saves and resumes are marked below.
    limits
        Values that are drawn as dashed lines, such as a budget, and what they are.
    bottom
        Lower end of the vertical axis, before values are multiplied with `scale`.
    """
    shown = [curve for curve in (*curves, *points) if curve is not None]
    if not shown:
        return None
    data = list[dict[str, Any]]()
    for i, run in enumerate(runs):
        if (curve := curves[i]) is not None:
            if len(runs) <= MOST_BANDS:
                data += _band(curve, along, scale, i, run)
            what = "training" if points and points[i] is not None else ""
            label = _label(run, what, len(runs))
            data.append(_line(curve, along, scale, i, run, label, len(runs)))
        if points and (dots := points[i]) is not None:
            label = _label(run, "validation", len(runs))
            data.append(_dots(dots, along, scale, i, run, label, len(runs)))
    layout = _layout(along, unit, len(runs))
    values = np.concatenate([[curve.low, curve.high] for curve in shown], axis=1) * scale
    levels = [value * scale for value in limits or () if math.isfinite(value)]
    # Words stand above a limit.
    reached = np.append(values, (1.8 if logarithmic else 1.05) * np.array(levels))
    layout["yaxis"] |= _range(reached, logarithmic, None if bottom is None else bottom * scale)
    if any(curve is not None for curve in points):
        data += _key(len(runs))
    strip = marks if len(runs) <= FEW_RUNS else ()
    if any(history.checkpoints or history.resumes for history in strip):
        data += _marks(strip, along, runs)
        layout["yaxis"]["domain"] = [0.06 + 0.03 * len(runs), 1]
        axis = {"visible": False, "range": [len(runs) - 0.5, -0.5], "fixedrange": True}
        layout["yaxis2"] = {**axis, "domain": [0, 0.02 + 0.03 * len(runs)]}
    layout |= _limits(limits or {}, scale)
    extremes = f"from {np.nanmin(values):.4g} to {np.nanmax(values):.4g} {unit}"
    known = sum(curve is not None for curve in curves)
    return Figure(title, f"{title}, {known} of {len(runs)} runs, {extremes}", data, layout)


def bar_figure(
    title: str, runs: Sequence[Named], whole: Sequence[float], share: Sequence[float], unit: str
) -> Figure:
    """Return a bar for each run, best on top, as long as `whole` says and filled up to `share`."""
    percent = 100 * np.asarray(share) / np.maximum(whole, 1e-300)
    rows = [f"{i} {run.name}" for i, run in enumerate(runs, 1)]
    data = [
        {
            "type": "bar", "orientation": "h", "x": _numbers([length]), "y": [rows[i]], "meta": i,
            "marker": {"color": colour}, "showlegend": False, "width": 0.75,
            "hovertemplate": f"%{{x:.4g}} s {words}<extra>{run.name}</extra>",
            **(
                {"text": [f"{percent[i]:.1f}%"], "textposition": "outside", "cliponaxis": False}
                if outside
                else {}
            ),
        }
        for i, run in enumerate(runs)
        for length, colour, words, outside in (
            (whole[i], pale(run.style.colour, 0.25), "in all", True),
            (share[i], run.style.colour, "waiting", False),
        )
    ]  # fmt: skip
    layout = {
        "barmode": "overlay",
        "height": max(150, 70 + 24 * len(runs)),
        "hovermode": "closest",
        "xaxis": {"title": {"text": unit}, "range": [0, 1.15 * max(whole) or 1.0]},
        "yaxis": {"autorange": "reversed", "showticklabels": len(runs) > 1, "automargin": True},
    }
    alt = f"{title}, {len(runs)} runs, {percent.min():.1f}% to {percent.max():.1f}%"
    return Figure(title, alt, data, layout)


def numbers(values: Iterable[float], digits: int = 6) -> list[float | None]:
    """Return numbers as JSON has them, rounded; None for what is not finite."""
    rounded = (float(f"{value:.{digits}g}") for value in values)
    return [value if math.isfinite(value) else None for value in rounded]


_numbers = numbers


def _label(run: Named, what: str, runs: int) -> str:
    """Name a curve: a run that is alone needs no name where there is another word."""
    if runs == 1 and what:
        return what
    return f"{run.name}, {what}" if what else run.name


def _line(
    curve: Curve, along: str, scale: float, number: int, run: Named, label: str, runs: int
) -> dict[str, Any]:
    few = len(curve) <= FEW_POINTS and runs <= FEW_RUNS
    return {
        "type": "scatter",
        "mode": "lines+markers" if few or len(curve) == 1 else "lines",
        "x": numbers(getattr(curve, along), 9),
        "y": numbers(curve.mean * scale),
        "name": label,
        "line": {"color": run.style.colour, "dash": run.style.dash, "width": 1.7},
        "marker": {"size": 4 if few else 6},
        "hovertemplate": _hover(along, label, runs),
        **_of_run(number, runs),
    }


def _dots(
    curve: Curve, along: str, scale: float, number: int, run: Named, label: str, runs: int
) -> dict[str, Any]:
    colour = run.style.colour
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": numbers(getattr(curve, along), 9),
        "y": numbers(curve.mean * scale),
        "name": label,
        "line": {"color": colour, "dash": "dot", "width": 1.2},
        "marker": {"size": 7 if len(curve) <= 40 else 4, "color": "#fff"}
        | {"line": {"color": colour, "width": 1.6}},
        "hovertemplate": _hover(along, label, runs),
        **_of_run(number, runs),
    }


def _of_run(number: int, runs: int) -> dict[str, Any]:
    return {"meta": number, "showlegend": False, "zorder": runs - number}


def _key(runs: int) -> list[dict[str, Any]]:
    """Return what the legend of a figure with two kinds of curves shows; runs have the page's."""
    colour = FEW[0] if runs == 1 else GREY
    dots = {"size": 7, "color": "#fff", "line": {"color": colour, "width": 1.6}}
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("training", {"mode": "lines", "line": {"color": colour, "width": 1.7}}),
        (
            "validation",
            {"mode": "lines+markers", "line": {"color": colour, "dash": "dot"}, "marker": dots},
        ),
    )
    shared = {"type": "scatter", "x": [None], "y": [None], "showlegend": True}
    return [{**shared, "name": name, **look} for name, look in kinds]


def _hover(along: str, label: str, runs: int) -> str:
    """Return what is shown under the mouse: of few runs, their values beside their names."""
    if runs <= FEW_RUNS:
        return "%{y:.5~g}"
    place = "step %{x:,}" if along == "steps" else "%{x:.3~g} s"
    return f"{place}: %{{y:.5~g}}<extra>{number_free(label)}</extra>"


def number_free(label: str) -> str:
    """Return a label in which plotly.js finds no place to fill in."""
    return label.replace("%", "&#37;")


def _band(curve: Curve, along: str, scale: float, number: int, run: Named) -> list[dict[str, Any]]:
    """Return the extremes as a polygon for each unbroken part."""
    if not np.nanmax(curve.high - curve.low, initial=0.0) > 0:
        return []
    x, y = list[float](), list[float]()
    places = getattr(curve, along)
    parts = np.split(np.arange(len(places)), np.flatnonzero(np.isnan(curve.mean)))
    for part in parts:
        own = part[np.isfinite(curve.mean[part])]
        x += [*places[own], *places[own][::-1], math.nan]
        y += [*(curve.low[own] * scale), *(curve.high[own][::-1] * scale), math.nan]
    return [
        {
            "type": "scatter", "mode": "lines", "x": numbers(x, 9), "y": numbers(y),
            "fill": "toself", "fillcolor": pale(run.style.colour, 0.16), "line": {"width": 0},
            "hoverinfo": "skip", "showlegend": False, "meta": number, "name": f"{run.name} band",
        }
    ]  # fmt: skip


def _marks(histories: Sequence[History], along: str, runs: Sequence[Named]) -> list[dict[str, Any]]:
    """Return a row for each run: ticks where it was saved, triangles where it was resumed."""
    column, marks = {"steps": 0, "seconds": 1}[along], list[dict[str, Any]]()
    for i, (history, run) in enumerate(zip(histories, runs, strict=True)):
        kinds = (
            ("saved", history.checkpoints, "line-ns-open"),
            ("resumed", history.resumes, "triangle-right"),
        )
        for words, moments, symbol in kinds:
            if moments:
                places = numbers([moment[column] for moment in moments], 9)
                marks.append(
                    {
                        "type": "scatter", "mode": "markers", "x": places, "y": [i] * len(places),
                        "yaxis": "y2", "name": f"{run.name}, {words}", "showlegend": False,
                        "marker": {"symbol": symbol, "size": 8, "color": run.style.colour},
                        "hovertemplate": "here", "meta": i,
                    }
                )  # fmt: skip
    return marks


def _layout(along: str, unit: str, runs: int) -> dict[str, Any]:
    titles = {"steps": "step", "seconds": "seconds of training"}
    bottom: dict[str, Any] = {"title": {"text": titles[along]}, "anchor": "free", "position": 0}
    bottom |= {"hoverformat": ",d" if along == "steps" else ".3~g", "rangemode": "tozero"}
    return {
        "hovermode": "x unified" if runs <= FEW_RUNS else "closest",
        "xaxis": bottom,
        "yaxis": {"title": {"text": unit}},
    }


def _range(values: np.ndarray, logarithmic: bool, bottom: float | None) -> dict[str, Any]:
    """Return a vertical axis for values of any shape: logarithmic if they span a large factor."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if bottom is not None:
        low = max(low, bottom)
    if logarithmic and low > 0 and high > SPAN * low:
        room = 0.04 * math.log10(high / low)
        ends = [math.log10(low) - room, math.log10(high) + room]
        return {"type": "log", "range": ends, "dtick": "D2" if high < 300 * low else 1}
    if bottom is not None:
        return {"range": [bottom, high * 1.06 or 1.0]}
    return {}


def _limits(limits: Mapping[float, str], scale: float) -> dict[str, Any]:
    """Return dashed lines at values, with what they are."""
    known = {value * scale: words for value, words in limits.items() if math.isfinite(value)}
    line = {"color": GREY, "dash": "dash", "width": 1.2}
    text = {"textposition": "end", "font": {"size": 11, "color": GREY}, "yanchor": "bottom"}
    return {
        "shapes": [
            {
                "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value,
                "line": line, "label": {"text": escape(words), **text},
            }
            for value, words in known.items()
        ]
    }  # fmt: skip
