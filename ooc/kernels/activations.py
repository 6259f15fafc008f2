"""Activations of a layer: the value and its derivative, in one pass over the layer's products.

An activation is one function and one branch of `value_and_slope`, and one entry of `ACTIVATIONS`.
Kernels choose it by its code, so that nothing is compiled again for another choice.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ooc.core.compiler import exact_kernel

IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID, GELU, SOFTPLUS = range(7)

# Value and derivative, both float32.
Pair: TypeAlias = tuple[np.float32, np.float32]

LEAK = np.float32(0.01)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_HALF = np.float32(0.5)
_ROOT_HALF = np.float32(math.sqrt(0.5))
_NORMAL_DENSITY = np.float32(1.0 / math.sqrt(2.0 * math.pi))


@exact_kernel
def identity(x: np.float32) -> Pair:
    """Return x and 1."""
    return x, _ONE


@exact_kernel
def relu(x: np.float32) -> Pair:
    """Return max(x, 0) and its derivative, 0 at 0; NaN stays NaN.

    Examples
    --------
    >>> relu(np.float32(3)), relu(np.float32(-3))
    ((3.0, 1.0), (0.0, 0.0))
    """
    return (_ZERO, _ZERO) if x <= 0 else (x, _ONE)


@exact_kernel
def leaky_relu(x: np.float32) -> Pair:
    """Return x, or a hundredth of it where it is negative (Maas, Hannun and Ng 2013)."""
    return (LEAK * x, LEAK) if x <= 0 else (x, _ONE)


@exact_kernel
def tanh(x: np.float32) -> Pair:
    """Return the hyperbolic tangent and its derivative."""
    y = np.float32(math.tanh(x))
    return y, (_ONE - y) * (_ONE + y)


@exact_kernel
def sigmoid(x: np.float32) -> Pair:
    """Return 1/(1 + exp(-x)) and its derivative, without overflow.

    Examples
    --------
    >>> sigmoid(np.float32(0))
    (0.5, 0.25)
    """
    decay = np.float32(math.exp(-abs(x)))
    share = _ONE / (_ONE + decay)
    y = share if x >= 0 else decay * share
    return y, decay * share * share


@exact_kernel
def gelu(x: np.float32) -> Pair:
    """Return x P(Z < x) for a standard normal Z (Hendrycks and Gimpel 2016), by erf."""
    below = _HALF * np.float32(math.erfc(-x * _ROOT_HALF))
    return x * below, below + x * _NORMAL_DENSITY * np.float32(math.exp(-_HALF * x * x))


@exact_kernel
def softplus(x: np.float32) -> Pair:
    """Return log(1 + exp(x)) and its derivative, without overflow."""
    decay = np.float32(math.exp(-abs(x)))
    share = _ONE / (_ONE + decay)
    above = x if x >= 0 else x - x  # 0, or NaN where x is
    return above + np.float32(math.log1p(decay)), share if x >= 0 else decay * share


@exact_kernel
def value_and_slope(code: int, x: np.float32) -> Pair:
    """Evaluate the activation that has this code."""
    if code == RELU:
        return relu(x)
    if code == LEAKY_RELU:
        return leaky_relu(x)
    if code == TANH:
        return tanh(x)
    if code == SIGMOID:
        return sigmoid(x)
    if code == GELU:
        return gelu(x)
    if code == SOFTPLUS:
        return softplus(x)
    return identity(x)


@exact_kernel
def activate(code: int, biases: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> None:
    """Replace a layer's products z by f(z + b), and keep f'(z + b) for the way back.

    Parameters
    ----------
    code
        Of the activation.
    biases
        (units,) float32.
    values
        (rows, units) float32: products in, activations out.
    slopes
        (rows, units) float32, filled; empty where nobody asks, as above an `IDENTITY`.
    """
    rows, units = values.shape
    if code == IDENTITY:
        for r in range(rows):
            for j in range(units):
                values[r, j] += biases[j]
        slopes[:] = _ONE
    elif code == RELU:  # a loop of its own, so that it vectorises
        for r in range(rows):
            for j in range(units):
                z = values[r, j] + biases[j]
                values[r, j], slopes[r, j] = relu(z)
    else:
        for r in range(rows):
            for j in range(units):
                values[r, j], slopes[r, j] = value_and_slope(code, values[r, j] + biases[j])


@dataclass(frozen=True)
class Activation:
    """One activation: its code in the kernels, its compiled pair, and how weights before it start.

    Attributes
    ----------
    code, pair
        The code, and x -> (value, derivative).
    initialisation
        "he" (He et al. 2015) where it cuts off half of the signals, else "glorot" (Glorot and
        Bengio 2010).
    """

    code: int
    pair: Callable[[np.float32], Pair]
    initialisation: str


ACTIVATIONS = {
    "relu": Activation(RELU, relu, "he"),
    "leaky_relu": Activation(LEAKY_RELU, leaky_relu, "he"),
    "gelu": Activation(GELU, gelu, "he"),
    "softplus": Activation(SOFTPLUS, softplus, "he"),
    "tanh": Activation(TANH, tanh, "glorot"),
    "sigmoid": Activation(SIGMOID, sigmoid, "glorot"),
    "identity": Activation(IDENTITY, identity, "glorot"),
}
