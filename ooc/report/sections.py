"""Which figures a report shows of a group of runs, section by section."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.core.sizes import format_size
from ooc.report.curves import Curve, without_beginning
from ooc.report.figures import SPAN, Figure, Named, bar_figure, curve_figure
from ooc.report.held_out import calibration_figure, range_test_figure, residual_figure
from ooc.report.history import History
from ooc.report.runs import ReportedRun

Curves = Sequence[Curve | None]

# Of a run, what is left out where the beginning would hide the rest: there its loss falls by more
# than this factor of what it does later.
SETTLED, HIDES = 0.1, 5.0
# Figures of one curve, by its name: their title, and units, the largest first.
FIGURES = {
    "learning_rate": ("Learning rate", {"learning rate": 1.0}),
    "batch_size": ("Batch size", {"rows": 1.0}),
    "rows_per_second": (
        "Rows a second",
        {"million rows/s": 1e6, "thousand rows/s": 1e3, "rows/s": 1.0},
    ),
    "memory_bytes": ("Resident memory against budget", {"GiB": 2.0**30, "MiB": 2.0**20}),
    "waiting_share": ("Share of time spent waiting for data", {"percent": 0.01}),
    "noise_scale": ("Gradient noise scale", {"rows": 1.0}),
    "temperature": ("Effective temperature", {"temperature": 1.0}),
}
FROM_ZERO: dict[str, Any] = {"along": "seconds", "logarithmic": False, "bottom": 0.0}

# Runs that have bars side by side, at most.
MOST_BARS = 12

BANDS = "A band spans the extremes where several lines of the history are drawn as one point."
LOSS = (
    "Training: mean loss of the rows since the line before, each row's taken before it was learned "
    "from."
)
MARKS = "Below: a tick where a run was saved, a triangle where it was resumed."
THROUGHPUT = (
    "Rows between two lines of the history, and memory of the whole process at each; the table has "
    "the mean of the whole run, and the peak, which may lie between two lines."
)
WAITING = (
    "Waiting means that the kernels had no rows to work on: near 100% the disk or decoding sets "
    "the pace, near 0% the computation does."
)
NOISE = (
    "Band: the estimate's interval; dashed: the batch size. The noise scale is the batch size at "
    "which the noise of a batch's gradient is as long as the gradient itself: while it is far "
    "above the batch size, larger batches pay."
)
RATE = (
    "The range test trains a few hundred steps at each rate and measures the loss on rows that "
    "they did not see; rates at which the loss rose are left out."
)
CALIBRATED = (
    "Calibration: on the dashed line, of rows predicted with 70%, 70% are so; above it a model is "
    "too careful, below it too sure. Of two classes the probability of the second one counts, of "
    "more that of the predicted one; larger dots stand for more rows."
)
RESIDUALS = (
    "Residuals are best narrow, even on both sides, and around the dashed zero; half a percent at "
    "either end is left out."
)


@dataclass(frozen=True)
class Section:
    """Figures that answer one question, and a note on how they are to be read."""

    title: str
    note: str
    figures: tuple[Figure, ...]


def make_sections(group: Sequence[ReportedRun], runs: Sequence[Named]) -> list[Section]:
    """Return what a group of runs, best first, has to show; nothing for what none has."""
    histories = [run.history for run in group]
    budgets = {history.memory_budget_bytes: "" for history in histories}
    budgets = {value: f"budget {format_size(value)}" for value in budgets if np.isfinite(value)}
    sizes = {history.batch_sizes[-1]: "" for history in histories if history.batch_sizes}
    sizes = {size: f"batch size {size:,.0f}" for size in sizes}
    known = (runs, histories)
    speed = _figure(*known, "rows_per_second", **FROM_ZERO)
    memory = _figure(*known, "memory_bytes", limits=budgets, **FROM_ZERO)
    noise = [_figure(*known, "noise_scale", limits=sizes), _figure(*known, "temperature")]
    evaluations = [run.evaluation for run in group]
    calibration = calibration_figure(runs, evaluations)
    residuals = residual_figure(runs, evaluations)
    told = (CALIBRATED if calibration else "", RESIDUALS if residuals else "")
    tested = any(history.range_test for history in histories)
    sections = (
        ("Loss", _loss_note(histories), _loss(*known)),
        ("Validation", "", _metrics(*known)),
        ("Validation rows, at the best step", " ".join(told), [calibration, residuals]),
        ("Learning rate", RATE if tested else "", _learning_rate(*known)),
        ("Throughput and memory", THROUGHPUT, [speed, memory]),
        ("Time lost to waiting", f"{WAITING} {BANDS}", _waiting(*known)),
        ("Gradient noise", NOISE, noise),
    )
    made = [
        Section(title, note.strip(), tuple(filter(None, all_))) for title, note, all_ in sections
    ]
    return [section for section in made if section.figures]


def _curves(histories: Sequence[History], name: str, kind: str = "curves") -> Curves:
    return [getattr(history, kind).get(name) for history in histories]


def _figure(
    runs: Sequence[Named],
    histories: Sequence[History],
    curve: str,
    along: str = "steps",
    limits: dict[float, str] | None = None,
    **style: Any,
) -> Figure | None:
    """Return an entry of `FIGURES`, in the first unit that the largest value reaches."""
    (title, units), curves = FIGURES[curve], _curves(histories, curve)
    peaks = [np.nanmax(found.high) for found in curves if found is not None]
    # A limit that is far away would press the curves flat, and is in the table.
    most = max((value for value in (*peaks, *(limits or ())) if np.isfinite(value)), default=0.0)
    unit, size = next((each for each in units.items() if most >= each[1]), [*units.items()][-1])
    more: dict[str, Any] = {"scale": 1 / size, "limits": limits}
    return curve_figure(title, runs, curves, along, unit, **more, **style)


def _loss(runs: Sequence[Named], histories: Sequence[History]) -> list[Figure | None]:
    lines, dots = _curves(histories, "loss"), _curves(histories, "loss", "validation")
    late, late_dots = (
        [curve and without_beginning(curve, SETTLED) for curve in curves]
        for curves in (lines, dots)
    )
    figures = [
        ("Loss by step", lines, "steps", dots),
        ("Loss by time", lines, "seconds", dots),
    ]
    if _spread([*lines, *dots]) > HIDES * _spread([*late, *late_dots]):
        figures.append(("Loss without each run's first tenth", late, "steps", late_dots))
    return [
        curve_figure(title, runs, curves, along, "loss", points=points, marks=histories)
        for title, curves, along, points in figures
    ]


def _spread(curves: Curves) -> float:
    known = [curve for curve in curves if curve is not None]
    if not known:
        return 0.0
    ends = [(np.nanmin(curve.low), np.nanmax(curve.high)) for curve in known]
    return float(max(high for _, high in ends) - min(low for low, _ in ends))


def _loss_note(histories: Sequence[History]) -> str:
    notes = [LOSS, BANDS]
    if any(history.checkpoints or history.resumes for history in histories):
        notes.append(MARKS)
    return " ".join(notes)


def _metrics(runs: Sequence[Named], histories: Sequence[History]) -> list[Figure | None]:
    names = dict.fromkeys(name for history in histories for name in history.validation)
    figures = []
    for name in names:
        # How far off a metric may be, such as "auc_error", needs no figure of its own.
        is_bound = name.endswith("_error") and name.removesuffix("_error") in names
        lengths = [len(history.validation.get(name, ())) for history in histories]
        # Where there was one evaluation, the table has its values.
        if name != "loss" and not is_bound and max(lengths) > 1:
            curves, words = _curves(histories, name, "validation"), name.replace("_", " ")
            title = TITLES.get(name, words.capitalize())
            figures.append(curve_figure(title, runs, curves, "steps", ""))
    return figures


TITLES = {"auc": "Area under the ROC curve", "r2": "R2"}


def _learning_rate(runs: Sequence[Named], histories: Sequence[History]) -> list[Figure | None]:
    rates = [curve for curve in _curves(histories, "learning_rate") if curve is not None]
    peaks, style = [np.nanmax(curve.high) for curve in rates], {}
    # A schedule that ends at nothing looks like a cliff on a logarithmic axis; only rates that
    # lie far apart need one, and its lowest part has nothing to show.
    apart = bool(peaks) and min(peaks) > 0 and max(peaks) > SPAN * min(peaks)
    if apart:
        lowest = min(np.nanmin(curve.low) for curve in rates)
        style = {"bottom": max(0.7 * lowest, min(peaks) / 30)}
    figures = [_figure(runs, histories, "learning_rate", logarithmic=apart, **style)]
    figures.append(range_test_figure(runs, histories))
    if any(len(set(history.batch_sizes or ())) > 1 for history in histories):
        figures.append(_figure(runs, histories, "batch_size"))
    return figures


def _waiting(runs: Sequence[Named], histories: Sequence[History]) -> list[Figure | None]:
    if (shares := _figure(runs, histories, "waiting_share", **FROM_ZERO)) is None:
        return []
    unit = "seconds of training (pale), of them waiting (full)"
    whole = [history.end.seconds for history in histories]
    waited = [float(np.nan_to_num(history.end.wait_seconds)) for history in histories]
    if len(histories) > MOST_BARS:  # the table has the same
        return [shares]
    return [shares, bar_figure("Time lost to waiting, in all", runs, whole, waited, unit)]
