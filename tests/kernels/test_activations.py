"""Every activation of the table against a NumPy twin and finite differences, in both precisions."""

import math

import numpy as np
import pytest
from activation_twins import TWINS

from ooc.kernels.activations import ACTIVATIONS, activate
from ooc.models import MLP

# Far from 0, on both sides of it, and where exponentials overflow.
POINTS = np.concatenate([np.linspace(-12, 12, 402), [-800.0, -90, -30, 30, 90, 800]])
REALS = {"float32": np.float32, "float64": np.float64}


def applied(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values and slopes as a layer gets them."""
    values, slopes = z.reshape(-1, 1).copy(), np.empty((z.size, 1), z.dtype)
    activate(ACTIVATIONS[name].code(z.dtype), np.zeros(1, z.dtype), values, slopes)
    return values[:, 0], slopes[:, 0]


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("name", TWINS)
def test_values_are_those_of_the_numpy_twin(name: str, real: str) -> None:
    z = POINTS.astype(real)
    with np.errstate(over="ignore"):
        expected = TWINS[name](z.astype(np.float64))
    values = applied(name, z)[0]
    assert values.dtype == real
    room = 2e-6 if real == "float32" else 1e-12
    np.testing.assert_allclose(values, expected, rtol=room, atol=room / 20)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_are_those_of_the_values(name: str) -> None:
    """By central differences in float64, away from a kink at 0; float32 agrees with it."""
    values, slopes = applied(name, POINTS)
    ends = [applied(name, POINTS + side)[0] for side in (1e-6, -1e-6)]
    np.testing.assert_allclose(slopes, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-7)
    single = applied(name, POINTS.astype(np.float32))
    np.testing.assert_allclose(single[0], values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(single[1], slopes, rtol=1e-4, atol=1e-5)


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_layer_applies_the_pair_of_the_table_after_its_biases(name: str, real: str) -> None:
    rng = np.random.default_rng(2)
    z, biases = rng.standard_normal((9, 5)).astype(real), rng.standard_normal(5).astype(real)
    values, slopes = z.copy(), np.empty_like(z)
    activate(ACTIVATIONS[name].code(values.dtype), biases, values, slopes)
    for place in np.ndindex(z.shape):
        value, slope = ACTIVATIONS[name].pair(REALS[real](z[place] + biases[place[1]]))
        assert values[place] == pytest.approx(value, rel=1e-6)
        assert slopes[place] == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_activation_hides_nan(name: str, real: str) -> None:
    assert math.isnan(ACTIVATIONS[name].pair(REALS[real](np.nan))[0])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_its_code_is_its_own_and_its_first_weights_are_of_a_known_kind(name: str) -> None:
    codes = [other.code(np.float32) for other in ACTIVATIONS.values()]
    assert codes.count(ACTIVATIONS[name].code(np.float32)) == 1
    assert MLP(activation=name, initialisation=ACTIVATIONS[name].initialisation)


KINDS = {
    "relu": "he",
    "leaky_relu": "he",
    "gelu": "he",
    "softplus": "he",
    "tanh": "glorot",
    "sigmoid": "glorot",
    "identity": "glorot",
}


@pytest.mark.parametrize("name", KINDS)
def test_what_cuts_off_half_of_the_signals_begins_as_he_has_it(name: str) -> None:
    assert ACTIVATIONS[name].initialisation == KINDS[name]


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize(
    ("name", "value", "slope"),
    [
        ("relu", 0.0, 0.0),
        ("leaky_relu", 0.0, 0.01),
        ("sigmoid", 0.5, 0.25),
        ("softplus", math.log(2), 0.5),
        ("gelu", 0.0, 0.5),
        ("tanh", 0.0, 1.0),
        ("identity", 0.0, 1.0),
    ],
)
def test_at_zero(name: str, value: float, slope: float, real: str) -> None:
    """A kink has the slope of its lower side."""
    for zero in (0.0, -0.0):
        values, slopes = applied(name, np.array([zero], real))
        assert (values[0], slopes[0]) == pytest.approx((value, slope), rel=1e-6)
