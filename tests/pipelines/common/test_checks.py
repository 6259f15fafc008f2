"""A value that is on the wrong side of its bound, or is no number, does not meet it."""

import json
import math

import pytest

from pipelines.common import checks


@pytest.mark.parametrize(
    ("hold", "bound", "met", "missed"),
    [
        (checks.at_least, "2", (2, 3), (1.9,)),
        (checks.at_most, "2", (2, 1), (2.1,)),
        (checks.above, "2", (2.1,), (2, 1)),
        (checks.below, "2", (1.9,), (2, 3)),
        (checks.equal, "2", (2,), (2.1,)),
    ],
)
def test_a_bound_is_held_on_its_side(hold, bound: str, met: tuple, missed: tuple) -> None:
    for value in met:
        assert hold("a", value, 2).met
    for value in (*missed, math.nan):
        assert not hold("a", value, 2).met
    assert hold("a", 1, 2).bound.endswith(f" {bound}")


@pytest.mark.parametrize("hold", [checks.near, checks.within])
def test_a_tolerance_is_to_both_sides(hold) -> None:
    assert [hold("a", value, 1, 0.1).met for value in (0.8, 0.95, 1.05, 1.2)] == [
        *(False, True, True, False)
    ]
    assert not hold("a", math.nan, 1, 0.1).met


def test_json_has_name_value_bound_and_whether_it_is_met() -> None:
    found = json.loads(json.dumps(checks.near("slope", -1.01, -1.0, 0.02).to_json()))
    assert found == {"name": "slope", "value": -1.01, "bound": "-1 ± 0.02", "met": True}
