"""The table of runs: names, order, and settings from descriptions of any quality."""

import json
from pathlib import Path
from typing import Any

import pytest
from histories import description, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.core.errors import InputError
from ooc.report.history import History, read_history
from ooc.report.runs import NOTHING, RESULTS, SETTINGS, make_cells, part, read_runs

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
KEYS = ["name", "rate", "constants", "schedule", "warmup", "l2", "clip_norm", "path", "loss"]
KEYS += ["memory_peak_bytes", "memory_budget_bytes", "parameters_sha256", "batch_size", "hidden"]
PARTS = st.fixed_dictionaries(
    {}, optional={key: st.dictionaries(st.sampled_from(KEYS), JSON) | JSON for key in (
        "model", "optimizer", "dataset", "plan", "results", "batch_size", "parameters_sha256"
    )},
)  # fmt: skip


def test_cells(tmp_path: Path) -> None:
    (run,) = read_runs([write_run(tmp_path / "a", lines=200)])
    assert run.name == "a"
    expected = {
        "data": "clicks.zarr",
        "model": "logistic intercept=True scale=1",
        "optimizer": "adam (0.9, 0.999, 1e-08)",
        "rate": "0.1",
        "schedule": "cosine (50000, 0), warm-up of 500 steps",
        "penalty": "L2 0.0001",
        "batch size": "256",
        "steps": "56,000",
        "final loss": "0.361",
        "peak of budget": "49% of 1.00 GiB",
        "saves": "4 in 0.05 s",
        "resumes": "0",
        "parameters sha256": "ca81869f",
    }
    assert {name: run.cells[name] for name in expected} == expected
    assert set(run.cells) == {*SETTINGS, *RESULTS}
    assert run.notes == ()
    end = run.history.end
    assert run.cells["rows/s"] == f"{end.rows / end.seconds:,.0f}"
    assert run.cells["waiting"] == f"{100 * end.wait_seconds / end.seconds:.1f}%"


def test_of_several_models_the_settings_that_differ_are_told(tmp_path: Path) -> None:
    for name, hidden in (("a", [64, 64]), ("b", [256])):
        model = {"name": "mlp", "hidden": hidden, "activation": "relu"}
        write_run(tmp_path / name, description(model=model), lines=3)
    runs = read_runs([tmp_path / "a", tmp_path / "b"])
    assert {run.cells["model"] for run in runs} == {"mlp hidden=64, 64", "mlp hidden=256"}


def loss_of(folder: Path, training: float, validation: float | None = None) -> Path:
    folder.mkdir()
    lines: list[dict[str, Any]] = [{"kind": "train", "step": 1, "seconds": 1.0, "loss": training}]
    if validation is not None:
        lines.append({"kind": "validation", "step": 1, "seconds": 1.0, "loss": validation})
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_best_comes_first_and_what_is_not_finite_last(tmp_path: Path) -> None:
    folders = [
        loss_of(tmp_path / "diverged", float("nan")),
        loss_of(tmp_path / "worse", 0.2),
        loss_of(tmp_path / "good", 0.1),
        loss_of(tmp_path / "second", 0.0, 0.5),
        loss_of(tmp_path / "first", 0.9, 0.4),
    ]
    names = [run.name for run in read_runs(folders)]
    assert names == ["first", "second", "good", "worse", "diverged"]
    assert read_runs(folders)[-1].cells["final loss"] == "not finite"


def test_names_tell_runs_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("x/a", "y/a"):
        write_run(tmp_path / name, lines=2)
    (tmp_path / "sweep.json").write_text("{}")
    folders = [tmp_path / "x/a", tmp_path / "y/a", tmp_path / "x/../x/a", tmp_path / "sweep.json"]
    assert sorted(run.name for run in read_runs(folders)) == ["x/a", "y/a"]
    monkeypatch.chdir(tmp_path / "x" / "a")
    assert [run.name for run in read_runs([Path()])] == ["a"]


def test_files_alone_are_no_runs(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", lines=2)
    with pytest.raises(InputError, match="give a folder"):
        read_runs([path / "run.json"])


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (None, "not there yet"),
        (b"{", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[]", "holds no description"),
        (b'{"results": {"steps": 1}}', "last saved at step 1, but the history goes on to 840"),
    ],
)
def test_a_run_without_a_description_is_reported_all_the_same(
    tmp_path: Path, content: bytes | None, note: str
) -> None:
    path = write_run(tmp_path / "a", lines=3)
    (path / "run.json").unlink()
    if content is not None:
        (path / "run.json").write_bytes(content)
    (run,) = read_runs([path])
    assert note in "; ".join(run.notes)
    assert run.cells["optimizer"] == NOTHING
    assert run.cells["steps"] == "840"


@settings(max_examples=25)
@given(PARTS)
def test_no_description_is_too_strange(history: History, strange: dict[str, Any]) -> None:
    cells = make_cells(history, strange, [part(strange, "model"), {"name": "mlp"}])
    assert set(cells) == {*SETTINGS, *RESULTS}
    assert all(isinstance(cell, str) and len(cell) < 2000 for cell in cells.values())


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return read_history(write_run(tmp_path_factory.mktemp("runs") / "a", lines=3))
