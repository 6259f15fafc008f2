"""What a run leaves that failed: its last save, or nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from ooc.core.errors import DataError, DivergedError
from ooc.models import Linear
from ooc.models.contract import BatchLike, Layout

SAVING = ooc.Saving(every_seconds=1e-9, every_steps=1)


def trainer_of(rate: float) -> ooc.Trainer:
    model = Linear(standardise=False, standardise_target=False)
    how = {"memory": "512MiB", "shuffle": "none", "saving": SAVING}
    return ooc.Trainer(model, ooc.optim.sgd(rate), 10, **how)


@pytest.mark.parametrize("sweep", [False, True])
def test_of_a_run_that_failed_before_a_step_was_saved_nothing_is_left(
    tmp_path: Path, sweep: bool
) -> None:
    x = np.ones((100, 2), np.float32)
    x[4, 1] = np.inf
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=x[:, 0])
    with pytest.raises(DataError, match="row 4 of X has inf in feature 1") as told:
        if sweep:
            rates = {"a": ooc.optim.sgd(0.1), "b": ooc.optim.sgd(0.2)}
            trainer_of(0.1).fit_many(dataset, rates, 1, tmp_path / "run")
        else:
            trainer_of(0.1).fit(dataset, 1, tmp_path / "run")
    assert "holds the run" not in str(told.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("rate", "error"), [(0.1, DataError), (1e15, DivergedError)])
def test_a_run_that_failed_later_says_what_it_holds(
    tmp_path: Path, rate: float, error: type[Exception]
) -> None:
    x = np.ones((100, 2), np.float32)
    x[64, 1] = np.nan if error is DataError else 1.0
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=x[:, 0])
    with pytest.raises(error, match=r"holds the run after step \d+") as told:
        trainer_of(rate).fit(dataset, 1, tmp_path / "run")
    step = int(str(told.value).rpartition(" ")[2])
    left = ooc.load(tmp_path / "run")
    assert left.results["steps"] == step
    assert step == 6 if error is DataError else 0 < step < 10
    # The step that failed may be told, too.
    assert left.history[-1]["step"] <= step + 1


def test_rows_of_which_none_can_be_used_are_refused(tmp_path: Path) -> None:
    x = np.full((100, 2), np.nan, np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=np.ones(100))
    trainer = ooc.Trainer(
        Linear(standardise=False, standardise_target=False), ooc.optim.sgd(0.1), 10,
        memory="512MiB", missing_values="drop", saving=SAVING,
    )  # fmt: skip
    with pytest.raises(DataError, match=r"no row of .* could be used: each lacks a value"):
        trainer.fit(dataset, 1, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@dataclass(frozen=True)
class Bursting:
    """Its loss is finite, and its gradient is not from some step on."""

    step: int
    name: ClassVar[str] = "bursting"
    needs_target: ClassVar[bool] = False

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        return Layout({"a": (2,)})

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        return np.zeros(2, np.float32)

    def loss_and_grad(self, parameters: np.ndarray, batch: BatchLike, out: np.ndarray) -> float:
        out[:] = np.inf if batch.step >= self.step - 1 else 1.0
        return 1.0

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        return {"prediction": np.zeros(len(features))}

    def scratch_bytes(self, layout: Layout, rows: int) -> int:
        return 0

    def to_config(self) -> dict[str, Any]:
        return {"name": self.name}


def test_parameters_that_are_not_finite_are_told_with_the_rate_of_the_last_step(
    tmp_path: Path,
) -> None:
    """At the end of a window, and where they were to be saved; what was saved before stays."""
    dataset = write_dataset(tmp_path / "a.zarr", X=np.ones((100, 2), np.float32))
    schedule = ooc.schedules.staircase(2, 0.5)

    def trainer_to(step: int) -> ooc.Trainer:
        saving = ooc.Saving(every_steps=4)
        optimizer = ooc.optim.sgd(1.0, schedule=schedule)
        return ooc.Trainer(Bursting(step), optimizer, 10, memory="512MiB", saving=saving)

    with pytest.raises(DivergedError) as told:
        trainer_to(9).fit(dataset, 1)
    assert str(told.value) == (
        "parameters are not finite after step 10, at learning rate 0.0625; lower the learning "
        "rate, or standardise the features"
    )
    run = tmp_path / "run"
    with pytest.raises(DivergedError) as told:
        trainer_to(7).fit(dataset, 1, run)
    assert str(told.value) == (
        "parameters are not finite after step 8, at learning rate 0.125; lower it, or standardise "
        f"the features; {run} holds the run after step 4"
    )
