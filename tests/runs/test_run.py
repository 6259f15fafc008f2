"""A run and other data: every number that is told, every output, rows that lack a value."""

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import write_dataset
from random_runs import trained
from sklearn.metrics import log_loss

import ooc
from ooc.core.errors import InputError
from ooc.core.progress import Progress
from ooc.models import MLP, Linear, Softmax
from ooc.runs import checkpoint, run_directory
from ooc.store.uploads import UPLOAD_BYTES

MEMORY = "512MiB"
MODEL = Softmax(classes=3, standardise=False)


def rows_with_gaps(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features of which some rows lack a value, labels, and which rows are whole."""
    x = rng.standard_normal((250, 6)).astype(np.float32)
    x[[3, 40, 41], 2], x[249, 5] = np.nan, np.nan
    return x, rng.integers(0, 3, 250), ~np.isnan(x).any(axis=1)


def test_every_output_is_void_for_rows_that_lack_a_value(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Whole numbers are -1, others NaN; the other rows are as they are without these."""
    x, y, whole = rows_with_gaps(rng)
    dataset, run = write_dataset(tmp_path / "a.zarr", X=x, y=y), trained(MODEL)
    progress = list[Progress]()
    told = run.predict_to(dataset, tmp_path / "out.zarr", MEMORY, progress.append, "drop")
    assert (told["rows"], told["missing"]) == (250, {"X": 4})
    assert told["arrays"] == ["prediction", "probability"]
    assert told["memory_budget_bytes"] == 512 * 2**20
    assert (progress[-1].rows, progress[-1].total_rows) == (250, 250)
    assert progress[-1].bytes == 250 * 6 * 4
    written = zarr.open_group(tmp_path / "out.zarr", mode="r")
    expected = MODEL.predict(run.parameters, x[whole])
    for name, values in expected.items():
        found = run.predict(dataset, name, MEMORY, "drop")
        np.testing.assert_array_equal(written[name][...], found)
        np.testing.assert_array_equal(found[whole], values)
        void = -1 if values.dtype.kind == "i" else np.nan
        np.testing.assert_array_equal(found[~whole], np.full_like(values[:4], void))


def test_predictions_are_written_behind_a_url_as_they_are_here(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OOC_SCRATCH", str(tmp_path / "scratch"))
    x, y, _ = rows_with_gaps(rng)
    dataset, run = write_dataset(tmp_path / "a.zarr", X=x, y=y), trained(MODEL)
    here = run.predict_to(dataset, tmp_path / "out.zarr", MEMORY, False, "drop")
    url = f"memory://{tmp_path.name}/out.zarr"
    told = run.predict_to(dataset, url, MEMORY, False, "drop")
    written, far = (zarr.open_group(path, mode="r") for path in (tmp_path / "out.zarr", url))
    for name in here["arrays"]:
        np.testing.assert_array_equal(far[name][...], written[name][...])
    assert told["memory_projected_bytes"] >= here["memory_projected_bytes"] + UPLOAD_BYTES
    with pytest.raises(InputError, match="already exists; choose another path or remove it first"):
        run.predict_to(dataset, url, MEMORY)


def test_rows_are_measured_without_those_that_lack_a_value(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x, y, whole = rows_with_gaps(rng)
    weight = rng.uniform(0.5, 2, 250)
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=y, weight=weight)
    run, progress = trained(MODEL), list[Progress]()
    found = run.evaluate(dataset, MEMORY, progress.append, "drop")
    share = MODEL.predict(run.parameters, x[whole])["probability"]
    expected = log_loss(y[whole], share, sample_weight=weight[whole], labels=range(3))
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    assert (found["rows"], found["skipped_rows"], found["missing"]) == (250, 4, {"X": 4})
    assert found["rows_per_second"] == pytest.approx(250 / found["seconds"])
    assert found["bytes_per_second"] == pytest.approx(250 * (6 * 4 + 2 * 8) / found["seconds"])
    assert found["memory_budget_bytes"] == 512 * 2**20 >= found["memory_projected_bytes"]
    assert any(each.memory_budget_bytes == 512 * 2**20 for each in progress)
    filled = run.evaluate(dataset, MEMORY, missing_values="fill:2")
    share = MODEL.predict(run.parameters, np.where(np.isnan(x), np.float32(2), x))["probability"]
    expected = log_loss(y, share, sample_weight=weight, labels=range(3))
    assert filled["loss"] == pytest.approx(expected, rel=1e-5)
    assert filled["missing"] == {"X": 4}


@pytest.mark.slow
def test_one_side_of_a_split_is_measured_and_predicted_alone(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x, y = rng.standard_normal((250, 6)).astype(np.float32), rng.integers(0, 3, 250)
    dataset, run = write_dataset(tmp_path / "a.zarr", X=x, y=y), trained(MODEL)
    for by in ("block", "row"):
        sides = ooc.split(dataset, 0.3, seed=2, by=by)
        for side in sides:
            rows = np.flatnonzero(side.selection.contains(0, 250, {}))  # type: ignore[union-attr]
            assert run.evaluate(side, MEMORY)["rows"] == len(rows)
            share = run.predict(side, "probability", MEMORY)
            np.testing.assert_array_equal(
                share, MODEL.predict(run.parameters, x[rows])["probability"]
            )
            expected = log_loss(y[rows], share, labels=range(3))
            assert run.evaluate(side, MEMORY)["loss"] == pytest.approx(expected, rel=1e-5)
            told = run.predict_to(side, tmp_path / f"{by}-{len(rows)}.zarr", MEMORY)
            assert told["rows"] == len(rows)


def test_predictions_that_take_a_quarter_of_the_memory_are_refused(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = rng.standard_normal((250, 6)).astype(np.float32)
    dataset, run = write_dataset(tmp_path / "a.zarr", X=x), trained(MODEL)
    loader = run._loader

    def of_budget(size: int) -> None:
        def made(*given: object) -> object:
            found = loader(*given)  # type: ignore[arg-type]
            object.__setattr__(found.plan, "budget", size)
            return found

        monkeypatch.setattr(type(run), "_loader", lambda self, *given: made(*given))

    of_budget(4 * 250 * 8 - 4)
    with pytest.raises(InputError, match=r"predictions for 250 rows take .* predict_to"):
        run.predict(dataset, memory=MEMORY)
    of_budget(4 * 250 * 8)
    assert len(run.predict(dataset, memory=MEMORY)) == 250


def test_rows_are_measured_in_the_memory_that_training_was_given(tmp_path: Path) -> None:
    with ooc.create(tmp_path / "a.zarr", {"X": ("float32", (3,)), "y": ("float32", ())}) as writer:
        writer.append({"X": np.ones((100, 3)), "y": np.ones(100)})
    dataset = ooc.open(tmp_path / "a.zarr")
    trainer = ooc.Trainer(ooc.models.Linear(), ooc.optim.sgd(0.1), batch_size=10, memory="700MiB")
    run = trainer.fit(dataset, run_dir=tmp_path / "run")
    for each in (run, ooc.load(tmp_path / "run")):
        assert each.evaluate(dataset)["memory_budget_bytes"] == 700 * 2**20
        assert each.evaluate(dataset, memory="1GiB")["memory_budget_bytes"] == 2**30


def test_a_prompt_shows_a_run() -> None:
    run = trained(MODEL)
    assert run.facts() == {"model": "softmax", "parameters": "21"}
    results = {"steps": 1234, "epochs": 2, "loss": 0.123456, "validation_loss": 0.5}
    whole = ooc.runs.run.Run(MODEL, run.layout, run.parameters, (6,), (), results)
    assert whole.facts() == {
        "model": "softmax", "parameters": "21", "steps": "1,234", "epochs": "2",
        "loss": "0.1235", "validation loss": "0.5",
    }  # fmt: skip


def saved(folder: Path, parameters: np.ndarray, **changes: object) -> Path:
    config = Linear(standardise=False, standardise_target=False).to_config()
    described = {"results": {"loss": 1.0}, "model": config, "row_shape": [2], **changes}
    checkpoint.save(folder, 1, {"parameters": parameters}, described)
    return folder


def test_a_saved_run_is_its_parameters_results_and_history(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", np.float32([1, 2, 3]))
    run_directory.append_history(folder, {"kind": "train", "step": 1})
    run = ooc.load(folder)
    assert run.parameters.tolist() == [1, 2, 3]
    assert run.predict(np.array([[0, 0], [1, 10]])).tolist() == [3, 24]
    assert (run.results, run.row_shape) == ({"loss": 1.0}, (2,))
    assert [*run.history] == [{"kind": "train", "step": 1}]


def test_a_run_of_other_parameters_is_refused(tmp_path: Path) -> None:
    for number, parameters in enumerate((np.float64([1, 2, 3]), np.float32([1, np.nan, 3]))):
        folder = saved(tmp_path / f"odd-{number}", parameters)
        with pytest.raises(InputError, match=r"holds what ooc does not save"):
            ooc.load(folder)
    folder = saved(tmp_path / "short", np.float32([1, 2]))
    with pytest.raises(InputError, match=r"holds 2 parameters, but its linear .* has 3"):
        ooc.load(folder)
    with pytest.raises(InputError, match=r"holds 2 parameters, but its mlp for rows of shape"):
        ooc.load(folder, MLP((3,)))


def test_a_history_keeps_all_up_to_the_step_that_a_run_goes_on_from(tmp_path: Path) -> None:
    """Lines of that very step stay; those without a step, too; later ones go."""
    lines = [
        {"kind": "train", "step": 5},
        {"kind": "validation", "step": 7, "loss": 0.5},
        {"kind": "checkpoint", "step": 7},
        {"kind": "note"},
        {"kind": "train", "step": 8},
    ]
    for line in lines:
        run_directory.append_history(tmp_path, line)
    run_directory.cut_history(tmp_path, 7)
    assert [*run_directory.read_history(tmp_path)] == lines[:4]
    text = (tmp_path / run_directory.HISTORY).read_text()
    assert [json.loads(line) for line in text.splitlines()] == lines[:4]


def test_a_history_is_read_past_what_is_no_line_of_it(tmp_path: Path) -> None:
    whole = [{"kind": "train", "step": number} for number in range(3)]
    parts = [json.dumps(line) for line in whole]
    odd = ["", "[1]", "{", '{"kind": "train", "step": "many"}', "x" * 2**21, "\xff"]
    text = "\n".join([parts[0], *odd, parts[1], parts[2]]) + '\n{"kind": "train", "st'
    (tmp_path / run_directory.HISTORY).write_bytes(text.encode("latin-1"))
    assert [*run_directory.read_history(tmp_path)] == whole
    assert [*run_directory.read_history(tmp_path / "nothing")] == []


def test_a_folder_is_one_processs_and_goes_with_what_came_to_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with run_directory.locked(folder):
        told = pytest.raises(InputError, match=r"is being trained in by process \d+")
        with told, run_directory.locked(folder):
            pass
    assert list(tmp_path.iterdir()) == []
    folder.mkdir(parents=True)
    (folder / "run.json.partial").write_text("half")
    (folder / "mine.txt").write_text("kept")
    with run_directory.locked(folder):
        assert not (folder / "run.json.partial").exists()
    assert {each.name for each in folder.iterdir()} >= {"mine.txt"}


def test_a_folder_of_data_is_no_place_for_runs(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a.zarr", X=np.ones((5, 2)))
    with pytest.raises(InputError, match="holds data, a Zarr group"):
        checkpoint.check_run_dir(tmp_path / "a.zarr")
    told = pytest.raises(InputError, match="holds data, a Zarr group")
    with told, run_directory.new_runs(tmp_path / "a.zarr", [tmp_path / "a.zarr" / "lr=1"]):
        pass
    gone = saved(tmp_path / "gone", np.float32([1, 2, 3]))
    for file in (gone / checkpoint.FOLDER).iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"holds the run.json of a run whose checkpoints are gone"):
        checkpoint.check_run_dir(gone)


def test_what_holds_no_run_says_whether_one_has_begun(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / checkpoint.LOCK).write_text("1")
    with pytest.raises(InputError, match="of which nothing was saved yet"):
        ooc.load(tmp_path / "begun")
    with pytest.raises(InputError, match="holds no saved run"):
        ooc.load(tmp_path / "none")
