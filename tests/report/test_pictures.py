"""What is drawn: the numbers of the history, in the unit that stands beside the axis."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from histories import GIB, write_run

from ooc.report import pictures
from ooc.report.history import History, read_history
from ooc.report.runs import read_runs
from ooc.report.sections import SETTLED, draw_sections


class Drawn:
    """The figures of a report by their names, as matplotlib holds them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, histories: list[History]) -> None:
        self.figures: dict[str, Any] = {}

        def keep(figure: Any, name: str) -> str:
            self.figures[name] = figure
            return "<svg >"

        monkeypatch.setattr(pictures, "_svg", keep)
        self.sections = draw_sections(histories)

    def axes(self, name: str) -> Any:
        return self.figures[name].axes[0]

    def line(self, name: str, gid: str) -> tuple[np.ndarray, np.ndarray]:
        (line,) = [each for each in self.axes(name).lines if each.get_gid() == gid]
        return line.get_xdata(), line.get_ydata()

    def limits(self, name: str) -> list[float]:
        return [each.get_ydata()[0] for each in self.axes(name).lines if each.get_gid() is None]

    def words(self, name: str) -> tuple[str, str]:
        return self.figures[name].axes[-1].get_xlabel(), self.axes(name).get_ylabel()


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> list[History]:
    folder = tmp_path_factory.mktemp("runs")
    folders = [
        write_run(folder / "a", lines=60, noise=True),
        write_run(folder / "b", lines=60, seed=1, rate=0.2, budget=2 * GIB, kill_at=55),
    ]
    return [run.history for run in read_runs(folders)]


@pytest.fixture(scope="module")
def drawn(histories: list[History]) -> Drawn:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return Drawn(monkeypatch, histories)


def test_curves_are_those_of_the_histories(drawn: Drawn, histories: list[History]) -> None:
    """Name, unit, what one of it is, and along what."""
    for name, curve, unit, size, along in (
        ("loss-steps", "loss", "loss", 1, "steps"),
        ("loss-seconds", "loss", "loss", 1, "seconds"),
        ("rate", "learning_rate", "learning rate", 1, "steps"),
        ("rows", "rows_per_second", "million rows/s", 1e6, "seconds"),
        ("bytes", "bytes_per_second", "GB/s", 1e9, "seconds"),
        ("memory", "memory_bytes", "GiB", GIB, "seconds"),
        ("waiting", "waiting_share", "percent", 0.01, "seconds"),
        ("noise", "noise_scale", "rows", 1, "steps"),
        ("temperature", "temperature", "temperature", 1, "steps"),
    ):
        told = {"steps": "step", "seconds": "seconds of training"}[along]
        assert drawn.words(name) == (told, unit)
        for i, history in enumerate(histories):
            if (found := history.curves.get(curve)) is None:
                assert curve in ("noise_scale", "temperature")
                continue
            x, y = drawn.line(name, f"curve-run-{i}")
            np.testing.assert_array_equal(x, getattr(found, along))
            np.testing.assert_allclose(y, found.mean / size, rtol=1e-12)
    np.testing.assert_allclose(drawn.limits("memory"), [1, 2])
    assert drawn.limits("noise") == [256]


def test_points_are_those_of_the_validation(drawn: Drawn, histories: list[History]) -> None:
    titles = {each.title: each.pictures for each in drawn.sections}
    assert [each.title for each in titles["Validation metrics"]] == [
        "Validation accuracy",
        "Validation auc",
    ]
    for i, history in enumerate(histories):
        for name, metric in (("loss-steps", "loss"), ("metric-1", "accuracy"), ("metric-2", "auc")):
            x, y = drawn.line(name, f"dots-run-{i}")
            np.testing.assert_array_equal(x, history.validation[metric].steps)
            np.testing.assert_array_equal(y, history.validation[metric].mean)


def test_the_first_tenth_can_be_left_out(drawn: Drawn, histories: list[History]) -> None:
    for i, history in enumerate(histories):
        steps = history.curves["loss"].steps
        x, _ = drawn.line("loss-late", f"curve-run-{i}")
        np.testing.assert_array_equal(x, steps[~(steps < SETTLED * np.nanmax(steps))])
        dots, _ = drawn.line("loss-late", f"dots-run-{i}")
        assert len(dots) > 0


def test_saves_and_resumes_are_marked_where_they_were(
    drawn: Drawn, histories: list[History]
) -> None:
    resumed = next(i for i, each in enumerate(histories) if each.resumes)
    for name, column in (("loss-steps", 0), ("loss-seconds", 1)):
        strip = drawn.figures[name].axes[1]
        marks = {line.get_gid(): line for line in strip.lines}
        for i, history in enumerate(histories):
            found = marks[f"saves-run-{i}"]
            assert list(found.get_xdata()) == [each[column] for each in history.checkpoints]
            assert set(found.get_ydata()) == {i}
        found = marks[f"resumes-run-{resumed}"]
        assert list(found.get_xdata()) == [each[column] for each in histories[resumed].resumes]


def test_bars_are_seconds_and_those_of_waiting(drawn: Drawn, histories: list[History]) -> None:
    bars = {bar.get_gid(): bar.get_width() for bar in drawn.axes("waited").patches}
    told = {text.get_gid(): text.get_text() for text in drawn.axes("waited").texts}
    for i, history in enumerate(histories):
        whole, waited = history.end.seconds, history.end.wait_seconds
        assert (bars[f"bar0-run-{i}"], bars[f"bar1-run-{i}"]) == (whole, waited)
        assert told[f"text-run-{i}"].strip() == f"{100 * waited / whole:.1f}%"


def test_a_smaller_unit_is_taken_where_the_larger_one_is_not_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run(tmp_path / "small", lines=5, batch_size=1, budget=200 * 2**20)
    history = read_history(folder)
    drawn = Drawn(monkeypatch, [history])
    for name, curve, unit, size in (
        ("rows", "rows_per_second", "rows/s", 1),
        ("bytes", "bytes_per_second", "MB/s", 1e6),
        ("memory", "memory_bytes", "MiB", 2**20),
    ):
        assert drawn.words(name)[1] == unit
        np.testing.assert_allclose(
            drawn.line(name, "curve-run-0")[1], history.curves[curve].mean / size, rtol=1e-12
        )
    assert drawn.limits("memory") == [200]


def test_bands_span_the_extremes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = read_history(write_run(tmp_path / "a", lines=30, noise=True))
    drawn = Drawn(monkeypatch, [history])
    (band,) = [each for each in drawn.axes("noise").collections if each.get_gid()]
    curve = history.curves["noise_scale"]
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (curve.low.min(), curve.high.max())
