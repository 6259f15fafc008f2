"""Every optimizer of the table: naive twins, pieces, resume, and what it leaves alone."""

import inspect
import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import pairs

from ooc.core.compiler import lean_kernel
from ooc.optim import OPTIMIZERS, Optimizer, sgd
from ooc.optim.penalties import clip_scale
from ooc.optim.schedules import (
    SCHEDULES,
    Schedule,
    constant,
    cosine,
    inverse_scaling,
    plateau,
    staircase,
)
from ooc.optim.settings import rate_at
from ooc.optim.step import step_piece

SIZE, STEPS = 17, 100
REALS = ["float32", "float64"]
EXTRAS = {
    "plain": {},
    "l2": {"l2": 0.3},
    "l1": {"l1": 0.4},
    "clip": {"clip_norm": 2.0},
    "all": {"l2": 0.3, "l1": 0.4, "clip_norm": 2.0, "schedule": cosine(80, 0.1, warmup=5)},
}
MASK = np.arange(SIZE) % 3 != 0

# (parameters, gradient, memory, step, rate, threshold of a step of length 1) -> parameters
Step = Callable[[np.ndarray, np.ndarray, dict, int, float, np.ndarray], np.ndarray]


def soft(w: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    return np.sign(w) * np.maximum(np.abs(w) - threshold, 0)


def naive_sgd(
    w: np.ndarray, g: np.ndarray, memory: dict, step: int, rate: float, l1: np.ndarray
) -> np.ndarray:
    return soft(w - rate * g, rate * l1)


def naive_momentum(
    w: np.ndarray, g: np.ndarray, memory: dict, step: int, rate: float, l1: np.ndarray
) -> np.ndarray:
    """The velocity is what the last step was, thresholds and all."""
    velocity = (memory["w"] - w) / memory["rate"] if step else 0
    memory["w"], memory["rate"] = w, rate
    return soft(w - rate * (0.9 * velocity + g), rate * l1)


def naive_nesterov(
    w: np.ndarray, g: np.ndarray, memory: dict, step: int, rate: float, l1: np.ndarray
) -> np.ndarray:
    """The threshold is an implicit subgradient: one of the penalty at the new point."""
    v = memory.get("v", 0 * w)
    found = soft(w - rate * (g + 0.9 * (0.9 * v + g)), rate * 1.9 * l1)
    total = ((w - found) / rate - 0.81 * v) / 1.9
    memory["v"] = 0.9 * v + total
    assert np.all(np.abs(total - g) <= l1 + 1e-9)
    np.testing.assert_allclose(((total - g) * found), l1 * np.abs(found), atol=1e-9)
    return found


def naive_adagrad(
    w: np.ndarray, g: np.ndarray, memory: dict, step: int, rate: float, l1: np.ndarray
) -> np.ndarray:
    memory["s"] = memory.get("s", 0) + g * g
    length = rate / (np.sqrt(memory["s"]) + 1e-10)
    return soft(w - length * g, length * l1)


def naive_ftrl(
    w: np.ndarray, g: np.ndarray, memory: dict, step: int, rate: float, l1: np.ndarray
) -> np.ndarray:
    """McMahan and others 2013, algorithm 1; it begins at w, and a subgradient of L1 is in z."""
    root = np.sqrt(memory.get("n", np.zeros_like(w)))
    # A rate that changed leaves w as it was.
    z = memory.get("z", -w / rate) * memory.get("rate", rate) / rate
    memory["rate"] = rate
    memory["n"] = root**2 + g**2
    z = z + g - (np.sqrt(memory["n"]) - root) / rate * w
    length = rate / (1 + np.sqrt(memory["n"]))
    found = soft(-z * length, length * l1)
    memory["z"] = -found / length
    return found


def naive_rmsprop(
    w: np.ndarray, g: np.ndarray, memory: dict, step: int, rate: float, l1: np.ndarray
) -> np.ndarray:
    memory["s"] = 0.99 * memory.get("s", 0) + 0.01 * g * g
    length = rate / (np.sqrt(memory["s"]) + 1e-8)
    return soft(w - length * g, length * l1)


def naive_adam(
    w: np.ndarray, g: np.ndarray, memory: dict, step: int, rate: float, l1: np.ndarray
) -> np.ndarray:
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["s"] = 0.999 * memory.get("s", 0) + 0.001 * g * g
    mean, square = memory["m"] / (1 - 0.9 ** (step + 1)), memory["s"] / (1 - 0.999 ** (step + 1))
    length = rate / (np.sqrt(square) + 1e-8)
    return soft(w - length * mean, length * l1)


def naive_adamw(
    w: np.ndarray, g: np.ndarray, memory: dict, step: int, rate: float, l1: np.ndarray
) -> np.ndarray:
    return naive_adam(np.where(MASK, w * (1 - rate * 0.01), w), g, memory, step, rate, l1)


TWINS: dict[str, Step] = {
    "sgd": naive_sgd,
    "momentum": naive_momentum,
    "nesterov": naive_nesterov,
    "adagrad": naive_adagrad,
    "rmsprop": naive_rmsprop,
    "adam": naive_adam,
    "adamw": naive_adamw,
    "averaged": naive_sgd,
    "ftrl": naive_ftrl,
}


# A schedule for each rule, and its factor at a step after the warm-up.
RULES: dict[str, tuple[Schedule, Callable[[int], float]]] = {
    "constant": (constant(), lambda step: 1.0),
    "inverse_scaling": (inverse_scaling(30, 0.75), lambda step: (1 + step / 30) ** -0.75),
    "step": (staircase(30, 0.5), lambda step: 0.5 ** (step // 30)),
    "cosine": (
        cosine(80, 0.1),
        lambda step: 0.1 + 0.45 * (1 + math.cos(math.pi * min(step, 80) / 80)),
    ),
    "plateau": (plateau(), lambda step: 1.0),
}


def made_of(rule: str) -> Schedule:
    """Return a schedule of an entry, also of one that these tests do not know."""
    if rule in RULES:
        return RULES[rule][0]
    given = inspect.signature(SCHEDULES[rule]).parameters.values()
    asked = [
        each for each in given if each.default is each.empty and each.kind != each.KEYWORD_ONLY
    ]
    return SCHEDULES[rule](*[30] * len(asked)).for_steps(100)


def compare(
    name: str, kinds: dict, real: str, rates: Callable[[int], float], rng: np.random.Generator
) -> None:
    optimizer, memory = OPTIMIZERS[name](0.1, **kinds), {}
    parameters = rng.standard_normal(SIZE).astype(real)
    expected = parameters.astype(np.float64)
    state, iterates, zeros = optimizer.init(SIZE), [], 0
    for step in range(STEPS):
        # Each at its own point: a curvature is needed, or roundings would grow without bound where
        # thresholds and velocities meet.
        noise = rng.standard_normal(SIZE)
        gradient, clipped = noise + parameters, noise + expected
        if "clip_norm" in kinds:
            clipped *= min(1, kinds["clip_norm"] / np.linalg.norm(clipped))
        clipped += kinds.get("l2", 0) * MASK * expected
        optimizer.update(parameters, gradient, state, step, MASK)
        l1 = kinds.get("l1", 0) * MASK
        expected = TWINS[name](expected, clipped, memory, step, rates(step), l1)
        iterates.append(expected)
        zeros += np.count_nonzero(parameters == 0)
    room = {"rtol": 1e-5, "atol": 1e-5} if real == "float32" else {"rtol": 1e-9, "atol": 1e-10}
    assert parameters.dtype == real
    np.testing.assert_allclose(parameters, expected, **room)
    solution = np.mean(iterates, axis=0) if name == "averaged" else expected
    np.testing.assert_allclose(optimizer.solution(parameters, state), solution, **room)
    assert (zeros > 0) == ("l1" in kinds)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("name", TWINS)
def test_a_hundred_steps_are_those_of_a_naive_twin(
    name: str, extra: str, real: str, rng: np.random.Generator
) -> None:
    def rates(step: int) -> float:
        if "schedule" not in EXTRAS[extra]:
            return 0.1
        return 0.1 * (step + 1) / 5 if step < 5 else 0.1 * RULES["cosine"][1](step - 5)

    compare(name, EXTRAS[extra], real, rates, rng)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", TWINS)
def test_a_hundred_steps_under_a_schedule_are_those_of_a_naive_twin(
    name: str, rule: str, rng: np.random.Generator
) -> None:
    schedule, factor = RULES[rule]
    compare(name, {"schedule": schedule}, "float64", lambda step: 0.1 * factor(step), rng)


@pytest.mark.parametrize("rule", SCHEDULES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rate_of_a_step_is_all_that_a_schedule_changes(
    name: str, rule: str, rng: np.random.Generator
) -> None:
    """Also for entries without a twin: the step at a rate is that of a constant rate."""
    optimizer = OPTIMIZERS[name](0.1, schedule=made_of(rule))
    parameters = rng.standard_normal(SIZE)
    other, states = parameters.copy(), (optimizer.init(SIZE), optimizer.init(SIZE))
    for step in range(40):
        gradient = rng.standard_normal(SIZE)
        rate = rate_at(optimizer.settings(), step)
        if rate == 0:
            break
        optimizer.update(parameters, gradient.copy(), states[0], step)
        OPTIMIZERS[name](rate).update(other, gradient, states[1], step)
        assert np.array_equal(parameters, other)
    assert step > 30


@lean_kernel
def update_piece(
    update: int,
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    step: int,
    penalised: np.ndarray,
    first: int,
    scale: float,
) -> None:
    rate = rate_at(settings, step)
    step_piece(update, parameters, gradient, state, settings, rate, step, penalised, first, scale)


def everything(name: str) -> Optimizer:
    schedule = inverse_scaling(10, warmup=3)
    return OPTIMIZERS[name](0.3, l2=0.1, l1=0.2, clip_norm=0.5, schedule=schedule)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("name", OPTIMIZERS)
@settings(max_examples=8)
@given(cuts=st.sets(st.integers(1, SIZE - 1)), seed=st.integers(0, 1000))
def test_pieces_take_the_step_of_the_whole_to_the_last_bit(
    name: str, real: str, cuts: set[int], seed: int
) -> None:
    rng, optimizer = np.random.default_rng(seed), everything(name)
    whole = rng.standard_normal(SIZE).astype(real)
    pieces, states = whole.copy(), (optimizer.init(SIZE), optimizer.init(SIZE))
    own, edges = optimizer.settings(), [0, *sorted(cuts), SIZE]
    for step in range(6):
        gradient = rng.standard_normal(SIZE)
        scale = clip_scale(gradient, own)
        for first, last in pairwise(edges):
            piece = slice(first, last)
            part = gradient[piece].copy()
            address = optimizer.address(real)
            update_piece(address, pieces[piece], part, states[1], own, step, MASK, first, scale)
        optimizer.update(whole, gradient, states[0], step, MASK)
    assert np.array_equal(whole, pieces)
    assert np.array_equal(*states)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_entry_without_gradient_and_penalty_never_changes(
    name: str, rng: np.random.Generator
) -> None:
    optimizer = everything(name)
    parameters = rng.standard_normal(SIZE).astype(np.float32)
    before, state = parameters.copy(), optimizer.init(SIZE)
    for step in range(STEPS):
        optimizer.update(parameters, rng.standard_normal(SIZE) * MASK, state, step, MASK)
    kept = optimizer.solution(parameters, state)
    for found in (parameters, kept):
        assert np.array_equal(found[~MASK], before[~MASK])
    assert np.all(parameters[MASK] != before[MASK])


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_resumes_from_parameters_and_state_alone(
    name: str, extra: str, rng: np.random.Generator
) -> None:
    """Whatever it keeps lies in the state: at no step does it matter that all was copied."""
    whole = rng.standard_normal(SIZE).astype(np.float32)
    resumed, optimizer = whole.copy(), OPTIMIZERS[name](0.1, **EXTRAS[extra])
    state = optimizer.init(SIZE)
    kept = state.copy()
    for step in range(STEPS):
        gradient = rng.standard_normal(SIZE)
        optimizer.update(whole, gradient.copy(), state, step, MASK)
        again = OPTIMIZERS[name](0.1, **EXTRAS[extra])
        resumed, kept = resumed.copy(), kept.copy()
        again.update(resumed, gradient, kept, step, MASK)
        assert np.array_equal(whole, resumed)
        assert np.array_equal(state, kept)
        assert np.isfinite(whole).all()
        assert np.isfinite(state).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_go_down_a_parabola(name: str, rng: np.random.Generator) -> None:
    """With noise and without a twin: an entry that goes uphill is found."""
    optimizer = OPTIMIZERS[name](0.05)
    parameters, state = np.full(SIZE, 3.0), optimizer.init(SIZE)
    for step in range(500):
        gradient = parameters + 0.1 * rng.standard_normal(SIZE)
        optimizer.update(parameters, gradient, state, step)
    assert np.abs(optimizer.solution(parameters, state)).max() < 1.5


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("extra", "value"), pairs(EXTRAS, [np.nan, np.inf, -np.inf]))
def test_a_gradient_that_is_not_finite_is_not_lost(name: str, extra: str, value: float) -> None:
    """A step by signs may hide it from the parameters, but not from its state."""
    optimizer = OPTIMIZERS[name](0.1, **EXTRAS[extra])
    parameters, state = np.ones(SIZE, np.float32), optimizer.init(SIZE)
    gradient = np.zeros(SIZE)
    gradient[4] = value
    optimizer.update(parameters, gradient, state, 0, MASK)
    lost = np.isfinite(parameters[4])
    assert not lost or not (name in TWINS or np.isfinite(state[:, 4]).all())


@pytest.mark.parametrize("start", [0, 7, 99, 1000])
def test_the_average_begins_where_it_is_told_to(start: int, rng: np.random.Generator) -> None:
    """Before it, and before the first step, it is the iterate; the iterates are those of SGD."""
    optimizer = OPTIMIZERS["averaged"](0.5, start=start)
    parameters = rng.standard_normal(SIZE).astype(np.float32)
    plain, state, iterates = parameters.copy(), optimizer.init(SIZE), []
    assert np.array_equal(optimizer.solution(parameters, state), parameters)
    for step in range(STEPS):
        gradient = rng.standard_normal(SIZE)
        optimizer.update(parameters, gradient.copy(), state, step)
        sgd(0.5).update(plain, gradient, state, step)
        assert np.array_equal(parameters, plain)
        iterates.append(parameters.astype(np.float64))
        expected = np.mean(iterates[start:] or iterates[-1:], axis=0)
        found = optimizer.solution(parameters, state)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
        assert found.dtype == np.float32


def test_the_average_is_nearer_to_the_minimum_than_its_iterates(rng: np.random.Generator) -> None:
    """On a noisy parabola, averaged over n steps: variance 1/n, which no other estimate beats."""
    optimizer, runs, steps = OPTIMIZERS["averaged"](0.1, start=100), 2000, 900
    parameters, state = np.zeros(runs, np.float32), optimizer.init(runs)
    for step in range(steps):
        optimizer.update(parameters, parameters - rng.standard_normal(runs), state, step)
    spread = np.var(optimizer.solution(parameters, state)) * (steps - 100)
    assert spread == pytest.approx(1.0, rel=0.15)
    assert np.var(parameters) == pytest.approx(0.1 / 1.9, rel=0.15)
