"""Area under the ROC curve from a histogram of the log-odds, with a proved bound on its error.

The area is the share of pairs of a row of label 1 and one of label 0 in which the first has the
higher score, ties counted half (Hanley and McNeil 1982). Scores fall into `BINS` bins by the
leading bits of a float32. Pairs in one bin are ties if it has seen one score only; of others the
sketch knows nothing and counts one half each. With p_b and n_b the weights of labels 1 and 0 in
bin b, P and N their sums, it is off by at most sum_b p_b n_b / (2 P N) over the bins with several
scores, which is reported beside the area, with what rounding can add to it.
"""

from typing import Any

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.core.errors import DataError
from ooc.metrics.base import Metric
from ooc.metrics.measured import Labels, Measured

BIN_BITS = 18
BINS = 2**BIN_BITS
# In front of the bins: rows of a weight that is not allowed, and rows that had weights.
HEAD = 2
# Of each bin: the weights of labels 0 and 1, and which score it has seen.
EACH = 3
SIZE = HEAD + EACH * BINS
# No score is 0, several are -1, a single one is its place among all float32, from 1 on.
NO_SCORE, SEVERAL = 0.0, -1.0
_SHIFT = np.uint32(32 - BIN_BITS)
_SIGN, _ALL = np.uint32(0x80000000), np.uint32(0xFFFFFFFF)


@exact_kernel
def rank_of(bits):  # type: ignore[no-untyped-def]
    """Return a uint32 in the order of the float32 whose bits these are; zero has one, not two."""
    if bits == _SIGN:
        return _SIGN
    return np.uint32(bits ^ _ALL) if bits & _SIGN else np.uint32(bits | _SIGN)


@exact_kernel
def common_score(a: float, b: float) -> float:
    """Return what a bin has seen of two marks, each none, several, or a single score."""
    if a == b or b == NO_SCORE:
        return a
    return b if a == NO_SCORE else SEVERAL


@exact_kernel
def add_scores(
    state: np.ndarray, scores: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> int:
    """Add rows to a state, (SIZE,) float64; scores, labels and weights, or none, are float32.

    Returns -1, or the first row whose score is NaN or whose label is neither 0 nor 1.
    """
    bits = scores.view(np.uint32)
    weighted = weights.size > 0
    for r in range(scores.size):
        if np.isnan(scores[r]) or not (labels[r] == 0 or labels[r] == 1):
            return r
        weight = np.float64(weights[r]) if weighted else 1.0
        if not weight >= 0.0:
            state[0] += 1.0
        rank = rank_of(bits[r])
        at = HEAD + EACH * np.int64(rank >> _SHIFT)
        state[at + (1 if labels[r] == 1 else 0)] += weight
        state[at + 2] = common_score(state[at + 2], np.float64(rank) + 1.0)
    if weighted:
        state[1] += scores.size
    return -1


@exact_kernel
def count_pairs(bins: np.ndarray) -> tuple[float, float, float]:
    """Return weights of pairs: right ones and half of those in one bin, unknown ones, all."""
    below, above, right, unknown = 0.0, 0.0, 0.0, 0.0
    for b in range(bins.shape[0]):
        same = bins[b, 1] * bins[b, 0]
        right += bins[b, 1] * below + 0.5 * same
        unknown += same if bins[b, 2] == SEVERAL else 0.0
        below += bins[b, 0]
        above += bins[b, 1]
    return right, unknown, below * above


def _size(batch: Measured) -> int:
    known = isinstance(batch.answers, Labels) and batch.answers.log_odds is not None
    return SIZE if known else 0


def _update(state: np.ndarray, batch: Measured) -> None:
    answers = batch.answers
    assert isinstance(answers, Labels) and answers.log_odds is not None
    scores = np.ascontiguousarray(answers.log_odds, np.float32)
    labels = np.ascontiguousarray(answers.labels, np.float32)
    row = add_scores(state, scores, labels, np.ascontiguousarray(answers.weights, np.float32))
    if row >= 0:
        raise DataError(
            f"row {row} of a batch has label {labels[row]} and log-odds {scores[row]}, but the "
            "area under the ROC curve takes labels 0 and 1 and numbers; correct the model's "
            "measure, or leave out its answers"
        )


def _values(state: np.ndarray) -> dict[str, Any]:
    """Return the area and the most by which it is off; None if a label or a rule is missing."""
    right, unknown, pairs = count_pairs(state[HEAD:].reshape(BINS, EACH))
    if state[0] > 0 or not pairs > 0:
        return {"auc": None, "auc_error": None}
    # In units of the last bit, sums of R weights are off by at most R and those over the bins by at
    # most BINS, each in the order of the pairs and in their number; counts of rows are exact.
    rounding = 4 * (state[1] + BINS) * np.finfo(np.float64).eps
    return {"auc": float(right / pairs), "auc_error": float(0.5 * unknown / pairs + rounding)}


AUC = Metric(("auc", "auc_error"), _size, _update, _values, lambda outputs: 8 * SIZE)
