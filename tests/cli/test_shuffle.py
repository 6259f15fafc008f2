"""The shuffle command: what it found or wrote is told, and what does not go together is refused."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from shell import Seen, make_small, refused

from ooc.cli import main


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    make_small(tmp_path)
    return "small.zarr"


def lines_of(text: str) -> list[str]:
    return [" ".join(line.replace("│", " ").split()) for line in text.splitlines()]


def test_what_was_measured_is_told_and_drawn(
    small: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {"order": {"rows_moved": "all"}, "pairs": {"same_block": "0.5"}}
    found = SimpleNamespace(to_json=lambda: {"order": "blocks"}, tables=lambda: tables)
    drawn: list[Any] = []
    monkeypatch.setattr("ooc.shuffle.measurement.measure", lambda *given, **more: found)
    monkeypatch.setattr("ooc.shuffle.mixing.draw_mixing", lambda *given: drawn.append(given))
    assert main(["shuffle", small, "--measure"]) == 0
    lines = lines_of(capsys.readouterr().out)
    for line in ("order", "rows moved all", "pairs", "same block 0.5"):
        assert line in lines
    assert drawn == []
    assert main(["shuffle", small, "--measure", "--json", "--picture", "a.png"]) == 0
    assert json.loads(capsys.readouterr().out) == {"order": "blocks"}
    assert drawn == [(found, Path("a.png"))]


def test_what_was_written_and_what_was_left_out_is_told(
    small: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = {"rows": 500, "left_out": {"notes": "it is text"}}
    monkeypatch.setattr(
        "ooc.shuffle.external_sort.exact", lambda *given, **named: json.loads(json.dumps(result))
    )
    assert main(["shuffle", small, "b.zarr"]) == 0
    printed = capsys.readouterr()
    assert "left out: notes, as it is text" in printed.err.splitlines()
    lines = lines_of(printed.out)
    assert "rows 500" in lines and "path b.zarr" in lines
    assert not any("left out" in line for line in lines)
    assert main(["shuffle", small, "b.zarr", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("total_seconds") >= 0
    assert told == {**result, "path": "b.zarr"}


def test_what_is_not_given_is_the_usual(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen()
    monkeypatch.setattr("ooc.shuffle.measurement.measure", seen)
    monkeypatch.setattr("ooc.shuffle.external_sort.exact", seen)
    assert main(["shuffle", small, "--measure"]) == 2
    (dataset, *given), options = seen.given
    assert dataset.roles == ("X", "y", None)  # type: ignore[attr-defined]
    assert given == ["blocks", 256, "1GiB", 0]
    del options["report"]
    assert options == {"window": None, "sample_blocks": 256}
    assert main(["shuffle", small, "b.zarr"]) == 2
    _, *given, _ = seen.given[0]
    assert given == ["b.zarr", "1GiB", 0, None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "name the dataset to write, or give --measure for a report"),
        ("b.zarr --measure", "--measure writes nothing; leave out b.zarr"),
        ("b.zarr --picture a.png", "--picture goes with --measure"),
        ("--measure --sample 1", "--sample is a number of blocks, at least 2, or all, not '1'"),
        ("--measure --sample -2", "--sample is a number of blocks, at least 2, or all, not '-2'"),
        ("--measure --sample few", "--sample is a number of blocks, at least 2, or all, not 'few'"),
        (
            "--measure --order gone.npy",
            "gone.npy cannot be read as a list of rows: [Errno 2] No such file or directory: "
            "'gone.npy'",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    small: str, capsys: pytest.CaptureFixture[str], options: str, message: str
) -> None:
    assert refused(capsys, "shuffle", small, *options.split()) == f"ooc: {message}"


def test_two_blocks_are_enough_of_a_sample_and_objects_are_no_rows(
    small: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("odd.npy", np.array([{"a": 1}], object), allow_pickle=True)
    found = refused(capsys, "shuffle", small, "--measure", "--order", "odd.npy")
    assert found.startswith("ooc: odd.npy cannot be read as a list of rows: ")
    seen = Seen()
    monkeypatch.setattr("ooc.shuffle.measurement.measure", seen)
    assert main(["shuffle", small, "--measure", "--sample", "2"]) == 2
    assert seen.given[1]["sample_blocks"] == 2
