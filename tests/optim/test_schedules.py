"""Every schedule of the table: its curve in closed form, its limits, its description."""

import inspect
import json
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooc.core.errors import InputError
from ooc.optim import sgd
from ooc.optim.schedules import (
    SCHEDULES,
    Schedule,
    constant,
    cosine,
    inverse_scaling,
    plateau,
    plateau_factor,
    schedule_from_config,
    staircase,
)
from ooc.optim.settings import FACTOR, rate_at

MADE = {
    "constant": constant(),
    "inverse_scaling": inverse_scaling(100, 0.75),
    "step": staircase(30, 0.5),
    "cosine": cosine(200, 0.1),
    "plateau": plateau(),
}
CURVES: dict[str, Callable[[int], float]] = {
    "constant": lambda step: 1.0,
    "inverse_scaling": lambda step: (100 / (100 + step)) ** 0.75,
    "step": lambda step: math.prod([0.5] * (step // 30)),
    "cosine": lambda step: 1.0 - 0.9 * math.sin(math.pi * step / 400) ** 2 if step < 200 else 0.1,
    "plateau": lambda step: 1.0,
}


def made_of(name: str) -> Schedule:
    """Return a schedule of an entry, also of one that these tests do not know."""
    if name in MADE:
        return MADE[name]
    given = inspect.signature(SCHEDULES[name]).parameters.values()
    asked = [
        each for each in given if each.default is each.empty and each.kind != each.KEYWORD_ONLY
    ]
    return SCHEDULES[name](*[30] * len(asked)).for_steps(100)


def rate(schedule: Schedule, step: int) -> float:
    return rate_at(sgd(0.5, schedule=schedule).settings(), step)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", CURVES)
@given(step=st.integers(0, 1000), warmup=st.integers(0, 50))
def test_the_rate_follows_its_curve_after_a_linear_warmup(
    name: str, step: int, warmup: int
) -> None:
    found = rate(replace(MADE[name], warmup=warmup), step)
    factor = (step + 1) / warmup if step < warmup else CURVES[name](step - warmup)
    assert found == pytest.approx(0.5 * factor, rel=1e-12)
    assert 0 < found <= 0.5


@pytest.mark.parametrize("name", SCHEDULES)
def test_it_has_the_name_of_its_entry(name: str) -> None:
    assert made_of(name).name == name


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", SCHEDULES)
@given(step=st.integers(0, 10**6), warmup=st.integers(0, 50))
def test_a_rate_is_finite_and_begins_at_its_full_length(name: str, step: int, warmup: int) -> None:
    """Also of an entry whose curve is not known here."""
    schedule = replace(made_of(name), warmup=warmup)
    assert rate(schedule, warmup) == 0.5
    assert 0 <= rate(schedule, step) < math.inf


def test_a_run_may_lower_the_rate() -> None:
    settings = sgd(0.5, schedule=staircase(10, 0.5)).settings()
    settings[FACTOR] = 0.25
    assert rate_at(settings, 15) == 0.5 * 0.25 * 0.5


def test_a_cosine_spans_the_run_that_it_is_told_of() -> None:
    schedule = cosine(floor=0.2, warmup=10).for_steps(110)
    assert schedule == cosine(100, 0.2, warmup=10)
    assert rate(schedule, 10) == 0.5
    assert rate(schedule, 60) == pytest.approx(0.5 * 0.6)
    assert rate(schedule, 110) == pytest.approx(0.5 * 0.2)
    assert rate(cosine(warmup=10).for_steps(5), 4) == 0.25
    for made in MADE.values():
        assert made.for_steps(77) is made


@given(
    losses=st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, math.nan, math.inf]), max_size=40),
    patience=st.integers(1, 4),
)
def test_a_plateau_lowers_the_rate_as_one_reads_the_list(
    losses: list[float], patience: int
) -> None:
    """Once for each full `patience` of evaluations between a new best and the next."""
    bests = [
        i
        for i, loss in enumerate(losses)
        if all(loss < other for other in losses[:i] if other == other) and loss < math.inf
    ]
    runs, last = 0, -1
    for place in [*bests, len(losses)]:
        runs += (place - last - 1) // patience
        last = place
    assert plateau_factor(plateau(0.5, patience), losses) == 0.5**runs


def test_only_a_plateau_looks_at_losses() -> None:
    for name, schedule in MADE.items():
        expected = 0.25 if name == "plateau" else 1.0
        assert plateau_factor(schedule, [1.0, 2.0, 2.0, 2.0, 1.0]) == expected


@pytest.mark.parametrize("name", SCHEDULES)
def test_it_is_made_again_from_its_description(name: str) -> None:
    for made in (made_of(name), replace(made_of(name), warmup=9), cosine()):
        again = schedule_from_config(json.loads(json.dumps(made.to_config())))
        assert again == made
        if not made.spans_run:
            assert [rate(again, step) for step in range(50)] == [
                rate(made, step) for step in range(50)
            ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: constant(warmup=-1),
        lambda: constant(warmup=1.5),  # type: ignore[arg-type]
        lambda: inverse_scaling(0),
        lambda: inverse_scaling(10, power=-1),
        lambda: inverse_scaling(10, power=float("nan")),
        lambda: staircase(0),
        lambda: staircase(10, factor=1.5),
        lambda: cosine(-5),
        lambda: cosine(2.5),  # type: ignore[arg-type]
        lambda: cosine(10, floor=1.5),
        lambda: plateau(factor=0),
        lambda: plateau(patience=0),
    ],
)
def test_a_constant_out_of_range_is_refused(make: Callable[[], Schedule]) -> None:
    with pytest.raises(InputError, match="must be") as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_description_of_something_else_is_refused() -> None:
    config = staircase(10).to_config()
    for change, says in [
        ({"name": "sine"}, "no schedule is called 'sine'; choose one of: constant, "),
        ({"constants": [0.0, 0.5]}, "every must be a whole number of at least 1"),
        ({"constants": None}, "cannot be made"),
        ({"constants": [1.0, 0.5, 2.0]}, "cannot be made"),
        ({"warmup": -1}, "warmup must be"),
    ]:
        with pytest.raises(InputError, match=says):
            schedule_from_config(config | change)


def test_numbers_that_are_not_given_are_the_usual_ones() -> None:
    assert constant().constants == ()
    assert inverse_scaling(10).constants == (10.0, 0.5)
    assert staircase(10).constants == (10.0, 0.1)
    assert (cosine().constants, cosine(10).constants) == ((0.0, 0.0), (10.0, 0.0))
    assert plateau().constants == (0.5, 2.0)
    assert {schedule.warmup for schedule in (constant(), cosine(), plateau())} == {0}


def test_the_bounds_of_a_factor_are_told() -> None:
    for make, message in (
        (
            lambda: staircase(10, factor=1),
            "factor must be above 0 and below 1, not 1; try factor=0.5",
        ),
        (lambda: plateau(0), "factor must be above 0 and below 1, not 0; try factor=0.5"),
        (lambda: cosine(5, -0.1), "floor must be between 0 and 1, not -0.1; try floor=0"),
    ):
        with pytest.raises(InputError) as refused:
            make()
        assert str(refused.value) == message
    assert (cosine(5, 1).constants, cosine(5, 0).constants) == ((5.0, 1.0), (5.0, 0.0))
