"""Why a row cannot be used, in whole sentences: which array, which number, what to do."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ooc.core.errors import DataError, DivergedError
from ooc.kernels.counters import BAD_TARGET, BAD_WEIGHT
from ooc.models import Linear, Logistic, Softmax
from ooc.models.bad_rows import explain, place_of

ROLES = ("X", "label", "importance")
NUMBERS = 0  # what a kernel returns where a loss is not finite
CORRECT = "correct the row, name another target, or choose another model"


@pytest.mark.parametrize(
    ("model", "target", "taken"),
    [
        (Logistic(), 3.0, "label has target 3.0, but logistic takes labels 0 and 1"),
        (
            Softmax(classes=4),
            4.0,
            "label has target 4.0, but softmax takes whole labels from 0 to 3",
        ),
        (Linear(), np.nan, "label has target nan, but linear takes finite numbers"),
        (Linear(), -1e39, "label has target -1e+39, but linear takes numbers that float32 holds"),
        (Linear(), np.inf, "label has target inf, but linear takes finite numbers"),
        (SimpleNamespace(name="own"), 3.0, "label has target 3.0, but own takes other targets"),
        (SimpleNamespace(name="own"), None, "label has target None, but own takes other targets"),
    ],
)
def test_a_bad_target(model: Any, target: float | None, taken: str) -> None:
    told = explain(model, BAD_TARGET, 7, np.ones(2), target, 1.0, " (there)", ROLES)
    assert isinstance(told, DataError)
    assert str(told) == f"row 7 of {taken}; {CORRECT}"


def test_a_bad_target_of_several_numbers_is_told_with_all_of_them() -> None:
    told = explain(Linear(), BAD_TARGET, 7, np.ones(2), np.array([0.5, -1e39]))  # type: ignore[arg-type]
    assert "but linear takes numbers that float32 holds" in str(told)
    assert str(told).startswith("row 7 has target [")


def test_a_bad_weight() -> None:
    told = explain(Logistic(), BAD_WEIGHT, 7, np.ones(2), 1.0, -0.5, "", ROLES)
    assert isinstance(told, DataError)
    assert str(told) == (
        "row 7 of importance has weight -0.5; weights are finite numbers of at least 0: correct "
        "the row, or name another weight"
    )


@pytest.mark.parametrize(
    ("values", "scale", "told"),
    [
        (
            np.array([[1, np.nan], [np.inf, 0]]),
            1.0,
            "nan in feature 1; remove or fill such rows first",
        ),
        (np.float32([2, 1e30]), 1.0, "1e+30 in feature 1, whose square overflows float32; "),
        (
            np.array([3e15, -2e16]),
            100.0,
            "-2e+16 times the scale of 100 in feature 1, whose square overflows float32; ",
        ),
    ],
)
def test_a_feature_that_cannot_be_used(values: np.ndarray, scale: float, told: str) -> None:
    found = explain(Logistic(scale=scale), NUMBERS, 7, values, 1.0, roles=ROLES)
    assert isinstance(found, DataError)
    if "overflows" in told:
        told += (
            "standardise the features (subtract the mean, divide by the standard deviation), "
            "scale them, or remove the row"
        )
    assert str(found) == f"row 7 of X has {told}"


@pytest.mark.parametrize(
    ("values", "scale"),
    [(np.array([1.0, -1e18]), 1.0), (np.array([1e20]), 0.01), (np.empty(0), 1.0)],
)
def test_of_features_that_are_well_it_was_the_step(values: np.ndarray, scale: float) -> None:
    where = place_of(7, 0.5, np.array([3, 1, 4]))
    found = explain(Logistic(scale=scale), NUMBERS, 7, values, 1.0, 1.0, where, ROLES)
    assert isinstance(found, DivergedError)
    assert str(found) == (
        "the loss is not finite at row 7 (step 7, learning rate 0.5, batch of rows 3, 1, 4), whose "
        "data are finite: the steps are too long; lower the learning rate, or standardise the "
        "features"
    )


def test_a_batch_is_named_by_its_first_rows() -> None:
    assert place_of(0, 1e-3, np.array([5])) == " (step 0, learning rate 0.001, batch of rows 5)"
    told = place_of(1, 2.0, np.arange(4))
    assert told == " (step 1, learning rate 2, batch of rows 0, 1, 2 and 1 more)"
