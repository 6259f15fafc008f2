"""The optimizers by name, with the defaults of PyTorch's own."""

from collections.abc import Callable, Mapping
from typing import Any, Unpack

from ooc.core.errors import InputError
from ooc.optim.optimizer import Common, Optimizer, positive
from ooc.optim.schedules import schedule_from_config
from ooc.optim.settings import (
    ADAGRAD,
    ADAM,
    ADAMW,
    AVERAGED,
    MOMENTUM,
    NESTEROV,
    RMSPROP,
    SGD,
)


def sgd(lr: float | None = None, **common: Unpack[Common]) -> Optimizer:
    """Stochastic gradient descent (Robbins and Monro 1951): ``w -= lr * gradient``.

    Examples
    --------
    >>> sgd(0.1, l2=0.01).rate
    0.1
    """
    return Optimizer("sgd", SGD, _rate(lr), (), slots=0, **common)


def momentum(lr: float | None = None, momentum: float = 0.9, **common: Unpack[Common]) -> Optimizer:
    """Heavy ball (Polyak 1964): ``v = momentum * v + gradient; w -= lr * v``.

    Examples
    --------
    >>> momentum(0.1).slots
    1
    """
    constants = (_fraction("momentum", momentum),)
    return Optimizer("momentum", MOMENTUM, _rate(lr), constants, slots=1, **common)


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
    return Optimizer("nesterov", NESTEROV, _rate(lr), constants, slots=1, **common)


def adagrad(lr: float | None = None, epsilon: float = 1e-10, **common: Unpack[Common]) -> Optimizer:
    """AdaGrad (Duchi, Hazan and Singer 2011), its diagonal form.

    ``s += gradient**2; w -= lr * gradient / (sqrt(s) + epsilon)``

    Examples
    --------
    >>> adagrad(0.1).constants
    (1e-10,)
    """
    constants = (positive("epsilon", epsilon),)
    return Optimizer("adagrad", ADAGRAD, _rate(lr), constants, slots=1, **common)


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
    return Optimizer("rmsprop", RMSPROP, _rate(lr), constants, slots=1, **common)


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
    return Optimizer("adam", ADAM, _rate(lr), constants, slots=2, **common)


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
    if not 0 <= weight_decay < float("inf"):
        raise InputError(
            f"weight_decay must be a finite number of at least 0, not {weight_decay}; "
            "try weight_decay=0.01"
        )
    constants = (*_adam_constants(beta1, beta2, epsilon), float(weight_decay))
    return Optimizer("adamw", ADAMW, _rate(lr), constants, slots=2, **common)


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
    return Optimizer("averaged", AVERAGED, _rate(lr), (float(start),), slots=1, **common)


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
    if not isinstance(name, str) or name not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        raise InputError(f"no optimizer is called {name!r}; choose one of: {known}")
    try:
        common: dict[str, Any] = {
            key: given[key] for key in ("l2", "l1", "clip_norm") if key in given
        }
        if "schedule" in given:
            common["schedule"] = schedule_from_config(given["schedule"])
        optimizer = OPTIMIZERS[name](given["rate"], *given["constants"], **common)
    except (KeyError, TypeError) as error:
        raise InputError(f"optimizer {name} cannot be made from {given}: {error}") from None
    made = optimizer.to_config() | {"constants": list(optimizer.constants)}
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
