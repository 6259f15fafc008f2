"""The optimizers: what each step does, compiled, and its constructor, with PyTorch's defaults.

An optimizer is an update, a constructor and an entry of `OPTIMIZERS`. An update sees a piece of
the flat vector and never a model::

    update(parameters, gradient, state, settings, rate, step, penalised, first) -> 0

parameters, gradient
    (size,) of the piece, which begins at `first` of the whole vector; the gradient, float64, is
    that of the mean loss, clipped, with the L2 penalty's, and may be overwritten.
state, penalised
    (slots, P) float64 and (P,) bool, of the whole vector.
settings, rate, step
    What `Optimizer.settings` returned, the learning rate, and the step's number, from 0.

With an L1 penalty, ``settings[L1]``, `ooc.optim.penalties.settle` says where a step comes to rest,
`sign_step` where one by the sign alone does. An entry whose gradient is always zero and that is
not penalised never changes.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Unpack

import numpy as np

from ooc.core.compiler import lean_kernel
from ooc.core.errors import InputError
from ooc.optim.optimizer import Common, Optimizer, positive
from ooc.optim.penalties import settle, soft_threshold
from ooc.optim.schedules import schedule_from_config
from ooc.optim.settings import L1, OWN


@lean_kernel
def shrink(
    parameters: np.ndarray, velocity: np.ndarray, mask: np.ndarray, length: float, l1: float
) -> None:
    """Threshold penalised entries of a piece, and tell the velocity what that took away.

    The threshold takes what a subgradient of the penalty at the new point would have taken. That
    goes into a velocity like any gradient (iPiano: Ochs, Chen, Brox and Pock 2014): without it,
    a memory mu would weaken the penalty by a factor of 1 - mu. `length` is how far the step goes
    for a gradient of 1.
    """
    for i in range(parameters.size):
        if mask[i] and length > 0.0:
            moved = np.float64(parameters[i])
            shrunk = soft_threshold(moved, length * l1)
            parameters[i] = shrunk
            velocity[i] += (moved - shrunk) / length


def update_sgd(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    rate: float,
    step: int,
    penalised: np.ndarray,
    first: int,
) -> int:
    """Take ``w -= rate * gradient``."""
    l1, mask = settings[L1], penalised[first:]
    for i in range(parameters.size):
        parameters[i] = settle(parameters[i] - rate * gradient[i], rate, l1, mask[i])
    return 0


def sgd(lr: float | None = None, **common: Unpack[Common]) -> Optimizer:
    """Stochastic gradient descent (Robbins and Monro 1951): ``w -= lr * gradient``.

    Examples
    --------
    >>> sgd(0.1, l2=0.01).rate
    0.1
    """
    return Optimizer("sgd", update_sgd, _rate(lr), reach=1.0, **common)


def update_momentum(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    rate: float,
    step: int,
    penalised: np.ndarray,
    first: int,
) -> int:
    """Take ``v = memory * v + gradient; w -= rate * v``; v is ``state[0]``."""
    memory, l1 = settings[OWN], settings[L1]
    mask, velocity = penalised[first:], state[0][first : first + parameters.size]
    for i in range(parameters.size):
        velocity[i] = memory * velocity[i] + gradient[i]
        parameters[i] -= rate * velocity[i]
    if l1 > 0.0:
        shrink(parameters, velocity, mask, rate, l1)
    return 0


def momentum(lr: float | None = None, momentum: float = 0.9, **common: Unpack[Common]) -> Optimizer:
    """Heavy ball (Polyak 1964): ``v = momentum * v + gradient; w -= lr * v``.

    Examples
    --------
    >>> momentum(0.1).slots
    1
    """
    constants = (_fraction("momentum", momentum),)
    return Optimizer(
        "momentum", update_momentum, _rate(lr), constants, 1, reach=1 / (1 - momentum), **common
    )


def update_nesterov(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    rate: float,
    step: int,
    penalised: np.ndarray,
    first: int,
) -> int:
    """Take ``v = memory * v + gradient; w -= rate * (gradient + memory * v)``."""
    memory, l1 = settings[OWN], settings[L1]
    mask, velocity = penalised[first:], state[0][first : first + parameters.size]
    for i in range(parameters.size):
        velocity[i] = memory * velocity[i] + gradient[i]
        parameters[i] -= rate * (gradient[i] + memory * velocity[i])
    if l1 > 0.0:
        shrink(parameters, velocity, mask, rate * (1.0 + memory), l1)
    return 0


def nesterov(lr: float | None = None, momentum: float = 0.9, **common: Unpack[Common]) -> Optimizer:
    """Nesterov's momentum, as Sutskever and others (2013) wrote it and PyTorch takes it.

    ``v = momentum * v + gradient; w -= lr * (gradient + momentum * v)``: w is the point looked
    ahead to, where gradients are taken.

    Examples
    --------
    >>> nesterov(0.1, momentum=0.8).constants
    (0.8,)
    """
    constants = (_fraction("momentum", momentum),)
    return Optimizer(
        "nesterov", update_nesterov, _rate(lr), constants, 1, reach=1 / (1 - momentum), **common
    )


def update_adagrad(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    rate: float,
    step: int,
    penalised: np.ndarray,
    first: int,
) -> int:
    """Divide by the root of the sum of squares, ``state[0]``."""
    epsilon, l1 = settings[OWN], settings[L1]
    mask, square = penalised[first:], state[0][first : first + parameters.size]
    for i in range(parameters.size):
        square[i] += gradient[i] * gradient[i]
        length = rate / (math.sqrt(square[i]) + epsilon)
        parameters[i] = settle(parameters[i] - length * gradient[i], length, l1, mask[i])
    return 0


def adagrad(lr: float | None = None, epsilon: float = 1e-10, **common: Unpack[Common]) -> Optimizer:
    """AdaGrad (Duchi, Hazan and Singer 2011), its diagonal form.

    ``s += gradient**2; w -= lr * gradient / (sqrt(s) + epsilon)``

    Examples
    --------
    >>> adagrad(0.1).constants
    (1e-10,)
    """
    constants = (positive("epsilon", epsilon),)
    return Optimizer("adagrad", update_adagrad, _rate(lr), constants, 1, **common)


def update_rmsprop(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    rate: float,
    step: int,
    penalised: np.ndarray,
    first: int,
) -> int:
    """Divide by the root of a running mean of squares, ``state[0]``."""
    kept, epsilon = settings[OWN], settings[OWN + 1]
    l1, mask, square = settings[L1], penalised[first:], state[0][first : first + parameters.size]
    for i in range(parameters.size):
        square[i] = kept * square[i] + (1.0 - kept) * gradient[i] * gradient[i]
        length = rate / (math.sqrt(square[i]) + epsilon)
        parameters[i] = settle(parameters[i] - length * gradient[i], length, l1, mask[i])
    return 0


def rmsprop(
    lr: float | None = None, beta: float = 0.99, epsilon: float = 1e-8, **common: Unpack[Common]
) -> Optimizer:
    """RMSProp (Tieleman and Hinton 2012), not centred; `beta` is PyTorch's ``alpha``.

    ``s = beta * s + (1 - beta) * gradient**2; w -= lr * gradient / (sqrt(s) + epsilon)``

    Examples
    --------
    >>> rmsprop(0.001).slots
    1
    """
    constants = (_fraction("beta", beta), positive("epsilon", epsilon))
    return Optimizer("rmsprop", update_rmsprop, _rate(lr), constants, 1, **common)


def update_adam(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    rate: float,
    step: int,
    penalised: np.ndarray,
    first: int,
) -> int:
    """Divide the running mean, ``state[0]``, by the root of that of squares, ``state[1]``."""
    l1, mask = settings[L1], penalised[first:]
    beta1, beta2, epsilon = settings[OWN], settings[OWN + 1], settings[OWN + 2]
    mean_scale = 1.0 / (1.0 - beta1 ** (step + 1))
    square_scale = 1.0 / (1.0 - beta2 ** (step + 1))
    mean = state[0][first : first + parameters.size]
    square = state[1][first : first + parameters.size]
    for i in range(parameters.size):
        g = gradient[i]
        mean[i] = beta1 * mean[i] + (1.0 - beta1) * g
        square[i] = beta2 * square[i] + (1.0 - beta2) * g * g
        length = rate / (math.sqrt(square[i] * square_scale) + epsilon)
        parameters[i] = settle(parameters[i] - length * (mean[i] * mean_scale), length, l1, mask[i])
    return 0


def adam(
    lr: float | None = None,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    **common: Unpack[Common],
) -> Optimizer:
    """Adam (Kingma and Ba 2015, algorithm 1, with bias correction).

    Examples
    --------
    >>> adam(0.001).constants
    (0.9, 0.999, 1e-08)
    """
    constants = _adam_constants(beta1, beta2, epsilon)
    return Optimizer("adam", update_adam, _rate(lr), constants, 2, **common)


def adamw(
    lr: float | None = None,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
    **common: Unpack[Common],
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

    ``w *= 1 - lr * weight_decay`` for what is penalised, then Adam's step. It is no penalty of
    the loss; the penalty `l2` goes through Adam's moments, as in `adam`.

    Examples
    --------
    >>> adamw(0.001, weight_decay=0.1).constants
    (0.9, 0.999, 1e-08, 0.1)
    """
    constants = (*_adam_constants(beta1, beta2, epsilon), float(weight_decay))
    return Optimizer(
        "adamw", update_adam, _rate(lr), constants, 2, decay=float(weight_decay), **common
    )


