"""Heads: from a network's outputs and the targets to the loss and its derivative."""

import math

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.kernels.counters import BAD_TARGET, NOT_FINITE, OK
from ooc.kernels.linear import SOFTMAX, label_is_valid, softmax_row
from ooc.kernels.losses import target_is_valid, value_and_derivative


@exact_kernel
def head_loss(
    outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, loss_code: int
) -> tuple[int, int, float]:
    """Replace outputs by the derivatives of the weighted losses; return what they add up to.

    Parameters
    ----------
    outputs
        (rows, K) float32.
    targets
        (rows, 1) labels for `SOFTMAX`, else (rows, K); a row's loss is the sum over K.
    weights
        (rows,), or empty.

    Returns
    -------
    status, row, loss
        `OK` and the summed loss, or the first row whose target or output cannot be used.
    """
    total = 0.0
    for r in range(outputs.shape[0]):
        weight = np.float64(weights[r]) if weights.size else 1.0
        value = 0.0
        if loss_code == SOFTMAX:
            if not label_is_valid(targets[r, 0], outputs.shape[1]):
                return BAD_TARGET, r, total
            value = softmax_row(outputs[r], int(targets[r, 0]), weight)
        else:
            for k in range(outputs.shape[1]):
                if not target_is_valid(loss_code, targets[r, k]):
                    return BAD_TARGET, r, total
                one, derivative = value_and_derivative(
                    loss_code, np.float64(outputs[r, k]), np.float64(targets[r, k]), 0.0
                )
                value += one
                outputs[r, k] = weight * derivative
        value *= weight
        if not math.isfinite(value):
            return NOT_FINITE, r, total
        total += value
    return OK, -1, total
