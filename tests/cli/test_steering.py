"""Options that steer a run: what they make, and what they are refused with."""

from typing import Any

import pytest

from ooc.cli.options import ValidationOptions
from ooc.cli.steering import SteeringOptions
from ooc.core.errors import InputError
from ooc.training.watchers.steering import Steering
from ooc.training.watchers.validation import Validation


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({}, None),
        ({"steer_every": 7}, None),
        ({"batch_schedule": "10=5,20=6"}, Steering([(10, 5), (20, 6)])),
        (
            {"temperature": "0=1,9=0.5", "largest_batch": 64, "steer_every": 3},
            Steering(None, [(0, 1.0), (9, 0.5)], "rate", 64, 3),
        ),
        (
            {"temperature": "0=2", "temperature_by": "batch"},
            Steering(None, [(0, 2.0)], "batch", None, 100),
        ),
        (
            {"auto_batch": True, "largest_batch": 64, "temperature": "5=3"},
            Steering("auto", [(5, 3.0)], "rate", 64),
        ),
        (
            {"batch_schedule": "10=5", "temperature": "5=3"},
            Steering([(10, 5)], [(5, 3.0)]),
        ),
    ],
)
def test_options_make_what_python_makes(options: dict[str, Any], made: Steering | None) -> None:
    assert SteeringOptions(**options).make() == made


IN_VAIN = (
    "--largest-batch and --temperature-by are for --auto-batch and --temperature; give one of these"
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"auto_batch": True, "batch_schedule": "1=2", "largest_batch": 5},
            "--auto-batch and --batch-schedule are two ways; choose one",
        ),
        ({"largest_batch": 5}, IN_VAIN),
        ({"temperature_by": "batch"}, IN_VAIN),
        (
            {"batch_schedule": "1=2.5"},
            "--batch-schedule is made of steps and values, as in 0=64,1000=128, not '1=2.5'",
        ),
        (
            {"temperature": "1.5=2"},
            "--temperature is made of steps and values, as in 0=64,1000=128, not '1.5=2'",
        ),
        (
            {"temperature": "1"},
            "--temperature is made of steps and values, as in 0=64,1000=128, not '1'",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        SteeringOptions(**options).make()
    assert str(refused.value) == message


def test_a_validation_needs_rows_that_are_held_out() -> None:
    assert ValidationOptions().make() is None
    assert ValidationOptions(0.25).make() == Validation(0.25, None, None, "block")
    assert ValidationOptions(0.25, "row", 7, 2).make() == Validation(0.25, 7, 2, "row")
    for options in ({"validation_ordered": True}, {"test": 0.1}):
        with pytest.raises(InputError) as refused:
            ValidationOptions(**options).make()  # type: ignore[arg-type]
        assert str(refused.value) == (
            "--test and --validation-ordered go with rows to validate on; hold some out with "
            "--validation 0.1"
        )
    made = ValidationOptions(0.25, "y", validation_ordered=True, test=0.125).make()
    assert made == Validation(0.25, None, None, "y", True, (), 0.125)
    made = ValidationOptions(validation_by="y", validation_groups="4,a b").make()
    assert made == Validation(by="y", groups=("4", "a b"))
    for options in ({"evaluate_every": 7}, {"patience": 2}):
        with pytest.raises(InputError) as refused:
            ValidationOptions(**options).make()  # type: ignore[arg-type]
        assert str(refused.value) == (
            "--evaluate-every and --patience need rows to evaluate on; hold some out with "
            "--validation 0.1"
        )
