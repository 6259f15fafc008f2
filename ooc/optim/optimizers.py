"""The optimizers: what each step does, compiled, and its constructor, with PyTorch's defaults.

A new one is an update, a constructor and an entry of `OPTIMIZERS`. ``update(piece, settings, rate,
step)`` returns 0; it sees what `Optimizer.settings` returned, the learning rate, the step's number
from 0, and a piece of the flat vector, of which an entry whose gradient is always zero and that is
not penalised never changes. With an L1 penalty, ``settings[L1]``, `ooc.optim.penalties.settle` says
where a step comes to rest, `sign_step` where one by the sign alone does.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Unpack

import numpy as np

from ooc.core.compiler import lean_kernel
from ooc.core.errors import InputError
from ooc.core.numbers import entry_of, fraction, not_negative, positive, whole
from ooc.optim.optimizer import Common, Optimizer
from ooc.optim.penalties import settle, soft_threshold
from ooc.optim.schedules import schedule_from_config
from ooc.optim.settings import L1, OWN, Piece


@lean_kernel
def shrink(piece: Piece, velocity: np.ndarray, length: float, l1: float) -> None:
    """Threshold penalised entries of a piece, and tell the velocity what that took away.

    The threshold takes what a subgradient of the penalty at the new point would have taken. That
    goes into a velocity like any gradient (iPiano: Ochs, Chen, Brox and Pock 2014): without it,
    a memory mu would weaken the penalty by a factor of 1 - mu. `length` is how far the step goes
    for a gradient of 1.
    """
    if not (l1 > 0.0 and length > 0.0):
        return
    for i in range(piece.parameters.size):
        if piece.penalised[i]:
            moved = np.float64(piece.parameters[i])
            shrunk = soft_threshold(moved, length * l1)
            piece.parameters[i] = shrunk
            velocity[i] += (moved - shrunk) / length


def update_sgd(piece: Piece, settings: np.ndarray, rate: float, step: int) -> int:
    """Take ``w -= rate * gradient``."""
    parameters, gradient, l1, mask = piece.parameters, piece.gradient, settings[L1], piece.penalised
    for i in range(parameters.size):
        parameters[i] = settle(parameters[i] - rate * gradient[i], rate, l1, mask[i])
    return 0


def sgd(lr: float | None = None, **common: Unpack[Common]) -> Optimizer:
    """Stochastic gradient descent (Robbins and Monro 1951): ``w -= lr * gradient``."""
    return Optimizer("sgd", update_sgd, lr, reach=1.0, waits=True, is_linear=True, **common)


def update_momentum(piece: Piece, settings: np.ndarray, rate: float, step: int) -> int:
    """Take ``v = memory * v + gradient; w -= rate * v``; v is ``state[0]``."""
    parameters, gradient, velocity = piece.parameters, piece.gradient, piece.state[0][piece.first :]
    memory = settings[OWN]
    for i in range(parameters.size):
        velocity[i] = memory * velocity[i] + gradient[i]
        parameters[i] -= rate * velocity[i]
    shrink(piece, velocity, rate, settings[L1])
    return 0


def momentum(lr: float | None = None, momentum: float = 0.9, **common: Unpack[Common]) -> Optimizer:
    """Heavy ball (Polyak 1964): ``v = momentum * v + gradient; w -= lr * v``."""
    return _with_velocity("momentum", update_momentum, lr, momentum, common)


def update_nesterov(piece: Piece, settings: np.ndarray, rate: float, step: int) -> int:
    """Take ``v = memory * v + gradient; w -= rate * (gradient + memory * v)``."""
    parameters, gradient, velocity = piece.parameters, piece.gradient, piece.state[0][piece.first :]
    memory = settings[OWN]
    for i in range(parameters.size):
        velocity[i] = memory * velocity[i] + gradient[i]
        parameters[i] -= rate * (gradient[i] + memory * velocity[i])
    shrink(piece, velocity, rate * (1.0 + memory), settings[L1])
    return 0


def nesterov(lr: float | None = None, momentum: float = 0.9, **common: Unpack[Common]) -> Optimizer:
    """Nesterov's momentum, as Sutskever and others (2013) wrote it and PyTorch takes it.

    ``v = momentum * v + gradient; w -= lr * (gradient + momentum * v)``: w is the point looked
    ahead to, where gradients are taken.
    """
    return _with_velocity("nesterov", update_nesterov, lr, momentum, common)


def update_adagrad(piece: Piece, settings: np.ndarray, rate: float, step: int) -> int:
    """Divide by the root of the sum of squares, ``state[0]``."""
    parameters, gradient, square = piece.parameters, piece.gradient, piece.state[0][piece.first :]
    epsilon, l1, mask = settings[OWN], settings[L1], piece.penalised
    for i in range(parameters.size):
        square[i] += gradient[i] * gradient[i]
        length = rate / (math.sqrt(square[i]) + epsilon)
        parameters[i] = settle(parameters[i] - length * gradient[i], length, l1, mask[i])
    return 0


def adagrad(lr: float | None = None, epsilon: float = 1e-10, **common: Unpack[Common]) -> Optimizer:
    """AdaGrad (Duchi, Hazan and Singer 2011), its diagonal form.

    ``s += gradient**2; w -= lr * gradient / (sqrt(s) + epsilon)``
    """
    constants = (positive("epsilon", epsilon),)
    return Optimizer("adagrad", update_adagrad, lr, constants, 1, waits=True, **common)


def update_rmsprop(piece: Piece, settings: np.ndarray, rate: float, step: int) -> int:
    """Divide by the root of a running mean of squares, ``state[0]``."""
    parameters, gradient, square = piece.parameters, piece.gradient, piece.state[0][piece.first :]
    kept, epsilon, l1, mask = settings[OWN], settings[OWN + 1], settings[L1], piece.penalised
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
    """
    constants = (fraction("beta", beta), positive("epsilon", epsilon))
    return Optimizer("rmsprop", update_rmsprop, lr, constants, 1, **common)


