"""The convert command: each option comes to the conversion, and what became of it is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from shell import refused

from ooc.cli import main
from ooc.core.errors import InputError

EVERY = (
    "convert a.csv b.zarr --columns age,mass --target label --weight importance --without id,url "
    "--dtype float32 --missing-values drop --shuffle --seed 9 --memory 300MiB --threads 3 "
    "--format csv --dense --image-size 20X30 --hash-text url,user --compression fast-read"
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    return tmp_path


UNSET = {
    "source": "a.csv", "destination": "b.zarr", "columns": None, "target": None,
    "weight": None, "without": [], "dtype": None, "missing_values": "raise", "shuffle": False,
    "seed": 0, "memory": "1GiB", "threads": None, "format": None, "dense": False,
    "zero_based": False, "image_size": None, "hash_text": [],
    "compression": "fast-write",
}  # fmt: skip


def given_to(monkeypatch: pytest.MonkeyPatch, command: str) -> dict[str, Any]:
    """Return what the conversion takes of a command, by name."""
    seen: list[dict[str, Any]] = []

    def convert(source: str, destination: str, **asked: Any) -> None:
        seen.append({"source": source, "destination": destination, **asked})
        raise InputError("enough")

    with monkeypatch.context() as patch:
        patch.setattr("ooc.conversion.job.convert", convert)
        assert main(command.split()) == 2
    assert seen[0].pop("report") is not None
    return seen[0]


def test_every_option_comes_to_the_conversion(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert given_to(monkeypatch, EVERY) == {
        "source": "a.csv", "destination": "b.zarr", "columns": ["age", "mass"],
        "target": "label", "weight": "importance", "without": ["id", "url"], "dtype": "float32",
        "missing_values": "drop", "shuffle": True, "seed": 9, "memory": "300MiB", "threads": 3,
        "format": "csv", "dense": True, "zero_based": False, "image_size": (20, 30),
        "hash_text": ["url", "user"], "compression": "fast-read",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ("", {}),
        ("--no-target", {"target": False}),
        ("--no-weight", {"weight": False}),
        ("--zero-based", {"zero_based": True}),
        ("--missing-values fill:3", {"missing_values": "fill:3"}),
        ("--target y --no-weight", {"target": "y", "weight": False}),
    ],
)
def test_what_is_not_given_is_left_to_the_source(
    here: Path, monkeypatch: pytest.MonkeyPatch, options: str, changes: dict[str, Any]
) -> None:
    assert given_to(monkeypatch, f"convert a.csv b.zarr {options}") == UNSET | changes


@pytest.mark.parametrize("size", ["224", "0x10", "10x0", "10x", "1x2x3", "-1x5", "axb"])
def test_a_size_of_images_is_a_height_and_a_width(
    here: Path, capsys: pytest.CaptureFixture[str], size: str
) -> None:
    found = refused(capsys, "convert", "a", "b.zarr", "--image-size", size)
    assert found == (f"ooc: --image-size is a height and a width such as 224x224, not {size!r}")


@pytest.mark.parametrize("role", ["target", "weight"])
def test_a_role_and_none_of_it_exclude_each_other(
    here: Path, capsys: pytest.CaptureFixture[str], role: str
) -> None:
    """Named by an empty text, too."""
    for name in ("label", ""):
        found = refused(capsys, "convert", "a", "b", f"--{role}", name, f"--no-{role}")
        wanted = f"--{role} {name} and --no-{role} exclude each other; give one of them"
        assert found == f"ooc: {' '.join(wanted.split())}"


def test_what_became_of_the_columns_is_told(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As they are named; as JSON everything, and no notes aside."""
    result = {
        "rows": 12_000, "rows_read": 12_345, "rows_dropped": 345,
        "columns": {"body_mass": "feature 0 of X, float32", "url": "left out"},
        "missing": {"body_mass": 345}, "notes": ["url: it is text", "two"],
    }  # fmt: skip
    told = json.dumps(result)
    monkeypatch.setattr("ooc.conversion.job.convert", lambda *_, **__: json.loads(told))
    assert main(["convert", "data/a.csv", "out/b.zarr"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("a.csv, 12,345 rows read\n")
    lines = [" ".join(line.replace("│", " ").split()) for line in printed.out.splitlines()]
    for line in ("body_mass feature 0 of X, float32", "rows dropped 345", "path out/b.zarr"):
        assert line in lines
    assert printed.err.splitlines() == ["url: it is text", "two"]
    assert not any(line.startswith(("missing", "notes")) for line in lines)
    assert main(["convert", "data/a.csv", "out/b.zarr", "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert told.pop("total_seconds") >= 0
    assert told == {**result, "path": "out/b.zarr"}
    assert printed.err == ""
