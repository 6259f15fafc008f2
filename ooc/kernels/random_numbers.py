"""Random numbers for models that sample: functions of (seed, row, number), in whatever order.

With the seed of a step and a row's place in the batch, ``share.first + r``, a draw depends neither
on threads nor on how a batch is shared. The normal number k uses the uniform ones 2 k and 2 k + 1.
"""

import math

import numpy as np

from ooc.core.compiler import lean_kernel
from ooc.core.hashing import GOLDEN, mix

_TWO_PI = 2.0 * math.pi
_UNIT = 1.0 / 2**53


@lean_kernel
def uniform(seed: int, row: int, number: int) -> float:
    """Return a float64 that is uniform in [0, 1).

    Examples
    --------
    >>> uniform(3, 0, 0) == uniform(3, 0, 0), uniform(3, 0, 0) == uniform(3, 1, 0)
    (True, False)
    """
    of_row = mix(np.uint64(seed) + np.uint64(row + 1) * GOLDEN)
    bits = mix(of_row + np.uint64(number + 1) * GOLDEN)
    return np.float64(bits >> np.uint64(11)) * _UNIT


@lean_kernel
def normal(seed: int, row: int, number: int) -> float:
    """Return a float64 that is normal, of mean 0 and variance 1 (Box and Muller 1958).

    Examples
    --------
    >>> numbers = [normal(3, row, 0) for row in range(4000)]
    >>> bool(abs(np.mean(numbers)) < 0.05 and abs(np.std(numbers) - 1) < 0.05)
    True
    """
    one, other = uniform(seed, row, 2 * number), uniform(seed, row, 2 * number + 1)
    return math.sqrt(-2.0 * math.log(1.0 - one)) * math.cos(_TWO_PI * other)


@lean_kernel
def fill_normal(seed: int, first: int, out: np.ndarray) -> None:
    """Fill `out` (rows, numbers) with normal numbers of the rows first, first + 1, ..."""
    for r in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[r, k] = normal(seed, first + r, k)
