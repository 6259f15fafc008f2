"""Residuals, target minus prediction: quantiles and a histogram, in one pass, from a sketch.

The range of residuals is not known beforehand. They fall into `BINS` bins by the leading bits of a
float32, each at most a 32nd of its values wide; within one they count as evenly spread. All
outputs of a row count alike.
"""

from typing import Any

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.metrics.auc import rank_of
from ooc.metrics.base import Metric
from ooc.metrics.measured import Measured, Numbers

BIN_BITS = 14
BINS = 2**BIN_BITS
# Bars of the histogram, over all but this share of the residuals at either end.
BARS, TAIL = 40, 0.005
SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_SHIFT = np.uint32(32 - BIN_BITS)
_LARGEST = float(np.finfo(np.float32).max)
_LARGEST_BITS = 0x7F7FFFFF


@exact_kernel
def add_residuals(
    state: np.ndarray, predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> None:
    """Add rows to a state, (BINS,); predictions and targets are (rows, T), weights may be empty."""
    one = np.empty(1, np.float32)
    bits = one.view(np.uint32)
    for r in range(targets.shape[0]):
        weight = np.float64(weights[r]) if weights.size else 1.0
        for k in range(targets.shape[1]):
            residual = np.float64(targets[r, k]) - np.float64(predictions[r, k])
            one[0] = np.float32(min(max(residual, -_LARGEST), _LARGEST))
            state[np.int64(rank_of(bits[0]) >> _SHIFT)] += weight if weight >= 0.0 else np.nan


def edges_of(bins: np.ndarray) -> np.ndarray:
    """Return where bins begin, float64; the one after the last begins at the largest number."""
    ranks = bins.astype(np.int64) << int(_SHIFT)
    above = ranks >= 2**31
    sizes = np.where(above, ranks - 2**31, 2**31 - 1 - ranks)
    # Beyond the largest number are the bits of infinity and of what is none.
    sizes = np.minimum(sizes, _LARGEST_BITS).astype(np.uint32).view(np.float32).astype(np.float64)
    return np.where(above, sizes, -sizes)


def _size(batch: Measured) -> int:
    return BINS if isinstance(batch.answers, Numbers) else 0


def _update(state: np.ndarray, batch: Measured) -> None:
    answers = batch.answers
    assert isinstance(answers, Numbers)
    weights = np.ascontiguousarray(answers.weights, np.float32)
    add_residuals(state, answers.predictions, answers.targets, weights)


def _values(state: np.ndarray) -> dict[str, Any]:
    """Return quantiles by their share, and edges (BARS + 1) and weights (BARS) of a histogram."""
    used = np.flatnonzero(state)
    total = float(state.sum())
    if not total > 0:
        return {"residuals": None}
    # Only bins with weight: a quantile between two of them lies at the first one's end.
    places = np.stack([edges_of(used), edges_of(used + 1)], axis=1).ravel()
    above = np.cumsum(state[used])
    sums = np.stack([above - state[used], above], axis=1).ravel()
    low, *quantiles, high = np.interp([TAIL, *SHARES, 1 - TAIL], sums / total, places).tolist()
    bars = np.linspace(low, high, BARS + 1)
    weights = np.diff(np.interp(bars, places, sums))
    named = dict(zip(map(str, SHARES), quantiles, strict=True))
    return {"residuals": {"quantiles": named, "edges": bars.tolist(), "weight": weights.tolist()}}


RESIDUALS = Metric(("residuals",), _size, _update, _values, lambda _: 8 * 8 * BINS)
