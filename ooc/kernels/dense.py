"""A dense layer, forward and backward: functions over views, with products by BLAS.

A layer gives f(X W^T + b). All arrays are contiguous and of one type, float32 or float64: `np.dot`
into memory that is there calls BLAS on views and on their transposes, without a copy.
"""

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.kernels.activations import activate


@exact_kernel
def forward(
    inputs: np.ndarray,
    weights: np.ndarray,
    biases: np.ndarray,
    activation: int,
    outputs: np.ndarray,
    slopes: np.ndarray,
) -> None:
    """Fill outputs with f(X W^T + b), and slopes with f' for `backward`.

    Parameters
    ----------
    inputs, outputs, slopes
        (rows, inputs), (rows, units) and (rows, units); slopes may be (0, units) with `IDENTITY`,
        whose slopes are all 1.
    weights, biases
        (units, inputs) and (units,).
    activation
        A code of `ooc.kernels.activations`.
    """
    np.dot(inputs, weights.T, out=outputs)
    activate(activation, biases, outputs, slopes)


@exact_kernel
def backward(
    inputs: np.ndarray,
    slopes: np.ndarray,
    delta: np.ndarray,
    weights_gradient: np.ndarray,
    biases_gradient: np.ndarray,
) -> None:
    """Turn the loss's derivative by the outputs into those by products, weights and biases.

    Parameters
    ----------
    inputs, slopes
        What `forward` was given, and what it filled.
    delta
        (rows, units): derivative of the loss by the outputs; by X W^T + b when this returns.
    weights_gradient, biases_gradient
        Filled with sums over the rows.
    """
    rows, units = delta.shape
    for j in range(units):
        biases_gradient[j] = 0.0
    if slopes.size == 0:
        for r in range(rows):
            for j in range(units):
                biases_gradient[j] += delta[r, j]
    else:
        for r in range(rows):
            for j in range(units):
                d = delta[r, j] * slopes[r, j]
                delta[r, j] = d
                biases_gradient[j] += d
    np.dot(delta.T, inputs, out=weights_gradient)


@exact_kernel
def backward_inputs(delta: np.ndarray, weights: np.ndarray, inputs_gradient: np.ndarray) -> None:
    """Fill the derivative of the loss by the layer's inputs; `delta` is what `backward` left.

    After `backward` the inputs themselves are no longer needed: their memory will do.
    """
    np.dot(delta, weights, out=inputs_gradient)
