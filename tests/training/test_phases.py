"""Groups that take turns, each by an optimizer of its own: rates, schedules, penalties, resumes.

The model is plain NumPy and its gradient is all ones, so that each step's length is its rate.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from ooc.core.errors import DivergedError
from ooc.metrics.measured import Measured, measured
from ooc.models.contract import BatchLike, Layout
from ooc.models.declarations import Phase
from ooc.optim import Optimizer, sgd
from ooc.optim.schedules import cosine, plateau, staircase
from ooc.store.dataset import Dataset

FIRST_STEPS = 2


@dataclass(frozen=True)
class Turns:
    """Two steps for one group, then one for the other."""

    own: Optimizer = field(default_factory=lambda: sgd(0.5))
    name: ClassVar[str] = "turns"
    needs_target: ClassVar[bool] = False
    dtype: ClassVar[Any] = np.float64

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase("first", FIRST_STEPS, self.own), Phase("second", 1))

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        groups = {"a": "first", "b": "second"}
        return Layout({"a": (3,), "b": (2,)}, groups=groups)

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        return np.full(layout.size, 8.0)

    def loss_and_grad(self, parameters: np.ndarray, batch: BatchLike, out: np.ndarray) -> float:
        out[:] = 1.0
        return 1.0

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        return measured(float(len(batch.rows)), float(len(batch.rows)), np.empty(0), None)

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        return {"prediction": np.zeros(len(features))}

    def scratch_bytes(self, layout: Layout, rows: int) -> int:
        return 0

    def to_config(self) -> dict[str, Any]:
        return {"name": self.name}


@pytest.fixture
def rows(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "a.zarr", X=np.ones((240, 2), np.float32))


def trainer_of(model: Turns, optimizer: Optimizer, **more: Any) -> ooc.Trainer:
    return ooc.Trainer(model, optimizer, 20, memory="512MiB", log_every=1, **more)


def rates_of(run: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the rates of both groups' own steps, as the history tells them."""
    found = np.array([line["learning_rate"] for line in run.history if line["kind"] == "train"])
    is_second = np.arange(len(found)) % (FIRST_STEPS + 1) == FIRST_STEPS
    return found[~is_second], found[is_second]


def check_moved(run: Any) -> None:
    """Each group went as far as the rates of its own steps, and no further."""
    views = run.layout.views(run.parameters)
    for name, rates in zip("ab", rates_of(run), strict=True):
        np.testing.assert_allclose(views[name], 8 - rates.sum(), rtol=1e-12)


def test_a_schedule_counts_the_steps_of_its_own_group(rows: Dataset) -> None:
    """24 steps: 16 are the first group's, 8 the other's, which half a cosine spans."""
    model = Turns(sgd(0.5, schedule=staircase(4, 0.5)))
    run = trainer_of(model, sgd(0.25, schedule=cosine())).fit(rows, 2)
    first, second = rates_of(run)
    np.testing.assert_allclose(first, 0.5 * 0.5 ** (np.arange(16) // 4), rtol=1e-12)
    np.testing.assert_allclose(second, 0.125 * (1 + np.cos(np.pi * np.arange(8) / 8)), rtol=1e-12)
    check_moved(run)


def test_a_callback_and_an_error_tell_the_rate_of_the_group_that_steps(
    rows: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(Turns(sgd(0.5, schedule=staircase(4, 0.5))), sgd(0.25))
    told: list[float] = []
    callbacks = ooc.Callbacks(lambda now: told.append(now.learning_rate))
    run = trainer.fit(rows, 1, callbacks=callbacks)
    assert told == [line["learning_rate"] for line in run.history if line["kind"] == "train"]
    assert told == [0.5, 0.5, 0.25] * 2 + [0.25, 0.25, 0.25] * 2
    monkeypatch.setattr(
        Turns, "loss_and_grad", lambda model, parameters, batch, out: [1.0, np.inf][batch.step > 7]
    )
    with pytest.raises(DivergedError) as error:
        trainer.fit(rows, 1)
    said = str(error.value)
    assert said.startswith("the loss is inf (step 8, learning rate 0.25, batch of rows ")
    assert said.endswith("; lower the learning rate, or look for rows that are not finite")


def test_penalties_and_the_longest_gradient_are_those_of_the_group_s_optimizer(
    rows: Dataset,
) -> None:
    model = Turns(sgd(0.5, l2=0.125))
    run = trainer_of(model, sgd(0.25, clip_norm=0.5)).fit(rows, 1)
    a, b = 8.0, 8.0
    for step in range(12):
        if step % 3 < 2:
            a -= 0.5 * (1 + 0.125 * a)
        else:
            b -= 0.25 * 0.5 / np.sqrt(5)
    views = run.layout.views(run.parameters)
    np.testing.assert_allclose(views["a"], a, rtol=1e-12)
    np.testing.assert_allclose(views["b"], b, rtol=1e-12)


def test_a_plateau_lowers_the_rates_of_all_groups(rows: Dataset) -> None:
    """The loss is always the same: from the second evaluation on each one halves them."""
    falls = plateau(0.5, patience=1)
    model = Turns(sgd(0.5, schedule=falls))
    held = ooc.Validation(rows, every=3)
    run = trainer_of(model, sgd(0.25, schedule=falls), validation=held).fit(rows, 1)
    first, second = rates_of(run)
    assert second[-1] < second[0] == 0.25
    np.testing.assert_allclose(first[::2] / 0.5, second / 0.25, rtol=1e-12)


def test_a_temperature_is_that_of_all_groups(rows: Dataset) -> None:
    steering = ooc.Steering(temperature=[(0, 1.0), (12, 0.25)], every=3)
    run = trainer_of(Turns(), sgd(0.25), steering=steering).fit(rows, 1)
    first, second = rates_of(run)
    assert second[-1] < second[0] == 0.25
    np.testing.assert_allclose(first[::2] / 0.5, second / 0.25, rtol=1e-12)
    check_moved(run)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("step", [7, 8, 9])
def test_a_run_goes_on_in_the_middle_of_a_turn(rows: Dataset, tmp_path: Path, step: int) -> None:
    """After one and two steps of the first group, and after one of the second."""
    falls = plateau(0.5, patience=1)
    held = ooc.Validation(rows, every=4)
    trainer = trainer_of(
        Turns(sgd(0.5, schedule=falls)), sgd(0.25, schedule=falls), validation=held
    )
    whole = trainer.fit(rows, 2, tmp_path / "whole")
    stop = threading.Event()

    def at_step(now: Any) -> None:
        if now.step == step:
            stop.set()

    trainer.fit(rows, 2, tmp_path / "run", stop=stop, callbacks=ooc.Callbacks(step_end=at_step))
    run = trainer.resume(rows, tmp_path / "run")
    assert run.results["steps"] == whole.results["steps"] == 24
    assert run.results["parameters_sha256"] == whole.results["parameters_sha256"]
    kept = [
        [each["learning_rate"] for each in ooc.load(folder, trainer.model).history
         if each["kind"] == "train"]
        for folder in (tmp_path / "whole", tmp_path / "run")
    ]  # fmt: skip
    assert kept[0] == kept[1]
