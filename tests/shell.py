"""The shell, called from tests: what it prints, and how it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

from ooc.cli import main
from ooc.core.errors import InputError


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    status = main([*arguments, "--json"])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    lines = printed.out.splitlines()
    assert len(lines) == 1, "--json keeps standard output clean"
    return json.loads(lines[0])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = main(list(arguments))
    printed = capsys.readouterr()
    assert status == 2
    assert printed.out == ""
    # What is told of slow work before, such as compiling, is progress and no refusal.
    progress = f"{arguments[0]} "
    lines = [line for line in printed.err.splitlines() if not line.startswith(progress)]
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("ooc: ")
    return lines[0]


def make_small(folder: Path, **changes: np.ndarray) -> Path:
    columns = {"X": np.ones((500, 2), np.float32), "y": np.arange(500) % 2, **changes}
    write_dataset(folder / "small.zarr", **columns)
    return folder / "small.zarr"


class Seen:
    """Stands in for what a command calls, and ends the command there."""

    def __init__(self) -> None:
        self.given: tuple[tuple[object, ...], dict[str, object]] = (), {}

    def __call__(self, *given: object, **options: object) -> None:
        self.given = given, options
        raise InputError("seen")
