"""Commands about saved runs: what they took, and what they say of what they wrote."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from shell import make_small

from ooc.cli import main


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what a run is asked for, which then says that it is done."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    make_small(tmp_path)
    given: list[Any] = []

    def asked(*what: object, **more: object) -> dict[str, Any]:
        given.append((what, more))
        return {"rows": 500}

    def export(out: Path, **more: object) -> Path:
        given.append(((out,), more))
        Path(out).write_bytes(b"12345")
        return out

    how = {"evaluate": asked, "predict_to": asked, "export": export}
    run = SimpleNamespace(trained_on=None, **how)
    monkeypatch.setattr("ooc.runs.loading.load", lambda run_dir: run)
    return given


def told(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, Any]:
    assert main([*command, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    found.pop("total_seconds", None)
    return found


def test_what_was_written_is_named(called: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "evaluate", "runs/a", "small.zarr")
    assert found == {"rows": 500, "run": "runs/a"}
    found = told(capsys, "predict", "runs/a", "small.zarr", "out.zarr")
    assert found == {"rows": 500, "run": "runs/a", "path": "out.zarr"}
    found = told(capsys, "export", "runs/a", "a.onnx")
    assert found == {"path": "a.onnx", "file_bytes": 5, "run": "runs/a"}
    assert called[-1] == (
        (Path("a.onnx"),), {"feature_names": None, "class_names": None, "input_dtype": None}
    )  # fmt: skip


def test_what_is_not_given_is_the_usual(
    called: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, "evaluate", "runs/a", "small.zarr")
    dataset, memory, _, missing = called[0][0]
    assert (dataset.roles, dataset.missing) == (("X", "y", None), "raise")
    assert (memory, missing) == ("1GiB", "raise")
    told(capsys, "predict", "runs/a", "small.zarr", "out.zarr")
    dataset, out, memory, _, missing = called[1][0]
    assert (dataset.roles, dataset.missing) == (("X", None, None), "raise")
    assert (out, memory, missing) == ("out.zarr", "1GiB", "raise")


def test_a_report_counts_its_runs_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    written = {"path": "report.html", "runs": ["b", "a", "c"], "page_bytes": 2048}
    given: list[Any] = []
    monkeypatch.setattr(
        "ooc.report.write_report", lambda *what: [given.append(what), dict(written)][1]
    )
    assert main(["report", "a", "b", "c"]) == 0
    lines = [
        " ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()
    ]
    assert "runs 3" in lines and "page 2.00 KiB" in lines
    assert told(capsys, "report", "a", "b", "c") == written
    assert given == [([Path("a"), Path("b"), Path("c")], Path("report.html"))] * 2
