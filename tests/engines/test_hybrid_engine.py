"""The hybrid: when it switches, what it brings to L-BFGS, and that it goes on from any step."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset

import ooc
from ooc.engines.hybrid_engine import HybridEngine, signal_is_lost, whitening
from ooc.models import MLP, Linear, Logistic
from ooc.optim import adam, hybrid, lbfgs
from ooc.optim.full_gradient import DECIDED_STEP
from ooc.store.dataset import Dataset
from ooc.training.trainer import Trainer
from ooc.training.watchers.callbacks import Callbacks

MEMORY = "768MiB"
SAME = ("parameters_sha256", "gradient_norm", "steps", "epochs", "rows", "iterations", "loss")


@pytest.fixture(autouse=True)
def several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 256 * 2**10)


def correlated(path: Path, rng: np.random.Generator, rows: int, features: int = 8) -> Dataset:
    """Write features that are mixtures of sources whose deviations differ by a factor of 100."""
    turn, other = (np.linalg.qr(rng.standard_normal((features, features)))[0] for _ in range(2))
    sources = rng.standard_normal((rows, features)) * np.geomspace(0.03, 3, features)
    x = (sources @ turn).astype(np.float32)
    scores = x @ other[0] * 2
    y = (rng.random(rows) < 1 / (1 + np.exp(-scores))).astype(np.int64)
    return write_dataset(path, chunk_rows=250, X=x, y=y)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_needs_a_fraction_of_the_passes(tmp_path: Path, seed: int) -> None:
    """The noise of mini-batches has told of the curvature: 6 to 13 of about 40 passes."""
    dataset = correlated(tmp_path / "a.zarr", np.random.default_rng(seed), 20_000)
    passes = {}
    for method in (hybrid(0.02), lbfgs()):
        results = Trainer(Logistic(), method, 64, memory=MEMORY).fit(dataset).results
        assert results["ended"] == "tolerance"
        assert results["gradient_norm"] <= 1e-6
        passes[method.name] = results["epochs"]
    assert passes["hybrid"] < passes["lbfgs"] / 2


def test_it_switches_when_the_signal_is_lost_and_not_before(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Without noise there is only signal: Adam goes on. With noise alone it ends at once."""
    x = rng.standard_normal((4000, 3)).astype(np.float32)
    clear = write_dataset(tmp_path / "clear.zarr", chunk_rows=250, X=x, y=x @ np.float32([1, 2, 3]))
    run = Trainer(Linear(), hybrid(1e-5), 64, memory=MEMORY).fit(clear, 4)
    assert (run.results["steps"], run.results["gradient_norm"]) == (4 * 63, None)
    noise = rng.standard_normal(4000).astype(np.float32)
    lost = write_dataset(tmp_path / "lost.zarr", chunk_rows=250, X=x, y=noise)
    run = Trainer(Linear(), hybrid(1e-5), 16, memory=MEMORY).fit(lost, 30)
    assert run.results["ended"] == "tolerance"
    assert run.results["steps"] - run.results["epochs"] == 250 - 1


def test_the_rule_is_a_test_of_one_side(rng: np.random.Generator) -> None:
    """A signal just above the noise of a batch is taken for lost in one of twenty cases."""
    batch, deviation, lost = 16, 1.0, 0
    length = np.sqrt(10 * deviation**2 / batch)
    gradient = np.full(10, length / np.sqrt(10))
    for _ in range(1000):
        halves = gradient + rng.standard_normal((2, 64, 10)) / np.sqrt(batch / 2)
        signal = (halves[0] * halves[1]).sum(axis=1)
        noise = ((halves[0] - halves[1]) ** 2).sum(axis=1) * batch / 4
        products = (signal, signal**2, noise, noise**2, signal * noise)
        lost += signal_is_lost(np.array([64, *(each.sum() for each in products)]), batch)
    assert 20 < lost < 100


def test_directions_that_nothing_moves_have_units() -> None:
    covariance = np.array([[4.0, 4.0, 0.0], [4.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
    units = whitening(covariance, np.zeros(3))
    assert np.isfinite(units).all()
    assert np.abs(units).max() < 1e4


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps",
    [
        (1, 64, 66, 124, 126),
        pytest.param((63, 65, 67, 101, 125), marks=pytest.mark.slow),
    ],
    ids=["some", "others"],
)
def test_it_goes_on_from_any_step_of_its_first_part(
    tmp_path: Path, rng: np.random.Generator, steps: tuple[int, ...]
) -> None:
    """Between the gradients of a pair, in the windows of the rule, and at the switch."""
    dataset = correlated(tmp_path / "a.zarr", rng, 4000)
    trainer = Trainer(Logistic(), hybrid(0.02, l2=1e-4), 32, memory=MEMORY)
    whole = trainer.fit(dataset, 8).results
    assert whole["iterations"] > 3
    for step in steps:
        stop = threading.Event()
        callbacks = Callbacks(step_end=lambda now, at=step, end=stop: now.step >= at and end.set())
        run = trainer.fit(dataset, 8, tmp_path / str(step), stop=stop, callbacks=callbacks)
        assert run.results["steps"] == step
        resumed = ooc.resume(tmp_path / str(step), readers=1).results
        assert [resumed[key] for key in SAME] == [whole[key] for key in SAME], step


@pytest.mark.slow
def test_any_model_goes_over_after_its_first_epoch(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    dataset = correlated(tmp_path / "a.zarr", rng, 2000)
    model = MLP(hidden=(3,), activation="tanh")
    run = Trainer(model, hybrid(0.01, l2=1e-2), 50, memory=MEMORY).fit(dataset, 20)
    norms = [line["gradient_norm"] for line in run.history if "gradient_norm" in line]
    assert len(norms) == run.results["epochs"] - 1 > 5
    assert run.results["gradient_norm"] < norms[0] / 5


def test_its_first_part_is_adam_with_the_same_penalty(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    dataset = correlated(tmp_path / "a.zarr", rng, 1000)

    def after_steps(method: object) -> np.ndarray:
        stop = threading.Event()
        callbacks = Callbacks(step_end=lambda now: now.step >= 12 and stop.set())
        trainer = Trainer(Logistic(standardise=False), method, 32, memory=MEMORY)
        return trainer.fit(dataset, 2, stop=stop, callbacks=callbacks).parameters

    penalised, plain = after_steps(adam(0.02, l2=0.5)), after_steps(adam(0.02))
    np.testing.assert_allclose(after_steps(hybrid(0.02, l2=0.5)), penalised, rtol=1e-6)
    assert np.abs(penalised - plain).max() > 0.01


def test_an_average_of_equal_iterates_is_these() -> None:
    """Whatever lay there before the first; of others the later ones weigh more."""
    engine: Any = object.__new__(HybridEngine)
    engine._every, engine._first = 1, SimpleNamespace(gradient=np.zeros(2), batch_size=8)
    engine.train_state = SimpleNamespace(parameters=np.array([[3.0, -1.0]]))
    head = np.zeros(64)
    head[DECIDED_STEP] = 1
    engine._record = SimpleNamespace(
        head=head, start=np.zeros(2), total=np.zeros(2), units=np.zeros(2)
    )
    for step in (1, 2, 3):
        engine._watch(step)
        np.testing.assert_allclose(engine._record.start, [3, -1], rtol=1e-12)
    engine.train_state.parameters[0] = [5.0, 1.0]
    engine._watch(4)
    assert 4 < engine._record.start[0] < 5
