"""Grids of optimizers: every combination, under a name that tells what varies."""

import pytest

from ooc.core.errors import InputError
from ooc.optim import OPTIMIZERS, adam, sgd
from ooc.optim.grid import grid
from ooc.optim.named import make_named
from ooc.optim.schedules import SCHEDULES, cosine, staircase


def test_every_combination_has_a_name_that_tells_what_varies() -> None:
    schedule = cosine(50)
    found = grid(["sgd", "adam:0.8,0.9"], [0.1, 1.0], [0.5], [0.0, 0.25], schedule)
    assert found == {
        f"optimizer={name},lr={rate:g},l1={l1:g}": make(
            rate, *numbers, l2=0.5, l1=l1, schedule=schedule
        )
        for name, make, numbers in (("sgd", sgd, ()), ("adam:0.8,0.9", adam, (0.8, 0.9)))
        for rate in (0.1, 1.0)
        for l1 in (0.0, 0.25)
    }
    assert list(grid(["sgd"], [0.001])) == ["lr=0.001"]
    assert grid(["sgd"], [0.001]) == {"lr=0.001": sgd(0.001)}
    assert list(grid(["sgd"], [1], [1e-6, 2])) == ["lr=1,l2=1e-06", "lr=1,l2=2"]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"lr": [0.1, 0.1]}, "lr has the same value twice: 0.1, 0.1"),
        ({"lr": [1], "l2": [0, 1, 0.0]}, "l2 has the same value twice: 0, 1, 0.0"),
        ({"lr": [1], "l1": [2, 2]}, "l1 has the same value twice: 2, 2"),
    ],
)
def test_a_value_that_comes_twice_is_refused(axes: dict, message: str) -> None:
    with pytest.raises(InputError) as refused:
        grid(["sgd"], **axes)
    assert str(refused.value) == message
    with pytest.raises(InputError, match="optimizer has the same value twice: sgd, sgd"):
        grid(["sgd", "sgd"], [1])


@pytest.mark.parametrize(
    ("what", "text", "message"),
    [
        (
            "optimizer",
            "adam:0.9,x",
            "optimizer adam cannot be made from '0.9,x'; write numbers as in "
            "adam:beta1,beta2,epsilon",
        ),
        (
            "optimizer",
            "sgd:1",
            "optimizer sgd cannot be made from '1'; it has no numbers of its own",
        ),
        (
            "schedule",
            "step:5,0.5,1",
            "schedule step cannot be made from '5,0.5,1'; write numbers as in step:every,factor",
        ),
        (
            "schedule",
            "constant:1",
            "schedule constant cannot be made from '1'; it has no numbers of its own",
        ),
        ("schedule", "step:0", "every must be a whole number of at least 1, not 0"),
    ],
)
def test_numbers_after_a_name_are_those_that_it_takes(what: str, text: str, message: str) -> None:
    table, first = (OPTIMIZERS, [0.1]) if what == "optimizer" else (SCHEDULES, [])
    with pytest.raises(InputError) as refused:
        make_named(what, table, text, *first)  # type: ignore[type-var]
    assert str(refused.value) == message


def test_whole_numbers_stay_whole() -> None:
    assert make_named("schedule", SCHEDULES, "step:1000,0.5", warmup=3) == staircase(
        1000, 0.5, warmup=3
    )
    assert make_named("optimizer", OPTIMIZERS, "averaged:7", 0.5) == OPTIMIZERS["averaged"](0.5, 7)
