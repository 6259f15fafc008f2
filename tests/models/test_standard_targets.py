"""Targets with mean 0 and deviation 1 in training; answers and losses in the targets' own unit."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset
from pairs import pairs
from shell import called, refused
from sklearn.linear_model import LinearRegression, QuantileRegressor

import ooc
from ooc.core.errors import DataError, InputError
from ooc.kernels.losses import LOSSES
from ooc.models import MLP, Linear
from ooc.models.standardise import is_target_far
from ooc.optim import adam, lbfgs, sgd
from ooc.stream.batch import Batch

ROWS = 4000
FAR = {
    "seconds since 1970": lambda line: 1.7e9 + 10 * line,
    "kelvin": lambda line: 300 + 5 * line,
    "cents, whole numbers": lambda line: np.round(1e10 * (line + 3)).astype(np.int64),
    "metres of an atom": lambda line: 1e-9 * line,
}


@pytest.fixture
def line(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    features = rng.standard_normal((ROWS, 4)).astype(np.float32)
    return features, features @ [1.0, -2.0, 0.5, 1.5] + 0.1 * rng.standard_normal(ROWS)


def fitted(path: Path, model: Any, x: np.ndarray, y: np.ndarray, method: Any = None) -> Any:
    dataset = write_dataset(path / "far.zarr", X=x, y=y)
    trainer = ooc.Trainer(model, method or sgd(), 64, memory="600MiB")
    return trainer.fit(dataset, 4), dataset


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.degree])
def test_the_loss_is_that_of_targets_in_their_unit(name: str, rng: np.random.Generator) -> None:
    """Shifted and stretched, constants along with them, as degrees and flags in the table say."""
    loss, prediction, target = LOSSES[name], *rng.standard_normal((2, 50))
    assert loss.pair is not None
    constant, moved = loss.constant or 0.0, (loss.constant or 0.0) * 7.0
    moved = moved if loss.scales_constant else constant
    near = np.array([loss.pair(p, t, constant) for p, t in zip(prediction, target, strict=True)])
    pairs = zip(7 * prediction + 3, 7 * target + 3, strict=True)
    far = np.array([loss.pair(p, t, moved) for p, t in pairs])
    np.testing.assert_allclose(far[:, 0], 7.0**loss.degree * near[:, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(far[:, 1], 7.0 ** (loss.degree - 1) * near[:, 1], rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        *(
            Linear(loss=name, standardise_target=True)
            for name, loss in LOSSES.items()
            if loss.degree
        ),
        MLP((5,), "tanh", head="regression", loss="huber", outputs=2, standardise_target=True),
    ],
    ids=lambda model: f"{model.name}-{model.loss}",
)
def test_rows_are_worked_on_as_if_their_targets_came_standardised(
    model: Any, rng: np.random.Generator
) -> None:
    """A plain model of targets that NumPy standardised, with a constant in their unit."""
    outputs = model.target_width
    x = rng.standard_normal((90, 3)).astype(np.float32)
    y = 1.7e9 + rng.standard_normal((90, outputs)) * [10.0, 30.0][:outputs]
    mean, deviation = y.mean(axis=0), np.float32(np.sqrt((y.std(axis=0) ** 2).mean()))
    layout = model.layout((3,))
    parameters = model.init(layout, rng)
    views = layout.views(parameters)
    for name in set(layout.shapes) - layout.fixed:
        views[name][...] = rng.standard_normal(views[name].shape)
    views["target_mean"][:] = mean
    views["target_mean_rest"][:] = mean - np.float32(mean)
    views["target_deviation"][:] = deviation
    loss = model.chosen_loss
    changes: dict[str, Any] = {"standardise_target": False}
    if loss.scales_constant:
        changes["loss_constant"] = loss.constant / float(deviation)
    plain = ooc.models.from_config({**model.to_config(), **changes})
    rest = parameters[: plain.layout((3,)).size]
    found, expected = np.zeros(parameters.size), np.zeros(rest.size)
    told = []
    for each, point, targets, gradient in (
        (model, parameters, y, found),
        (plain, rest, (y - mean) / deviation, expected),
    ):
        batch = Batch({"X": x, "y": targets}, np.arange(90), 0, 0, ("X", "y", None))
        loss_now = each.loss_and_grad(point, batch, gradient)
        told.append((loss_now, each.measure(point, batch), each.predict(point, x)["prediction"]))
    np.testing.assert_allclose(found[: rest.size], expected, rtol=1e-5, atol=1e-7)
    assert not found[rest.size :].any()
    unit = float(deviation) ** loss.degree
    assert told[0][0] == pytest.approx(told[1][0], rel=1e-5)
    assert told[0][1].loss == pytest.approx(unit * told[1][1].loss, rel=1e-5)
    assert told[0][2].dtype == np.float64
    back = told[1][2].astype(np.float64).reshape(90, outputs) * deviation + mean
    np.testing.assert_allclose(told[0][2].reshape(90, outputs), back, rtol=0, atol=2e-6)
    np.testing.assert_allclose(told[0][1].answers.predictions, back, rtol=0, atol=2e-6)


METHODS = {"sgd": sgd, "adam": lambda: adam(0.01), "lbfgs": lbfgs}


@pytest.mark.slow
@pytest.mark.parametrize(("far", "method"), pairs(FAR, METHODS))
def test_far_targets_are_learned_as_least_squares_learn_them(
    tmp_path: Path,
    line: tuple[np.ndarray, np.ndarray],
    far: str,
    method: str,
) -> None:
    x, y = line[0], FAR[far](line[1])
    run, dataset = fitted(tmp_path, Linear(), x, y, METHODS[method]())
    assert run.model.standardise_target is True
    middle = y.mean()
    best = LinearRegression().fit(x, y - middle)
    rest = y - middle - best.predict(x)
    least = 0.5 * float(np.mean(rest**2))
    told = run.evaluate(dataset)
    assert told["r2"] == pytest.approx(best.score(x, y - middle), abs=2e-3)
    assert least * (1 - 1e-6) <= told["loss"] < 1.1 * least
    # Over the last epoch rows are learned from; a full gradient takes all at once.
    assert least * (1 - 1e-6) <= run.results["loss"] < 1.3 * least
    predicted = run.predict(dataset)
    assert predicted.dtype == np.float64
    fit = best.predict(x) + middle
    np.testing.assert_allclose(predicted, fit, atol=0.5 * rest.std(), rtol=0)


@pytest.mark.slow
def test_a_quantile_is_that_of_scikit_learn(
    tmp_path: Path, line: tuple[np.ndarray, np.ndarray]
) -> None:
    """What a coin's side would be lost in: 2 seconds of 1.7e9."""
    x, y = line[0][:2000], 1.7e9 + 2 * line[1][:2000]
    model = Linear(loss="quantile", loss_constant=0.9)
    run, dataset = fitted(tmp_path, model, x, y, adam(0.02))
    best = QuantileRegressor(quantile=0.9, alpha=0, solver="highs").fit(x, y - 1.7e9)
    below = y - 1.7e9 - best.predict(x)
    least = np.where(below < 0, -0.1 * below, 0.9 * below).mean()
    assert least <= run.evaluate(dataset)["loss"] < 1.1 * least


