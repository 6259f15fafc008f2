"""Clipping and penalties: what happens to a gradient before a step, and to parameters after it.

As in PyTorch, the gradient of the L2 penalty is added to a clipped one. The L1 penalty has none at
zero: its proximal map, the soft threshold, follows the step (Parikh and Boyd 2014, section 4.2).
"""

import math

import numpy as np

from ooc.core.compiler import lean_kernel, small_kernel
from ooc.optim.settings import CLIP, Piece


@lean_kernel
def clip_scale(gradient: np.ndarray, settings: np.ndarray) -> float:
    """Return what a gradient is to be multiplied with, so that its norm is at most the limit.

    1 where it is short enough or there is no limit; NaN where its norm is not finite.
    """
    limit = settings[CLIP]
    if limit <= 0:
        return 1.0
    # Four sums in a fixed order: a compiler that may choose the order itself could choose
    # another one in each loop that this is compiled into.
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = gradient.size - gradient.size % 4
    for i in range(0, whole, 4):
        a += gradient[i] * gradient[i]
        b += gradient[i + 1] * gradient[i + 1]
        c += gradient[i + 2] * gradient[i + 2]
        d += gradient[i + 3] * gradient[i + 3]
    for i in range(whole, gradient.size):
        a += gradient[i] * gradient[i]
    norm = math.sqrt((a + b) + (c + d))
    if norm <= limit:
        return 1.0
    return limit / norm if math.isfinite(norm) else math.nan


@lean_kernel
def prepare(piece: Piece, scale: float, l2: float, kept: float) -> None:
    """Scale a piece's gradient; add that of ``l2/2 |w|^2``, and keep a share of the parameters.

    The latter two are for penalised entries alone. They are one loop, although few runs need
    more than one of them: every loop is compiled, and takes memory for that, in every run.
    """
    for i in range(piece.parameters.size):
        piece.gradient[i] *= scale
        if piece.penalised[i]:
            piece.gradient[i] += l2 * np.float64(piece.parameters[i])
            piece.parameters[i] *= kept


@small_kernel
def soft_threshold(value: float, threshold: float) -> float:
    """Return the value moved towards zero by the threshold, and zero if it gets there."""
    # NaN is not below the threshold and stays NaN.
    if abs(value) <= threshold:
        return 0.0
    return value - math.copysign(threshold, value)


@small_kernel
def settle(value: float, length: float, l1: float, penalised: bool) -> float:
    """Return where a step comes to rest: the L1 penalty's proximal map for a step of this length.

    `length` is how far the step goes for a gradient of 1 (Yun, Lozano and Yang 2021, algorithm 1).
    """
    return soft_threshold(value, length * l1) if l1 > 0.0 and penalised else value


@lean_kernel
def sign_step(value: float, gradient: float, rate: float, l1: float, penalised: bool) -> float:
    """Return where a step of length `rate` against the sign of a gradient comes to rest.

    It is as long for any gradient, so that there is no length for `settle`. The L1 penalty's
    subgradient, at zero the one that pulls least, is added before the sign is taken, and a step
    that would cross zero ends there.

    Examples
    --------
    >>> sign_step(1.0, 0.5, 0.25, 0.0, True), sign_step(0.125, 0.5, 0.25, 1.0, True)
    (0.75, 0.0)
    >>> sign_step(0.0, 0.5, 0.25, 1.0, True)
    0.0
    """
    shrinks = l1 > 0.0 and penalised
    pull = gradient
    if shrinks:
        pull = soft_threshold(pull, l1) if value == 0.0 else pull + math.copysign(l1, value)
    moved = value
    # NaN is not zero, and stays NaN.
    if pull != 0.0:
        moved -= rate * pull / abs(pull)
    return 0.0 if shrinks and moved * value < 0.0 else moved
