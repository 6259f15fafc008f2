"""What a run leaves that failed: its last save, or nothing."""

from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from ooc.core.errors import DataError, DivergedError
from ooc.models import Linear

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
