"""Dropout (Srivastava et al. 2014) whose masks are a function of (seed, step, layer, row, unit)."""

import numpy as np

from ooc.core.compiler import lean_kernel, small_kernel
from ooc.core.hashing import GOLDEN, mix


@small_kernel
def step_seed(run_key: np.uint64, step: int) -> np.int64:
    """Return the seed of a step, from `ooc.core.random_keys.prefix` and its number.

    Examples
    --------
    >>> from ooc.core.random_keys import Purpose, key, prefix
    >>> int(step_seed(np.uint64(prefix(3, Purpose.BATCH)), 7)) == key(3, Purpose.BATCH, index=7)
    True
    """
    return np.int64(mix((run_key ^ np.uint64(step)) + GOLDEN) >> np.uint64(1))


@lean_kernel
def drop(
    seed: int, layer: int, first: int, rate: float, values: np.ndarray, slopes: np.ndarray
) -> None:
    """Zero a share of the activations and their slopes, and scale up the rest by 1/(1 - rate).

    Parameters
    ----------
    seed, layer
        The step's seed, and the layer's number.
    first
        Place of the first row in its batch: a mask does not depend on how a batch is shared.
    rate
        Share that is dropped, at least 0 and below 1.
    values, slopes
        (rows, units) float32, changed in place.
    """
    threshold = np.uint32(rate * 4294967296.0)
    scale = np.float32(1.0 / (1.0 - rate))
    mixed = np.uint64(seed) * GOLDEN + np.uint64(layer + 1) * np.uint64(0xD1342543DE82EF95)
    for r in range(values.shape[0]):
        # A 64-bit key for each row, then 32-bit hashes (Wellons, "Prospecting for hash
        # functions"), which vectorise.
        row = (mixed ^ np.uint64(first + r)) * np.uint64(0xBF58476D1CE4E5B9)
        row = (row ^ (row >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        low = np.uint32(row >> np.uint64(32))
        high = np.uint32(row & np.uint64(0xFFFFFFFF))
        for j in range(values.shape[1]):
            h = np.uint32(np.uint32(np.uint32(j) * np.uint32(0x9E3779B9)) ^ low)
            h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x21F0AAAD))
            h = np.uint32((h ^ (h >> np.uint32(15)) ^ high) * np.uint32(0xD35A2D97))
            h = np.uint32(h ^ (h >> np.uint32(15)))
            factor = scale if h >= threshold else np.float32(0.0)
            values[r, j] *= factor
            slopes[r, j] *= factor
