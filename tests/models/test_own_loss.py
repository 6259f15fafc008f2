"""A loss of the user's own: checked when it is made, compiled into the loop like any other."""

import math
from pathlib import Path

import numba
import numpy as np
import pytest
from datasets import write_dataset

import ooc
from ooc.core.errors import DivergedError, InputError
from ooc.models import Linear
from ooc.models.own_loss import own_loss
from ooc.optim import adam, sgd
from ooc.training.trainer import Trainer


@numba.njit
def half_square(prediction: float, target: float) -> tuple[float, float]:
    return 0.5 * (prediction - target) ** 2, prediction - target


@numba.njit
def asymmetric(prediction: float, target: float) -> tuple[float, float]:
    difference = prediction - target
    weight = 3.0 if difference > 0 else 1.0
    return weight * difference * difference, 2 * weight * difference


@pytest.mark.slow
def test_it_learns_what_it_asks_for(tmp_path: Path, rng: np.random.Generator) -> None:
    """The expectile of the noise: where three times the excess above balances that below."""
    x = np.ones((4000, 1), np.float32)
    y = rng.standard_normal(4000).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 100, X=x, y=y)
    model = Linear(loss=own_loss(asymmetric), intercept=False)
    run = Trainer(model, sgd(0.2), 4000, memory="512MiB").fit(dataset, 100, tmp_path / "run")
    (found,) = run.parameters
    above, below = np.maximum(found - y, 0).mean(), np.maximum(y - found, 0).mean()
    assert 3 * above == pytest.approx(below, rel=1e-3)
    saved = ooc.load(tmp_path / "run", model=model)
    assert saved.evaluate(dataset)["loss"] == pytest.approx(run.evaluate(dataset)["loss"])
    with pytest.raises(InputError, match="own:asymmetric"):
        ooc.load(tmp_path / "run")


@pytest.mark.slow
def test_it_takes_the_steps_of_the_same_loss_in_the_table(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((3000, 5)).astype(np.float32)
    weight = rng.random(3000).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=x.sum(axis=1), weight=weight)
    runs = [
        Trainer(Linear(loss=loss), adam(0.01), 64, memory="512MiB").fit(dataset, 2)
        for loss in ("squared", own_loss(half_square))
    ]
    np.testing.assert_allclose(runs[0].parameters, runs[1].parameters, rtol=1e-6)
    assert runs[0].results["loss"] == pytest.approx(runs[1].results["loss"], rel=1e-9)


def test_a_run_goes_on_with_its_loss(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((1000, 3)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=x.sum(axis=1))
    trainer = Trainer(Linear(loss=own_loss(asymmetric)), sgd(0.01), 50, memory="512MiB")
    whole = trainer.fit(dataset, 2).results
    stop = ooc.Callbacks(step_end=lambda now: now.step == 13)
    trainer.fit(dataset, 2, tmp_path / "run", callbacks=stop)
    resumed = trainer.resume(dataset, tmp_path / "run").results
    assert resumed["steps"] in (13, whole["steps"])


def wrong_slope(prediction: float, target: float) -> tuple[float, float]:
    return (prediction - target) ** 2, prediction - target


def not_a_number(prediction: float, target: float) -> tuple[float, float]:
    return math.log(prediction), 1 / prediction


def no_pair(prediction: float, target: float) -> float:
    return prediction - target


def no_numbers(prediction: float, target: float) -> object:
    return str(prediction).upper() + object()


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (wrong_slope, "wrong_slope has value .* derivative .* but finite differences say"),
        (not_a_number, "not_a_number has value|cannot be compiled|not_a_number"),
        (no_pair, "no_pair returns .*, not a value and its derivative"),
        (no_numbers, "no_numbers cannot be compiled"),
    ],
)
def test_what_cannot_be_a_loss_is_refused(pair: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        own_loss(pair)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((1000, 3)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=x.sum(axis=1))
    with pytest.raises(DivergedError, match=r"not finite at row \d+ \(step \d+, learning rate"):
        Trainer(Linear(loss=own_loss(half_square)), sgd(1e6), 50, memory="512MiB").fit(dataset, 3)
