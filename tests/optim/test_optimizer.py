"""What an optimizer promises beside its steps: bytes, refusals, and a description that suffices."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.optim import (
    OPTIMIZERS,
    adagrad,
    adam,
    adamw,
    averaged,
    momentum,
    nesterov,
    optimizer_from_config,
    rmsprop,
    sgd,
)
from ooc.optim.schedules import constant, cosine, staircase


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_takes_the_bytes_that_the_plan_counts(name: str) -> None:
    optimizer = OPTIMIZERS[name](0.1)
    assert optimizer.init(1000).nbytes == 8 * optimizer.state_rows(1000) * 1000
    assert optimizer.name == name


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_keeps_the_parameters_themselves_where_there_is_no_average(name: str) -> None:
    optimizer, parameters = OPTIMIZERS[name](0.1), np.ones(3, np.float32)
    solution = optimizer.solution(parameters, optimizer.init(3))
    assert (solution is parameters) == (not optimizer.averages)
    assert np.array_equal(solution, parameters)


@pytest.mark.parametrize(
    "make",
    [
        lambda: sgd(0.0),
        lambda: sgd(float("nan")),
        lambda: sgd(-1),
        lambda: sgd(0.1, l2=-1),
        lambda: sgd(0.1, l1=float("nan")),
        lambda: sgd(0.1, l1=float("inf")),
        lambda: sgd(0.1, clip_norm=0.0),
        lambda: sgd(0.1, clip_norm=float("inf")),
        lambda: sgd(0.1, schedule="cosine"),  # type: ignore[arg-type]
        lambda: momentum(0.1, 1.0),
        lambda: nesterov(0.1, -0.1),
        lambda: adagrad(0.1, 0.0),
        lambda: rmsprop(0.1, beta=1.0),
        lambda: adam(beta2=1.0),
        lambda: adam(epsilon=0),
        lambda: adamw(weight_decay=-0.1),
        lambda: averaged(0.1, start=-1),
        lambda: averaged(0.1, start=0.5),  # type: ignore[arg-type]
        lambda: sgd().with_rate(0.0),
    ],
)
def test_a_constant_out_of_range_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InputError, match="must be") as caught:
        make()
    assert "\n" not in str(caught.value)


def test_what_a_run_has_yet_to_find_is_asked_for() -> None:
    with pytest.raises(InputError, match="no learning rate yet"):
        sgd().settings()
    with pytest.raises(InputError, match=r"give them with cosine\(steps=...\)"):
        sgd(0.1, schedule=cosine()).settings()


def test_a_rate_that_is_found_falls_along_a_cosine_and_one_that_is_given_stays() -> None:
    assert sgd().with_rate(0.2) == sgd(0.2, schedule=cosine())
    assert sgd(0.2).rates == constant()
    assert sgd(schedule=constant()).with_rate(0.2) == sgd(0.2)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("rate", [None, 0.25])
def test_it_is_made_again_from_its_description(name: str, rate: float | None) -> None:
    for schedule in (cosine(warmup=3), staircase(10)):
        made = OPTIMIZERS[name](rate, l1=0.1, l2=0.2, clip_norm=3.0, schedule=schedule)
        assert optimizer_from_config(json.loads(json.dumps(made.to_config()))) == made
    assert optimizer_from_config(OPTIMIZERS[name](rate).to_config()) == OPTIMIZERS[name](rate)


def test_a_description_without_penalties_and_schedule_is_enough() -> None:
    config = {"name": "adam", "rate": 0.1, "constants": [0.8, 0.9, 1e-8]}
    assert optimizer_from_config(config) == adam(0.1, 0.8, 0.9)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "newton"}, "no optimizer is called 'newton'"),
        ({"name": ["sgd"]}, "no optimizer is called"),
        ({"constants": [0.9, 0.9, 0.9]}, "cannot be made"),
        ({"constants": None}, "cannot be made"),
        ({"constants": [1.5]}, "momentum must be at least 0"),
        ({"rate": "fast"}, "cannot be made"),
        ({"l1": -1}, "l1 must be"),
        ({"slots": 7}, "has slots not at all, but its description says 7"),
        ({"decay": 0.1}, "has decay not at all"),
        ({"schedule": {"name": "linear"}}, "no schedule is called 'linear'"),
        ({"schedule": {"name": "cosine", "constants": [1.0]}}, "cannot be made"),
        ({"schedule": None}, "no schedule is called None"),
    ],
)
def test_a_description_of_something_else_is_refused(change: dict, says: str) -> None:
    config = json.loads(json.dumps(momentum(0.1).to_config()))
    with pytest.raises(InputError, match=says) as caught:
        optimizer_from_config(config | change)
    assert "\n" not in str(caught.value)
    assert optimizer_from_config(config) == replace(momentum(0.1))
