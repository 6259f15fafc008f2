"""Figures: what plotly.js is given to draw, number by number."""

import math
from typing import Any

import numpy as np
import pytest

from ooc.report.curves import Curve
from ooc.report.figures import (
    BASE,
    Figure,
    Named,
    bar_figure,
    curve_figure,
    named,
    number_free,
    numbers,
    short,
    with_base,
)
from ooc.report.history import History
from ooc.report.styles import DASHES, FEW, MANY, pale, styles

NAN = math.nan


def curve(*values: float, low: Any = None, high: Any = None, every: float = 1.0) -> Curve:
    mean = np.array(values)
    steps = np.where(np.isnan(mean), NAN, np.arange(1.0, len(values) + 1))
    ends = [mean if each is None else np.array(each, float) for each in (low, high)]
    return Curve(10 * steps, every * steps, mean, *ends)


def runs(count: int) -> list[Named]:
    return [named(f"run {i}", style) for i, style in enumerate(styles(count))]


def drawn(*curves: Curve | None, along: str = "steps", **more: Any) -> Figure:
    found = curve_figure("Title", runs(len(curves)), curves, along, "m", **more)
    assert found is not None
    return found


def test_a_curve_is_its_means_over_a_band_of_its_extremes() -> None:
    one = curve(2.0, 3.0, NAN, 4.0, low=[1, 2, NAN, 4], high=[3, 5, NAN, 6])
    band, line = drawn(one, scale=2.0, along="seconds").data
    assert (line["x"], line["y"]) == ([1, 2, None, 4], [4, 6, None, 8])
    assert line["line"] == {"color": FEW[0], "dash": "solid", "width": 1.7}
    # There along the lower ends, and back along the upper ones, part by part.
    assert band["x"] == [1, 2, 2, 1, None, 4, 4, None]
    assert band["y"] == [2, 4, 10, 6, None, 8, 12, None]
    assert (band["fillcolor"], band["hoverinfo"]) == (pale(FEW[0], 0.16), "skip")
    assert {trace["meta"] for trace in (band, line)} == {0}
    (line,) = drawn(curve(2.0, 3.0)).data
    assert (line["x"], line["y"], line["name"]) == ([10, 20], [2, 3], "run 0")


def test_bands_are_drawn_of_few_runs_and_the_best_one_is_on_top() -> None:
    one = curve(2.0, 3.0, low=[1, 2], high=[3, 5])
    for count, bands in ((3, 3), (4, 0)):
        data = drawn(*[one] * count).data
        assert sum("band" in trace["name"] for trace in data) == bands
        lines = [trace for trace in data if "band" not in trace["name"]]
        assert [trace["zorder"] for trace in lines] == list(range(count, 0, -1))
        assert [trace["meta"] for trace in lines] == list(range(count))


def test_points_are_shown_where_there_are_few() -> None:
    def mode(count: int, of: int) -> str:
        lines = drawn(*[curve(*np.arange(1.0, count + 1))] * of).data
        return str(lines[-1]["mode"])

    assert (mode(60, 1), mode(61, 1), mode(60, 6)) == ("lines+markers", "lines", "lines+markers")
    assert (mode(60, 7), mode(1, 7)) == ("lines", "lines+markers")


def test_dots_have_a_key_and_names_where_there_are_several_runs() -> None:
    line, dots = curve(2.0, 3.0), curve(2.5)
    figure = drawn(line, points=[dots])
    assert [trace["name"] for trace in figure.data] == ["training", "validation"] * 2
    assert figure.data[1]["marker"]["size"] == 7
    assert figure.data[2]["line"]["color"] == figure.data[3]["line"]["color"] == FEW[0]
    assert [trace["showlegend"] for trace in figure.data] == [False, False, True, True]
    figure = drawn(line, line, points=[dots, None])
    assert [trace["name"] for trace in figure.data] == [
        "run 0, training", "run 0, validation", "run 1", "training", "validation",
    ]  # fmt: skip
    assert figure.data[3]["line"]["color"] == "#555555"
    assert drawn(line, points=[curve(*np.arange(41.0))]).data[1]["marker"]["size"] == 4
    assert len(drawn(line, points=[None]).data) == 1
    only = curve_figure("Title", runs(1), [None], "steps", "m", points=[dots])
    assert only is not None and "0 of 1 runs" in only.alt
    assert curve_figure("Title", runs(1), [None], "steps", "m", points=[None]) is None


