"""Every pipeline's manner: status, one table and one JSON object with the same, a page."""

import argparse
import importlib
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooc.core.errors import DivergedError, InputError
from pipelines.common.arguments import Parser
from pipelines.common.checks import at_least
from pipelines.common.command import carry_out
from pipelines.common.figures import new_figure, picture
from pipelines.common.section import Section
from pipelines.common.table import Table

DOC = "A title.\n\nA text."


def sections(options: argparse.Namespace) -> Iterator[Section]:
    figure = new_figure(2, 2)
    figure.subplots().plot([0, 1])
    yield Section(
        "First",
        "Of two.",
        (Table("numbers", ("name", "count"), (("a", "1"),)),),
        (picture(figure, "line", "A line.", "It rises."),),
        (at_least("accuracy", options.accuracy, 0.9),),
        {"losses": [0.5, float("inf")]},
    )
    yield Section("Second", checks=(at_least("rows", 10, 10),), results={"rows": 10})


def parser() -> Parser:
    made = Parser("example", DOC, {"accuracy": 0.95})
    made.add_argument("--accuracy", type=float, default=0.99)
    return made


@pytest.mark.slow
def test_table_json_and_page_say_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, html = tmp_path / "a.json", tmp_path / "a.html"
    arguments = ["--quick", "--json", str(table), "--html", str(html)]
    assert carry_out(parser(), sections, arguments) == 0
    printed, found = capsys.readouterr().out, json.loads(table.read_text())
    assert found["checks"] == [
        {"name": "accuracy", "value": 0.95, "bound": ">= 0.9", "met": True},
        {"name": "rows", "value": 10, "bound": ">= 10", "met": True},
    ]
    assert (found["pipeline"], found["quick"], found["rows"]) == ("example", True, 10)
    assert found["losses"] == [0.5, None]
    shown = html.read_text()
    for check in found["checks"]:
        assert re.search(rf"yes +\S+ +{check['bound']} +{check['name']}\n", printed)
        assert f"<td>{check['name']}</td>" in shown
    assert "2 of 2 checks met" in printed
    assert "2 of 2 checks met" in shown
    sources = re.findall(r'src="([^"]*)"', shown)
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,")
    assert 'alt="It rises."' in shown
    assert not re.search(r"https?://|<script|<link", shown)


def test_a_check_that_is_not_met_is_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html")]
    assert carry_out(parser(), sections, ["--quick", "--accuracy", "0.5", *files]) == 1
    shown = capsys.readouterr()
    assert "1 of 2 checks met" in shown.out
    assert shown.err == "not met: accuracy\n"
    met = [each["met"] for each in json.loads((tmp_path / "a.json").read_text())["checks"]]
    assert met == [False, True]
    assert (tmp_path / "a.html").read_text().count(">NO<") == 1


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("rows must be\n  at least 1, not 0"), 2, "rows must be at least 1, not 0"),
        (DivergedError("loss is not finite"), 2, "loss is not finite"),
        (PermissionError(13, "Permission denied", "/data"), 2, "Permission denied /data"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_goes_wrong_ends_with_its_status(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, message: str
) -> None:
    def run(options: argparse.Namespace) -> Iterator[Section]:
        raise error
        yield

    assert carry_out(parser(), run, []) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (f"example: {message}\n" if message else "")


def test_sigterm_ends_with_143_and_is_as_before_afterwards() -> None:
    def run(options: argparse.Namespace) -> Iterator[Section]:
        os.kill(os.getpid(), signal.SIGTERM)
        yield Section("too late")

    before = signal.getsignal(signal.SIGTERM)
    assert carry_out(parser(), run, []) == 143
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--accuracy", "much"], "argument --accuracy: invalid float value: 'much'; see --help"),
        (["--fast"], "unrecognized arguments: --fast; see --help"),
        (["--html", "absent/a.html"], "absent is no folder to write a.html to; make it first"),
    ],
)
def test_bad_usage_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert carry_out(parser(), sections, arguments) == 2
    assert capsys.readouterr().err == f"example: {message}\n"


@pytest.mark.parametrize("name", ["descent_laws", "mnist", "molecules", "particles", "sorted_data"])
def test_each_pipeline_has_the_common_options(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"pipelines.{name}.__main__").main(["--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: python -m pipelines.{name} ")
    for option in ("--quick", "--json FILE", "--html FILE"):
        assert option in shown
