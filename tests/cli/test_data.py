"""Commands about data: what is not given, and what info tells of every kind of array."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import foreign
from shell import Seen

import ooc
from ooc.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    return tmp_path


def test_what_make_is_not_given(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen()
    monkeypatch.setattr("ooc.synthetic.make", seen)
    assert main(["make", "linear", "a.zarr", "--rows", "20k"]) == 2
    path, recipe, threads, _ = seen.given[0]
    assert (path, threads) == ("a.zarr", None)
    assert recipe == ooc.synthetic.Recipe("linear", 20_000, 128, None, "random", 0, False)


@pytest.fixture
def several(here: Path) -> str:
    """Features, targets by attributes, an array beside them, one undecodable and one apart."""
    rows = {"data": np.arange(6, dtype="i2"), "chunks": (2,)}
    foreign(
        here / "a.zarr",
        3,
        X={"data": np.ones((6, 2), "f4"), "chunks": (2, 2)},
        y={**rows, "attributes": {"scale_factor": 0.5, "add_offset": 2.0}},
        age=dict(rows),
        broken={**rows, "attributes": {"scale_factor": "three"}},
        short={"data": np.ones(4), "chunks": (4,)},
    )
    return "a.zarr"


def test_info_tells_of_every_array(several: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", several]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("a.zarr, 6 rows\n")
    dataset = ooc.open(several)
    lines = [line for line in printed.out.splitlines() if line.startswith("│")]
    told: dict[str, str] = {}
    name = ""
    for line in lines:
        first, second = (cell.strip() for cell in line[1:-1].split("│"))
        name = first or name
        told[name] = f"{told.get(name, '')} {second}".strip()
    starts = {"X": "features", "y": "target", "age": "further array", "broken": "further array"}
    for name, role in starts.items():
        assert told[name].startswith(f"{role}: {dataset.arrays[name].describe()} read by native")
    assert "read as int16 times 0.5 plus 2" in told["y"]
    assert f"cannot be decoded: {dataset.arrays['broken'].problem}" in told["broken"]
    assert "read as" not in told["age"] + told["X"] + told["broken"]
    assert told["short"] == f"not used: {dataset.unused['short']}"
    assert "every chunk" not in printed.out
    assert main(["info", several, "--verify"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "every chunk can be read"


def test_programs_are_told_the_same(several: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", several, "--no-weight", "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (told["path"], told["rows"]) == ("a.zarr", 6)
    assert told["guessed"] == ["features", "target"]
    assert set(told["unused"]) == {"short"}
    assert set(told["arrays"]) == {"X", "y", "age", "broken"}
    assert told["arrays"]["X"]["native"] is True
    assert "bad_chunks" not in told


def test_chunks_that_cannot_be_read_are_counted(
    several: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is listed; arrays and chunks are not the same number."""
    for number in (0, 2):
        Path(several, "age", "c", str(number)).write_bytes(b"\0")
    assert main(["info", several, "--verify"]) == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == (
        "ooc: 2 chunks of a.zarr cannot be read; restore them from their source, or train with "
        "--on-bad-chunk skip"
    )
    assert sum("age" in line and "│" not in line for line in printed.out.splitlines()) == 2
    assert "every chunk" not in printed.out


def test_settings_of_a_run_are_one_object_of_options(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = {"data": {"data": "a.zarr", "no-target": True}, "model": {"model": "mlp"}}
    monkeypatch.setattr("ooc.runs.checkpoint.load", lambda run: (None, {"of": run}))
    monkeypatch.setattr(
        "ooc.cli.settings.settings_of",
        lambda run, saved: groups if saved == {"of": Path(run)} else {},
    )
    assert main(["info", "run", "--config", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"data": "a.zarr", "no-target": True, "model": "mlp"}
    assert main(["info", "run", "--config"]) == 0
    assert capsys.readouterr().out == (
        '# data\ndata = "a.zarr"\nno-target = true\n\n# model\nmodel = "mlp"\n'
    )
