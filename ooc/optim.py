"""Optimizers: (init, update) pairs over one flat parameter vector.

A new optimizer is one constructor, one compiled update, one entry of `OPTIMIZERS` and one branch
of `update_piece`. An update never knows a model: it sees vectors. All that it needs to know lies
in one vector of settings, whose entries are named below.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TypedDict, Unpack

import numpy as np

from ooc.compiled import exact_kernel
from ooc.errors import InputError
from ooc.schedules import UNCHANGED, Schedule, rate_factor

SGD = 0
MOMENTUM = 1
ADAM = 2

# Entries of the float64 settings: which update, its learning rate, a factor that a run may lower
# as it goes on, the schedule's code and constants, penalties, the largest norm of a gradient
# (0: any), and from OWN on the constants that the optimizer calls its own.
CODE, RATE, FACTOR, SCHEDULE, WARMUP, FIRST, SECOND, L2, L1, CLIP, OWN = range(11)
SETTINGS = OWN + 4


class Common(TypedDict, total=False):
    """What every optimizer takes beside its own constants.

    Attributes
    ----------
    l2, l1
        Penalties ``l2/2 |w|^2`` and ``l1 |w|_1`` of the coefficients; both make an elastic net.
    clip_norm
        Largest norm of a gradient; a longer one is scaled down to it.
    schedule
        How the learning rate changes with the step.
    """

    l2: float
    l1: float
    clip_norm: float | None
    schedule: Schedule


@dataclass(frozen=True)
class Optimizer:
    """One optimizer with its constants.

    Attributes
    ----------
    name
        Its entry in `OPTIMIZERS`.
    code
        What the compiled `update` chooses by.
    rate
        The learning rate; None where a run is to find it.
    constants
        What the optimizer calls its own, at most 4.
    slots
        Vectors of state for each parameter.
    l2, l1, clip_norm, schedule
        See `Common`.
    """

    name: str
    code: int
    rate: float | None
    constants: tuple[float, ...]
    slots: int
    l2: float = 0.0
    l1: float = 0.0
    clip_norm: float | None = None
    schedule: Schedule = UNCHANGED

    def init(self, parameters: int) -> np.ndarray:
        """Return the zeroed float64 state, shape (slots, parameters)."""
        return np.zeros((self.slots, parameters))

    def state_bytes(self, parameters: int) -> int:
        """Return the bytes of the state for this many parameters."""
        return 8 * self.slots * parameters

    def settings(self) -> np.ndarray:
        """Return the vector that the compiled `update` reads, float64 (SETTINGS,).

        Raises
        ------
        InputError
            If the learning rate is not known yet.
        """
        if self.rate is None:
            raise InputError(f"{self.name} has no learning rate yet; give one with lr=")
        settings = np.zeros(SETTINGS)
        settings[CODE], settings[RATE], settings[FACTOR] = self.code, self.rate, 1.0
        settings[SCHEDULE], settings[WARMUP] = self.schedule.code, self.schedule.warmup
        settings[FIRST : SECOND + 1] = self.schedule.constants
        settings[L2], settings[L1], settings[CLIP] = self.l2, self.l1, self.clip_norm or 0.0
        settings[OWN : OWN + len(self.constants)] = self.constants
        return settings

    def with_rate(self, rate: float) -> "Optimizer":
        """Return the same optimizer with another learning rate."""
        return replace(self, rate=_positive("lr", rate))

    def update(
        self,
        parameters: np.ndarray,
        gradient: np.ndarray,
        state: np.ndarray,
        step: int,
        penalised: np.ndarray | None = None,
    ) -> None:
        """Take one step in place; `step` counts from 0, and by default all is penalised."""
        if penalised is None:
            penalised = np.ones(parameters.size, np.bool_)
        update(parameters, gradient, state, self.settings(), step, penalised)

    def to_config(self) -> dict[str, object]:
        """Return the optimizer as JSON-ready values."""
        return asdict(self)


def sgd(lr: float | None = None, **common: Unpack[Common]) -> Optimizer:
    """Stochastic gradient descent: ``w -= lr * gradient``."""
    return Optimizer("sgd", SGD, _rate(lr), (), slots=0, **common)


def momentum(lr: float | None = None, momentum: float = 0.9, **common: Unpack[Common]) -> Optimizer:
    """Heavy ball (Polyak 1964): ``v = momentum * v + gradient; w -= lr * v``."""
    constants = (_fraction("momentum", momentum),)
    return Optimizer("momentum", MOMENTUM, _rate(lr), constants, slots=1, **common)


def adam(
    lr: float | None = None,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    **common: Unpack[Common],
) -> Optimizer:
    """Adam (Kingma and Ba 2015, algorithm 1, with bias correction)."""
    constants = (
        _fraction("beta1", beta1),
        _fraction("beta2", beta2),
        _positive("epsilon", epsilon),
    )
    return Optimizer("adam", ADAM, _rate(lr), constants, slots=2, **common)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "momentum": momentum, "adam": adam}


@exact_kernel
def sgd_update(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    step: int,
    first: int,
) -> None:
    """Update `parameters` (float32) in place from the mean gradient (float64)."""
    rate = rate_at(settings, step)
    for i in range(parameters.size):
        parameters[i] -= rate * gradient[i]


@exact_kernel
def momentum_update(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    step: int,
    first: int,
) -> None:
    """Update `parameters` (float32) and their velocity in ``state[0]`` in place."""
    rate, memory = rate_at(settings, step), settings[OWN]
    velocity = state[0][first : first + parameters.size]
    for i in range(parameters.size):
        velocity[i] = memory * velocity[i] + gradient[i]
        parameters[i] -= rate * velocity[i]


@exact_kernel
def adam_update(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    step: int,
    first: int,
) -> None:
    """Update `parameters` (float32) and both moments in ``state`` in place."""
    rate = rate_at(settings, step)
    beta1, beta2, epsilon = settings[OWN], settings[OWN + 1], settings[OWN + 2]
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
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    step: int,
    penalised: np.ndarray,
) -> None:
    """Take one step of the optimizer that these settings are of.

    Parameters
    ----------
    parameters
        (P,) float32, updated in place.
    gradient
        (P,) float64, the mean gradient without penalties; it may be overwritten.
    state
        (slots, P) float64, updated in place.
    settings
        What `Optimizer.settings` returned.
    step
        Number of the step, from 0.
    penalised
        (P,) bool, whether penalties are for this entry.
    """
    scale = clip_scale(gradient, settings)
    update_piece(parameters, gradient, state, settings, step, penalised, 0, scale)


@exact_kernel
def clip_scale(gradient: np.ndarray, settings: np.ndarray) -> float:
    """Return what a gradient is to be multiplied with, so that its norm is at most the limit."""
    return 1.0


@exact_kernel
def update_piece(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    step: int,
    penalised: np.ndarray,
    first: int,
    scale: float,
) -> None:
    """Take one step for the piece of the parameters that begins at `first` of the whole vector.

    Parameters
    ----------
    parameters, gradient
        Of the piece alone.
    state, penalised
        Of the whole vector: a piece of the state would not be contiguous, and half as fast.
    scale
        What the gradient is multiplied with, see `clip_scale`.
    """
    code = int(settings[CODE])
    if code == ADAM:
        adam_update(parameters, gradient, state, settings, step, first)
    elif code == MOMENTUM:
        momentum_update(parameters, gradient, state, settings, step, first)
    else:
        sgd_update(parameters, gradient, state, settings, step, first)


@exact_kernel
def rate_at(settings: np.ndarray, step: int) -> float:
    """Return the learning rate of a step."""
    schedule, warmup = int(settings[SCHEDULE]), int(settings[WARMUP])
    factor = rate_factor(schedule, warmup, settings[FIRST], settings[SECOND], step)
    return settings[RATE] * settings[FACTOR] * factor


def _rate(lr: float | None) -> float | None:
    return None if lr is None else _positive("lr", lr)


def _positive(name: str, value: float) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise InputError(f"{name} must be a positive finite number, not {value}; try {name}=0.1")
    return float(value)


def _fraction(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise InputError(f"{name} must be at least 0 and below 1, not {value}; try {name}=0.9")
    return float(value)
