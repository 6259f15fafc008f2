"""What a loss of the user's own is checked for: its slope, within a tolerance, at its targets."""

import math

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.models import MLP, Linear
from ooc.models.own_loss import _check_slope, own_loss


def test_a_kink_may_have_any_slope_between_its_two() -> None:
    """Also where it lies at a prediction that is tried."""

    def kinked(slope: float):  # type: ignore[no-untyped-def]
        return lambda prediction, target: (
            abs(prediction - 0.2),
            math.copysign(1, prediction - 0.2) if prediction != 0.2 else slope,
        )

    for slope in (-1.0, 0.0, 0.7, 1.0):
        _check_slope(kinked(slope), "kinked", 0.2, 0.0)
    for slope in (-1.1, 1.1):
        with pytest.raises(InputError, match="the loss kinked has value 0 and derivative"):
            _check_slope(kinked(slope), "kinked", 0.2, 0.0)


@pytest.mark.parametrize("off", [1e-6, -1e-6, 0.01, -0.01, math.nan])
def test_a_derivative_is_compared_to_a_ten_thousandth(off: float) -> None:
    def near(prediction: float, target: float) -> tuple[float, float]:
        return (prediction - target) ** 2, 2 * (prediction - target) + off

    if abs(off) < 1e-4:
        _check_slope(near, "near", 0.5, 0.0)
        return
    with pytest.raises(InputError) as refused:
        _check_slope(near, "near", 0.5, 0.0)
    assert str(refused.value) == (
        f"the loss near has value 0.25 and derivative {1 + off:.6g} at prediction 0.5 and target "
        "0.0, but finite differences say 1; return (value, derivative with respect to the "
        "prediction)"
    )


@pytest.mark.parametrize("told", [(1.0,), (1.0, 2.0, 3.0), [1.0, 2.0], 1.0])
def test_a_loss_is_a_pair(told: object) -> None:
    with pytest.raises(InputError) as refused:
        _check_slope(lambda prediction, target: told, "odd", 0.5, 0.0)
    assert str(refused.value) == f"the loss odd returns {told!r}, not a value and its derivative"


def of_rates(prediction: float, target: float) -> tuple[float, float]:
    return math.exp(prediction) - math.log(target) * prediction, (
        math.exp(prediction) - math.log(target)
    )


def test_a_loss_is_tried_at_targets_for_which_it_is_defined() -> None:
    with pytest.raises(InputError, match="of_rates"):
        own_loss(of_rates)
    made = own_loss(of_rates, targets=(0.5, 3.0))
    assert made.label == "own:of_rates"
    assert Linear(loss=made).to_config()["loss"] == "own:of_rates"
    assert (Linear(loss=made).link, Linear(loss=made).targets) == ("identity", "finite numbers")
    assert MLP(head="regression", loss=made).loss_name is made
    value, slope = made.loss.pair(0.25, 2.0, 9.0)  # type: ignore[misc]
    assert (value, slope) == pytest.approx(
        (np.exp(0.25) - 0.25 * np.log(2), np.exp(0.25) - np.log(2))
    )
