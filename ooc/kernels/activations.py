"""Activations of a layer; a new one is one function and one entry of `ACTIVATIONS`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numba import types

from ooc.core.compiler import by_address, lean_kernel, like, part
from ooc.optim.step import real_of

# What kernels know by a small number, for loops that vectorise; all others are called by their
# address, so that no run compiles what it does not use.
IDENTITY, RELU, TANH = range(3)

# Value and derivative, of the type of the argument: float32 or float64.
Real = TypeVar("Real", np.float32, np.float64)
Pair: TypeAlias = tuple[Real, Real]

LEAK = 0.01
_ROOT_HALF = math.sqrt(0.5)
_NORMAL_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)


@lean_kernel
def identity(x: Real) -> Pair[Real]:
    """Return x and 1."""
    return x, like(1.0, x)


@lean_kernel
def relu(x: Real) -> Pair[Real]:
    """Return max(x, 0) and its derivative, 0 at 0; NaN stays NaN.

    Examples
    --------
    >>> relu(np.float32(3)), relu(np.float32(-3))
    ((3.0, 1.0), (0.0, 0.0))
    """
    return (like(0.0, x), like(0.0, x)) if x <= 0 else (x, like(1.0, x))


@lean_kernel
def leaky_relu(x: Real) -> Pair[Real]:
    """Return x, or a hundredth of it where it is negative (Maas, Hannun and Ng 2013)."""
    return (like(LEAK, x) * x, like(LEAK, x)) if x <= 0 else (x, like(1.0, x))


@lean_kernel
def tanh(x: Real) -> Pair[Real]:
    """Return the hyperbolic tangent and its derivative."""
    y, one = like(math.tanh(x), x), like(1.0, x)
    return y, (one - y) * (one + y)


@lean_kernel
def sigmoid(x: Real) -> Pair[Real]:
    """Return 1/(1 + exp(-x)) and its derivative, without overflow.

    Examples
    --------
    >>> sigmoid(np.float32(0))
    (0.5, 0.25)
    """
    decay, one = like(math.exp(-abs(x)), x), like(1.0, x)
    share = one / (one + decay)
    y = share if x >= 0 else decay * share
    return y, decay * share * share


@lean_kernel
def gelu(x: Real) -> Pair[Real]:
    """Return x P(Z < x) for a standard normal Z (Hendrycks and Gimpel 2016), by erf."""
    half = like(0.5, x)
    below = half * like(math.erfc(-x * like(_ROOT_HALF, x)), x)
    return x * below, below + x * like(_NORMAL_DENSITY, x) * like(math.exp(-half * x * x), x)


@lean_kernel
def softplus(x: Real) -> Pair[Real]:
    """Return log(1 + exp(x)) and its derivative, without overflow."""
    decay, one = like(math.exp(-abs(x)), x), like(1.0, x)
    share = one / (one + decay)
    above = x if x >= 0 else x - x  # 0, or NaN where x is
    return above + like(math.log1p(decay), x), share if x >= 0 else decay * share


def pair_of(real: Any) -> Any:
    """Return the signature of an activation's pair."""
    return types.UniTuple(real, 2)(real)


call_pair = by_address(lambda given: pair_of(given[0]))


@lean_kernel
def activate(code: int, biases: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> None:
    """Replace a layer's products z by f(z + b), and keep f'(z + b) for the way back.

    Parameters
    ----------
    code
        Of the activation, see `Activation.code`.
    biases
        (units,).
    values
        (rows, units) products in, activations out.
    slopes
        (rows, units), filled; empty where nobody asks, as above an `IDENTITY`.
    """
    rows, units = values.shape
    if code == IDENTITY:
        for r in range(rows):
            for j in range(units):
                values[r, j] += biases[j]
        for r in range(slopes.shape[0]):
            for j in range(units):
                slopes[r, j] = 1.0
    elif code == RELU:  # a loop of its own, so that it vectorises
        for r in range(rows):
            for j in range(units):
                z = values[r, j] + biases[j]
                values[r, j], slopes[r, j] = relu(z)
    elif code == TANH:
        for r in range(rows):
            for j in range(units):
                values[r, j], slopes[r, j] = tanh(values[r, j] + biases[j])
    else:
        for r in range(rows):
            for j in range(units):
                values[r, j], slopes[r, j] = call_pair(code, (values[r, j] + biases[j],))


@dataclass(frozen=True)
class Activation:
    """One activation: its compiled pair, and how weights before it start.

    Attributes
    ----------
    pair
        x -> (value, derivative).
    initialisation
        "he" (He et al. 2015) where it cuts off half of the signals, else "glorot" (Glorot and
        Bengio 2010).
    own_loop
        `IDENTITY`, `RELU` or `TANH`, which kernels know by number; None for all others.
    """

    pair: Callable[[Any], Any]
    initialisation: str
    own_loop: int | None = None

    def code(self, dtype: Any) -> int:
        """Return what kernels take for parameters of this dtype: a number or an address."""
        if self.own_loop is not None:
            return self.own_loop
        return int(part(self.pair, pair_of(real_of(dtype))).address)


ACTIVATIONS = {
    "relu": Activation(relu, "he", RELU),
    "leaky_relu": Activation(leaky_relu, "he"),
    "gelu": Activation(gelu, "he"),
    "softplus": Activation(softplus, "he"),
    "tanh": Activation(tanh, "glorot", TANH),
    "sigmoid": Activation(sigmoid, "glorot"),
    "identity": Activation(identity, "glorot", IDENTITY),
}
