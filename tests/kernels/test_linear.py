"""The linear family's kernel against NumPy twins and finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_twin import TWINS, model_of, problem, twin

from ooc.core.errors import DataError
from ooc.kernels.losses import LABELS, LOSSES
from ooc.models import Linear, Logistic, Softmax
from ooc.models.contract import Model
from ooc.stream.batch import Batch

NAMES = [*TWINS, "softmax"]
KINKED = ("hinge", "quantile", "epsilon_insensitive")


def gradient_of(
    model: Model, x: np.ndarray, y: np.ndarray, weights: np.ndarray, parameters: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return summed loss and mean gradient."""
    batch = Batch({"X": x, "y": y, "w": weights}, np.arange(len(x)) + 100, 0, 0, ("X", "y", "w"))
    gradient = np.empty(parameters.size)
    return model.loss_and_grad(parameters, batch, gradient) * len(x), gradient


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 600),
    features=st.integers(1, 70),
    intercept=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_gradient_is_that_of_the_numpy_twin(
    name: str, rows: int, features: int, intercept: bool, seed: int
) -> None:
    x, y, weights, parameters, outputs = problem(name, rows, features, intercept, seed)
    model = model_of(name, intercept, outputs)
    loss, gradient = gradient_of(model, x, y, weights, parameters)
    expected, slope = twin(name, x, y, weights, parameters, intercept, outputs)
    assert loss == pytest.approx(expected, rel=2e-5, abs=1e-4)
    np.testing.assert_allclose(gradient, slope, rtol=2e-4, atol=2e-5 * features)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in KINKED])
@pytest.mark.parametrize("seed", range(5))
def test_gradient_is_the_slope_of_the_loss(name: str, seed: int) -> None:
    """Central differences of the kernel's own loss, one parameter at a time."""
    x, y, weights, parameters, outputs = problem(name, 37, 5, True, seed)
    model = model_of(name, True, outputs)
    _, gradient = gradient_of(model, x, y, weights, parameters)
    step = np.float32(2**-7)
    for i in range(parameters.size):
        sides = []
        for sign in (1, -1):
            moved = parameters.copy()
            moved[i] += sign * step
            sides.append(gradient_of(model, x, y, weights, moved)[0] / len(x))
        slope = (sides[0] - sides[1]) / (2 * step)
        assert gradient[i] == pytest.approx(slope, rel=2e-3, abs=2e-4)


@pytest.mark.parametrize(
    "name", [name for name, loss in LOSSES.items() if loss.pair is not None and loss.rule != LABELS]
)
def test_every_loss_of_numbers_is_one_of_the_linear_model(
    name: str, rng: np.random.Generator
) -> None:
    """An entry is tried by being there, with or without a twin."""
    model, pair = Linear(loss=name, standardise=False), LOSSES[name].pair
    x = rng.standard_normal((30, 4)).astype(np.float32)
    y = rng.integers(0, 2, 30).astype(np.float32)
    parameters = rng.standard_normal(5).astype(np.float32)
    _, gradient = gradient_of(model, x, y, np.ones(30), parameters)
    scores = x @ parameters[:4] + parameters[4]
    assert pair is not None
    slopes = [pair(float(p), float(t), model.constant)[1] for p, t in zip(scores, y, strict=True)]
    np.testing.assert_allclose(gradient[:4], slopes @ x / 30, rtol=1e-4, atol=1e-5)
    assert gradient[4] == pytest.approx(np.mean(slopes), rel=1e-4, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float16", "float64"])
def test_features_of_any_dtype_and_shape(dtype: str, rng: np.random.Generator) -> None:
    x = (rng.random((50, 2, 3)) * (1 if dtype == "bool" else 100)).astype(dtype)
    y, parameters = rng.integers(0, 2, 50), rng.standard_normal(7).astype(np.float32) / 100
    model = model_of("logistic", scale=0.5)
    _, gradient = gradient_of(model, x, y, np.ones(50), parameters)
    flat = x.reshape(50, 6).astype(float) * 0.5
    expected = twin("logistic", flat, y.astype(float), np.ones(50), parameters, True, 1)[1]
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "target", "says"),
    [
        ("logistic", 2.0, "row 433 of y has target 2.0, but logistic takes labels 0 and 1"),
        ("logistic", 0.5, "row 433 of y has target 0.5"),
        ("hinge", -1.0, "row 433 of y has target -1.0, but svm takes labels 0 and 1"),
        ("softmax", 3.0, "row 433 of y has target 3.0, but softmax takes whole labels from 0 to 2"),
        ("softmax", -1.0, "row 433 of y has target -1.0"),
        ("softmax", 1.5, "row 433 of y has target 1.5"),
        ("softmax", np.nan, "row 433 of y has target nan"),
        ("squared", np.nan, "row 433 of y has target nan, but linear takes finite numbers"),
        ("squared", np.inf, "row 433 of y has target inf"),
        (
            "poisson",
            -1.0,
            "row 433 of y has target -1.0, but linear takes finite numbers of at least 0",
        ),
    ],
)
def test_a_bad_target_stops_at_its_row(name: str, target: float, says: str) -> None:
    outputs, y = 3 if name == "softmax" else 1, np.zeros(400)
    y[333] = target
    model = model_of(name, False, outputs)
    with pytest.raises(DataError, match=says):
        gradient_of(model, np.ones((400, 2), "f4"), y, np.ones(400), np.zeros(2 * outputs, "f4"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_stops_at_its_row(name: str, value: float) -> None:
    outputs = 3 if name == "softmax" else 1
    x = np.ones((400, 2), np.float32)
    x[301, 1] = value
    model = model_of(name, False, outputs)
    with pytest.raises(DataError, match=f"row 401 of X has {value} in feature 1"):
        gradient_of(model, x, np.zeros(400), np.ones(400), np.zeros(2 * outputs, "f4"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_a_bad_weight_stops_at_its_row(value: float) -> None:
    weights = np.ones(400)
    weights[222] = value
    with pytest.raises(DataError, match=f"row 322 of w has weight {value}"):
        gradient_of(
            model_of("squared"), np.ones((400, 2)), np.ones(400), weights, np.zeros(3, "f4")
        )


@pytest.mark.parametrize("name", ["logistic", "hinge", "squared_hinge", "softmax"])
def test_class_weights_are_weights_of_rows(name: str, rng: np.random.Generator) -> None:
    x, y, weights, parameters, outputs = problem(name, 200, 4, True, 3)
    given_weights = tuple(rng.random(max(outputs, 2)))
    model = model_of(name, True, outputs, class_weights=given_weights)
    loss, gradient = gradient_of(model, x, y, weights, parameters)
    by_row = weights * np.array(given_weights)[y.astype(int)]
    expected, slope = twin(name, x, y, by_row, parameters, True, outputs)
    assert loss == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(gradient, slope, rtol=1e-3, atol=1e-5)


def test_a_model_with_class_weights_takes_integers_as_labels(rng: np.random.Generator) -> None:
    x = rng.standard_normal((20, 2)).astype("f4")
    for model, y in (
        (Logistic(class_weights=(1, 2)), rng.random(20) < 0.5),
        (Softmax(classes=3, class_weights=(1, 2, 3)), rng.integers(0, 3, 20).astype(np.uint8)),
    ):
        parameters = rng.standard_normal(model.layout((2,)).size).astype(np.float32)
        gradient = gradient_of(model, x, y, np.ones(20), parameters)[1]
        as_floats = gradient_of(model, x, y.astype(np.float32), np.ones(20), parameters)[1]
        assert np.array_equal(gradient, as_floats)