def update_averaged(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    rate: float,
    step: int,
    penalised: np.ndarray,
    first: int,
) -> int:
    """Take SGD's step, and the new iterate into the average; ``state[0]`` is how far it is ahead.

    The difference is what is kept between steps: a zeroed state says, rightly, that there is no
    average but the iterate, and the state needs no first iterate to begin with.
    """
    l1, mask = settings[L1], penalised[first:]
    ahead = state[0][first : first + parameters.size]
    kept = 1.0 - 1.0 / max(step - settings[OWN] + 1.0, 1.0)
    for i in range(parameters.size):
        average = ahead[i] + parameters[i]
        parameters[i] = settle(parameters[i] - rate * gradient[i], rate, l1, mask[i])
        ahead[i] = kept * (average - parameters[i])
    return 0


def averaged(lr: float | None = None, start: int = 0, **common: Unpack[Common]) -> Optimizer:
    """SGD whose solution is the average of its iterates (Polyak and Juditsky 1992, Ruppert 1988).

    The iterates are those of `sgd`. The average takes every iterate from step `start` on, counted
    from 0; let the first transient die away before it. With an L1 penalty an entry of the average
    is zero where it was in every iterate averaged.

    Examples
    --------
    >>> import numpy as np
    >>> optimizer, w, state = averaged(1.0), np.zeros(1, np.float32), np.zeros((1, 1))
    >>> for step, gradient in enumerate([-1.0, -2.0, 1.0]):
    ...     optimizer.update(w, np.array([gradient]), state, step)
    >>> w.tolist(), optimizer.solution(w, state).tolist()
    ([2.0], [2.0])
    """
    if not (start >= 0 and float(start).is_integer()):
        raise InputError(f"start must be a step's number, 0 or more, not {start}; try start=0")
    return Optimizer(
        "averaged",
        update_averaged,
        _rate(lr),
        (float(start),),
        1,
        reach=1.0,
        averages=True,
        **common,
    )


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
    "averaged": averaged,
}


