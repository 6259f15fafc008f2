"""Every optimizer of the table against a naive twin, over many steps."""

from collections.abc import Callable

import numpy as np
import pytest

from ooc.errors import InputError
from ooc.optim import OPTIMIZERS, adam, momentum, sgd

Step = Callable[[np.ndarray, np.ndarray, dict, int], np.ndarray]


def naive_sgd(w: np.ndarray, g: np.ndarray, memory: dict, step: int) -> np.ndarray:
    return w - 0.1 * g


def naive_momentum(w: np.ndarray, g: np.ndarray, memory: dict, step: int) -> np.ndarray:
    memory["v"] = 0.9 * memory.get("v", 0) + g
    return w - 0.1 * memory["v"]


def naive_adam(w: np.ndarray, g: np.ndarray, memory: dict, step: int) -> np.ndarray:
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["s"] = 0.999 * memory.get("s", 0) + 0.001 * g * g
    mean, square = memory["m"] / (1 - 0.9 ** (step + 1)), memory["s"] / (1 - 0.999 ** (step + 1))
    return w - 0.1 * mean / (np.sqrt(square) + 1e-8)


TWINS: dict[str, Step] = {"sgd": naive_sgd, "momentum": naive_momentum, "adam": naive_adam}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_hundred_steps_are_those_of_a_naive_twin(name: str, rng: np.random.Generator) -> None:
    optimizer, memory = OPTIMIZERS[name](0.1), {}
    parameters = rng.standard_normal(17).astype(np.float32)
    expected = parameters.astype(np.float64)
    state = optimizer.init(parameters.size)
    for step in range(100):
        gradient = rng.standard_normal(17)
        optimizer.update(parameters, gradient, state, step)
        expected = TWINS[name](expected, gradient, memory, step)
    np.testing.assert_allclose(parameters, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_takes_the_bytes_that_the_plan_counts(name: str) -> None:
    optimizer = OPTIMIZERS[name](0.1)
    assert optimizer.init(1000).nbytes == optimizer.state_bytes(1000)


@pytest.mark.parametrize(
    "make",
    [
        lambda: sgd(0.0),
        lambda: sgd(float("nan")),
        lambda: sgd(-1),
        lambda: momentum(0.1, 1.0),
        lambda: adam(beta2=1.0),
        lambda: adam(epsilon=0),
    ],
)
def test_a_constant_out_of_range_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InputError, match="must be"):
        make()
