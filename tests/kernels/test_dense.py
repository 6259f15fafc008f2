"""Layers, forward and backward, against finite differences and NumPy twins, in both precisions."""

import numpy as np
import pytest
from activation_twins import TWINS
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.kernels import dense
from ooc.kernels.activations import ACTIVATIONS

REALS = ["float32", "float64"]


def normal(rng: np.random.Generator, real: str, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(real)


def layer(name: str, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outputs = np.empty((len(x), len(w)), x.dtype)
    slopes = np.ones_like(outputs)
    dense.forward(x, w, b, ACTIVATIONS[name].code(outputs.dtype), outputs, slopes)
    return outputs, slopes


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("name", TWINS)
@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(1, 40), fan=st.integers(1, 30), units=st.integers(1, 30), seed=st.integers(0)
)
def test_forward_is_that_of_the_numpy_twin(
    name: str, real: str, rows: int, fan: int, units: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, w, b = normal(rng, real, rows, fan), normal(rng, real, units, fan), normal(rng, real, units)
    expected = TWINS[name](x.astype(float) @ w.T.astype(float) + b)
    room = 1e-4 if real == "float32" else 1e-11
    np.testing.assert_allclose(layer(name, x, w, b)[0], expected, rtol=room, atol=room)


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_backward_is_the_slope_of_forward(name: str, real: str, rng: np.random.Generator) -> None:
    """Of sum(c f(x W^T + b)), by x, W and b, each by central differences in float64."""
    x, w, b, c = (normal(rng, real, *shape) for shape in ((6, 5), (4, 5), (4,), (6, 4)))
    _, slopes = layer(name, x, w, b)
    delta, by_w, by_b, by_x = c.copy(), np.empty_like(w), np.empty_like(b), np.empty_like(x)
    dense.backward(x, slopes, delta, by_w, by_b)
    dense.backward_inputs(delta, w, by_x)
    parts = [x.astype(float), w.astype(float), b.astype(float)]
    room = {"rel": 1e-3, "abs": 1e-4} if real == "float32" else {"rel": 1e-6, "abs": 1e-8}
    for part, gradient in zip(parts, (by_x, by_w, by_b), strict=True):
        for place in np.ndindex(part.shape):
            kept, sides = part[place], []
            for sign in (1, -1):
                part[place] = kept + sign * 1e-6
                sides.append(float((c * layer(name, *parts)[0]).sum()))
            part[place] = kept
            assert gradient[place] == pytest.approx((sides[0] - sides[1]) / 2e-6, **room)


def test_a_last_layer_has_no_slopes(rng: np.random.Generator) -> None:
    x, w, b, c = (normal(rng, "float64", *shape) for shape in ((6, 5), (4, 5), (4,), (6, 4)))
    outputs, none = np.empty((6, 4)), np.empty((0, 4))
    dense.forward(x, w, b, ACTIVATIONS["identity"].code(outputs.dtype), outputs, none)
    np.testing.assert_allclose(outputs, x @ w.T + b)
    delta, by_w, by_b = c.copy(), np.empty_like(w), np.empty_like(b)
    dense.backward(x, none, delta, by_w, by_b)
    assert np.array_equal(delta, c)
    np.testing.assert_allclose(by_w, c.T @ x)
    np.testing.assert_allclose(by_b, c.sum(axis=0))
