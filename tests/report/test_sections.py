"""Which figures a report shows: in units that fit, and only what has something to say."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from ooc.report.cells import make_results, make_settings
from ooc.report.curves import Curve
from ooc.report.figures import named
from ooc.report.history import History, Standing
from ooc.report.runs import ReportedRun
from ooc.report.sections import Section, make_sections
from ooc.report.styles import styles


def curve(*values: float, high: Any = None) -> Curve:
    mean, steps = np.array(values), np.arange(1.0, len(values) + 1)
    return Curve(steps, steps / 2, mean, mean, mean if high is None else np.array(high, float))


def run_of(history: History, **results: Any) -> ReportedRun:
    described = {"results": results}
    told = make_settings(history, described), make_results(history, described)
    return ReportedRun(None, "a", history, described, *told, math.nan, "", ())  # type: ignore[arg-type]


def sections(*histories: History, **results: Any) -> dict[str, Section]:
    runs = [named(f"run {i}", style) for i, style in enumerate(styles(len(histories)))]
    found = make_sections([run_of(each, **results) for each in histories], runs)
    return {section.title: section for section in found}


def titles(section: Section) -> list[str]:
    return [figure.title for figure in section.figures]


def of(**curves: Curve) -> History:
    return History(curves=curves)


def test_what_no_run_has_is_not_shown() -> None:
    assert sections(History()) == {}
    found = sections(of(loss=curve(3.0, 2.0)))
    assert list(found) == ["Loss"]
    assert titles(found["Loss"]) == ["Loss by step", "Loss by time"]
    assert [figure.data[0]["x"] for figure in found["Loss"].figures] == [[1, 2], [0.5, 1]]


@pytest.mark.parametrize(
    ("name", "peak", "unit", "shown"),
    [
        ("rows_per_second", 999_999.0, "thousand rows/s", 999.999),
        ("rows_per_second", 1e6, "million rows/s", 1.0), ("rows_per_second", 999.0, "rows/s", 999),
        ("memory_bytes", 2.0**30, "GiB", 1.0), ("memory_bytes", 2.0**30 - 1, "MiB", 1024.0),
        ("memory_bytes", 1e3, "MiB", 0.000953674),
    ],
)  # fmt: skip
def test_units_are_those_that_the_largest_value_reaches(
    name: str, peak: float, unit: str, shown: float
) -> None:
    (figure,) = sections(of(**{name: curve(peak / 2, peak)}))["Throughput and memory"].figures
    assert figure.layout["yaxis"]["title"]["text"] == unit
    assert figure.data[0]["y"][-1] == pytest.approx(shown, rel=1e-5)
    # Against time, and from zero.
    assert figure.data[0]["x"] == [0.5, 1]
    assert figure.layout["yaxis"]["range"][0] == 0
    assert "type" not in figure.layout["yaxis"]


def shapes(section: Section, place: int = 0) -> list[tuple[float, str]]:
    found = section.figures[place].layout["shapes"]
    return [(shape["y0"], shape["label"]["text"]) for shape in found]


def test_budgets_and_batch_sizes_are_limits() -> None:
    histories = [of(memory_bytes=curve(2.0**29)), of(memory_bytes=curve(2.0**28))]
    for history in histories:
        history.memory_budget_bytes = 2.0**31
    memory = sections(*histories)["Throughput and memory"]
    # The budget counts for the unit, too.
    assert shapes(memory) == [(2.0, "budget 2.00 GiB")]
    noise = of(noise_scale=curve(10.0, 20.0), temperature=curve(1e-3))
    noise.batch_sizes = (16.0, 2048.0)
    section = sections(noise)["Gradient noise"]
    assert shapes(section) == [(2048.0, "batch size 2,048")]
    assert len(section.figures) == 2 and shapes(section, 1) == []


def test_a_beginning_that_hides_the_rest_is_left_out_once_more() -> None:
    def later(first: float) -> list[str]:
        values = [first, *np.linspace(2.0, 1.0, 19)]
        return titles(sections(of(loss=curve(*values)))["Loss"])

    assert len(later(7.0)) == 3 and later(7.0)[2] == "Loss without each run's first tenth"
    assert len(later(5.0)) == 2
    history = of(loss=curve(*[90.0, *np.linspace(2.0, 1.0, 19)]))
    history.validation["loss"] = curve(*[90.0, *np.linspace(2.0, 1.0, 19)])
    late = sections(history)["Loss"].figures[2]
    assert [trace["x"][0] for trace in late.data[:2]] == [2, 2]


def test_marks_are_told_of_where_there_are_some() -> None:
    history = of(loss=curve(3.0, 2.0))
    assert "a tick where" not in sections(history)["Loss"].note
    for marks in ({"checkpoints": [(1.0, 1.0)]}, {"resumes": [(1.0, 1.0)]}):
        vars(history).update({"checkpoints": [], "resumes": []} | marks)
        assert "a tick where" in sections(history)["Loss"].note


def test_metrics_have_a_figure_where_there_is_more_than_one_value() -> None:
    history = of(loss=curve(3.0, 2.0))
    history.validation = {
        "loss": curve(3.0, 2.0), "auc": curve(0.5, 0.6), "auc_error": curve(0.1, 0.2),
        "pixel_error": curve(1.0, 2.0), "r2": curve(0.5), "mean_abs": curve(1.0, 2.0),
    }  # fmt: skip
    assert titles(sections(history)["Validation"]) == [
        "Area under the ROC curve", "Pixel error", "Mean abs",
    ]  # fmt: skip
    other = History(validation={"r2": curve(0.5, 0.6)})
    assert "R2" in titles(sections(history, other)["Validation"])


def rate_axis(*rates: Curve) -> dict[str, Any]:
    found = sections(*(of(learning_rate=rate) for rate in rates))["Learning rate"]
    return dict(found.figures[0].layout["yaxis"])


def test_rates_have_a_logarithmic_axis_where_runs_lie_far_apart() -> None:
    falling = curve(0.1, 0.01, 0.0)
    assert "type" not in rate_axis(falling)
    assert "type" not in rate_axis(curve(0.1, 1e-4), curve(0.8, 1e-4))
    apart = rate_axis(falling, curve(0.9, 0.0))
    assert apart["type"] == "log"
    low, high = 0.1 / 30, 0.9
    room = 0.04 * math.log10(high / low)
    assert apart["range"] == pytest.approx([math.log10(low) - room, math.log10(high) + room])
    apart = rate_axis(curve(0.1, 0.05), curve(0.9, 0.5))
    room = 0.04 * math.log10(0.9 / 0.05)
    assert apart["range"][0] == pytest.approx(math.log10(0.05) - room)


def test_batch_sizes_are_drawn_where_they_change() -> None:
    history = of(learning_rate=curve(0.1), batch_size=curve(16.0, 32.0))
    history.batch_sizes = (16.0, 16.0)
    assert titles(sections(history)["Learning rate"]) == ["Learning rate"]
    history.batch_sizes = (16.0, 32.0)
    assert titles(sections(history)["Learning rate"]) == ["Learning rate", "Batch size"]
    history.range_test = (0.1, [(0.1, 0.5), (1.0, 0.6)])
    section = sections(history)["Learning rate"]
    assert titles(section)[1] == "Learning rates that were tried"
    assert section.note.startswith("The range test trains")


def test_waiting_has_bars_of_a_dozen_runs_at_most() -> None:
    def histories(count: int) -> list[History]:
        made = [of(waiting_share=curve(0.25)) for _ in range(count)]
        for each in made:
            each.end = Standing(seconds=8.0, wait_seconds=2.0)
        return made

    section = sections(*histories(12))["Time lost to waiting"]
    assert titles(section)[1] == "Time lost to waiting, in all"
    assert section.figures[0].data[0]["y"] == [25]
    assert [trace["x"] for trace in section.figures[1].data[:2]] == [[8], [2]]
    assert len(sections(*histories(13))["Time lost to waiting"].figures) == 1
    unknown = of(waiting_share=curve(0.25))
    unknown.end = Standing(seconds=8.0, wait_seconds=math.nan)
    bars = sections(unknown)["Time lost to waiting"].figures[1]
    assert bars.data[1]["x"] == [0]
    assert Counter(trace["meta"] for trace in bars.data) == {0: 2}


def test_notes_say_how_what_was_measured_is_read() -> None:
    found = {"predicted": [0.5], "observed": [0.5], "weight": [1.0]}
    bars = {"edges": [0.0, 1.0], "weight": [1.0]}
    title = "Validation rows, at the best step"
    for measured, starts, figures in (
        ({"calibration": found}, "Calibration: on", 1), ({"residuals": bars}, "Residuals are", 1),
        ({"calibration": found, "residuals": bars}, "Calibration: on", 2),
    ):  # fmt: skip
        section = sections(History(), validation=measured)[title]
        assert section.note.startswith(starts) and len(section.figures) == figures
        assert ("Residuals are" in section.note) == ("residuals" in measured)
