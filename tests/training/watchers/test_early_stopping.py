"""Evaluations whose losses are known beforehand: what is best, when a run ends, which rate it has.

Each step takes the rate off the one parameter, so that parameters tell the steps that were taken.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from ooc.metrics.measured import Measured, measured
from ooc.models.contract import BatchLike, Layout
from ooc.optim import sgd
from ooc.store.dataset import Dataset

START = 64.0
KINDS = ("train", "validation")


@dataclass(frozen=True)
class Falling:
    """Its loss on rows held out is a function of its parameter."""

    held_out: Callable[[float], float]
    name: ClassVar[str] = "falling"
    needs_target: ClassVar[bool] = False
    dtype: ClassVar[Any] = np.float64

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        return Layout({"a": (1,)})

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        return np.full(1, START)

    def loss_and_grad(self, parameters: np.ndarray, batch: BatchLike, out: np.ndarray) -> float:
        out[:] = 1.0
        return float(parameters[0])

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        rows = float(len(batch.rows))
        return measured(rows * self.held_out(parameters[0]), rows, np.empty(0), None)

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        return {"prediction": np.zeros(len(features))}

    def scratch_bytes(self, layout: Layout, rows: int) -> int:
        return 0

    def to_config(self) -> dict[str, Any]:
        return {"name": self.name}


@pytest.fixture
def rows(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "a.zarr", X=np.ones((240, 2), np.float32))


def trainer_of(held_out: Callable[[float], float], rows: Dataset, **how: Any) -> ooc.Trainer:
    validation = ooc.Validation(rows, **how)
    return ooc.Trainer(
        Falling(held_out), sgd(1.0), 20, memory="512MiB", log_every=1, validation=validation
    )


def valley(at: float) -> Callable[[float], float]:
    return lambda place: abs(place - at)


def test_in_a_sweep_each_has_a_patience_of_its_own(rows: Dataset, tmp_path: Path) -> None:
    """One rate comes to the valley after 2 steps, one after 8, and one would after 32."""
    trainer = trainer_of(valley(START - 2), rows, every=2, patience=2)
    lasts = {"fast": 6, "slow": 12, "slower": 24}
    rates = {"fast": 1.0, "slow": 0.25, "slower": 1 / 16}
    optimizers = {name: sgd(rate) for name, rate in rates.items()}
    runs = trainer.fit_many(rows, optimizers, 2, tmp_path / "runs")
    for name, optimizer in optimizers.items():
        alone = ooc.Trainer(
            trainer.model, optimizer, 20, memory="512MiB", validation=trainer.validation
        ).fit(rows, 2)
        for key in ("best_step", "validation_loss", "stopped_early", "parameters_sha256"):
            assert runs[name].results[key] == alone.results[key], (name, key)
        assert "dropped" not in runs[name].results
        lines = [line["step"] for line in runs[name].history if line["kind"] in KINDS]
        assert lines[-1] == alone.results["steps"] == lasts[name]
        saved = ooc.load(tmp_path / "runs" / name, trainer.model)
        np.testing.assert_array_equal(saved.parameters, runs[name].parameters)
        assert json.loads((tmp_path / "runs" / name / "run.json").read_text())["finished"]
    assert runs["slower"].results["steps"] == 24


def test_two_that_end_at_once_end_the_run(rows: Dataset) -> None:
    runs = trainer_of(valley(START - 2), rows, every=2, patience=2).fit_many(
        rows, [sgd(1.0), sgd(0.5), sgd(1.0)], 2
    )
    # After 2 and 4 steps they are there: the second ends at 8, and the others at 6.
    assert [run.results["best_step"] for run in runs.values()] == [2, 4, 2]
    assert {run.results["steps"] for run in runs.values()} == {8}
    assert all(run.results["stopped_early"] for run in runs.values())


SCRIPT = {2: 5.0, 4: 4.0, 6: 4.0, 8: 4.5, 10: 3.0, 12: 3.5, 14: 3.0, 16: 3.25, 18: 1.0, 20: 0.5}
BETTER = (2, 4, 10, 18, 20)


def by_script(place: float) -> float:
    return SCRIPT.get(round(START - place), 9.0)


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("patience", "last", "best"), [(1, 6, 4), (2, 8, 4), (3, 16, 10), (4, 20, 20), (None, 20, 20)]
)
def test_a_run_ends_after_so_many_evaluations_without_a_new_best(
    rows: Dataset, patience: int | None, last: int, best: int
) -> None:
    """As good as the best is none; what is kept is of the best one, and the first of equal ones."""
    until = ooc.Callbacks(step_end=lambda now: now.step == 20)
    run = trainer_of(by_script, rows, every=2, patience=patience).fit(rows, 2, callbacks=until)
    told = [line for line in run.history if line["kind"] == "validation"]
    assert [line["step"] for line in told] == list(range(2, last + 1, 2))
    assert [line["loss"] for line in told] == [SCRIPT[line["step"]] for line in told]
    assert [line["best"] for line in told] == [line["step"] in BETTER for line in told]
    assert [line["rows"] for line in told] == [20 * line["step"] for line in told]
    assert [line["epoch"] for line in told] == [(line["step"] - 1) // 12 for line in told]
    results = run.results
    assert (results["steps"], results["best_step"]) == (last, best)
    assert results["validation_loss"] == results["validation"]["loss"] == SCRIPT[best]
    assert results["stopped_early"] == (patience in (1, 2, 3))
    assert run.parameters.tolist() == [START - best]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("step", [3, 4, 11, 12])
def test_patience_and_the_best_are_those_of_before_the_stop(
    rows: Dataset, tmp_path: Path, step: int
) -> None:
    trainer, stop = trainer_of(by_script, rows, every=2, patience=3), threading.Event()
    callbacks = ooc.Callbacks(step_end=lambda now: stop.set() if now.step == step else None)
    trainer.fit(rows, 2, tmp_path / "run", stop=stop, callbacks=callbacks)
    evaluated: list[tuple[int, Any]] = []
    seen = ooc.Callbacks(
        validation_end=lambda now: evaluated.append((now.step, now.validation["loss"]))  # type: ignore[index]
    )
    run = trainer.resume(rows, tmp_path / "run", callbacks=seen)
    assert run.results["steps"] == 16 and run.results["stopped_early"]
    assert (run.results["best_step"], run.results["validation"]["loss"]) == (10, 3.0)
    assert run.parameters.tolist() == [START - 10]
    assert evaluated == [(each, SCRIPT[each]) for each in range(step // 2 * 2 + 2, 17, 2)]


def test_whoever_says_stop_ends_the_run_and_all_are_asked(rows: Dataset) -> None:
    """Three functions at an epoch's end, of which one alone says so."""
    for wanted in ("step_end", "epoch_end", "validation_end"):
        called: list[str] = []

        def function(
            name: str, wanted: str = wanted, called: list[str] = called
        ) -> Callable[[Any], bool]:
            def answer(now: Any) -> bool:
                called.append(f"{name} {now.step}")
                return name == wanted

            return answer

        names = ("step_end", "epoch_end", "validation_end")
        callbacks = ooc.Callbacks(**{name: function(name) for name in names}, every=12)
        run = trainer_of(valley(0.0), rows).fit(rows, 2, callbacks=callbacks)
        assert run.results["steps"] == 12 and not run.results["stopped_early"]
        assert sorted(called) == [f"{name} 12" for name in sorted(names)]
