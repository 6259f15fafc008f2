"""Evaluation on the way: the best kept, patience, plateaus, and the memory that it takes."""

from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from ooc.core.errors import InputError
from ooc.models import MLP, Linear, Logistic
from ooc.optim import adam, sgd
from ooc.optim.schedules import plateau
from ooc.runs.run import Run
from ooc.store.dataset import Dataset
from ooc.training.trainer import Trainer
from ooc.training.watchers.callbacks import Callbacks
from ooc.training.watchers.validation import Validation

MEMORY = "768MiB"


@pytest.fixture
def labelled(tmp_path: Path, rng: np.random.Generator) -> Dataset:
    x = rng.standard_normal((3000, 5)).astype(np.float32)
    y = (x[:, 0] + 0.5 * rng.standard_normal(3000) > 0).astype(np.int64)
    return write_dataset(tmp_path / "labelled.zarr", chunk_rows=50, X=x, y=y)


def lines(run: Run, kind: str) -> list[dict]:
    return [line for line in run.history if line["kind"] == kind]


def test_every_k_steps_on_rows_that_are_not_trained_on(labelled: Dataset) -> None:
    trainer = Trainer(Logistic(), sgd(0.1), 50, memory=MEMORY, validation=Validation(0.2, every=10))
    run = trainer.fit(labelled, 2)
    found = lines(run, "validation")
    assert [line["step"] for line in found] == list(range(10, 97, 10))
    assert run.results["rows"] == 2 * 2400
    _, held_out = ooc.split(labelled, 0.2, by="block")
    measured = run.evaluate(held_out)
    for key in ("loss", "accuracy", "auc"):
        assert run.results["validation"][key] == pytest.approx(measured[key])
    assert run.results["validation_loss"] == min(line["loss"] for line in found)


def test_the_best_parameters_are_kept_and_patience_ends_the_run(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """A wide network learns few rows by heart: the loss on others rises again."""
    x = rng.standard_normal((400, 20)).astype(np.float32)
    y = (x[:, 0] + rng.standard_normal(400) > 0).astype(np.int64)
    dataset = write_dataset(tmp_path / "a.zarr", 10, X=x, y=y)
    seen: dict[int, np.ndarray] = {}

    def keep(now: object) -> None:
        seen[now.step] = now.parameters.copy()  # type: ignore[attr-defined]

    trainer = Trainer(
        MLP(hidden=(64,)), adam(0.02), 20, memory=MEMORY, validation=Validation(0.5, patience=3)
    )
    run = trainer.fit(dataset, 100, tmp_path / "run", callbacks=Callbacks(epoch_end=keep))
    losses = [line["loss"] for line in lines(run, "validation")]
    assert run.results["stopped_early"]
    assert len(losses) == int(np.argmin(losses)) + 1 + 3 < 100
    assert len(seen) == len(losses), "whoever says stop, all are asked"
    assert np.array_equal(run.parameters, seen[run.results["best_step"]])
    assert np.array_equal(ooc.load(tmp_path / "run").parameters, run.parameters)
    assert ooc.resume(tmp_path / "run").results["steps"] == run.results["steps"]


@pytest.mark.slow
def test_a_plateau_lowers_the_rate(labelled: Dataset) -> None:
    schedule = plateau(0.1, patience=1)
    run = Trainer(
        Logistic(), sgd(8.0, schedule=schedule), 10, memory=MEMORY, log_every=10,
        validation=Validation(0.3, every=10),
    ).fit(labelled, 2)  # fmt: skip
    rates = [line["learning_rate"] for line in lines(run, "train")]
    assert rates[0] == 8.0
    assert rates[-1] < 1.0
    assert rates == sorted(rates, reverse=True)


def test_rows_of_another_store(labelled: Dataset, tmp_path: Path) -> None:
    other = write_dataset(
        tmp_path / "b.zarr", X=np.zeros((100, 5), np.float32), y=np.zeros(100, np.int64)
    )
    run = Trainer(Logistic(), sgd(0.1), 50, memory=MEMORY, validation=Validation(other)).fit(
        labelled, epochs=1
    )
    assert run.results["rows"] == 3000
    assert len(lines(run, "validation")) == 1
    narrow = write_dataset(tmp_path / "c.zarr", X=np.zeros((100, 4), np.float32), y=np.zeros(100))
    with pytest.raises(InputError, match=r"trained on rows of shape \(5,\)"):
        Trainer(Logistic(), sgd(0.1), 50, memory=MEMORY, validation=Validation(narrow)).fit(
            labelled
        )


def test_what_it_holds_is_in_the_plan(labelled: Dataset) -> None:
    alone = Trainer(Linear(), sgd(0.1), 50, memory=MEMORY).loader(labelled).plan
    beside = Trainer(Linear(), sgd(0.1), 50, memory=MEMORY, validation=Validation(0.2)).loader(
        labelled
    )
    assert beside.plan.terms["model"] > alone.terms["model"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Validation(0.2, every=0), "every must be a whole number of at least 1, not 0"),
        (lambda: Validation(0.2, patience=0), "patience must be a whole number of at least 1"),
        (lambda: Validation(), "neither of data and groups were given"),
        (lambda: Validation(0.2, groups=[1], by="a"), "both of data and groups were given"),
        (lambda: Validation(groups=[1], test=0.1), "a share to test on goes with a share to valid"),
        (lambda: ooc.Saving(every_steps=0), "every_steps must be a whole number of at least 1"),
        (lambda: ooc.Saving(every_seconds=0), "seconds between saves must be above 0"),
        (lambda: ooc.Saving(keep=0), "keep must be a whole number of at least 1, not 0"),
    ],
)
def test_settings_that_cannot_be(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


def test_a_share_that_cannot_be(labelled: Dataset) -> None:
    with pytest.raises(InputError, match="validation must be between 0 and 1"):
        Trainer(Logistic(), sgd(0.1), 50, memory=MEMORY, validation=Validation(1.5)).fit(labelled)
