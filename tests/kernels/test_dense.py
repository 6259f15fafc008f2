"""Layers, activations, dropout and heads against finite differences and NumPy twins."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.kernels import dense
from ooc.kernels.activations import ACTIVATIONS
from ooc.kernels.counters import BAD_TARGET, NOT_FINITE, OK
from ooc.kernels.dropout import drop
from ooc.kernels.heads import head_loss
from ooc.kernels.linear import SOFTMAX
from ooc.kernels.losses import LOSSES

erf = np.vectorize(math.erf)
TWINS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "gelu": lambda z: z * 0.5 * (1 + erf(z / math.sqrt(2))),
    "softplus": lambda z: np.logaddexp(0, z),
}


def float32(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def layer(name: str, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outputs = np.empty((len(x), len(w)), np.float32)
    slopes = np.ones_like(outputs)
    dense.forward(x, w, b, ACTIVATIONS[name].code, outputs, slopes)
    return outputs, slopes


def test_every_activation_has_a_twin() -> None:
    assert set(ACTIVATIONS) == set(TWINS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_and_slope_of_an_activation(name: str) -> None:
    """Values in float64 NumPy, slopes as its central differences; 0 is left to the kink."""
    z = np.concatenate([np.linspace(-12, 12, 402), [-90.0, -30, 30, 90]])
    step = 1e-6
    slopes = (TWINS[name](z + step) - TWINS[name](z - step)) / (2 * step)
    for x, value, slope in zip(z, TWINS[name](z), slopes, strict=True):
        found = ACTIVATIONS[name].pair(np.float32(x))
        assert found[0] == pytest.approx(value, rel=2e-6, abs=1e-7)
        assert found[1] == pytest.approx(slope, rel=1e-4, abs=2e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_activation_hides_nan(name: str) -> None:
    assert math.isnan(ACTIVATIONS[name].pair(np.float32(np.nan))[0])


@pytest.mark.parametrize("name", ACTIVATIONS)
@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 40), fan=st.integers(1, 30), units=st.integers(1, 30), seed=st.integers(0)
)
def test_forward_is_that_of_the_numpy_twin(
    name: str, rows: int, fan: int, units: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, w, b = float32(rng, rows, fan), float32(rng, units, fan), float32(rng, units)
    expected = TWINS[name](x.astype(float) @ w.T.astype(float) + b)
    np.testing.assert_allclose(layer(name, x, w, b)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_backward_is_the_slope_of_forward(name: str, rng: np.random.Generator) -> None:
    """Of sum(c f(x W^T + b)), by x, W and b, each by central differences in float64."""
    x, w, b, c = float32(rng, 6, 5), float32(rng, 4, 5), float32(rng, 4), float32(rng, 6, 4)
    _, slopes = layer(name, x, w, b)
    delta, by_w, by_b, by_x = c.copy(), np.empty_like(w), np.empty_like(b), np.empty_like(x)
    dense.backward(x, slopes, delta, by_w, by_b)
    dense.backward_inputs(delta, w, by_x)
    parts = [x.astype(float), w.astype(float), b.astype(float)]

    def loss() -> float:
        return float((c * TWINS[name](parts[0] @ parts[1].T + parts[2])).sum())

    for part, gradient in zip(parts, (by_x, by_w, by_b), strict=True):
        for place in np.ndindex(part.shape):
            kept, sides = part[place], []
            for sign in (1, -1):
                part[place] = kept + sign * 1e-6
                sides.append(loss())
            part[place] = kept
            assert gradient[place] == pytest.approx(
                (sides[0] - sides[1]) / 2e-6, rel=1e-3, abs=1e-4
            )


def mask(seed: int, number: int, rows: int, units: int, rate: float, first: int = 0) -> np.ndarray:
    values, slopes = np.ones((rows, units), np.float32), np.ones((rows, units), np.float32)
    drop(np.int64(seed), number, first, rate, values, slopes)
    assert np.array_equal(values, slopes)
    return values


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    kept = mask(1, 0, 1000, 300, rate)
    assert set(np.unique(kept).tolist()) == {0.0, float(np.float32(1 / (1 - rate)))}
    spread = 5 * math.sqrt(rate * (1 - rate))
    assert np.mean(kept == 0) == pytest.approx(rate, abs=spread / math.sqrt(kept.size))
    np.testing.assert_allclose((kept == 0).mean(axis=0), rate, atol=spread / math.sqrt(1000))
    np.testing.assert_allclose((kept == 0).mean(axis=1), rate, atol=1.1 * spread / math.sqrt(300))


def test_masks_of_rows_units_layers_and_steps_are_independent() -> None:
    """Correlations between any two of 200 rows or columns, layers or seeds, are those of chance."""
    masks = [mask(seed, number, 200, 400, 0.5) for seed in (5, 6) for number in (0, 1)]
    for one in masks:
        for view in (one, one.T):
            correlation = np.corrcoef(view[:200])
            np.fill_diagonal(correlation, 0)
            assert np.abs(correlation).max() < 6.5 / math.sqrt(view.shape[1])
    flat = np.corrcoef([one.ravel() for one in masks]) - np.eye(4)
    assert np.abs(flat).max() < 5 / math.sqrt(masks[0].size)


def test_a_mask_does_not_depend_on_how_a_batch_is_shared() -> None:
    whole = mask(9, 2, 50, 30, 0.3)
    assert np.array_equal(whole[20:], mask(9, 2, 30, 30, 0.3, first=20))


HEADS = {name: LOSSES[name].code for name in ("squared", "logistic")} | {"softmax": SOFTMAX}


def naive_losses(name: str, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    if name == "softmax":
        largest = outputs.max(axis=1, keepdims=True)
        partition = np.log(np.exp(outputs - largest).sum(axis=1)) + largest[:, 0]
        return partition - outputs[np.arange(len(outputs)), targets[:, 0].astype(int)]
    if name == "logistic":
        return (np.logaddexp(0, outputs) - outputs * targets).sum(axis=1)
    return 0.5 * ((outputs - targets) ** 2).sum(axis=1)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_head_gives_loss_and_slope(name: str, weighted: bool, rng: np.random.Generator) -> None:
    outputs = float32(rng, 20, 4)
    columns = 1 if name == "softmax" else 4
    targets = rng.integers(0, 4 if name == "softmax" else 2, (20, columns)).astype(np.float32)
    weights = rng.random(20).astype(np.float32) if weighted else np.empty(0, np.float32)
    factors = weights if weighted else np.ones(20)
    found = outputs.copy()
    status, _, loss = head_loss(found, targets, weights, HEADS[name])
    assert status == OK
    assert loss == pytest.approx(
        (naive_losses(name, outputs.astype(float), targets) * factors).sum()
    )
    for k in range(4):
        moved = np.zeros(4)
        moved[k] = 1e-6
        up, down = (naive_losses(name, outputs + sign * moved, targets) for sign in (1, -1))
        np.testing.assert_allclose(found[:, k], factors * (up - down) / 2e-6, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "target", "output", "status"),
    [
        ("softmax", 4.0, 0.0, BAD_TARGET),
        ("softmax", 0.5, 0.0, BAD_TARGET),
        ("logistic", 2.0, 0.0, BAD_TARGET),
        ("squared", np.nan, 0.0, BAD_TARGET),
        ("softmax", 0.0, np.nan, NOT_FINITE),
        ("logistic", 0.0, np.inf, NOT_FINITE),
        ("squared", 0.0, -np.inf, NOT_FINITE),
    ],
)
def test_a_head_stops_at_a_bad_row(name: str, target: float, output: float, status: int) -> None:
    outputs = np.zeros((9, 4), np.float32)
    targets = np.zeros((9, 1 if name == "softmax" else 4), np.float32)
    outputs[6, 2], targets[6, -1] = output, target
    assert head_loss(outputs, targets, np.empty(0, np.float32), HEADS[name])[:2] == (status, 6)