def test_words_say_what_is_seen() -> None:
    one = curve(2.0, 3.0, low=[1, 2], high=[3, 5])
    assert drawn(one, None, scale=0.5).alt == "Title, 1 of 2 runs, from 0.5 to 2.5 m"


def test_what_is_under_the_mouse() -> None:
    one = curve(2.0, 3.0)
    assert drawn(*[one] * 6).data[0]["hovertemplate"] == "%{y:.5~g}"
    assert drawn(*[one] * 6).layout["hovermode"] == "x unified"
    many = drawn(*[one] * 7)
    assert many.data[0]["hovertemplate"] == "step %{x:,}: %{y:.5~g}<extra>run 0</extra>"
    assert many.layout["hovermode"] == "closest"
    timed = drawn(*[one] * 7, along="seconds")
    assert timed.data[0]["hovertemplate"] == "%{x:.3~g} s: %{y:.5~g}<extra>run 0</extra>"
    titles = [figure.layout["xaxis"]["title"]["text"] for figure in (many, timed)]
    assert titles == ["step", "seconds of training"]
    assert [figure.layout["xaxis"]["hoverformat"] for figure in (many, timed)] == [",d", ".3~g"]
    assert number_free("50%{x}") == "50&#37;{x}"


def axis(*values: float, **more: Any) -> dict[str, Any]:
    return {key: value for key, value in drawn(curve(*values), **more).layout["yaxis"].items()
            if key != "title"}  # fmt: skip


def test_a_logarithmic_axis_is_for_values_that_span_much() -> None:
    assert axis(1.0, 8.0) == {} == axis(0.0, 100.0) == axis(1.0, 100.0, logarithmic=False)
    wide = axis(1.0, 100.0)
    assert wide == {"type": "log", "range": pytest.approx([-0.08, 2.08]), "dtick": "D2"}
    assert axis(1.0, 299.0)["dtick"] == "D2" and axis(1.0, 300.0)["dtick"] == 1
    # What lies below the bottom does not count.
    assert axis(1e-9, 1.0, 100.0, bottom=1.0, scale=10)["range"] == pytest.approx([0.92, 3.08])
    assert axis(1.0, 2.0, bottom=0.0, logarithmic=False) == {"range": [0.0, pytest.approx(2.12)]}
    assert axis(0.0, bottom=0.0) == {"range": [0.0, 1.0]}


def test_limits_are_dashed_and_have_room_for_their_words() -> None:
    figure = drawn(curve(1.0, 2.0), scale=10, limits={3.0: "<most>", NAN: "none"},
                   logarithmic=False, bottom=0.0)  # fmt: skip
    (shape,) = figure.layout["shapes"]
    assert (shape["y0"], shape["y1"], shape["label"]["text"]) == (30, 30, "&lt;most&gt;")
    assert (shape["x0"], shape["x1"], shape["xref"]) == (0, 1, "paper")
    assert figure.layout["yaxis"]["range"] == [0, pytest.approx(30 * 1.05 * 1.06)]
    # On a logarithmic axis they take more.
    figure = drawn(curve(1.0, 2.0), limits={50.0: ""})
    room = 0.04 * math.log10(90)
    assert figure.layout["yaxis"]["range"] == pytest.approx([-room, math.log10(90) + room])


