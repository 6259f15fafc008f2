"""Progress of the library's own: where somebody sees it, and nowhere else."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset

from ooc.core import audience
from ooc.core.audience import reporting
from ooc.core.progress import Progress, silent, tell
from ooc.core.progress_bar import ProgressDisplay
from ooc.models import Linear
from ooc.runs.run import Run


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def look(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put a terminal in standard error's place, from within the test: pytest has its own before."""
    seen = Terminal()
    monkeypatch.setattr("sys.stderr", seen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return seen


def test_a_terminal_sees_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = look(monkeypatch)
    with reporting("train a.zarr", True) as report:
        tell(report, "reading a sample")
        report(Progress(5, 10, 100, 1.0))
    for text in ("train a.zarr", "5 rows/s", " 50%"):
        assert text in terminal.getvalue()


def test_a_bar_shows_and_does_not_obey_what_names_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = look(monkeypatch)
    with reporting("train a\x07.zarr", True) as report:
        tell(report, "reading b\x07")
    for text in ("train a\\x07.zarr", "reading b\\x07"):
        assert text in terminal.getvalue()
    assert "\x07" not in terminal.getvalue()


def test_who_is_told_not_to_show_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = look(monkeypatch)
    with reporting("train a.zarr", False) as report:
        tell(report, "reading a sample")
    assert terminal.getvalue() == ""


def test_work_inside_of_other_work_has_no_bar_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = look(monkeypatch)
    with ProgressDisplay("outer"), reporting("inner", True) as report:
        tell(report, "reading")
    assert "outer" in terminal.getvalue() and "inner" not in terminal.getvalue()
    with reporting("later", True):
        pass
    assert "later" in terminal.getvalue()


def test_a_pipe_sees_nothing_and_a_function_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting("train a.zarr", True) as report:
        assert report is silent
    heard: list[Progress] = []
    with reporting("train a.zarr", heard.append) as report:
        report(Progress(5, 10, 100, 1.0))
    assert [each.rows for each in heard] == [5]
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_scoring_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((200, 3)).astype(np.float32)
    dataset = write_dataset(tmp_path / "some.zarr", X=x, y=x[:, 0])
    model = Linear()
    run = Run(model, model.layout((3,)), np.zeros(model.layout((3,)).size, np.float32), (3,))
    for title, score in (
        ("evaluate some.zarr", run.evaluate),
        ("predict some.zarr", run.predict),
        ("predict some.zarr", lambda dataset: run.predict_to(dataset, tmp_path / "scores.zarr")),
    ):
        terminal = look(monkeypatch)
        score(dataset)
        assert title in terminal.getvalue()
    terminal = look(monkeypatch)
    run.evaluate(dataset, report=False)
    assert terminal.getvalue() == ""


def shell(name: str) -> Any:
    made = type(name, (), {})()
    return SimpleNamespace(get_ipython=lambda: made)


@pytest.mark.parametrize(
    ("interactive", "is_notebook"),
    [
        (None, False),
        (SimpleNamespace(get_ipython=lambda: None), False),
        (shell("TerminalInteractiveShell"), False),
        (shell("ZMQInteractiveShell"), True),
    ],
)
@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize("has_widgets", [False, True])
def test_a_notebook_is_watched_and_has_a_live_bar_with_widgets(
    monkeypatch: pytest.MonkeyPatch,
    interactive: Any,
    is_notebook: bool,
    is_terminal: bool,
    has_widgets: bool,
) -> None:
    shown: list[tuple[str, bool]] = []

    @contextmanager
    def display(title: str, live: bool) -> Iterator[str]:
        shown.append((title, live))
        yield "display"

    monkeypatch.setitem(sys.modules, "IPython", interactive)
    monkeypatch.setattr("sys.stderr", Terminal() if is_terminal else io.StringIO())
    monkeypatch.setattr(audience, "find_spec", lambda name: name if has_widgets else None)
    monkeypatch.setattr("ooc.core.progress_bar.ProgressDisplay", display)
    assert audience.in_notebook() == is_notebook
    assert audience.is_watched() == (is_notebook or is_terminal)
    with reporting("work", True) as report:
        assert report == ("display" if shown else silent)
    live = has_widgets or not is_notebook
    assert shown == ([("work", live)] if is_notebook or is_terminal else [])
    monkeypatch.setattr("sys.stderr", None)
    assert audience.is_watched() == is_notebook
