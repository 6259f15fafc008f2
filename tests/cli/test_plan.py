"""The plan command: which arrays it looks at, what it takes note of, and its advice in words."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset
from shell import Seen
from sparse_rows import random_matrix, write_sparse

from ooc.cli import main
from ooc.cli.plan import _mixing_lines
from ooc.core.sizes import format_size
from ooc.store.dataset import Dataset
from ooc.stream.plan import Plan

MEMORY = ["--memory", "512MiB"]


@pytest.fixture
def weighted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    x = rng.standard_normal((600, 2)).astype(np.float32)
    write_dataset(tmp_path / "a.zarr", 50, X=x, y=np.arange(600) % 2, weight=np.ones(600))
    return "a.zarr"


def lines_of(text: str) -> list[str]:
    return [" ".join(line.replace("│", " ").split()) for line in text.splitlines()]


def test_people_are_told_what_programs_are(
    weighted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", weighted, *MEMORY, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["read_paths"]) == {"X", "y", "weight"}
    assert main(["plan", weighted, *MEMORY]) == 0
    lines = lines_of(capsys.readouterr().out)
    assert f"plan for {weighted}" in lines
    for name, size in told["memory_terms"].items():
        assert f"{name.replace('_', ' ')} {format_size(size)}" in lines
    assert f"projected {format_size(told['memory_projected_bytes'])}" in lines
    assert f"budget {format_size(told['memory_budget_bytes'])}" in lines
    assert f"window rows {told['window_rows']}" in lines
    assert not any(line.startswith(("memory terms", "memory budget bytes")) for line in lines)
    worst = f"{told['predicted_inflation']:.3f} of the variance of batch means, by"
    assert any(worst in line for line in lines)


def test_a_window_is_looked_at_where_blocks_are_mixed_in_it(
    weighted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read as the run would read; not of rows in their order, nor of sparse rows."""
    seen = Seen()
    monkeypatch.setattr("ooc.stream.window_advice.advise", seen)
    how = ["--batch-size", "64", "--window", "fit", "--json", *MEMORY]
    assert main(["plan", weighted, "--io", "buffered", *how]) == 2
    (dataset, planned), options = seen.given
    assert isinstance(dataset, Dataset)
    assert isinstance(planned, Plan)
    assert (planned.batch_size, options) == (64, {"io": "buffered"})
    assert main(["plan", weighted, "--shuffle", "none", *how]) == 0
    matrix = random_matrix(2000, 30)
    write_sparse(tmp_path / "s.zarr", matrix, y=np.arange(2000) % 2)
    assert main(["plan", "s.zarr", *how]) == 0


def test_values_that_a_run_would_refuse_are_told(
    weighted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def refused(*given: object) -> list[str]:
        asked.append(given[1:])
        return ["X lacks values"]

    monkeypatch.setattr("ooc.training.marks.refused_values", refused)
    monkeypatch.setattr("ooc.training.marks.warn_of_marks", lambda *given: asked.append(given[1:]))
    rule = ["--missing-values", "fill:2"]
    assert main(["plan", weighted, "--no-weight", *rule, *MEMORY, "--json"]) == 0
    assert asked == [(["X", "y"], "fill:2"), (["X", "y"],)]
    assert "X lacks values" in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("chunk_rows", "smaller"),
    [
        (
            1250,
            "chunks of 1,250 rows, now 5,000, would do so in this window if they differ as much",
        ),
        (None, "not even chunks of one row would be enough in this window"),
    ],
)
def test_what_would_mix_better_is_told_in_words(chunk_rows: int | None, smaller: str) -> None:
    arrays = {"X": SimpleNamespace(row_bytes=1000), "y": SimpleNamespace(row_bytes=24)}
    dataset: Any = SimpleNamespace(
        path="a.zarr", stored_rows=2**20, rows=7, arrays=arrays, stored_row_bytes=1024
    )
    planned: Any = SimpleNamespace(order=SimpleNamespace(block_rows=5000))
    worst = SimpleNamespace(name="y", between_share=0.25, error=0.0125)
    advice: Any = SimpleNamespace(
        worst=worst, inflation=1.5, enough=False, needed_blocks=1500, limit=1.05,
        memory=1536 * 2**20, chunk_rows=chunk_rows,
    )  # fmt: skip
    first = {
        "predicted inflation": "1.500 of the variance of batch means, by y: Vb/s2 0.2500 +- 0.0125"
    }
    assert _mixing_lines(dataset, planned, advice) == {
        **first,
        "more memory": "a window of 1,500 blocks would bring it to 1.05: --memory 1536MiB",
        "smaller chunks": smaller,
        "an exact shuffle": (
            "brings it to 1.000 for good: ooc shuffle a.zarr NEW, with 1.00 GiB of scratch space"
        ),
    }
    advice.enough = True
    assert _mixing_lines(dataset, planned, advice) == first
