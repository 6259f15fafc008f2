"""The table of runs: names, order, and settings from descriptions of any quality."""

import json
from pathlib import Path
from typing import Any

import pytest
from histories import description, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.core.errors import InputError
from ooc.report.cells import NOTHING, RESULTS, duration, make_results, make_settings, part
from ooc.report.history import History, read_history
from ooc.report.runs import grouped, loss_in_words, read_runs

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
KEYS = ["name", "rate", "constants", "schedule", "warmup", "l2", "clip_norm", "path", "loss"]
KEYS += ["memory_peak_bytes", "memory_budget_bytes", "parameters_sha256", "batch_size", "hidden"]
PARTS = st.fixed_dictionaries(
    {}, optional={key: st.dictionaries(st.sampled_from(KEYS), JSON) | JSON for key in (
        "model", "optimizer", "dataset", "plan", "results", "batch_size", "parameters_sha256",
        "trainer", "machine", "memory", "epochs",
    )},
)  # fmt: skip


def test_settings_and_results(tmp_path: Path) -> None:
    (run,) = read_runs([write_run(tmp_path / "a", lines=200)])
    assert run.name == "a"
    assert run.settings == {
        "data": "clicks.zarr",
        "model": "logistic",
        "optimizer": "adam",
        "learning rate": "0.1",
        "schedule": "cosine",
        "warm-up": "500",
        "L2": "0.0001",
        "batch size": "256",
        "intercept": "yes",
        "scale": "1",
        "optimizer's numbers": "0.9, 0.999, 1e-08",
    }
    expected = {
        "steps": "56,000",
        "training loss": "0.361",
        "peak memory": "49% of 1.00 GiB",
        "saves": "4 in 0.05 s",
        "resumes": "0",
        "parameters sha256": "ca81869f",
    }
    assert {name: run.results[name] for name in expected} == expected
    assert tuple(run.results) == RESULTS
    assert run.notes == ()
    end = run.history.end
    assert run.results["rows/s"] == f"{end.rows / end.seconds:,.0f}"
    assert run.results["waiting"] == f"{100 * end.wait_seconds / end.seconds:.0f}%"


def test_what_a_run_notes_of_its_time_machine_and_rate(tmp_path: Path) -> None:
    results = {"started": "2026-03-04T05:06:07+00:00", "total_seconds": 3725.0, "dropped": "why"}
    whole = description(results=results, machine="A, 2 cores", plan={"rows": 1000})
    whole["trainer"] = {"optimizer": {"rate": None}, "seed": 0, "lanes": 1, "sampling": "balanced"}
    (run,) = read_runs([write_run(tmp_path / "a", whole, lines=3)])
    told = {name: run.results[name] for name in ("started", "total time", "machine", "rows")}
    assert [*told.values()] == ["04 Mar 2026 05:06 UTC", "1 h 2 min", "A, 2 cores", "1,000"]
    assert run.settings["learning rate"] == "0.1, found"
    # Of the stream, what is not as usual.
    assert run.settings["sampling"] == "balanced" and "lanes" not in run.settings
    assert run.notes == ("left behind: why",)


def test_times_are_written_as_people_do() -> None:
    written = [duration(seconds) for seconds in (0.0, 0.25, 59.4, 59.6, 3599.7, 1e6)]
    assert written == ["0 s", "0.25 s", "59 s", "1 min 0 s", "1 h 0 min", "277 h 46 min"]
    assert {duration(seconds) for seconds in (float("nan"), float("inf"), -1.0)} == {NOTHING}


def test_losses_are_compared_where_they_are_the_same(tmp_path: Path) -> None:
    models = {
        "a": {"name": "logistic"},
        "b": {"name": "mlp", "hidden": [3], "head": "binary"},
        "c": {"name": "softmax", "classes": 2},
        "d": {"name": "softmax", "classes": 3},
        "e": {"name": "svm"},
        "f": {"name": "of somebody else"},
        "g": {"name": "linear", "loss": "huber"},
    }
    assert {name: loss_in_words(model) for name, model in models.items()} == {
        **dict.fromkeys("abc", "logistic loss"),
        "d": "softmax loss",
        "e": "hinge loss",
        "f": "loss of of somebody else",
        "g": "huber loss",
    }
    folders = [
        write_run(tmp_path / name, description(model=model), lines=2)
        for name, model in models.items()
    ]
    groups = [sorted(run.name for run in group) for group in grouped(read_runs(folders))]
    assert groups[0] == ["a", "b", "c"] and len(groups) == 5


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
    assert read_runs(folders)[-1].results["training loss"] == "not finite"


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
    assert "optimizer" not in run.settings
    assert run.results["steps"] == "840"


@pytest.mark.slow
@settings(max_examples=25)
@given(PARTS)
def test_no_description_is_too_strange(history: History, strange: dict[str, Any]) -> None:
    settings_of, results = make_settings(history, strange), make_results(history, strange)
    assert tuple(results) == RESULTS
    cells = [*settings_of.values(), *results.values()]
    assert all(isinstance(cell, str) and len(cell) < 2000 for cell in cells)
    assert isinstance(loss_in_words(part(strange, "model")), str)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return read_history(write_run(tmp_path_factory.mktemp("runs") / "a", lines=3))
