"""The linear family's kernels against NumPy twins and finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.kernels import linear as kernels
from ooc.kernels.counters import BAD_TARGET, NOT_FINITE, OK
from ooc.kernels.losses import LOSSES
from ooc.kernels.rows import as_rows, gather, half_to_float, tile_rows

LOSS_CODES = {name: loss.code for name, loss in LOSSES.items()} | {"softmax": kernels.SOFTMAX}
KINKED = ("hinge", "quantile", "epsilon_insensitive")
NOTHING = np.empty(0, np.float32)


def problem_of(
    name: str,
    intercept: bool,
    scale: float = 1.0,
    class_weights: np.ndarray = NOTHING,
    mean: np.ndarray = NOTHING,
    inverse: np.ndarray = NOTHING,
) -> kernels.Problem:
    constant = 0.0 if name == "softmax" else LOSSES[name].constant or 0.0
    code = LOSS_CODES[name]
    return kernels.Problem(code, constant, scale, intercept, class_weights, mean, inverse)


def naive_loss_and_gradient(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    parameters: np.ndarray,
    intercept: bool,
    outputs: int,
) -> tuple[float, np.ndarray]:
    """Return summed loss and mean gradient in float64, as a textbook writes them."""
    x = x.astype(np.float64)
    design = np.column_stack([x, np.ones(len(x))]) if intercept else x
    coefficients = parameters[: outputs * x.shape[1]].reshape(outputs, -1).astype(np.float64)
    if intercept:
        coefficients = np.column_stack([coefficients, parameters[outputs * x.shape[1] :]])
    scores = design @ coefficients.T
    if name == "softmax":
        probability = np.exp(scores - scores.max(1, keepdims=True))
        probability /= probability.sum(1, keepdims=True)
        picked = np.arange(len(y)), y.astype(int)
        losses = -np.log(probability[picked])
        probability[picked] -= 1
        derivative = probability
    else:
        loss = LOSSES[name]
        constant = () if loss.constant is None else (loss.constant,)
        pairs = [loss.pair(p, t, *constant) for p, t in zip(scores[:, 0], y, strict=True)]
        losses, slopes = np.array(pairs).T
        derivative = slopes[:, None]
    gradient = (derivative * weights[:, None]).T @ design / len(x)
    columns = x.shape[1]
    flat = np.concatenate([gradient[:, :columns].ravel(), gradient[:, columns:].ravel()])
    return float((losses * weights).sum()), flat


def batch_gradient(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    parameters: np.ndarray,
    intercept: bool,
    outputs: int,
    **settings: object,
) -> tuple[int, int, float, np.ndarray]:
    flat, half = as_rows(x)
    rows = tile_rows(flat.shape[1])
    gradient = np.empty(parameters.size)
    result = kernels.batch_gradient(
        flat,
        half,
        y.astype(np.float32),
        weights.astype(np.float32),
        np.arange(len(x), dtype=np.int32),
        problem_of(name, intercept, **settings),  # type: ignore[arg-type]
        kernels.no_own_loss,
        parameters,
        np.empty((rows, flat.shape[1]), np.float32),
        np.empty((rows, outputs), np.float32),
        np.empty((2, flat.shape[1]), np.float32),
        np.empty((2, parameters.size)),
        gradient,
    )
    return (*result, gradient)


def problem(
    name: str, rows: int, features: int, intercept: bool, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(seed)
    outputs = int(rng.integers(2, 6)) if name == "softmax" else 1
    x = rng.standard_normal((rows, features)).astype(np.float32)
    labels = name == "softmax" or LOSSES[name].labels
    y = rng.integers(0, max(outputs, 2), rows) if labels else rng.standard_normal(rows)
    y = np.abs(np.round(y)) if name == "poisson" else y
    weights = rng.random(rows) if seed % 2 else np.ones(rows)
    parameters = rng.standard_normal(outputs * (features + intercept)) / np.sqrt(features)
    return x, y.astype(np.float64), weights, parameters.astype(np.float32), outputs


@pytest.mark.parametrize("name", LOSS_CODES)
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
    status, _, loss, gradient = batch_gradient(name, x, y, weights, parameters, intercept, outputs)
    expected, slope = naive_loss_and_gradient(name, x, y, weights, parameters, intercept, outputs)
    assert status == OK
    assert loss == pytest.approx(expected, rel=2e-5, abs=1e-4)
    np.testing.assert_allclose(gradient, slope, rtol=2e-4, atol=2e-5 * features)


@pytest.mark.parametrize("name", [name for name in LOSS_CODES if name not in KINKED])
@pytest.mark.parametrize("seed", range(5))
def test_gradient_is_the_slope_of_the_loss(name: str, seed: int) -> None:
    """Central differences of the kernel's own loss, one parameter at a time."""
    x, y, weights, parameters, outputs = problem(name, 37, 5, True, seed)
    _, _, _, gradient = batch_gradient(name, x, y, weights, parameters, True, outputs)
    step = np.float32(2**-7)
    for i in range(parameters.size):
        sides = []
        for sign in (1, -1):
            moved = parameters.copy()
            moved[i] += sign * step
            sides.append(batch_gradient(name, x, y, weights, moved, True, outputs)[2] / len(x))
        slope = (sides[0] - sides[1]) / (2 * step)
        assert gradient[i] == pytest.approx(slope, rel=2e-3, abs=2e-4)


