"""Which pictures a report shows of its runs, section by section."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ooc.report.axes import SPAN
from ooc.report.curves import Curve, after
from ooc.report.history import History
from ooc.report.pictures import Picture, bar_picture, curve_picture

# Of a run, what is left out where the beginning would hide the rest.
SETTLED = 0.1

BANDS = "A band spans the extremes where several lines of the history are drawn as one point."

Curves = Sequence[Curve | None]


@dataclass(frozen=True)
class Section:
    """Pictures that answer one question.

    Attributes
    ----------
    title
        Its heading.
    note
        How its pictures are to be read.
    pictures
        What it shows.
    """

    title: str
    note: str
    pictures: tuple[Picture, ...]


def draw_sections(histories: Sequence[History]) -> list[Section]:
    """Draw what the histories, best run first, have to show; nothing for what none has."""
    sections = (
        Section("Loss", _loss_note(histories), tuple(_loss(histories))),
        Section("Validation metrics", "", tuple(_metrics(histories))),
        Section("Learning rate", "", tuple(_learning_rate(histories))),
        Section(
            "Throughput",
            f"Between two lines of the history; the table has the mean of the whole run. {BANDS}",
            tuple(_throughput(histories)),
        ),
        Section(
            "Memory",
            "Memory of the whole process at each line of the history; dashed: the budget. The "
            "table has the peak, which may lie between two lines.",
            tuple(_memory(histories)),
        ),
        Section(
            "Time lost to waiting",
            "Waiting means that the kernels had no rows to work on: near 100% the disk or "
            f"decoding sets the pace, near 0% the computation does. {BANDS}",
            tuple(_waiting(histories)),
        ),
        Section(
            "Gradient noise",
            "Band: the estimate's interval; dashed: the batch size. The noise scale is the batch "
            "size at which the noise of a batch's gradient is as long as the gradient itself: "
            "while it is far above the batch size, larger batches pay.",
            tuple(_noise(histories)),
        ),
    )
    return [section for section in sections if section.pictures]


def _loss(histories: Sequence[History]) -> list[Picture]:
    training, validation = _named(histories, "loss"), _metric(histories, "loss")
    if not _any(training, validation):
        return []

    def picture(name: str, what: str, along: str, lines: Curves, dots: Curves) -> Picture:
        return curve_picture(
            name, f"Loss {what}", lines, along, "loss", points=dots, marks=histories
        )

    late, late_dots = _late(training), _late(validation)
    return [
        picture("loss-steps", "against step", "steps", training, validation),
        picture("loss-seconds", "against seconds of training", "seconds", training, validation),
        picture("loss-late", "without each run's first tenth", "steps", late, late_dots),
    ]


def _loss_note(histories: Sequence[History]) -> str:
    note = (
        "Line: mean loss of the rows since the line before, each row's taken before it was "
        "learned from."
    )
    if _any(_metric(histories, "loss")):
        note += " Dots on a dashed line: loss on validation rows."
    note += f" {BANDS}"
    if any(history.checkpoints or history.resumes for history in histories):
        note += (
            " Below each picture, a row for each run: a tick where it was saved, a triangle where "
            "it was resumed."
        )
    return note


def _metrics(histories: Sequence[History]) -> list[Picture]:
    names = dict.fromkeys(name for history in histories for name in history.validation)
    pictures = []
    for number, name in enumerate(names):
        found = _metric(histories, name)
        # How far off a metric may be, such as "auc_error", needs no picture of its own.
        is_bound = name.endswith("_error") and name.removesuffix("_error") in names
        if name != "loss" and not is_bound and _any(found):
            nothing: Curves = [None] * len(found)
            title = f"Validation {name.replace('_', ' ')}"
            pictures.append(
                curve_picture(f"metric-{number}", title, nothing, "steps", "", points=found)
            )
    return pictures


def _learning_rate(histories: Sequence[History]) -> list[Picture]:
    rates, sizes = _named(histories, "learning_rate"), _named(histories, "batch_size")
    pictures = []
    if _any(rates):
        peaks = [np.nanmax(curve.high) for curve in rates if curve is not None]
        lowest = min(np.nanmin(curve.low) for curve in rates if curve is not None)
        # A schedule that ends at nothing looks like a cliff on a logarithmic axis; only rates
        # that lie far apart need one, and its lowest part has nothing to show.
        apart = min(peaks) > 0 and max(peaks) > SPAN * min(peaks)
        pictures.append(
            curve_picture(
                "rate",
                "Learning rate against step",
                rates,
                "steps",
                "learning rate",
                logarithmic=apart,
                bottom=max(0.7 * lowest, min(peaks) / 30) if apart else None,
            )
        )
    if any(len(set(history.batch_sizes or ())) > 1 for history in histories):
        pictures.append(curve_picture("batch", "Batch size against step", sizes, "steps", "rows"))
    return pictures


def _throughput(histories: Sequence[History]) -> list[Picture]:
    rows, sizes = _named(histories, "rows_per_second"), _named(histories, "bytes_per_second")
    pictures = []
    for name, title, rates, unit, scale in (
        ("rows", "Rows a second", rows, *_unit(rows, (("million rows/s", 1e6), ("rows/s", 1)))),
        ("bytes", "Decoded bytes a second", sizes, *_unit(sizes, (("GB/s", 1e9), ("MB/s", 1e6)))),
    ):
        if _any(rates):
            pictures.append(
                curve_picture(
                    name,
                    title,
                    rates,
                    "seconds",
                    unit,
                    scale=1 / scale,
                    logarithmic=False,
                    bottom=0.0,
                )
            )
    return pictures


def _memory(histories: Sequence[History]) -> list[Picture]:
    sizes = _named(histories, "memory_bytes")
    if not _any(sizes):
        return []
    budgets = [history.memory_budget_bytes for history in histories]
    unit, size = _unit(sizes, (("GiB", 2.0**30), ("MiB", 2.0**20)), *budgets)
    picture = curve_picture(
        "memory",
        "Resident memory against budget",
        sizes,
        "seconds",
        unit,
        scale=1 / size,
        logarithmic=False,
        limits=budgets,
        bottom=0.0,
    )
    return [picture]


def _waiting(histories: Sequence[History]) -> list[Picture]:
    shares = _named(histories, "waiting_share")
    if not _any(shares):
        return []
    return [
        curve_picture(
            "waiting",
            "Share of time spent waiting for data",
            shares,
            "seconds",
            "percent",
            scale=100.0,
            logarithmic=False,
            bottom=0.0,
        ),
        bar_picture(
            "waited",
            "Time lost to waiting, in all",
            "seconds of training (pale), of them waiting (full)",
            [history.end.seconds for history in histories],
            [np.nan_to_num(history.end.wait_seconds) for history in histories],
        ),
    ]


def _noise(histories: Sequence[History]) -> list[Picture]:
    scales, heat = _named(histories, "noise_scale"), _named(histories, "temperature")
    pictures = []
    if _any(scales):
        sizes = [history.batch_sizes[-1] for history in histories if history.batch_sizes]
        title = "Gradient noise scale against step"
        pictures.append(curve_picture("noise", title, scales, "steps", "rows", limits=sizes))
    if _any(heat):
        title = "Effective temperature against step"
        pictures.append(curve_picture("temperature", title, heat, "steps", "temperature"))
    return pictures


def _named(histories: Sequence[History], name: str) -> Curves:
    return _drawable([history.curves.get(name) for history in histories])


def _metric(histories: Sequence[History], name: str) -> Curves:
    return _drawable([history.validation.get(name) for history in histories])


def _drawable(curves: Curves) -> Curves:
    return [curve if curve is not None and len(curve) else None for curve in curves]


def _late(curves: Curves) -> Curves:
    return [None if curve is None else after(curve, SETTLED) for curve in curves]


def _any(*groups: Curves) -> bool:
    return any(curve is not None for curves in groups for curve in curves)


def _unit(curves: Curves, units: Sequence[tuple[str, float]], *others: float) -> tuple[str, float]:
    """Choose the first unit that the largest value reaches, or the last."""
    peaks = [np.nanmax(curve.high) for curve in curves if curve is not None]
    most = max((value for value in (*peaks, *others) if np.isfinite(value)), default=0.0)
    return next((unit for unit in units if most >= unit[1]), units[-1])
