"""What is trained on arrays side by side is what NumPy's stack of them gives."""

import json
import pickle
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import write_dataset
from shell import called, refused

import ooc
from ooc.core.errors import InputError
from ooc.runs.run import Run
from ooc.shuffle import measure
from ooc.store.chunks import open_reader
from ooc.store.dataset import Dataset
from ooc.training.marks import warn_of_marks
from ooc.training.watchers.callbacks import Callbacks
from ooc.training.watchers.validation import Validation

ROWS = 600
_RNG = np.random.default_rng(0)
TEMPERATURE = _RNG.normal(280, 5, ROWS).astype("f4")
WIND = _RNG.normal(size=(ROWS, 5)).astype("f4")
STORM = (TEMPERATURE - 280 + 3 * WIND[:, 2] > 0).astype("i1")
FEATURES = ["t2m", "wind[gust,0]"]
STACKED = np.column_stack([TEMPERATURE, WIND[:, [2, 0]]])


@pytest.fixture
def weather(tmp_path: Path) -> Path:
    """Return a store of arrays in other chunks, and beside it one of what NumPy stacks."""
    group = zarr.create_group(tmp_path / "weather.zarr")
    group.create_array("t2m", data=TEMPERATURE, chunks=(70,))
    wind = group.create_array("wind", data=WIND, chunks=(40, 2))
    wind.attrs["feature_names"] = ["east", "north", "gust", "shear", "lull"]
    group.create_array("storm", data=STORM, chunks=(600,))
    group.create_array("site", data=np.arange(ROWS) // 30, chunks=(100,))
    group.create_array("weight", data=np.linspace(1, 2, ROWS), chunks=(100,))
    write_dataset(tmp_path / "stacked.zarr", 40, X=STACKED, storm=STORM, site=np.arange(ROWS) // 30,
                  weight=np.linspace(1, 2, ROWS))  # fmt: skip
    return tmp_path / "weather.zarr"


def both(weather: Path) -> tuple[Dataset, Dataset]:
    stacked = weather.with_name("stacked.zarr")
    return ooc.open(weather, FEATURES, "storm"), ooc.open(stacked, target="storm")


def trainer(**options: object) -> ooc.Trainer:
    how = {"memory": "512MiB", "seed": 3, "block_rows": 40, "window": 4, **options}
    return ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.1), 50, **how)  # type: ignore[arg-type]


@pytest.mark.slow
def test_parameters_are_those_of_one_array_to_the_bit(weather: Path) -> None:
    joined, stacked = both(weather)
    for options in ({}, {"validation": Validation(0.2)}, {"sampling": "balanced"}, {"lanes": 2}):
        runs = [trainer(**options).fit(each, 2, report=False) for each in (joined, stacked)]
        ours, theirs = (run.results["parameters_sha256"] for run in runs)
        assert ours == theirs, options
    assert runs[0].feature_names == ("t2m", "gust", "east")


@pytest.mark.slow
def test_splits_sweeps_and_predictions_are_those_of_one_array(weather: Path) -> None:
    joined, stacked = both(weather)
    sides = [ooc.split(each, 0.25, by="site", seed=1) for each in (joined, stacked)]
    assert [side.rows for side in sides[0]] == [side.rows for side in sides[1]]
    optimizers = {"slow": ooc.optim.sgd(0.01), "fast": ooc.optim.adam(0.1)}
    found = [trainer().fit_many(train, optimizers, 1, report=False) for train, _ in sides]
    for name in optimizers:
        assert np.array_equal(found[0][name].parameters, found[1][name].parameters)
    run = found[0]["fast"]
    measured = [run.evaluate(each, report=False) for _, each in sides]
    assert measured[0]["loss"] == measured[1]["loss"]
    predicted = run.predict(joined, "scores", report=False)
    assert np.array_equal(predicted, run.predict(stacked, "scores", report=False))
    assert np.allclose(run.predict(STACKED, "scores"), predicted, rtol=1e-5)


@pytest.mark.slow
def test_a_run_goes_on_with_the_same_features(weather: Path, tmp_path: Path) -> None:
    joined, _ = both(weather)
    whole = trainer(validation=Validation(0.2)).fit(joined, 3, report=False)
    stop, folder = threading.Event(), tmp_path / "run"

    def after_step(now: object) -> None:
        if now.step >= 7:  # type: ignore[attr-defined]
            stop.set()

    callbacks = Callbacks(step_end=after_step)
    options = {"stop": stop, "callbacks": callbacks, "report": False}
    begun = trainer(validation=Validation(0.2)).fit(joined, 3, folder, **options)  # type: ignore[arg-type]
    assert not np.array_equal(begun.parameters, whole.parameters)
    saved = ooc.resume(folder, report=False)
    assert np.array_equal(saved.parameters, whole.parameters)
    kept = saved.held_out()
    assert kept.features == joined.features == "t2m,wind[gust,0]"
    assert saved.evaluate(kept, report=False)["rows"] == kept.rows
    # Columns that changed their places are found by their names, and are other data.
    group = zarr.open_group(weather, mode="r+")
    group["wind"].attrs["feature_names"] = ["gust", "north", "east", "shear", "lull"]
    with pytest.raises(InputError, match=r"named twice|cannot go on with another dataset"):
        ooc.resume(folder, report=False)


