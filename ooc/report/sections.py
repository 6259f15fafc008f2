"""Which pictures a report shows of its runs, section by section."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.report.axes import SPAN
from ooc.report.curves import without_beginning
from ooc.report.history import History
from ooc.report.pictures import Curves, Picture, bar_picture, curve_picture

# Of a run, what is left out where the beginning would hide the rest.
SETTLED = 0.1
# Pictures of one curve, by its name: their own name, their title, and units, the largest first.
PICTURES = {
    "learning_rate": ("rate", "Learning rate against step", {"learning rate": 1.0}),
    "batch_size": ("batch", "Batch size against step", {"rows": 1.0}),
    "rows_per_second": ("rows", "Rows a second", {"million rows/s": 1e6, "rows/s": 1.0}),
    "bytes_per_second": ("bytes", "Decoded bytes a second", {"GB/s": 1e9, "MB/s": 1e6}),
    "memory_bytes": ("memory", "Resident memory against budget", {"GiB": 2.0**30, "MiB": 2.0**20}),
    "waiting_share": ("waiting", "Share of time spent waiting for data", {"percent": 0.01}),
    "noise_scale": ("noise", "Gradient noise scale against step", {"rows": 1.0}),
    "temperature": ("temperature", "Effective temperature against step", {"temperature": 1.0}),
}
FROM_ZERO: dict[str, Any] = {"along": "seconds", "logarithmic": False, "bottom": 0.0}

BANDS = "A band spans the extremes where several lines of the history are drawn as one point."
LOSS = (
    "Line: mean loss of the rows since the line before, each row's taken before it was learned "
    "from."
)
MARKS = (
    "Below each picture, a row for each run: a tick where it was saved, a triangle where it was "
    "resumed."
)
THROUGHPUT = "Between two lines of the history; the table has the mean of the whole run."
MEMORY = (
    "Memory of the whole process at each line of the history; dashed: the budget. The table has "
    "the peak, which may lie between two lines."
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


@dataclass(frozen=True)
class Section:
    """Pictures that answer one question, and a note on how they are to be read."""

    title: str
    note: str
    pictures: tuple[Picture, ...]


def draw_sections(histories: Sequence[History]) -> list[Section]:
    """Draw what the histories, best run first, have to show; nothing for what none has."""
    budgets = [history.memory_budget_bytes for history in histories]
    sizes = [history.batch_sizes[-1] for history in histories if history.batch_sizes]
    rates = ("rows_per_second", "bytes_per_second")
    throughput = [_picture(histories, name, **FROM_ZERO) for name in rates]
    memory = [_picture(histories, "memory_bytes", limits=budgets, **FROM_ZERO)]
    noise = [_picture(histories, "noise_scale", limits=sizes), _picture(histories, "temperature")]
    sections = (
        ("Loss", _loss_note(histories), _loss(histories)),
        ("Validation metrics", "", _metrics(histories)),
        ("Learning rate", "", _learning_rate(histories)),
        ("Throughput", f"{THROUGHPUT} {BANDS}", throughput),
        ("Memory", MEMORY, memory),
        ("Time lost to waiting", f"{WAITING} {BANDS}", _waiting(histories)),
        ("Gradient noise", NOISE, noise),
    )
    drawn = [Section(title, note, tuple(filter(None, found))) for title, note, found in sections]
    return [section for section in drawn if section.pictures]


def _curves(histories: Sequence[History], name: str, kind: str = "curves") -> Curves:
    return [getattr(history, kind).get(name) for history in histories]


def _picture(
    histories: Sequence[History],
    curve: str,
    along: str = "steps",
    limits: Sequence[float] = (),
    **style: Any,
) -> Picture | None:
    """Draw an entry of `PICTURES`, in the first unit that the largest value reaches."""
    (name, title, units), curves = PICTURES[curve], _curves(histories, curve)
    peaks = [np.nanmax(found.high) for found in curves if found is not None]
    most = max((value for value in (*peaks, *limits) if np.isfinite(value)), default=0.0)
    unit, size = next((each for each in units.items() if most >= each[1]), [*units.items()][-1])
    return curve_picture(name, title, curves, along, unit, scale=1 / size, limits=limits, **style)


def _loss(histories: Sequence[History]) -> list[Picture | None]:
    lines, dots = _curves(histories, "loss"), _curves(histories, "loss", "validation")
    late, late_dots = (
        [curve and without_beginning(curve, SETTLED) for curve in curves]
        for curves in (lines, dots)
    )
    pictures = (
        ("loss-steps", "Loss against step", lines, "steps", dots),
        ("loss-seconds", "Loss against seconds of training", lines, "seconds", dots),
        ("loss-late", "Loss without each run's first tenth", late, "steps", late_dots),
    )
    return [
        curve_picture(name, title, curves, along, "loss", points=points, marks=histories)
        for name, title, curves, along, points in pictures
    ]


def _loss_note(histories: Sequence[History]) -> str:
    notes = [LOSS]
    if any("loss" in history.validation for history in histories):
        notes.append("Dots on a dashed line: loss on validation rows.")
    notes.append(BANDS)
    if any(history.checkpoints or history.resumes for history in histories):
        notes.append(MARKS)
    return " ".join(notes)


def _metrics(histories: Sequence[History]) -> list[Picture | None]:
    names = dict.fromkeys(name for history in histories for name in history.validation)
    lines: Curves = [None] * len(histories)
    pictures = []
    for number, name in enumerate(names):
        # How far off a metric may be, such as "auc_error", needs no picture of its own.
        is_bound = name.endswith("_error") and name.removesuffix("_error") in names
        if name != "loss" and not is_bound:
            dots, title = _curves(histories, name, "validation"), f"Validation {name}"
            title = title.replace("_", " ")
            picture = curve_picture(f"metric-{number}", title, lines, "steps", "", points=dots)
            pictures.append(picture)
    return pictures


def _learning_rate(histories: Sequence[History]) -> list[Picture | None]:
    rates = [curve for curve in _curves(histories, "learning_rate") if curve is not None]
    peaks, style = [np.nanmax(curve.high) for curve in rates], {}
    # A schedule that ends at nothing looks like a cliff on a logarithmic axis; only rates that
    # lie far apart need one, and its lowest part has nothing to show.
    apart = bool(peaks) and min(peaks) > 0 and max(peaks) > SPAN * min(peaks)
    if apart:
        lowest = min(np.nanmin(curve.low) for curve in rates)
        style = {"bottom": max(0.7 * lowest, min(peaks) / 30)}
    pictures = [_picture(histories, "learning_rate", logarithmic=apart, **style)]
    if any(len(set(history.batch_sizes or ())) > 1 for history in histories):
        pictures.append(_picture(histories, "batch_size"))
    return pictures


def _waiting(histories: Sequence[History]) -> list[Picture | None]:
    if (shares := _picture(histories, "waiting_share", **FROM_ZERO)) is None:
        return []
    unit = "seconds of training (pale), of them waiting (full)"
    whole = [history.end.seconds for history in histories]
    waited = [float(np.nan_to_num(history.end.wait_seconds)) for history in histories]
    return [shares, bar_picture("waited", "Time lost to waiting, in all", unit, whole, waited)]
