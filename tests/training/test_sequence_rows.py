"""What is trained on sequences of a long array is what a copy of all of them gives, to the bit."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import write_dataset
from numpy.lib.stride_tricks import sliding_window_view
from shell import called, refused

import ooc
from ooc.core.errors import DataError, InputError
from ooc.runs.loading import load
from ooc.shuffle import exact
from ooc.store.dataset import Dataset
from ooc.training.watchers.callbacks import Callbacks
from ooc.training.watchers.validation import Validation

TIMES, LENGTH, STRIDE = 2000, 12, 3
_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(TIMES, 2)).astype("f4")
Y = (X.sum(axis=1) > 0).astype("i1")
ROWS = np.moveaxis(sliding_window_view(X, LENGTH, axis=0)[::STRIDE], -1, 1)
TEXT = f"sequences:{LENGTH}:{STRIDE}"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of a long array, and beside it one of all sequences copied."""
    group = zarr.create_group(tmp_path / "long.zarr")
    group.create_array("X", data=X, chunks=(150, 2))
    group.create_array("y", data=Y, chunks=(400,))
    last = Y[LENGTH - 1 :: STRIDE]
    weight = np.linspace(1, 2, TIMES)
    group.create_array("weight", data=weight, chunks=(400,))
    write_dataset(
        tmp_path / "copied.zarr", 40, X=ROWS.copy(), y=last, weight=weight[LENGTH - 1 :: STRIDE]
    )
    return tmp_path / "long.zarr"


def both(store: Path) -> tuple[Dataset, Dataset]:
    return ooc.open(store, transform=TEXT), ooc.open(store.with_name("copied.zarr"))


def trainer(model: Any = None, **options: Any) -> ooc.Trainer:
    how = {"memory": "512MiB", "seed": 3, "block_rows": 40, "window": 4, **options}
    return ooc.Trainer(model or ooc.models.Logistic(), ooc.optim.sgd(0.1), 50, **how)


@pytest.mark.slow
def test_parameters_are_those_of_a_copy_to_the_bit(store: Path) -> None:
    for options in (
        {},
        {"sampling": "balanced"},
        {"sampling": "weight"},
        {"lanes": 2},
        {"readers": 1, "shuffle": "none"},
        {"model": ooc.models.Autoencoder(hidden=(8,), code=2)},
        {"model": ooc.models.MLP(hidden=(4,))},
    ):
        runs = [trainer(**options).fit(each, 2, report=False) for each in both(store)]
        ours, theirs = (run.results["parameters_sha256"] for run in runs)
        assert ours == theirs, options


@pytest.mark.slow
def test_predictions_and_scores_are_those_of_a_copy(store: Path, tmp_path: Path) -> None:
    long, copied = both(store)
    run = trainer().fit(long, 1, tmp_path / "run", report=False)
    of_copy = trainer().fit(copied, 1, report=False)
    found = run.evaluate(ooc.open(store), report=False)
    wanted = of_copy.evaluate(copied, report=False)
    for name in ("rows", "loss", "accuracy", "auc"):
        assert found[name] == wanted[name], name
    predicted = run.predict(ooc.open(store), "scores", report=False)
    np.testing.assert_array_equal(predicted, of_copy.predict(copied, "scores", report=False))
    np.testing.assert_allclose(run.predict(ROWS.copy(), "scores"), predicted, rtol=1e-5)
    again = load(tmp_path / "run")
    assert again.transform == TEXT
    again.export(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="is opened with transform='sequences:12:4', and"):
        again.evaluate(ooc.open(store, transform="sequences:12:4"), report=False)


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_bits(store: Path, tmp_path: Path) -> None:
    long, _ = both(store)
    told: list[str] = []

    def report(progress: Any) -> None:
        told.append(progress.text)

    validation = Validation(0.2, ordered=True)
    whole = trainer(validation=validation).fit(long, 3, report=report)
    assert "left out 3 rows that overlap with both sides of the split" in told
    stop, folder = threading.Event(), tmp_path / "run"

    def after_step(now: Any) -> None:
        if now.step >= 7:
            stop.set()

    options: Any = {"stop": stop, "callbacks": Callbacks(step_end=after_step), "report": False}
    begun = trainer(validation=validation).fit(long, 3, folder, **options)
    assert not np.array_equal(begun.parameters, whole.parameters)
    saved = ooc.resume(folder, report=False)
    assert np.array_equal(saved.parameters, whole.parameters)
    held_out = saved.held_out()
    assert held_out.transform == TEXT
    assert held_out.rows + saved.trained_on.rows == long.rows - 3  # type: ignore[union-attr]
    zarr.open_group(store)["X"][5] = 9  # type: ignore[index]
    with pytest.raises(InputError, match="cannot go on"):
        ooc.resume(folder, report=False)


def test_a_row_that_is_not_finite_is_named(tmp_path: Path) -> None:
    values = X.copy()
    values[1502, 1] = np.inf
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("X", data=values, chunks=(150, 2))
    group.create_array("y", data=Y, chunks=(400,))
    dataset = ooc.open(tmp_path / "a.zarr", transform=TEXT)
    with pytest.raises(DataError, match=r"row (49[789]|500) of X has inf in feature"):
        trainer().fit(dataset, 1, report=False)
    model = ooc.models.Logistic(standardise=False)
    with pytest.raises(DataError, match=r"row (49[789]|500) "):
        trainer(model).fit(dataset, 1, report=False)


def test_no_shuffled_copy_is_made(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a shuffled copy has no order of times"):
        exact(ooc.open(store, transform=TEXT), tmp_path / "b.zarr", "512MiB")


@pytest.mark.slow
def test_the_shell_trains_on_sequences(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--transform", TEXT)
    assert called(capsys, "info", str(store), *options)["rows"] == len(ROWS)
    assert called(capsys, "plan", str(store), *options, "--batch-size", "50")["rows"] == len(ROWS)
    run = str(tmp_path / "run")
    called(
        capsys, "train", str(store), *options, "--model", "logistic", "--run", run,
        "--batch-size", "50", "--memory", "512MiB", "--validation", "0.1",
    )  # fmt: skip
    assert json.loads((tmp_path / "run" / "run.json").read_text())["dataset"]["transform"] == TEXT
    assert called(capsys, "evaluate", run, str(store))["rows"] == len(ROWS)
    assert called(capsys, "evaluate", run, "--held-out")["rows"] < 0.1 * len(ROWS)
    assert called(capsys, "predict", run, str(store), f"{run}.zarr")["rows"] == len(ROWS)
    told = refused(capsys, "info", str(store), "--transform", "sequences:")
    assert "write sequences:512:128" in told
