"""Every loss of the table: slopes by finite differences, subgradients, codes, naive twins."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import huber, xlogy
from sklearn.metrics import hinge_loss, mean_pinball_loss, mean_poisson_deviance

from ooc.core.errors import InputError
from ooc.kernels.losses import LOSSES, loss_constant, target_is_valid, value_and_derivative

CONSTANTS = {"huber": 1.5, "quantile": 0.8, "epsilon_insensitive": 0.25}
TWINS: dict[str, Callable[[float, float], float]] = {
    "squared": lambda p, t: 0.5 * (p - t) ** 2,
    "logistic": lambda p, t: -t * math.log(_sigmoid(p)) - (1 - t) * math.log(1 - _sigmoid(p)),
    "hinge": lambda p, t: max(0, 1 - p) if t else max(0, 1 + p),
    "squared_hinge": lambda p, t: (max(0, 1 - p) if t else max(0, 1 + p)) ** 2,
    "huber": lambda p, t: float(huber(1.5, p - t)),
    "quantile": lambda p, t: max(0.8 * (t - p), 0.2 * (p - t)),
    "poisson": lambda p, t: math.exp(p) - t * p,
    "epsilon_insensitive": lambda p, t: max(0, abs(p - t) - 0.25),
}
# How far a prediction is from where the slope, or its own slope, jumps.
KINKS: dict[str, Callable[[float, float], float]] = {
    "hinge": lambda p, t: (2 * t - 1) * p - 1,
    "squared_hinge": lambda p, t: (2 * t - 1) * p - 1,
    "huber": lambda p, t: abs(p - t) - 1.5,
    "quantile": lambda p, t: p - t,
    "epsilon_insensitive": lambda p, t: abs(p - t) - 0.25,
}
predictions = st.floats(-20, 20)
# The kinks of all losses are among the differences of these.
round_numbers = st.sampled_from([-1.5, -1.0, -0.25, 0.0, 0.25, 1.0, 1.25, 1.5, 2.5])


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def targets_of(name: str) -> st.SearchStrategy[float]:
    if LOSSES[name].labels:
        return st.sampled_from([0.0, 1.0])
    if name == "poisson":
        return st.floats(0, 20)
    return st.floats(-20, 20) | round_numbers


def pair(name: str, prediction: float, target: float) -> tuple[float, float]:
    constants = [CONSTANTS[name]] if name in CONSTANTS else []
    return LOSSES[name].pair(prediction, target, *constants)


@pytest.mark.parametrize("name", LOSSES)
@given(data=st.data())
def test_the_derivative_is_the_slope_of_the_value(name: str, data: st.DataObject) -> None:
    prediction, target = data.draw(predictions), data.draw(targets_of(name))
    step = 1e-5
    assume(name not in KINKS or abs(KINKS[name](prediction, target)) > 2 * step)
    above, below = (pair(name, prediction + side, target)[0] for side in (step, -step))
    expected = (above - below) / (2 * step)
    assert pair(name, prediction, target)[1] == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", LOSSES)
@given(data=st.data())
def test_the_derivative_is_a_subgradient_everywhere(name: str, data: st.DataObject) -> None:
    """The loss is nowhere below its tangent, also where that is drawn at a kink."""
    places = st.floats(-6, 6) | round_numbers
    place, other, target = data.draw(places), data.draw(places), data.draw(targets_of(name))
    value, slope = pair(name, place, target)
    tangent = value + slope * (other - place)
    assert pair(name, other, target)[0] >= tangent - 1e-9 * (1 + abs(tangent))


@pytest.mark.parametrize("name", KINKS)
def test_a_kink_has_the_slope_of_its_flat_side(name: str) -> None:
    """Nothing is learned from a row that is just good enough; Huber's two sides meet."""
    place = {"epsilon_insensitive": 1.25, "huber": 2.5}.get(name, 1.0)
    at_huber = (0.5 * 1.5**2, 1.5)
    assert pair(name, place, 1.0) == (at_huber if name == "huber" else (0.0, 0.0))
    assert KINKS[name](place, 1.0) == 0


@pytest.mark.parametrize("name", LOSSES)
@given(data=st.data())
def test_the_value_is_that_of_a_naive_twin(name: str, data: st.DataObject) -> None:
    prediction, target = data.draw(predictions), data.draw(targets_of(name))
    expected = TWINS[name](prediction, target)
    assert pair(name, prediction, target)[0] == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_means_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    scores, numbers = rng.standard_normal((2, 300)) * 2
    labels, counts = (numbers > 0).astype(float), rng.poisson(3, 300).astype(float)

    def mean(name: str, targets: np.ndarray) -> float:
        pairs = zip(scores.tolist(), targets.tolist(), strict=True)
        return float(np.mean([pair(name, p, t)[0] for p, t in pairs]))

    assert mean("hinge", labels) == pytest.approx(hinge_loss(labels, scores))
    assert mean("quantile", numbers) == pytest.approx(mean_pinball_loss(numbers, scores, alpha=0.8))
    deviance = mean_poisson_deviance(counts, np.exp(scores))
    saturated = np.mean(counts - xlogy(counts, counts))
    assert 2 * (mean("poisson", counts) - saturated) == pytest.approx(deviance)


@pytest.mark.parametrize("name", LOSSES)
def test_its_code_chooses_it(name: str) -> None:
    for prediction in np.linspace(-3, 3, 25):
        found = value_and_derivative(
            LOSSES[name].code, prediction, 1.0, CONSTANTS.get(name, math.nan)
        )
        assert found == pair(name, prediction, 1.0)


@pytest.mark.parametrize("name", LOSSES)
def test_a_value_that_is_not_finite_is_seen(name: str) -> None:
    for value in (math.nan, math.inf, -math.inf):
        assert not target_is_valid(LOSSES[name].code, value)
        for target in (0.0, 1.0):
            assert not math.isfinite(pair(name, value, target)[0])


@pytest.mark.parametrize("name", LOSSES)
def test_targets_are_labels_counts_or_numbers(name: str) -> None:
    valid = [target_is_valid(LOSSES[name].code, target) for target in (0.0, 1.0, 2.5, -1.0)]
    numbers = not LOSSES[name].labels
    assert valid == [True, True, numbers, numbers and name != "poisson"]


def test_logistic_neither_overflows_nor_loses_small_values() -> None:
    assert LOSSES["logistic"].pair(1e4, 0.0) == (1e4, 1.0)
    value, derivative = LOSSES["logistic"].pair(40.0, 1.0)
    assert value == pytest.approx(math.exp(-40), rel=1e-12)
    assert derivative == pytest.approx(-math.exp(-40), abs=1e-16)


@pytest.mark.parametrize(
    ("name", "constant"),
    [
        ("huber", 0.0),
        ("huber", math.inf),
        ("quantile", 1.0),
        ("quantile", math.nan),
        ("epsilon_insensitive", -0.1),
    ],
)
def test_a_constant_out_of_range_is_refused(name: str, constant: float) -> None:
    with pytest.raises(InputError, match=f"the constant of the {name} loss must be above 0"):
        loss_constant(name, constant)


def test_a_constant_is_for_losses_that_have_one() -> None:
    with pytest.raises(InputError, match="squared loss has no constant"):
        loss_constant("squared", 1.0)
    for name, loss in LOSSES.items():
        assert loss_constant(name) == (loss.constant or 0.0)
        assert (loss.constant is None) == (name not in CONSTANTS)
