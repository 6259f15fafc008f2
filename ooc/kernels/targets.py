"""Which targets a loss takes, and what a row of that target weighs."""

import math

import numpy as np

from ooc.core.compiler import small_kernel
from ooc.kernels.counters import BAD_TARGET, BAD_WEIGHT, OK

# Rules for targets: finite numbers, labels 0 and 1, numbers of at least 0.
NUMBERS, LABELS, COUNTS = range(3)


@small_kernel
def target_is_valid(rule: int, target: float) -> bool:
    """Tell whether a rule takes this target.

    Examples
    --------
    >>> target_is_valid(LABELS, 1.0), target_is_valid(LABELS, -1.0)
    (True, False)
    """
    if rule == LABELS:
        return target == 0.0 or target == 1.0
    if rule == COUNTS and target < 0:
        return False
    return math.isfinite(target)


@small_kernel
def label_is_valid(target: float, classes: int) -> bool:
    """Tell whether a target is one of the whole numbers 0 to classes - 1."""
    return target >= 0 and target < classes and target == math.floor(target)


@small_kernel
def row_weight(
    weights: np.ndarray, row: int, target: float, class_weights: np.ndarray
) -> tuple[int, float]:
    """Return `OK` and a row's weight times that of its class, or why there is none."""
    weight = np.float64(weights[row]) if weights.size > 0 else 1.0
    if not 0.0 <= weight < math.inf:
        return BAD_WEIGHT, weight
    if class_weights.size > 0:
        if not label_is_valid(target, class_weights.size):
            return BAD_TARGET, weight
        weight *= class_weights[np.int64(target)]
    return OK, weight
