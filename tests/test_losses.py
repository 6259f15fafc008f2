"""Every loss of the table: derivative by finite differences, codes, extremes, naive twins."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooc.losses import LOSSES, target_is_valid, value_and_derivative

TWINS = {
    "squared": lambda p, t: 0.5 * (p - t) ** 2,
    "logistic": lambda p, t: -t * math.log(_sigmoid(p)) - (1 - t) * math.log(1 - _sigmoid(p)),
}
predictions = st.floats(-20, 20)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def targets_of(name: str) -> st.SearchStrategy[float]:
    return st.sampled_from([0.0, 1.0]) if name == "logistic" else st.floats(-20, 20)


@pytest.mark.parametrize("name", LOSSES)
@given(data=st.data())
def test_the_derivative_is_the_slope_of_the_value(name: str, data: st.DataObject) -> None:
    prediction, target = data.draw(predictions), data.draw(targets_of(name))
    pair, step = LOSSES[name].pair, 1e-5
    slope = (pair(prediction + step, target)[0] - pair(prediction - step, target)[0]) / (2 * step)
    assert pair(prediction, target)[1] == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", LOSSES)
@given(data=st.data())
def test_the_value_is_that_of_a_naive_twin(name: str, data: st.DataObject) -> None:
    prediction, target = data.draw(predictions), data.draw(targets_of(name))
    expected = TWINS[name](prediction, target)
    assert LOSSES[name].pair(prediction, target)[0] == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_its_code_chooses_it(name: str) -> None:
    loss = LOSSES[name]
    for prediction in np.linspace(-3, 3, 7):
        assert value_and_derivative(loss.code, prediction, 1.0, 0.0) == loss.pair(prediction, 1.0)


@pytest.mark.parametrize("name", LOSSES)
def test_a_value_that_is_not_finite_is_seen(name: str) -> None:
    assert not target_is_valid(LOSSES[name].code, math.nan)
    assert not target_is_valid(LOSSES[name].code, math.inf)
    assert math.isnan(LOSSES[name].pair(math.nan, 1.0)[0])


def test_logistic_neither_overflows_nor_loses_small_values() -> None:
    assert LOSSES["logistic"].pair(1e4, 0.0) == (1e4, 1.0)
    value, derivative = LOSSES["logistic"].pair(40.0, 1.0)
    assert value == pytest.approx(math.exp(-40), rel=1e-12)
    assert derivative == pytest.approx(-math.exp(-40), abs=1e-16)
