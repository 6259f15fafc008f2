"""Optimizers: (init, update) pairs over one flat parameter vector.

A new optimizer is one constructor, one compiled update, one entry of `OPTIMIZERS` and one branch
of `update_piece`. An update never knows a model: it sees vectors.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from ooc.compiled import exact_kernel
from ooc.errors import InputError

SGD = 0
MOMENTUM = 1
ADAM = 2


@dataclass(frozen=True)
class Optimizer:
    """One optimizer with its constants.

    Attributes
    ----------
    name
        Its entry in `OPTIMIZERS`.
    code
        What the compiled `update` chooses by.
    constants
        Learning rate first, then what the optimizer calls its own.
    slots
        Vectors of state for each parameter.
    """

    name: str
    code: int
    constants: tuple[float, ...]
    slots: int

    @property
    def learning_rate(self) -> float:
        """The step's length for each unit of gradient."""
        return self.constants[0]

    def init(self, parameters: int) -> np.ndarray:
        """Return the zeroed float64 state, shape (slots, parameters)."""
        return np.zeros((self.slots, parameters))

    def state_bytes(self, parameters: int) -> int:
        """Return the bytes of the state for this many parameters."""
        return 8 * self.slots * parameters

    def update(
        self, parameters: np.ndarray, gradient: np.ndarray, state: np.ndarray, step: int
    ) -> None:
        """Take one step in place; `step` counts from 0."""
        update(self.code, parameters, gradient, state, np.array(self.constants), step)

    def to_config(self) -> dict[str, object]:
        """Return the optimizer as JSON-ready values."""
        return asdict(self)


def sgd(lr: float) -> Optimizer:
    """Stochastic gradient descent: ``w -= lr * gradient``."""
    return Optimizer("sgd", SGD, (_positive("lr", lr),), slots=0)


def momentum(lr: float, momentum: float = 0.9) -> Optimizer:
    """Heavy ball (Polyak 1964): ``v = momentum * v + gradient; w -= lr * v``."""
    constants = (_positive("lr", lr), _fraction("momentum", momentum))
    return Optimizer("momentum", MOMENTUM, constants, slots=1)


def adam(
    lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> Optimizer:
    """Adam (Kingma and Ba 2015, algorithm 1, with bias correction)."""
    constants = (
        _positive("lr", lr),
        _fraction("beta1", beta1),
        _fraction("beta2", beta2),
        _positive("epsilon", epsilon),
    )
    return Optimizer("adam", ADAM, constants, slots=2)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "momentum": momentum, "adam": adam}


@exact_kernel
def sgd_update(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    step: int,
    first: int,
) -> None:
    """Update `parameters` (float32) in place from the mean gradient (float64)."""
    rate = constants[0]
    for i in range(parameters.size):
        parameters[i] -= rate * gradient[i]


@exact_kernel
def momentum_update(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    step: int,
    first: int,
) -> None:
    """Update `parameters` (float32) and their velocity in ``state[0]`` in place."""
    rate, memory = constants[0], constants[1]
    velocity = state[0][first : first + parameters.size]
    for i in range(parameters.size):
        velocity[i] = memory * velocity[i] + gradient[i]
        parameters[i] -= rate * velocity[i]


@exact_kernel
def adam_update(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    step: int,
    first: int,
) -> None:
    """Update `parameters` (float32) and both moments in ``state`` in place."""
    rate, beta1, beta2, epsilon = constants[0], constants[1], constants[2], constants[3]
    mean_scale = 1.0 / (1.0 - beta1 ** (step + 1))
    square_scale = 1.0 / (1.0 - beta2 ** (step + 1))
    mean = state[0][first : first + parameters.size]
    square = state[1][first : first + parameters.size]
    for i in range(parameters.size):
        g = gradient[i]
        mean[i] = beta1 * mean[i] + (1.0 - beta1) * g
        square[i] = beta2 * square[i] + (1.0 - beta2) * g * g
        parameters[i] -= (
            rate * (mean[i] * mean_scale) / (math.sqrt(square[i] * square_scale) + epsilon)
        )


@exact_kernel
def update(
    code: int,
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    step: int,
) -> None:
    """Take one step of the optimizer that has this code."""
    update_piece(code, parameters, gradient, state, constants, step, 0)


@exact_kernel
def update_piece(
    code: int,
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    constants: np.ndarray,
    step: int,
    first: int,
) -> None:
    """Take one step for the piece of the parameters that begins at `first` of the whole vector.

    Parameters
    ----------
    parameters, gradient
        Of the piece alone.
    state
        (slots, parameters) of the whole vector: a piece of it would not be contiguous, and half
        as fast.
    """
    if code == ADAM:
        adam_update(parameters, gradient, state, constants, step, first)
    elif code == MOMENTUM:
        momentum_update(parameters, gradient, state, constants, step, first)
    else:
        sgd_update(parameters, gradient, state, constants, step, first)


def _positive(name: str, value: float) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise InputError(f"{name} must be a positive finite number, not {value}; try {name}=0.1")
    return float(value)


def _fraction(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise InputError(f"{name} must be at least 0 and below 1, not {value}; try {name}=0.9")
    return float(value)
