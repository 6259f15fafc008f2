"""The bench command: what it measures without, and how what it found is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from shell import Seen, make_small, refused

import ooc
from ooc.cli import main

RESULT: dict[str, Any] = {
    "rows": 500, "rounds": 5, "cores": 2, "bytes_per_second": 1.5e9,
    "roofline_bytes_per_second": 2e9, "fraction_of_roofline": 0.75,
    "fraction_spread": [0.625, 0.875], "seconds": 8.0, "wait_seconds": 0.25,
    "core_seconds": {"read": 1.0, "decode": 9.0, "idle": 10.0},
}  # fmt: skip


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    make_small(tmp_path)
    return "small.zarr"


@pytest.mark.slow
def test_what_was_measured_is_told(
    small: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[object] = []
    monkeypatch.setattr("ooc.measure.roofline.bench", lambda *given: RESULT)
    monkeypatch.setattr("ooc.measure.roofline.draw_bars", lambda *given: drawn.append(given))
    assert main(["bench", small, "--picture", "a.png"]) == 0
    lines = [
        " ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()
    ]
    for line in (
        "bytes per second 1.500 GB/s",
        "roofline bytes per second 2.000 GB/s",
        "fraction of roofline 0.75 (0.62 to 0.88)",
        "rounds 5",
        "where the time of 2 cores went",
        "read 1.00 s 5% ##",
        "decode 9.00 s 45% ##################",
        "idle 10.00 s 50% ####################",
        "the trainer waited 0.25 of 8.00 s for data",
    ):
        assert line in lines, lines
    assert drawn == [(RESULT, Path("a.png"))]
    assert main(["bench", small, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == RESULT
    assert len(drawn) == 1


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ("", ooc.models.Logistic(standardise=False)),
        ("--model linear", ooc.models.Linear(standardise=False, standardise_target=False)),
        (
            "--model linear --standardise yes --standardise-target yes",
            ooc.models.Linear(standardise=True, standardise_target=True),
        ),
    ],
)
def test_passes_that_only_prepare_are_left_out_unless_asked_for(
    small: str, monkeypatch: pytest.MonkeyPatch, options: str, model: ooc.models.Model
) -> None:
    seen = Seen()
    monkeypatch.setattr("ooc.measure.roofline.bench", seen)
    assert main(["bench", small, *options.split()]) == 2
    _, trainer, rounds, _ = seen.given[0]
    assert trainer == ooc.Trainer(model, ooc.optim.sgd(1e-20), 256)
    assert rounds == 3


def test_at_least_one_round_is_measured(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--rounds" in refused(capsys, "bench", small, "--rounds", "0")
