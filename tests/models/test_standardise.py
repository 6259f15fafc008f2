"""Standardised features: measured exactly, applied in training and in prediction alike."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from ooc.models import MLP, Autoencoder, Linear, Logistic
from ooc.models.declarations import kernel_of
from ooc.models.standardise import (
    inputs_of,
    is_needed,
    is_target_far,
    measured_parts,
    standardisation,
)
from ooc.optim import sgd
from ooc.stream.batch import Batch

MODELS: list[Any] = [
    Logistic(standardise=True),
    Linear(standardise=True, intercept=False),
    MLP((5,), "tanh", standardise=True),
    Autoencoder((4,), "tanh", code=2, standardise=True),
]


class Rows:
    """Statistics of rows that are in memory."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x.astype(np.longdouble)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        mean, deviation = self.x.mean(axis=0), self.x.std(axis=0)
        return mean.astype(np.float64), deviation.astype(np.float64)

    sample_moments = moments

    def class_counts(self, classes: int, model: str, targets: str) -> np.ndarray:
        raise AssertionError("nobody asked for classes")


def begin(model: Any, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return parameters with what was measured in its place."""
    layout = model.layout(x.shape[1:])
    parameters = model.init(layout, rng)
    views = layout.views(parameters)
    for name in set(layout.shapes) - layout.fixed:
        views[name][...] = rng.standard_normal(views[name].shape)
    for name, values in measured_parts(Rows(x)).items():
        views[name][...] = values
    return parameters


def stripped(model: Any, x: np.ndarray, parameters: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return the same model without standardisation, and its parameters."""
    plain = ooc.models.from_config({**model.to_config(), "standardise": False})
    size = plain.layout(x.shape[1:]).size
    return plain, parameters[:size]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "far", "near"),
    [("float64", 1.7e9, 1.0), ("int64", 1.7e18, 1e9), ("float32", 50.0, 10.0), ("uint8", 99, 20)],
)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_rows_are_worked_on_as_if_they_came_standardised(
    model: Any, dtype: str, far: float, near: float, rng: np.random.Generator
) -> None:
    """Loss, gradient, measure and predictions; also of seconds since 1970, in float64."""
    x = (far + near * rng.standard_normal((300, 4))).astype(dtype)
    y = rng.integers(0, 2, 300)
    parameters = begin(model, x, rng)
    exact = x.astype(np.longdouble)
    ready = ((exact - exact.mean(axis=0)) / exact.std(axis=0)).astype(np.float64)
    plain, rest = stripped(model, ready, parameters)
    ends = []
    for each, features, point in ((model, x, parameters), (plain, ready, rest)):
        batch = Batch({"X": features, "y": y}, np.arange(300), 0, 0, ("X", "y", None))
        gradient = np.empty(point.size)
        loss = each.loss_and_grad(point, batch, gradient)
        measured = each.measure(point, batch).loss / 300
        ends.append((loss, measured, gradient, each.predict(point, features)))
    found, expected = ends
    assert found[0] == pytest.approx(expected[0], rel=1e-4)
    assert found[1] == pytest.approx(expected[1], rel=1e-4)
    np.testing.assert_allclose(found[2][: rest.size], expected[2], rtol=1e-3, atol=1e-4)
    assert not found[2][rest.size :].any()
    for name, values in expected[3].items():
        if model.name == "autoencoder" and name == "prediction":
            values = values * exact.std(axis=0) + exact.mean(axis=0)
            room = float(max(np.spacing(np.float32(far)), 1e-3 * near))
            np.testing.assert_allclose(found[3][name], values.astype(float), atol=room)
        elif values.dtype.kind == "f":
            np.testing.assert_allclose(found[3][name], values, rtol=1e-3, atol=1e-3)


