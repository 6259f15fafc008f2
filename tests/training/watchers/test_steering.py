"""Steering: schedules of batch and temperature, a batch that follows the noise, exact resumes."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import small_windows, write_dataset

import ooc
from ooc.core.errors import InputError
from ooc.models import MLP, Linear, Logistic
from ooc.optim import adam, hybrid, lbfgs, sgd
from ooc.runs import checkpoint
from ooc.store.dataset import Dataset
from ooc.training.trainer import Trainer
from ooc.training.watchers.callbacks import Callbacks
from ooc.training.watchers.steering import Steering, steering_from_config

MEMORY = "768MiB"
GROWING = Steering(batch=[(0, 16), (5, 40), (9, 100)])


@pytest.fixture(autouse=True)
def several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 16 * 2**10)


@pytest.fixture
def labelled(tmp_path: Path, rng: np.random.Generator) -> Dataset:
    x = rng.standard_normal((1500, 5)).astype(np.float32)
    y = (x[:, 0] + 0.5 * rng.standard_normal(1500) > 0).astype(np.int64)
    return write_dataset(tmp_path / "labelled.zarr", chunk_rows=50, X=x, y=y)


@pytest.mark.parametrize("model", [Logistic(), MLP(hidden=(4,))], ids=lambda m: m.name)
def test_the_batch_grows_at_exact_steps(labelled: Dataset, model: ooc.models.Model) -> None:
    """Batches cross windows; the last of an epoch is shorter."""
    run = Trainer(model, sgd(0.1), 16, memory=MEMORY, log_every=1, steering=GROWING).fit(
        labelled, 2
    )
    rows = [line["rows"] for line in run.history]
    sizes = np.diff([0, *rows]).tolist()
    first = [16] * 5 + [40] * 4 + [100] * 12 + [60]
    assert sizes == [*first, *[100] * 15]
    assert run.results["rows"] == 3000


def test_a_batch_that_does_not_change_changes_nothing(labelled: Dataset) -> None:
    plain = Trainer(Logistic(), adam(0.01), 64, memory=MEMORY)
    steered = replace(plain, steering=Steering(batch=[(0, 64), (7, 64)], every=3))
    hashes = {each.fit(labelled).results["parameters_sha256"] for each in (plain, steered)}
    assert len(hashes) == 1


def test_a_temperature_is_met_by_either(labelled: Dataset) -> None:
    """At every step lr/B is what was asked for, whole rows or not, beyond the limit or not."""
    cooling = [(0, 1.0), (20, 0.5), (60, 2.0), (80, 0.01)]
    for by in ("rate", "batch"):
        steering = Steering(temperature=cooling, by=by, largest=200, every=10)
        trainer = Trainer(Logistic(), sgd(0.1), 30, memory=MEMORY, log_every=10, steering=steering)
        lines = trainer.fit(labelled, 6).history
        assert len(lines) > 8
        sizes = [line["batch_size"] for line in lines]
        assert (max(sizes) > 100) == (by == "batch")
        for line in lines:
            heat = steering.heat(line["step"] - 10)
            ratio = line["learning_rate"] / line["batch_size"] / (0.1 / 30)
            assert ratio == pytest.approx(heat, rel=1e-12)


@pytest.mark.slow
def test_all_descents_of_a_sweep_are_heated_alike(labelled: Dataset) -> None:
    steering = Steering(temperature=[(0, 1.0), (40, 0.1)], every=10)
    trainer = Trainer(Logistic(), sgd(), 16, memory=MEMORY, steering=steering)
    for number, run in trainer.fit_many(labelled, [sgd(0.1), sgd(0.3)]).items():
        alone = replace(trainer, optimizer=sgd((0.1, 0.3)[int(number)])).fit(labelled)
        assert run.results["parameters_sha256"] == alone.results["parameters_sha256"]


@pytest.mark.parametrize(
    ("rate", "warm_steps", "epochs"),
    [(0.3, 1500, 24), (0.1, 4000, 60)],
)
@pytest.mark.slow
def test_heat_is_what_the_noise_of_a_stationary_run_shows(
    tmp_path: Path, rng: np.random.Generator, rate: float, warm_steps: int, epochs: int
) -> None:
    """Cooled by a factor of ten, by the rate or by the batch, iterates spread ten times less."""
    y = rng.standard_normal(3000).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=np.ones((3000, 1), np.float32), y=y)
    for by in ("rate", "batch"):
        cooling = [(0, 1.0), (warm_steps, 1.0), (warm_steps + 1, 0.1)]
        steering = Steering(temperature=cooling, by=by, largest=1000, every=1)
        places: list[float] = []
        callbacks = Callbacks(step_end=lambda now, to=places: to.append(float(now.parameters[0])))
        trainer = Trainer(
            Linear(intercept=False),
            sgd(rate),
            8,
            memory=MEMORY,
            sampling="replacement",
            steering=steering,
        )
        trainer.fit(dataset, epochs, callbacks=callbacks)
        warm, cold = np.var(places[300:warm_steps]), np.var(places[warm_steps * 9 // 8 :])
        assert warm / cold == pytest.approx(10, rel=0.4)


def test_an_automatic_batch_follows_the_noise_scale(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """The noise scale is 128 rows and stays: the batch comes to 64 or 128, in steps of two."""
    x = np.ones((20_000, 1), np.float32)
    y = (1.0 + np.sqrt(128) * rng.standard_normal(20_000)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=500, X=x, y=y)
    steering = Steering(batch="auto", largest=1024, every=200)
    trainer = Trainer(
        Linear(intercept=False), sgd(1e-9), 8, memory=MEMORY, log_every=50, steering=steering
    )
    sizes = [line["batch_size"] for line in trainer.fit(dataset, 6).history]
    assert sizes == sorted(sizes)
    assert set(sizes) >= {8, 16, 32}
    assert sizes[-1] in (64, 128)
    assert set(sizes) <= {8, 16, 32, 64, 128}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    "trainer",
    [
        Trainer(Logistic(), adam(0.05), 16, memory=MEMORY, steering=GROWING),
        Trainer(
            Logistic(),
            sgd(0.1),
            8,
            memory=MEMORY,
            steering=Steering("auto", [(0, 1.0), (30, 0.1)], largest=64, every=40),
        ),
    ],
    ids=["schedule", "auto"],
)
@pytest.mark.parametrize("many", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_saved_and_restored_at_any_step(
    labelled: Dataset, tmp_path: Path, trainer: Trainer, many: bool
) -> None:
    whole = trainer.fit(labelled, 2, tmp_path / "whole").results
    assert 20 < whole["steps"] < 0.9 * 3000 // trainer.batch_size
    last = whole["steps"] - 1
    for step in range(1, last + 1, max(2, last // 30)) if many else (1, 7, last // 2, last):
        stop, folder = threading.Event(), tmp_path / str(step)
        callbacks = Callbacks(step_end=lambda now, at=step, end=stop: now.step >= at and end.set())
        trainer.fit(labelled, 2, folder, stop=stop, callbacks=callbacks)
        assert checkpoint.steps(folder)[-1] == step
        resumed = ooc.resume(folder, readers=step % 3 + 1).results
        for key in ("parameters_sha256", "steps", "rows", "loss"):
            assert resumed[key] == whole[key], (step, key)


@pytest.mark.slow
def test_a_resumed_run_decides_by_the_same_noise(
    labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of all steps since the decision before, some of which were before the stop."""
    seen: list[tuple[int, int, list[float]]] = []
    decide = Steering.decide

    def noted(self: Steering, first: int, step: int, size: int, since: np.ndarray) -> object:
        if since.any():
            seen.append((step, size, since.tolist()))
        return decide(self, first, step, size, since)

    monkeypatch.setattr(Steering, "decide", noted)
    steering = Steering(batch="auto", largest=64, every=7)
    trainer = Trainer(Logistic(), sgd(0.01), 16, memory=MEMORY, steering=steering)
    whole = trainer.fit(labelled).results
    expected, stop = seen.copy(), threading.Event()
    assert [step for step, *_ in expected[:3]] == [7, 14, 21]
    seen.clear()
    halt = Callbacks(step_end=lambda now: stop.set() if now.step == 18 else None)
    trainer.fit(labelled, run_dir=tmp_path / "run", stop=stop, callbacks=halt)
    resumed = ooc.resume(tmp_path / "run").results
    assert seen == expected
    assert resumed["parameters_sha256"] == whole["parameters_sha256"]