def test_saves_and_resumes_are_marked_in_a_row_for_each_run() -> None:
    histories = [
        History(checkpoints=[(10, 1.5), (20, 2.5)]),
        History(resumes=[(15, 2.0)], checkpoints=[(5, 0.5)]),
    ]
    one = curve(1.0, 2.0)
    figure = drawn(one, one, marks=histories)
    marks = [trace for trace in figure.data if trace.get("yaxis") == "y2"]
    told = [(mark["name"], mark["x"], mark["y"], mark["meta"]) for mark in marks]
    assert told == [
        ("run 0, saved", [10, 20], [0, 0], 0), ("run 1, saved", [5], [1], 1),
        ("run 1, resumed", [15], [1], 1),
    ]  # fmt: skip
    assert [mark["marker"]["symbol"] for mark in marks] == ["line-ns-open"] * 2 + ["triangle-right"]
    assert [mark["marker"]["color"] for mark in marks] == [FEW[0], FEW[1], FEW[1]]
    assert figure.layout["yaxis"]["domain"] == [pytest.approx(0.12), 1]
    assert figure.layout["yaxis2"]["domain"] == [0, pytest.approx(0.08)]
    assert figure.layout["yaxis2"]["range"] == [1.5, -0.5]
    timed = drawn(one, one, marks=histories, along="seconds").data
    assert next(trace["x"] for trace in timed if trace.get("yaxis") == "y2") == [1.5, 2.5]
    for figure in (drawn(one, marks=[History()]), drawn(*[one] * 7, marks=[histories[0]] * 7)):
        assert "yaxis2" not in figure.layout


def test_bars_are_as_long_as_the_whole_and_filled_up_to_the_share() -> None:
    figure = bar_figure("Waiting", runs(2), [8.0, 4.0], [2.0, 1.0], "s")
    told = [(bar["x"], bar["y"], bar["meta"], bar.get("text")) for bar in figure.data]
    assert told == [
        ([8], ["1 run 0"], 0, ["25.0%"]), ([2], ["1 run 0"], 0, None),
        ([4], ["2 run 1"], 1, ["25.0%"]), ([1], ["2 run 1"], 1, None),
    ]  # fmt: skip
    assert figure.data[0]["marker"]["color"] == pale(FEW[0], 0.25)
    assert figure.data[1]["marker"]["color"] == FEW[0]
    assert figure.data[0]["hovertemplate"] == "%{x:.4g} s in all<extra>run 0</extra>"
    assert figure.data[1]["hovertemplate"] == "%{x:.4g} s waiting<extra>run 0</extra>"
    assert figure.layout["xaxis"]["range"] == [0, pytest.approx(9.2)]
    assert figure.layout["height"] == 150 and figure.layout["yaxis"]["showticklabels"]
    many = bar_figure("W", runs(4), [4.0] * 4, [1.0, 0.0, 2.0, 4.0], "s")
    assert many.layout["height"] == 70 + 24 * 4
    assert many.alt == "W, 4 runs, 0.0% to 100.0%"
    alone = bar_figure("W", runs(1), [0.0], [0.0], "s")
    assert alone.layout["xaxis"]["range"] == [0, 1.0]
    assert not alone.layout["yaxis"]["showticklabels"]


def test_numbers_are_rounded_and_what_is_not_finite_is_none() -> None:
    assert numbers([1.23456789, NAN, math.inf, -1e300]) == [1.23457, None, None, -1e300]
    assert numbers([123456.789], 9) == [123456.789] and numbers([2 / 3], 3) == [0.667]


def test_names_are_short_and_escaped() -> None:
    assert short("x" * 28) == "x" * 28
    assert short("a" * 20 + "b" * 9) == "a" * 13 + "…" + "a" * 4 + "b" * 9
    assert short("<&>") == "&lt;&amp;&gt;"


def test_what_all_figures_share_gives_way_to_their_own() -> None:
    whole = with_base({"height": 7, "xaxis": {"zeroline": True}})
    assert whole["height"] == 7 and whole["margin"] == BASE["margin"]
    assert whole["xaxis"] == {**BASE["xaxis"], "zeroline": True}
    assert whole["yaxis"] == BASE["yaxis"]


def test_many_runs_have_another_line_where_colours_begin_again() -> None:
    seven, eight = styles(7), styles(8)
    assert [each.colour for each in seven] == list(FEW)
    assert [each.colour for each in eight] == list(MANY[:8])
    looks = styles(40)
    assert [each.dash for each in looks] == [DASHES[i // 16] for i in range(40)]
    # Dark on pale and pale on dark, by their brightness.
    assert (seven[0].text, seven[5].text, seven[6].text) == ("#fff", "#000", "#fff")