@pytest.mark.slow
def test_a_network_learns_what_lies_far_from_zero(
    tmp_path: Path, line: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = line
    both = np.column_stack([300 + 5 * y, 1e5 - 5 * np.abs(x[:, 0])])
    run, dataset = fitted(tmp_path, MLP((32,), head="regression", outputs=2), x, both, adam(0.01))
    assert run.evaluate(dataset)["r2"] > 0.9


@pytest.mark.slow
def test_without_an_intercept_it_goes_through_zero(
    tmp_path: Path, line: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = line[0] + np.float32(1), 300 + 50 * line[1]
    run, dataset = fitted(tmp_path, Linear(intercept=False), x, y)
    assert run.model.standardise_target is True
    best = LinearRegression(fit_intercept=False).fit(x, y)
    assert run.evaluate(dataset)["r2"] == pytest.approx(best.score(x, y), abs=5e-3)


def test_what_lies_near_zero_is_left_as_it_is(
    tmp_path: Path, line: tuple[np.ndarray, np.ndarray]
) -> None:
    run, _ = fitted(tmp_path, Linear(), *line)
    assert run.model.standardise_target is False
    assert set(run.layout.shapes) == {"coefficients", "intercept"}


@pytest.mark.parametrize(
    ("mean", "deviation", "far"),
    [
        ([0.0], [1.0], False),
        ([1.9], [1.0], False),
        ([-2.1], [1.0], True),
        ([0.0], [11.0], True),
        ([0.0], [0.09], True),
        ([0.0, 0.0], [9.0, 9.0], False),
        ([0.0, 0.0], [0.0, 16.0], True),
        ([3.0], [0.0], False),
        ([30.0], [0.0], True),
        ([np.nan], [1.0], False),
    ],
)
def test_what_is_far_is_told_by_mean_and_deviation(
    mean: list[float], deviation: list[float], far: bool
) -> None:
    class Told:
        def target_sample_moments(self) -> tuple[np.ndarray, np.ndarray]:
            return np.array(mean), np.array(deviation)

    told: Any = Told()
    assert is_target_far(told) == far


@pytest.mark.slow
def test_it_goes_on_to_the_same_bits_and_answers_from_its_directory(
    tmp_path: Path, line: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = line[0][:1000], 1.7e9 + 10 * line[1][:1000]
    dataset = write_dataset(tmp_path / "far.zarr", X=x, y=y)
    trainer = ooc.Trainer(Linear(loss="huber"), adam(0.05), 100, memory="600MiB")
    whole = trainer.fit(dataset, 3, tmp_path / "whole")
    stop = threading.Event()
    at_17 = ooc.Callbacks(step_end=lambda now: stop.set() if now.step == 17 else None)
    trainer.fit(dataset, 3, tmp_path / "stopped", stop=stop, callbacks=at_17)
    resumed = trainer.resume(dataset, tmp_path / "stopped")
    for key in ("parameters_sha256", "loss", "steps"):
        assert resumed.results[key] == whole.results[key]
    found = ooc.load(tmp_path / "stopped").predict(dataset)
    assert np.array_equal(found, whole.predict(dataset))
    assert found.dtype == np.float64


def test_a_loss_whose_meaning_it_would_change_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot standardise targets of this loss.*huber"):
        Linear(loss="poisson", standardise_target=True)
    with pytest.raises(InputError, match="mlp cannot standardise targets"):
        MLP(head="binary", standardise_target=True)
    assert Linear(loss="poisson").standardise_target == "auto"


def test_a_target_beyond_squares_is_named(
    tmp_path: Path, line: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = line[0][:500], line[1][:500].copy()
    y[77] = 1e200
    with pytest.raises(DataError, match=r"row 77 of y has 1e\+200 .*squares overflow"):
        fitted(tmp_path, Linear(standardise_target=True), x, y)


@pytest.mark.parametrize("model", [Linear(), ooc.models.Logistic(), MLP((3,))], ids=str)
def test_a_batch_without_targets_is_compared_with_nothing(model: Any) -> None:
    batch = Batch({"X": np.ones((5, 2), np.float32)}, np.arange(5), 0, 0, ("X", None, None))
    with pytest.raises(InputError, match="the batch has no targets"):
        model.measure(np.zeros(model.layout((2,)).size, np.float32), batch)


@pytest.mark.slow
def test_the_shell_switches_it(
    tmp_path: Path, line: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "far.zarr"
    write_dataset(data, X=line[0], y=300 + line[1])
    common = ("train", str(data), "--model", "linear", "--lr", "0.05", "--standardise-target")
    found = {}
    for choice in ("yes", "no", "auto"):
        run = tmp_path / choice
        called(capsys, *common, choice, "--run", str(run))
        found[choice] = ooc.load(run).model.to_config()["standardise_target"]
    assert found == {"yes": True, "no": False, "auto": True}
    message = refused(capsys, *common, "maybe", "--run", str(tmp_path / "other"))
    assert "one of yes, no, auto" in message