def test_a_mean_far_from_zero_is_kept_to_a_millionth_of_a_second(rng: np.random.Generator) -> None:
    x = 1.7e9 + rng.standard_normal((500, 3))
    model = Logistic(standardise=True)
    parameters = begin(model, x, rng)
    found = standardisation(model.layout((3,)), parameters, 1.0)
    assert parameters.dtype == np.float32
    np.testing.assert_allclose(found.shift, x.mean(axis=0), rtol=0, atol=1e-6)
    inputs = inputs_of(x, found, np.dtype(np.float32))
    expected = (x - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(inputs, expected, atol=2e-6)
    kernel = kernel_of(model, model.layout((3,)), parameters)
    assert kernel is not None
    assert np.array_equal(kernel.standard.shift, found.shift)


def test_a_feature_that_never_changes_becomes_zero(rng: np.random.Generator) -> None:
    x = np.column_stack([np.full(50, 7.0), rng.standard_normal(50)])
    model = Linear(standardise=True)
    parameters = begin(model, x, rng)
    inputs = inputs_of(x, standardisation(model.layout((2,)), parameters, 1.0), np.dtype("f4"))
    assert not inputs[:, 0].any()
    assert inputs[:, 1].std() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("means", "deviations", "needed"),
    [
        ([0, 0], [1, 1], False),
        ([0, 0], [1, 9], True),
        ([0, 0], [0.1, 0.1], True),  # beside an intercept's feature, which is 1
        ([3, 0], [1, 1], True),
        ([0, 5], [1, 0], False),  # one that never changes is not counted
        ([1, -1], [1, 4], False),
    ],
)
def test_whether_it_is_needed_is_told_by_scales_and_offsets(
    means: list[float], deviations: list[float], needed: bool
) -> None:
    class Told:
        def sample_moments(self) -> tuple[np.ndarray, np.ndarray]:
            return np.array(means, float), np.array(deviations, float)

    told: Any = Told()
    assert is_needed(told, 1.0, True) == needed


@pytest.mark.parametrize(
    ("means", "deviations", "scale", "intercept", "needed"),
    [
        ([0, 0], [0.1, 0.1], 1.0, False, False),  # alike, whatever their unit
        ([0, 0], [10, 10], 0.1, True, False),
        ([0, 0], [10, 10], -0.1, True, False),
        ([0, 0], [1, 1], 0.1, True, True),
        ([0, 0], [1, 8], 1.0, True, False),
        ([0, 0], [0.125, 1], 1.0, True, False),
        ([0, 0], [0.12, 1], 1.0, True, True),
        ([2, -2], [1, 1], 1.0, True, False),
        ([0, -2.5], [1, 1], 1.0, True, True),
        ([0.3, 0], [0.125, 1], 1.0, True, True),
        ([7, 7], [0, 0], 1.0, True, False),
        ([7, 7], [0, 0], 1.0, False, False),
        ([0, 0], [1, np.inf], 1.0, True, True),
        ([0, 0], [np.inf, np.inf], 1.0, False, True),
    ],
)
def test_at_the_edges_of_what_is_alike(
    means: list[float], deviations: list[float], scale: float, intercept: bool, needed: bool
) -> None:
    told: Any = SimpleNamespace(
        sample_moments=lambda: (np.array(means, float), np.array(deviations, float))
    )
    with np.errstate(all="ignore"):
        assert is_needed(told, scale, intercept) is needed


@pytest.mark.parametrize(
    ("mean", "deviation", "intercept", "far"),
    [
        ([2.0], [1.0], True, False),
        ([0.0], [10.0], True, False),
        ([0.0], [0.1], True, False),
        ([9.0], [5.0], True, False),  # near for its deviation
        ([1e9], [1.0], False, False),
        ([1e9], [0.05], False, True),
        ([10.0], [0.0], True, False),
        ([-10.5], [0.0], True, True),
        ([0.0, -3.0], [1.0, 1.0], True, True),
        ([0.0], [np.inf], True, False),
    ],
)
def test_at_the_edges_of_what_is_far(
    mean: list[float], deviation: list[float], intercept: bool, far: bool
) -> None:
    told: Any = SimpleNamespace(target_sample_moments=lambda: (np.array(mean), np.array(deviation)))
    assert is_target_far(told, intercept) is far


@pytest.mark.parametrize("model", [Logistic(), pytest.param(MLP((5,)), marks=pytest.mark.slow)])
def test_a_run_decides_for_itself_and_says_so(
    model: Any, tmp_path: Path, rng: np.random.Generator
) -> None:
    x = 1.7e9 + rng.standard_normal((1000, 3)) * [1, 100, 1e4]
    y = (x[:, 0] > 1.7e9).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=y)
    run = ooc.Trainer(model, sgd(0.5), 50, memory="512MiB").fit(dataset, 10, tmp_path / "run")
    assert run.model.standardise is True
    assert run.evaluate(dataset)["accuracy"] > 0.95
    assert ooc.load(tmp_path / "run").model == run.model
    near = write_dataset(tmp_path / "b.zarr", X=rng.standard_normal((1000, 3)), y=y)
    plain = ooc.Trainer(model, sgd(0.5), 50, memory="512MiB").fit(near, 1)
    assert plain.model.standardise is False