def optimizer_from_config(config: Mapping[str, Any]) -> Optimizer:
    """Make an optimizer from what its `to_config` returned, also after a way through JSON.

    Raises
    ------
    InputError
        If there is no such optimizer, or what is said of it is not what it says of itself.

    Examples
    --------
    >>> optimizer_from_config(adam(0.01, l1=0.1).to_config()) == adam(0.01, l1=0.1)
    True
    """
    given = dict(config)
    name = given.get("name")
    known = OPTIMIZERS
    if not isinstance(name, str) or name not in known:
        raise InputError(f"no optimizer is called {name!r}; choose one of: {', '.join(known)}")
    try:
        common: dict[str, Any] = {
            key: given[key] for key in ("l2", "l1", "clip_norm") if key in given
        }
        if "schedule" in given:
            common["schedule"] = schedule_from_config(given["schedule"])
        optimizer = known[name](given["rate"], *given["constants"], **common)
    except (KeyError, TypeError) as error:
        raise InputError(f"optimizer {name} cannot be made from {given}: {error}") from None
    made = optimizer.to_config()
    for key, value in given.items():
        if key != "schedule" and (list(value) if key == "constants" else value) != made.get(key):
            raise InputError(
                f"optimizer {name} has {key} {made.get(key, 'not at all')}, but its description "
                f"says {value}; train again with this version"
            )
    return optimizer


def _rate(lr: float | None) -> float | None:
    return None if lr is None else positive("lr", lr)


def _fraction(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise InputError(f"{name} must be at least 0 and below 1, not {value}; try {name}=0.9")
    return float(value)


def _adam_constants(beta1: float, beta2: float, epsilon: float) -> tuple[float, float, float]:
    return _fraction("beta1", beta1), _fraction("beta2", beta2), positive("epsilon", epsilon)
