"""What the autoencoder sees of a state, compiled: inputs of its form, and descriptors."""

import math

import numpy as np

from ooc.core.compiler import lean_kernel, view_at
from ooc.kernels.share import Numbers
from pipelines.metabolic_flux.tables import (
    CONDITIONS,
    DESCRIPTORS,
    FACES,
    FIRST,
    FLUXES,
    FORM,
    INPUTS,
    KNOTS,
    LAST,
    MEANS,
    NULL_SPACE,
    OF_CONDITION,
    SCALES,
    SECOND,
    THIRD,
    table,
)

# The least slack, in deviations: fluxes are stored in float32, and may lie on their bound.
LEAST_SLACK = 1e-7
# Normal scores go from -REACH to REACH between the outermost knots.
REACH = 3.0


@lean_kernel
def fill_inputs(
    numbers: Numbers, fluxes: np.ndarray, conditions: np.ndarray, inputs: np.ndarray
) -> int:
    """Fill (rows, K + E) with what states of the form (rows, R) and descriptors come to.

    Returns the first row that cannot be used, whose condition is none or whose fluxes are not
    finite, or -1.
    """
    n, reals = numbers.integers, numbers.reals
    rows, reactions = fluxes.shape
    count, own = n[INPUTS], n[DESCRIPTORS]
    described, _ = table(numbers, OF_CONDITION)
    means, mean_size = table(numbers, MEANS)
    first, first_size = table(numbers, FIRST)
    second, second_size = table(numbers, SECOND)
    third, third_size = table(numbers, THIRD)
    last, last_size = table(numbers, LAST)
    scales, _ = table(numbers, SCALES)
    faces = n.size - n[CONDITIONS] * n[FACES]
    for r in range(rows):
        c = conditions[r, 0]
        if c < 0 or c >= n[CONDITIONS]:
            return r
        total = 0.0
        for j in range(reactions):
            total += abs(np.float64(fluxes[r, j]))
        if not math.isfinite(total):
            return r
        for k in range(own):
            inputs[r, count + k] = reals[described + c * own + k]
        mean = means + c * mean_size
        if n[FORM] == FLUXES:
            for j in range(reactions):
                scale = reals[scales + c * reactions + j]
                moved = np.float64(fluxes[r, j]) - reals[mean + j]
                inputs[r, j] = moved / scale if scale > 0 else 0.0
        elif n[FORM] == NULL_SPACE:
            for k in range(count):
                inputs[r, k] = 0.0
            for j in range(reactions):
                moved = np.float64(fluxes[r, j]) - reals[mean + j]
                place = first + c * first_size + j * count
                for k in range(count):
                    inputs[r, k] += moved * reals[place + k]
        else:
            for k in range(count):
                inputs[r, k] = -reals[mean + k]
            for i in range(n[FACES]):
                j = n[faces + c * n[FACES] + i]
                if j < 0:
                    break
                end = reals[first + c * first_size + i]
                slope = reals[second + c * second_size + i]
                slack = end - slope * np.float64(fluxes[r, j])
                log = math.log(max(slack, LEAST_SLACK))
                place = third + c * third_size + i * count
                for k in range(count):
                    inputs[r, k] -= log * reals[place + k]
            place = last + c * last_size
            for k in range(count):
                knots = view_at(reals, place + k * KNOTS, (KNOTS,))
                inputs[r, k] = score(knots, np.float64(inputs[r, k]))
    return -1


@lean_kernel
def score(knots: np.ndarray, value: float) -> float:
    """Return the normal score of a value: linear between knots, and as the ends go on beyond.

    Examples
    --------
    >>> knots = np.linspace(-6, 6, KNOTS)
    >>> score(knots, 1.0), score(knots, 20.0)
    (0.5, 10.0)
    """
    low, high = 0, KNOTS - 1
    while high - low > 1:
        middle = (low + high) // 2
        if value < knots[middle]:
            high = middle
        else:
            low = middle
    step = 2.0 * REACH / (KNOTS - 1)
    return -REACH + step * (low + (value - knots[low]) / (knots[low + 1] - knots[low]))
