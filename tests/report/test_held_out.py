"""Figures of what a run came to: each from a handful of numbers that can be told by hand."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from ooc.report.cells import make_results, make_settings
from ooc.report.figures import Named, named
from ooc.report.held_out import (
    calibration_figure,
    coefficient_figure,
    columns_of,
    matrix_figure,
    range_test_figure,
    residual_figure,
)
from ooc.report.history import History
from ooc.report.runs import ReportedRun
from ooc.report.styles import styles


def runs(count: int) -> list[Named]:
    return [named(f"run {i}", style) for i, style in enumerate(styles(count))]


def run_of(results: Mapping[str, Any]) -> ReportedRun:
    history, described = History(), {"results": results}
    told = make_settings(history, described), make_results(history, described)
    return ReportedRun(None, "a", history, described, *told, math.nan, "", ())  # type: ignore[arg-type]


def range_tested(rate: float, *trials: tuple[float, float]) -> History:
    return History(range_test=(rate, list(trials)))


def test_rates_that_were_tried_and_the_one_that_was_taken() -> None:
    trials = [(0.01, 0.9), (0.1, 0.5), (1.0, 0.4), (10.0, math.inf)]
    figure = range_test_figure(runs(1), [range_tested(0.4, *trials)])
    assert figure is not None
    tried, chosen = figure.data
    assert (tried["x"], tried["y"]) == ([0.01, 0.1, 1], [0.9, 0.5, 0.4])
    # The nearest on a logarithmic axis: 0.4 is nearer to 1 than to 0.1.
    assert (chosen["x"], chosen["y"], chosen["text"]) == ([1], [0.4], ["chosen: 0.4"])
    assert chosen["mode"] == "markers+text"
    assert figure.alt == "Learning rates that were tried, loss from 0.4 to 0.9"
    assert "type" not in figure.layout["yaxis"]
    wide = range_test_figure(runs(1), [range_tested(0.1, (0.1, 0.1), (1.0, 0.9))])
    assert wide is not None and wide.layout["yaxis"]["type"] == "log"
    not_wide = range_test_figure(runs(1), [range_tested(0.1, (0.1, 0.1), (1.0, 0.8))])
    assert not_wide is not None and "type" not in not_wide.layout["yaxis"]


def test_runs_that_share_a_test_are_drawn_once_and_several_have_no_words() -> None:
    one, other = (
        range_tested(0.1, (0.1, 0.5), (1.0, 0.6)),
        range_tested(0.2, (0.1, 0.5), (1.0, 0.6)),
    )
    figure = range_test_figure(runs(4), [History(), one, one, other])
    assert figure is not None
    assert [trace["meta"] for trace in figure.data] == [1, 1, 3, 3]
    assert [trace["mode"] for trace in figure.data] == ["lines+markers", "markers"] * 2
    assert range_test_figure(runs(2), [History(), range_tested(0.1, (0.1, math.inf))]) is None


def test_calibration_is_observed_by_predicted_and_dots_are_as_large_as_their_share() -> None:
    found = {"predicted": [0.25, 0.75], "observed": [0.5, 0.625], "weight": [10.0, 40.0]}
    figure = calibration_figure(runs(2), [{}, {"calibration": found}])
    assert figure is not None
    (trace,) = figure.data
    assert (trace["x"], trace["y"], trace["customdata"]) == ([0.25, 0.75], [0.5, 0.625], [0.2, 0.8])
    # Half as wide, beyond a dot that can be seen, where there is a quarter of the rows.
    assert trace["marker"]["size"] == [9.5, 14]
    assert (trace["meta"], trace["name"]) == (1, "run 1")
    assert trace["hovertemplate"].endswith("%{customdata:.1%} of the rows<extra>run 1</extra>")
    (line,) = figure.layout["shapes"]
    assert [line[end] for end in ("x0", "y0", "x1", "y1")] == [0, 0, 1, 1]
    assert figure.alt == "Calibration, 1 of 2 runs, from 0% to 100%"
    titles = [figure.layout[axis]["title"]["text"] for axis in ("xaxis", "yaxis")]
    assert titles == ["predicted probability", "share that is so"]


def test_residuals_are_densities_whose_area_is_one() -> None:
    bars = {"edges": [-2.0, 0.0, 1.0, 1.0], "weight": [30.0, 60.0, 10.0]}
    figure = residual_figure(runs(2), [{"residuals": bars}, {"residuals": {"edges": [1.0]}}])
    assert figure is not None
    (trace,) = figure.data
    assert trace["x"] == [-2, -2, 0, 1, 1] and trace["y"] == [0, 0.15, 0.6, 0.1, 0]
    assert figure.alt == "Residuals, 1 of 2 runs, from -2 to 1" and "fill" not in trace
    alone = residual_figure(runs(1), [{"residuals": bars}])
    assert alone is not None and alone.data[0]["fill"] == "tozeroy"
    uneven = {"edges": [0.0, 1.0], "weight": [1.0, 1.0]}
    assert residual_figure(runs(1), [{"residuals": uneven}]) is None


def matrix(values: Any, names: list[str] | None = None) -> Any:
    return matrix_figure(run_of({"validation": {"confusion_matrix": values}, "class_names": names}))


def test_a_matrix_has_a_row_for_each_true_label() -> None:
    figure = matrix([[3, 1], [0, 0]], ["no", "<yes>"])
    (trace,) = figure.data
    assert trace["z"] == [[0.75, 0.25], [0, 0]] and trace["text"] == [["3", "1"], ["0", "0"]]
    assert trace["x"] == trace["y"] == ["no", "&lt;yes&gt;"]
    assert figure.layout["yaxis"]["title"]["text"] == "true"
    assert figure.layout["xaxis"]["title"]["text"] == "predicted"
    assert figure.layout["yaxis"]["autorange"] == "reversed"
    assert figure.alt == "Confusion matrix of 2 classes, 75.0% on its diagonal"
    assert figure.layout["height"] == 240
    assert matrix([[3, 1], [2, 4]]).alt.endswith("2 classes, 70.0% on its diagonal")
    same = matrix([[1, 0], [0, 1]], ["x" * 14 + "a" + "y" * 14, "x" * 14 + "b" + "y" * 14])
    assert same.data[0]["x"] == ["0", "1"]


@pytest.mark.parametrize(("classes", "height"), [(8, 482), (9, 520), (3, 262)])
def test_counts_are_written_where_there_is_room(classes: int, height: int) -> None:
    figure = matrix(np.eye(classes).tolist())
    assert ("texttemplate" in figure.data[0]) == (classes <= 8)
    assert figure.layout["height"] == height
    assert figure.layout["xaxis"].get("dtick") == (1 if classes <= 8 else None)


@pytest.mark.parametrize(
    "values", [None, [[1, 2]], [[1, 2], [3]], [[math.nan, 1], [1, 1]], [1, 2], "x", [[[1]]]]
)
def test_what_is_no_matrix_is_not_drawn(values: Any) -> None:
    assert matrix(values) is None


@pytest.mark.parametrize(
    ("value", "known"),
    [
        ({"a": [1, 2], "b": [0, 3]}, True), ({"a": [1, 2], "b": [3]}, False),
        ({"a": [1, 2], "b": [0, 0]}, False), ({"a": [1, 2], "b": [-1, 3]}, False),
        ({"a": [1, math.inf], "b": [1, 3]}, False), ({"a": [], "b": []}, False),
        ({"a": [[1]], "b": [[3]]}, False), ({"a": ["x"], "b": [1]}, False), ({"b": [1]}, False),
        (None, False), ({"a": [-1, 2], "b": [1, 3]}, True),
    ],
)  # fmt: skip
def test_columns_of_a_file_are_what_they_seem_or_none(value: Any, known: bool) -> None:
    found = columns_of(value, "a", "b")
    assert (found is not None) == known
    if found is not None:
        assert [column.tolist() for column in found] == [value["a"], value["b"]]
    assert columns_of({"a": [1, 2, 3], "b": [1]}, "a", "b", uneven=True) is not None


def coefficients(
    monkeypatch: pytest.MonkeyPatch, values: Any, names: list[str], classes: int
) -> Any:
    found = (np.array(values, float), names, classes)
    monkeypatch.setattr("ooc.report.held_out._coefficients", lambda run: found)
    return coefficient_figure(run_of({"class_names": ["no", "yes", "<b>"]}))


def test_the_largest_coefficients_are_drawn_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(1.0, 26) * np.where(np.arange(25) % 2, -1, 1)
    names = [f"f{i}" for i in range(25)]
    figure = coefficients(monkeypatch, [values], names, 0)
    (bars,) = figure.data
    assert bars["y"] == [f"f{i}" for i in range(24, 4, -1)]
    assert bars["x"] == values[24:4:-1].tolist() and bars["name"] == "output 0"
    assert figure.title == "Coefficients, the 20 largest of 25"
    assert figure.alt == "Coefficients, the 20 largest of 25, from -24 to 25"
    assert figure.layout["height"] == 110 + 20 * 16 and bars["showlegend"] is False
    few = coefficients(monkeypatch, [values[:20]], names[:20], 0)
    assert few.title == "Coefficients, all"
    three = coefficients(monkeypatch, [values, -2 * values, 0 * values], names, 3)
    assert [bar["name"] for bar in three.data] == ["class no", "class yes", "class &lt;b&gt;"]
    assert three.data[1]["x"] == (-2 * values[24:14:-1]).tolist()
    assert len({bar["marker"]["color"] for bar in three.data}) == 3
    assert three.title == "Coefficients, the 10 largest of 25"
    assert three.layout["height"] == 110 + 10 * (6 + 27) and three.data[0]["showlegend"]


MODEL = {"name": "logistic", "standardise": False}


@pytest.mark.parametrize(
    ("changes", "parameters", "known"),
    [
        ({}, [1.0, -2.0, 3.0, 4.0], True), ({"row_shape": None}, [1.0] * 4, False),
        ({"row_shape": [True, 3]}, [1.0] * 4, False), ({"row_shape": [0]}, [1.0], False),
        ({"row_shape": [2**20 + 1]}, [1.0] * 4, False), ({}, [1.0] * 3, False),
        ({}, [1.0, math.nan, 1.0, 1.0], False), ({"model": {"name": "none"}}, [1.0] * 4, False),
        ({"model": {"name": "mlp", "hidden": [2]}}, [1.0] * 4, False),
        ({"model": {"name": "softmax", "classes": 6}}, [1.0] * 24, True),
        ({"model": {"name": "softmax", "classes": 7}}, [1.0] * 28, False),
    ],
)  # fmt: skip
def test_coefficients_are_those_of_a_linear_model_that_was_saved(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], parameters: list[float], known: bool
) -> None:
    run = run_of({})
    described = {"model": MODEL, "row_shape": [3], "feature_names": ["a", "<b>", "c"], **changes}
    if described["model"]["name"] == "softmax":
        described["model"] = {**described["model"], "standardise": False}
    run.description.update(described)  # type: ignore[attr-defined]
    saved = ({"parameters": np.array(parameters, np.float32)},)
    monkeypatch.setattr("ooc.report.held_out.checkpoint.load", lambda path: saved)
    figure = coefficient_figure(run)
    assert (figure is not None) == known
    if figure is not None and not changes:
        (bars,) = figure.data
        assert (bars["y"], bars["x"]) == (["c", "&lt;b&gt;", "a"], [3, -2, 1])