def test_memory_is_set_aside_for_the_largest_batch(labelled: Dataset) -> None:
    """A network's scratch holds a batch: steered to 512 rows, it is planned as if begun there."""
    model = MLP(hidden=(64, 64))
    steered = Trainer(model, sgd(0.1), 16, memory=MEMORY, steering=Steering(batch=[(50, 512)]))
    large = Trainer(model, sgd(0.1), 512, memory=MEMORY)
    terms = [trainer.loader(labelled).plan.terms["model"] for trainer in (steered, large)]
    assert terms[0] == terms[1]
    assert steered.loader(labelled).plan.largest_batch == 512


def test_the_hybrid_is_steered_while_it_is_on_mini_batches(labelled: Dataset) -> None:
    trainer = Trainer(Logistic(), hybrid(0.05), 16, memory=MEMORY, steering=GROWING, log_every=1)
    run = trainer.fit(labelled, 20)
    sizes = [line["batch_size"] for line in run.history]
    assert sizes[:10] == [16] * 5 + [40] * 4 + [100]
    assert sizes[-1] == 1500
    assert run.results["iterations"] > 5


def test_what_cannot_be_is_refused(labelled: Dataset) -> None:
    for options, message in (
        ({}, "nothing to steer"),
        ({"batch": "auto"}, "needs a limit; give largest="),
        ({"batch": "large"}, 'or "auto", not large'),
        ({"batch": [(5, 10), (5, 20)]}, r"must ascend from 0 or more, not \[5, 5\]"),
        ({"batch": [(5, 0)]}, "batch at step 5 must be above 0, not 0"),
        ({"temperature": [(0, -1.0)]}, "temperature at step 0 must be above 0, not -1.0"),
        ({"temperature": [1, 2]}, "pairs of a step and a value"),
        ({"temperature": [(0, 1)], "by": "heart"}, "met by rate or batch, not 'heart'"),
        ({"batch": [(0, 8)], "by": "batch"}, "needs a temperature, and no batch sizes"),
    ):
        with pytest.raises(InputError, match=message):
            Steering(**options)
    with pytest.raises(InputError, match="a batch of 4096 rows is larger than the dataset of 1500"):
        Trainer(
            Logistic(), sgd(0.1), 16, memory=MEMORY, steering=Steering(batch="auto", largest=4096)
        ).fit(labelled)
    for optimizer, size in ((lbfgs(), 16), (sgd(0.1), "full")):
        with pytest.raises(InputError, match="no batch to steer"):
            Trainer(Logistic(), optimizer, size, steering=GROWING)


def test_a_description_makes_it_again() -> None:
    for steering in (GROWING, Steering("auto", [(0, 1.0)], largest=4)):
        config = json.loads(json.dumps(steering.to_config()))
        assert steering_from_config(config) == steering
    assert steering_from_config(None) is None
