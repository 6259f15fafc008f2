"""The linear family's kernels against NumPy twins and finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.kernels import linear as kernels
from ooc.kernels.rows import as_rows, gather, half_to_float, tile_rows
from ooc.losses import LOSSES
from ooc.optim import adam, momentum, sgd

LOSS_CODES = {name: loss.code for name, loss in LOSSES.items()} | {"softmax": kernels.SOFTMAX}


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
    elif name == "logistic":
        losses = np.logaddexp(0, scores[:, 0]) - scores[:, 0] * y
        derivative = 1 / (1 + np.exp(-scores)) - y[:, None]
    else:
        losses = 0.5 * (scores[:, 0] - y) ** 2
        derivative = scores - y[:, None]
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
    scale: float = 1.0,
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
        scale,
        LOSS_CODES[name],
        intercept,
        parameters,
        np.empty((rows, flat.shape[1]), np.float32),
        np.empty((rows, outputs), np.float32),
        np.empty(flat.shape[1], np.float32),
        gradient,
    )
    return (*result, gradient)


def problem(
    name: str, rows: int, features: int, intercept: bool, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(seed)
    outputs = int(rng.integers(2, 6)) if name == "softmax" else 1
    x = rng.standard_normal((rows, features)).astype(np.float32)
    y = rng.standard_normal(rows) if name == "squared" else rng.integers(0, max(outputs, 2), rows)
    weights = rng.random(rows) if seed % 2 else np.ones(rows)
    parameters = rng.standard_normal(outputs * (features + intercept)).astype(np.float32)
    return x, y.astype(np.float64), weights, parameters, outputs


@pytest.mark.parametrize("name", LOSS_CODES)
@settings(max_examples=60, deadline=None)
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
    assert status == kernels.OK
    assert loss == pytest.approx(expected, rel=2e-5, abs=1e-4)
    np.testing.assert_allclose(gradient, slope, rtol=2e-4, atol=2e-5 * features)


@pytest.mark.parametrize("name", LOSS_CODES)
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
        ("logistic", 2.0, kernels.BAD_TARGET),
        ("logistic", 0.5, kernels.BAD_TARGET),
        ("softmax", 3.0, kernels.BAD_TARGET),
        ("softmax", -1.0, kernels.BAD_TARGET),
        ("softmax", 1.5, kernels.BAD_TARGET),
        ("softmax", np.nan, kernels.BAD_TARGET),
        ("squared", np.nan, kernels.BAD_TARGET),
        ("squared", np.inf, kernels.BAD_TARGET),
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
    assert (found, row) == (kernels.NOT_FINITE, 301)


@pytest.mark.parametrize("optimizer", [sgd(0.1), momentum(0.05), adam(0.02)], ids=lambda o: o.name)
@pytest.mark.parametrize("name", LOSS_CODES)
def test_a_window_of_steps_is_that_of_a_loop_in_numpy(name: str, optimizer: object) -> None:
    """Windows of uneven length, so that batches and tiles begin in one and end in the next."""
    x, y, weights, start, outputs = problem(name, 1000, 6, True, 1)
    batch, parameters = 64, np.zeros_like(start)
    order = np.random.default_rng(5).permutation(1000)
    expected, memory = np.zeros(start.size), optimizer.init(start.size)
    twin_loss = 0.0
    for step, first in enumerate(range(0, 1000, batch)):
        rows = order[first : first + batch]
        loss, gradient = naive_loss_and_gradient(
            name, x[rows], y[rows], weights[rows], expected, True, outputs
        )
        twin_loss += loss
        moved = expected.astype(np.float32)
        optimizer.update(moved, gradient, memory, step)
        expected = moved

    tile = 24
    state, counters = optimizer.init(start.size), np.zeros(kernels.COUNTERS, np.int64)
    totals, gradient = np.zeros(kernels.TOTALS), np.zeros(start.size)
    scratch = (
        np.empty((tile, 6), np.float32),
        np.empty(tile, np.float32),
        np.empty(tile, np.float32),
        np.empty(tile, np.int64),
        np.empty((tile, outputs), np.float32),
        np.empty(6, np.float32),
    )
    for first, last in [(0, 130), (130, 131), (131, 700), (700, 1000)]:
        rows = order[first:last]
        status = kernels.train_window(
            x[rows],
            False,
            y[rows].astype(np.float32),
            weights[rows].astype(np.float32),
            np.arange(last - first, dtype=np.int32),
            0,
            np.zeros(1, np.int64),
            last - first,
            last == 1000,
            batch,
            1.0,
            LOSS_CODES[name],
            True,
            parameters,
            optimizer.code,
            np.array(optimizer.constants),
            state,
            *scratch,
            gradient,
            counters,
            totals,
        )
        assert status == kernels.OK
    assert counters[kernels.STEP] == 16
    assert counters[kernels.ROWS] == 1000
    assert totals[kernels.LOSS_SUM] == pytest.approx(twin_loss, rel=1e-4)
    np.testing.assert_allclose(parameters, expected, rtol=1e-3, atol=1e-4)