def test_half_to_float_is_exact_for_every_half() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    expected = bits.view(np.float16).astype(np.float32)
    found = np.array([half_to_float(np.uint32(value)) for value in bits], np.float32)
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float32", "float64"])
def test_every_dtype_is_gathered_as_float32(dtype: str, rng: np.random.Generator) -> None:
    values = (rng.random((50, 7)) * 100).astype(dtype)
    features, half = as_rows(values)
    order = rng.permutation(50).astype(np.int32)
    tile = np.zeros((24, 7), np.float32)
    gather(features, half, order, 10, 20, 0.5, tile, 3)
    assert np.array_equal(tile[3:23], values[order[10:30]].astype(np.float32) * np.float32(0.5))
    assert not tile[:3].any()
    assert not tile[23:].any()


@pytest.mark.parametrize(
    ("name", "target", "status"),
    [
        ("logistic", 2.0, BAD_TARGET),
        ("logistic", 0.5, BAD_TARGET),
        ("softmax", 3.0, BAD_TARGET),
        ("softmax", -1.0, BAD_TARGET),
        ("softmax", 1.5, BAD_TARGET),
        ("softmax", np.nan, BAD_TARGET),
        ("squared", np.nan, BAD_TARGET),
        ("squared", np.inf, BAD_TARGET),
    ],
)
def test_a_bad_target_stops_at_its_row(name: str, target: float, status: int) -> None:
    outputs = 3 if name == "softmax" else 1
    y = np.zeros(400)
    y[333] = target
    found, row, _, _ = batch_gradient(
        name, np.ones((400, 2), "f4"), y, np.ones(400), np.zeros(2 * outputs, "f4"), False, outputs
    )
    assert (found, row) == (status, 333)


@pytest.mark.parametrize("name", LOSS_CODES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_stops_at_its_row(name: str, value: float) -> None:
    outputs = 3 if name == "softmax" else 1
    x = np.ones((400, 2), np.float32)
    x[301, 1] = value
    found, row, _, _ = batch_gradient(
        name, x, np.zeros(400), np.ones(400), np.zeros(2 * outputs, "f4"), False, outputs
    )
    assert (found, row) == (NOT_FINITE, 301)


def test_standardised_rows_are_scored_as_if_they_came_so(rng: np.random.Generator) -> None:
    x = (rng.standard_normal((300, 5)) * [1, 10, 100, 1e-3, 1] + 50).astype(np.float32)
    y, weights = rng.integers(0, 2, 300).astype(float), np.ones(300)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    ready = (x - mean) * (np.float32(1) / deviation)
    parameters = rng.standard_normal(6).astype(np.float32)
    plain = batch_gradient("logistic", ready, y, weights, parameters, True, 1)
    found = batch_gradient(
        "logistic", x, y, weights, parameters, True, 1, mean=mean, inverse=np.float32(1) / deviation
    )
    assert np.array_equal(found[3], plain[3])
    assert found[2] == plain[2]


@pytest.mark.parametrize("name", ["logistic", "hinge", "softmax"])
def test_class_weights_are_weights_of_rows(name: str, rng: np.random.Generator) -> None:
    x, y, weights, parameters, outputs = problem(name, 200, 4, True, 3)
    given = rng.random(max(outputs, 2)).astype(np.float32)
    found = batch_gradient(
        name, x, y, weights.astype(np.float32), parameters, True, outputs, class_weights=given
    )
    by_row = weights.astype(np.float32).astype(float) * given[y.astype(int)]
    plain = naive_loss_and_gradient(name, x, y, by_row, parameters, True, outputs)
    assert found[2] == pytest.approx(plain[0], rel=1e-4)
    np.testing.assert_allclose(found[3], plain[1], rtol=1e-3, atol=1e-5)


@given(rows=st.integers(0, 5000))
def test_halves_are_what_their_count_says(rows: int) -> None:
    halves = [kernels.half_of(row, rows) for row in range(rows)]
    assert rows - sum(halves) == kernels.rows_of_first_half(rows)
    assert abs(rows - 2 * sum(halves)) <= 4