def update_adam(piece: Piece, settings: np.ndarray, rate: float, step: int) -> int:
    """Divide the running mean, ``state[0]``, by the root of that of squares, ``state[1]``."""
    parameters, l1, mask = piece.parameters, settings[L1], piece.penalised
    mean, square = piece.state[0][piece.first :], piece.state[1][piece.first :]
    beta1, beta2, epsilon = settings[OWN], settings[OWN + 1], settings[OWN + 2]
    mean_scale = 1.0 / (1.0 - beta1 ** (step + 1))
    square_scale = 1.0 / (1.0 - beta2 ** (step + 1))
    for i in range(parameters.size):
        g = piece.gradient[i]
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
    """Adam (Kingma and Ba 2015, algorithm 1, with bias correction)."""
    constants = _adam_constants(beta1, beta2, epsilon)
    return Optimizer("adam", update_adam, lr, constants, 2, **common)


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
    """
    constants = (*_adam_constants(beta1, beta2, epsilon), float(weight_decay))
    return Optimizer("adamw", update_adam, lr, constants, 2, decay=constants[3], **common)


def update_averaged(piece: Piece, settings: np.ndarray, rate: float, step: int) -> int:
    """Take SGD's step, and the new iterate into the average; ``state[0]`` is how far it is ahead.

    The difference is what is kept between steps: a zeroed state says, rightly, that there is no
    average but the iterate, and the state needs no first iterate to begin with.
    """
    parameters, gradient, ahead = piece.parameters, piece.gradient, piece.state[0][piece.first :]
    l1, mask = settings[L1], piece.penalised
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
    """
    constants = (float(whole("start", start, 0)),)
    return Optimizer(
        "averaged", update_averaged, lr, constants, 1, reach=1.0, keeps_average=True, **common
    )


def update_ftrl(piece: Piece, settings: np.ndarray, rate: float, step: int) -> int:
    """Take the point that all gradients so far would choose; they are in ``state``: z and n."""
    parameters, gradient, mask, l1 = piece.parameters, piece.gradient, piece.penalised, settings[L1]
    sums, squares = piece.state[0][piece.first :], piece.state[1][piece.first :]
    beta = settings[OWN]
    if rate <= 0.0:
        return 0
    for i in range(parameters.size):
        g, w = gradient[i], np.float64(parameters[i])
        # Without a gradient it stays; NaN is not zero.
        if g == 0.0 and not (l1 > 0.0 and mask[i]):
            continue
        lambda1, lambda2 = settings[OWN + 1] * mask[i], settings[OWN + 2] * mask[i]
        before = math.sqrt(squares[i])
        if w != 0.0:
            # The sum that chooses this point at today's rate: one that falls moves nothing.
            sums[i] = -w * ((beta + before) / rate + lambda2) - math.copysign(lambda1, w)
        squares[i] += g * g
        root = math.sqrt(squares[i])
        sums[i] += g - (root - before) / rate * w
        length = 1.0 / ((beta + root) / rate + lambda2)
        moved = (0.0 - soft_threshold(sums[i], lambda1)) * length
        shrunk = settle(moved, length, l1, mask[i])
        sums[i] += (moved - shrunk) / length
        parameters[i] = shrunk
    return 0


def ftrl(
    lr: float | None = None,
    beta: float = 1.0,
    lambda1: float = 0.0,
    lambda2: float = 0.0,
    **common: Unpack[Common],
) -> Optimizer:
    """FTRL-proximal, with a rate for each coordinate (McMahan and others 2013, algorithm 1).

    ``z += g - (sqrt(n + g**2) - sqrt(n)) / lr * w; n += g**2;
    w = -soft(z, lambda1) / ((beta + sqrt(n)) / lr + lambda2)``. Its own penalties are of the sum
    of all losses, once, and not of their mean as `l1` and `l2` are: a weight without a gradient
    stays as it is, so that of sparse rows only the columns of a batch are touched. A rate that
    changes changes the length of steps, and moves no weight by itself.
    """
    constants = (
        positive("beta", beta),
        not_negative("lambda1", lambda1),
        not_negative("lambda2", lambda2),
    )
    return Optimizer("ftrl", update_ftrl, lr, constants, 2, waits=True, **common)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
    "averaged": averaged,
    "ftrl": ftrl,
}


def optimizer_from_config(config: Mapping[str, Any]) -> Optimizer:
    """Make an optimizer from what its `to_config` returned, also after a way through JSON.

    Raises
    ------
    InputError
        If there is no such optimizer, or what is said of it is not what it says of itself.
    """
    name, given = config.get("name"), dict(config)
    make = entry_of("optimizer", OPTIMIZERS, name)
    try:
        common: Any = {
            key: given[key] for key in ("l2", "l1", "clip_norm", "average") if key in given
        }
        if "schedule" in given:
            common["schedule"] = schedule_from_config(given["schedule"])
        optimizer = make(given["rate"], *given["constants"], **common)
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


def _adam_constants(beta1: float, beta2: float, epsilon: float) -> tuple[float, float, float]:
    return fraction("beta1", beta1), fraction("beta2", beta2), positive("epsilon", epsilon)


def _with_velocity(
    name: str, rule: Callable[..., int], lr: float | None, memory: float, common: Common
) -> Optimizer:
    constants = (fraction("momentum", memory),)
    return Optimizer(name, rule, lr, constants, 1, reach=1 / (1 - memory), **common)