@pytest.mark.slow
def test_the_shell_keeps_a_run_s_features(
    weather: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    features = ("--features", "t2m,wind[gust,0]", "--target", "storm")
    options = ("--model", "logistic", "--memory", "512MiB", "--lr", "0.1", "--run", "run")
    called(capsys, "train", "weather.zarr", *features, *options)
    settings = called(capsys, "info", "run", "--config")
    assert settings["features"] == "t2m,wind[gust,0]"
    run, (joined, _) = ooc.load("run"), both(weather)
    assert isinstance(run, Run)
    called(capsys, "predict", "run", "weather.zarr", "out.zarr", "--memory", "512MiB")
    written = zarr.open_group("out.zarr", mode="r")["prediction"][...]
    assert np.array_equal(written, run.predict(joined, report=False))
    found = called(capsys, "evaluate", "run", "weather.zarr", "--target", "storm")
    assert found["loss"] == run.evaluate(joined, report=False)["loss"]
    called(capsys, "export", "run", "run.json")
    told = json.loads(Path("run.json").read_text())
    assert list(told["coefficients"]) == ["t2m", "gust", "east"]
    others = ("--features", "wind[gust,0],t2m")
    said = refused(capsys, "predict", "run", "weather.zarr", "other.zarr", *others)
    assert "trained on feature t2m at place 0, where wind[gust,0],t2m of weather.zarr has" in said
    called(capsys, "train", "weather.zarr", "--features", "wind", "--columns", "gust,0",
           "--target", "storm", *options[:-1], "columns")  # fmt: skip
    assert ooc.load("columns").feature_names == ("gust", "east")
    planned = called(capsys, "plan", "weather.zarr", *features, "--model", "logistic")
    assert planned["read_paths"]["t2m,wind[gust,0]"].startswith("native")
    listed = called(capsys, "info", "weather.zarr", *features, "--verify")
    assert listed["bad_chunks"] == []
    assert listed["arrays"]["t2m,wind[gust,0]"]["parts"]["wind"]["columns"] == [2, 0]
    said = refused(capsys, "bench", "weather.zarr", *features)
    assert "bench knows the limit of one array" in said


def test_a_shuffled_copy_keeps_every_array(
    weather: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, copy = str(weather), str(tmp_path / "copy.zarr")
    called(capsys, "shuffle", source, copy, "--features", "t2m,wind[gust,0]", "--memory", "512MiB")
    opened = ooc.open(copy, FEATURES, "storm")
    rows = np.zeros((ROWS, 3), "f4")
    open_reader(opened, opened.features).read_runs([(0, ROWS)], rows)
    assert not np.array_equal(rows, STACKED)
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, STACKED.tolist()))
    assert zarr.open_group(copy, mode="r")["wind"].shape == WIND.shape


def test_how_rows_mix_is_measured(weather: Path) -> None:
    found = [measure(each, "blocks", batch_size=50, memory="512MiB", window=4)
             for each in both(weather)]  # fmt: skip
    assert found[0].every_row_once
    assert len(found[0].columns) == len(found[1].columns)


def test_marks_for_missing_are_looked_for_in_each_array(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    values = WIND.copy()
    values[::7, 3] = -9999
    pressure = rng.normal(101_325, 20_000, ROWS)
    group = zarr.create_group(tmp_path / "a.zarr")
    for name, array in (("wind", values), ("pressure", pressure)):
        group.create_array(name, data=array)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = ooc.open(tmp_path / "a.zarr", ["pressure", "wind[0:3]"])
        warn_of_marks(dataset, [dataset.features])
    for features in (["pressure", "wind"], ["wind[1,3]", "pressure"]):
        dataset = ooc.open(tmp_path / "a.zarr", features)
        with pytest.warns(UserWarning, match=r"values of wind in .* are -9999 \(row 0, wind\[3\]"):
            warn_of_marks(dataset, [dataset.features])


def test_readers_travel_to_other_processes(weather: Path) -> None:
    dataset, _ = both(weather)
    reader = pickle.loads(pickle.dumps(open_reader(dataset, dataset.features)))
    out = np.zeros((100, 3), "f4")
    reader.read_runs([(3, 40), (100, 163)], out)
    assert np.array_equal(out, STACKED[np.r_[3:40, 100:163]])


@pytest.mark.slow
def test_any_model_of_dense_rows_trains_on_them(weather: Path) -> None:
    joined, stacked = both(weather)
    for model in (ooc.models.MLP((4,), head="binary"), ooc.models.Autoencoder((2,))):
        how = {"memory": "512MiB", "block_rows": 40, "window": 4}
        runs = [
            ooc.Trainer(model, ooc.optim.adam(0.01), 50, **how).fit(each, 1, report=False)
            for each in (joined, stacked)
        ]
        assert np.array_equal(runs[0].parameters, runs[1].parameters)
