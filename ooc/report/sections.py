"""Which pictures a report shows of its runs, section by section."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ooc.report.axes import SPAN
from ooc.report.curves import without_beginning
from ooc.report.history import History
from ooc.report.pictures import Curves, Picture, bar_picture, curve_picture

# Of a run, what is left out where the beginning would hide the rest.
SETTLED = 0.1

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
    sections = (
        ("Loss", _loss_note(histories), _loss(histories)),
        ("Validation metrics", "", _metrics(histories)),
        ("Learning rate", "", _learning_rate(histories)),
        ("Throughput", f"{THROUGHPUT} {BANDS}", _throughput(histories)),
        ("Memory", MEMORY, _memory(histories)),
        ("Time lost to waiting", f"{WAITING} {BANDS}", _waiting(histories)),
        ("Gradient noise", NOISE, _noise(histories)),
    )
    drawn = [Section(title, note, tuple(filter(None, found))) for title, note, found in sections]
    return [section for section in drawn if section.pictures]


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
    pictures = []
    for number, name in enumerate(names):
        # How far off a metric may be, such as "auc_error", needs no picture of its own.
        is_bound = name.endswith("_error") and name.removesuffix("_error") in names
        if name != "loss" and not is_bound:
            found, title = (
                _curves(histories, name, "validation"),
                f"Validation {name.replace('_', ' ')}",
            )
            lines: Curves = [None] * len(found)
            picture = curve_picture(f"metric-{number}", title, lines, "steps", "", points=found)
            pictures.append(picture)
    return pictures


def _learning_rate(histories: Sequence[History]) -> list[Picture | None]:
    rates, style = _curves(histories, "learning_rate"), {}
    peaks = [np.nanmax(curve.high) for curve in rates if curve is not None]
    # A schedule that ends at nothing looks like a cliff on a logarithmic axis; only rates that
    # lie far apart need one, and its lowest part has nothing to show.
    apart = bool(peaks) and min(peaks) > 0 and max(peaks) > SPAN * min(peaks)
    if apart:
        lowest = min(np.nanmin(curve.low) for curve in rates if curve is not None)
        style = {"bottom": max(0.7 * lowest, min(peaks) / 30)}
    title = "Learning rate against step"
    pictures = [
        curve_picture("rate", title, rates, "steps", "learning rate", logarithmic=apart, **style)
    ]
    if any(len(set(history.batch_sizes or ())) > 1 for history in histories):
        sizes = _curves(histories, "batch_size")
        pictures.append(curve_picture("batch", "Batch size against step", sizes, "steps", "rows"))
    return pictures


def _throughput(histories: Sequence[History]) -> list[Picture | None]:
    rows, sizes = _curves(histories, "rows_per_second"), _curves(histories, "bytes_per_second")
    return [
        _from_zero("rows", "Rows a second", rows, ("million rows/s", 1e6), ("rows/s", 1.0)),
        _from_zero("bytes", "Decoded bytes a second", sizes, ("GB/s", 1e9), ("MB/s", 1e6)),
    ]


def _memory(histories: Sequence[History]) -> list[Picture | None]:
    sizes, units = _curves(histories, "memory_bytes"), (("GiB", 2.0**30), ("MiB", 2.0**20))
    budgets = [history.memory_budget_bytes for history in histories]
    title = "Resident memory against budget"
    return [_from_zero("memory", title, sizes, *units, limits=budgets)]


def _waiting(histories: Sequence[History]) -> list[Picture | None]:
    shares, title = _curves(histories, "waiting_share"), "Share of time spent waiting for data"
    picture = _from_zero("waiting", title, shares, ("percent", 0.01))
    if picture is None:
        return []
    title, unit = (
        "Time lost to waiting, in all",
        "seconds of training (pale), of them waiting (full)",
    )
    whole = [history.end.seconds for history in histories]
    waited = [float(np.nan_to_num(history.end.wait_seconds)) for history in histories]
    return [picture, bar_picture("waited", title, unit, whole, waited)]


def _noise(histories: Sequence[History]) -> list[Picture | None]:
    scales, heat = _curves(histories, "noise_scale"), _curves(histories, "temperature")
    sizes = [history.batch_sizes[-1] for history in histories if history.batch_sizes]
    title, hot = "Gradient noise scale against step", "Effective temperature against step"
    return [
        curve_picture("noise", title, scales, "steps", "rows", limits=sizes),
        curve_picture("temperature", hot, heat, "steps", "temperature"),
    ]


def _curves(histories: Sequence[History], name: str, kind: str = "curves") -> Curves:
    return [getattr(history, kind).get(name) for history in histories]


def _from_zero(
    name: str,
    title: str,
    curves: Curves,
    *units: tuple[str, float],
    limits: Sequence[float] = (),
) -> Picture | None:
    """Draw from zero, in the first unit that the largest value reaches, or the last."""
    peaks = [np.nanmax(curve.high) for curve in curves if curve is not None]
    most = max((value for value in (*peaks, *limits) if np.isfinite(value)), default=0.0)
    unit, size = next((unit for unit in units if most >= unit[1]), units[-1])
    return curve_picture(
        name, title, curves, "seconds", unit,
        scale=1 / size, logarithmic=False, bottom=0.0, limits=limits,
    )  # fmt: skip
