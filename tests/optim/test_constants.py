"""Constants of an optimizer's own, other than the usual ones, against the formulas of its paper."""

from collections.abc import Callable

import numpy as np
import pytest

from ooc.optim import OPTIMIZERS, Optimizer

SIZE, STEPS, RATE = 7, 40, 0.1
MASK = np.arange(SIZE) % 2 == 0  # what is penalised

# (parameters, gradient, memory, step) -> parameters
Step = Callable[[np.ndarray, np.ndarray, dict, int], np.ndarray]


def momentum(w: np.ndarray, g: np.ndarray, memory: dict, step: int) -> np.ndarray:
    memory["v"] = 0.5 * memory.get("v", 0) + g
    return w - RATE * memory["v"]


def nesterov(w: np.ndarray, g: np.ndarray, memory: dict, step: int) -> np.ndarray:
    memory["v"] = 0.5 * memory.get("v", 0) + g
    return w - RATE * (g + 0.5 * memory["v"])


def adagrad(w: np.ndarray, g: np.ndarray, memory: dict, step: int) -> np.ndarray:
    memory["s"] = memory.get("s", 0) + g**2
    return w - RATE * g / (np.sqrt(memory["s"]) + 0.25)


def rmsprop(w: np.ndarray, g: np.ndarray, memory: dict, step: int) -> np.ndarray:
    memory["s"] = 0.75 * memory.get("s", 0) + 0.25 * g**2
    return w - RATE * g / (np.sqrt(memory["s"]) + 0.125)


def adam(w: np.ndarray, g: np.ndarray, memory: dict, step: int) -> np.ndarray:
    memory["m"] = 0.5 * memory.get("m", 0) + 0.5 * g
    memory["s"] = 0.75 * memory.get("s", 0) + 0.25 * g**2
    mean, square = memory["m"] / (1 - 0.5 ** (step + 1)), memory["s"] / (1 - 0.75 ** (step + 1))
    return w - RATE * mean / (np.sqrt(square) + 0.125)


def adamw(w: np.ndarray, g: np.ndarray, memory: dict, step: int) -> np.ndarray:
    return adam(np.where(MASK, w * (1 - RATE * 0.5), w), g, memory, step)


def ftrl(w: np.ndarray, g: np.ndarray, memory: dict, step: int) -> np.ndarray:
    """From zeros, as the paper begins; its penalties are for what is penalised alone."""
    z, n = memory.get("z", 0 * w), memory.get("n", 0 * w)
    memory["z"] = z + g - (np.sqrt(n + g**2) - np.sqrt(n)) / RATE * w
    memory["n"] = n + g**2
    soft = np.sign(memory["z"]) * np.maximum(np.abs(memory["z"]) - 0.75 * MASK, 0)
    return -soft / ((2.0 + np.sqrt(memory["n"])) / RATE + 3.0 * MASK)


CASES: dict[str, tuple[Optimizer, Step]] = {
    "momentum": (OPTIMIZERS["momentum"](RATE, 0.5), momentum),
    "nesterov": (OPTIMIZERS["nesterov"](RATE, 0.5), nesterov),
    "adagrad": (OPTIMIZERS["adagrad"](RATE, 0.25), adagrad),
    "rmsprop": (OPTIMIZERS["rmsprop"](RATE, 0.75, 0.125), rmsprop),
    "adam": (OPTIMIZERS["adam"](RATE, 0.5, 0.75, 0.125), adam),
    "adamw": (OPTIMIZERS["adamw"](RATE, 0.5, 0.75, 0.125, 0.5), adamw),
    "ftrl": (OPTIMIZERS["ftrl"](RATE, 2.0, 0.75, 3.0), ftrl),
}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_the_paper(name: str, rng: np.random.Generator) -> None:
    optimizer, twin = CASES[name]
    parameters = np.zeros(SIZE) if name == "ftrl" else rng.standard_normal(SIZE)
    expected, memory = parameters.copy(), dict[str, np.ndarray]()
    state, zeros = optimizer.init(SIZE), 0
    for step in range(STEPS):
        noise = rng.standard_normal(SIZE)
        expected = twin(expected, noise + expected, memory, step)
        optimizer.update(parameters, noise + parameters, state, step, MASK)
        np.testing.assert_allclose(parameters, expected, rtol=1e-9, atol=1e-12)
        zeros += np.count_nonzero(parameters[MASK] == 0)
        assert not np.any(parameters[~MASK] == 0)
    assert (zeros > 0) == (name == "ftrl")
