"""A run knows its own rows: it tells of those that it was trained on, and opens the others."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset
from shell import called, refused

import ooc
from ooc import Trainer, Validation
from ooc.cli import main
from ooc.core.errors import InputError
from ooc.models import Linear
from ooc.optim import sgd
from ooc.runs import checkpoint
from ooc.runs.run import Run
from ooc.store.dataset import Dataset

MEMORY = "512MiB"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Rows of 10 blocks, in which the last ones have another slope: a mean loss tells which."""
    x = np.random.default_rng(0).standard_normal((1000, 2)).astype(np.float32)
    site = np.arange(1000) % 4
    return write_dataset(tmp_path / "a.zarr", X=x, y=x[:, 0] * (1 + 9 * (site == 3)), site=site)


def fit(dataset: Dataset, run_dir: Path | None, validation: Validation | None) -> Run:
    trainer = Trainer(Linear(), sgd(0.01), 50, memory=MEMORY, validation=validation)
    return trainer.fit(dataset, epochs=1, run_dir=run_dir)


@pytest.mark.slow
def test_rows_that_were_trained_on_are_counted(dataset: Dataset, tmp_path: Path) -> None:
    run = fit(dataset, tmp_path / "run", Validation(0.2, by="row", test=0.1))
    train, validation, test = ooc.split(dataset, (0.2, 0.1), by="row")
    other = write_dataset(tmp_path / "b.zarr", X=np.ones((60, 2)), y=np.ones(60))
    for each in (run, ooc.load(tmp_path / "run")):
        told = {
            name: each.evaluate(rows, MEMORY).get("trained_on_rows")
            for name, rows in [
                ("all", dataset),
                ("train", train),
                ("validation", validation),
                ("test", test),
                ("other", other),
                ("unknown", ooc.split(dataset, 0.2, seed=9)[0]),
            ]
        }
        assert told == {
            "all": 700,
            "train": 700,
            "validation": None,
            "test": None,
            "other": None,
            "unknown": None,
        }
    whole = fit(dataset, None, None)
    assert whole.evaluate(test, MEMORY)["trained_on_rows"] == 100


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("validation", "by"),
    [
        (Validation(0.2, by="row"), {"by": "row", "validation": 0.2}),
        (Validation(0.2, by="row", test=0.1), {"by": "row", "validation": (0.2, 0.1)}),
        (Validation(0.2, by="row", ordered=True), {"ordered": True, "validation": 0.2}),
        (Validation(by="site", groups=[3]), {"by": "site", "groups": [3]}),
    ],
    ids=["share", "test", "ordered", "groups"],
)
def test_rows_that_were_held_out_are_opened_again(
    dataset: Dataset, tmp_path: Path, validation: Validation, by: dict[str, Any]
) -> None:
    fit(dataset, tmp_path / "run", validation)
    run = ooc.load(tmp_path / "run")
    expected = ooc.split(dataset, **by)[-1]
    found = run.held_out()
    assert (found.path, found.selection) == (dataset.path, expected.selection)
    again = run.held_out(dataset)
    assert (again.selection, again.roles) == (found.selection, dataset.roles)
    assert run.evaluate(found, MEMORY)["loss"] == run.evaluate(expected, MEMORY)["loss"]
    if "test" not in (validation.to_config()):
        measured = run.results["validation"]["loss"]
        assert run.evaluate(found, MEMORY)["loss"] == pytest.approx(measured, rel=1e-6)


def test_a_run_on_a_part_notes_what_was_kept_apart(dataset: Dataset, tmp_path: Path) -> None:
    train, validation, test = ooc.split(dataset, (0.1, 0.3), ordered=True)
    fit(train, tmp_path / "run", Validation(validation))
    run = ooc.load(tmp_path / "run")
    assert run.held_out().selection == test.selection
    assert run.evaluate(run.held_out(), MEMORY)["rows"] == 300


@pytest.mark.parametrize("validation", [None, Validation(0.2, by="row")])
def test_a_run_on_a_part_goes_on_by_itself(
    dataset: Dataset, tmp_path: Path, validation: Validation | None
) -> None:
    train, _ = ooc.split(dataset, 0.3, ordered=True)
    trainer = Trainer(Linear(), sgd(0.01), 50, memory=MEMORY, validation=validation)
    whole = trainer.fit(train, epochs=3)
    stop = threading.Event()
    halfway = ooc.Callbacks(step_end=lambda now: stop.set() if now.step == 8 else None)
    how = {"run_dir": tmp_path / "run", "callbacks": halfway, "stop": stop}
    saved = trainer.fit(train, epochs=3, **how)
    assert saved.results["steps"] < whole.results["steps"]
    again = ooc.resume(tmp_path / "run")
    assert again.results["parameters_sha256"] == whole.results["parameters_sha256"]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    "change",
    [
        {"rows": "many"}, {"rows": None}, {"dataset": {}}, {"dataset": {"path": 3}},
        {"selection": {}}, {"selection": {"by": "row"}}, {"held_out": 5},
    ],
)  # fmt: skip
def test_what_was_not_saved_by_a_run_is_refused(
    dataset: Dataset, tmp_path: Path, change: dict[str, Any]
) -> None:
    fit(dataset, tmp_path / "run", Validation(0.2, by="row"))
    arrays, saved = checkpoint.load(tmp_path / "run")
    noted = saved["trained_on"]
    if change.get("dataset"):
        change = {"dataset": noted["dataset"] | change["dataset"]}
    saved["trained_on"] = noted | change
    checkpoint.save(tmp_path / "run", saved["step"], arrays, saved, keep=1)
    with pytest.raises(InputError, match="holds what ooc does not save"):
        ooc.load(tmp_path / "run")


def test_it_says_when_nothing_was_held_out(dataset: Dataset, tmp_path: Path) -> None:
    run = fit(dataset, None, None)
    with pytest.raises(InputError, match=r"the run on .*a.zarr held no rows out; train with valid"):
        run.held_out()


def test_the_shell_measures_rows_that_were_held_out(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = str(tmp_path / "run")
    options = "--model linear --lr 0.01 --batch-size 50 --epochs 1 --memory 512MiB --validation-by "
    groups = ["site", "--validation-groups", "3", "--run", run_dir]
    called(capsys, "train", dataset.path, *options.split(), *groups)
    run = ooc.load(run_dir)
    own = called(capsys, "evaluate", run_dir, "--held-out")
    assert own["rows"] == 250
    assert own["loss"] == run.evaluate(run.held_out(), MEMORY)["loss"]
    assert "trained_on_rows" not in own
    assert main(["evaluate", run_dir, dataset.path]) == 0
    assert "trained on 750 of these 1,000 rows" in capsys.readouterr().err
    assert "name DATA, or give --held-out" in refused(capsys, "evaluate", run_dir)
