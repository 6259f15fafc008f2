"""Compiled sums over a stream of rows: which rows meet, how far they came, what batches hold."""

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.core.hashing import mix

# Entries of the float64 sums over rows.
DISPLACEMENT, NEIGHBOUR, PAIRS, PAIRS_SQUARED, BATCHES = range(5)
SUMS = 5
# Entries of the int64 state that is carried from part to part.
PLACE, LAST_ROW = range(2)
STATE = 2


@exact_kernel
def scan_rows(
    rows: np.ndarray,
    total: int,
    block_rows: int,
    batch: np.ndarray,
    state: np.ndarray,
    sums: np.ndarray,
    multiset: np.ndarray,
    picture: np.ndarray,
) -> None:
    """Add a part of the stream.

    Parameters
    ----------
    rows
        (part,) int64, rows of the dataset in the order of the stream.
    total
        N.
    batch
        (B,) int64, blocks of the rows of the batch at hand.
    state, sums
        See above.
    multiset
        (1,) uint64, sum over the rows' hashes.
    picture
        (bins, bins) int64, counts by place in the stream and by row.
    """
    bins = picture.shape[0]
    for i in range(rows.size):
        row, place = rows[i], state[PLACE]
        multiset[0] += mix(np.uint64(row + 1))
        sums[DISPLACEMENT] += abs(row - place)
        if place > 0:
            sums[NEIGHBOUR] += abs(row - state[LAST_ROW])
        picture[place * bins // total, row * bins // total] += 1
        inside = place % batch.size
        batch[inside] = row // block_rows
        state[PLACE], state[LAST_ROW] = place + 1, row
        if inside == batch.size - 1 or state[PLACE] == total:
            pairs = np.float64(same_pairs(batch[: inside + 1]))
            sums[PAIRS] += pairs
            sums[PAIRS_SQUARED] += pairs * pairs
            sums[BATCHES] += 1


@exact_kernel
def same_pairs(values: np.ndarray) -> int:
    """Count the pairs of equal values."""
    ordered = np.sort(values)
    pairs, run = 0, 0
    for i in range(1, ordered.size):
        run = run + 1 if ordered[i] == ordered[i - 1] else 0
        pairs += run
    return pairs


@exact_kernel
def multiset_of_all(total: int) -> int:
    """Return what the multiset sum is if rows 0 to total - 1 come once each."""
    found = np.uint64(0)
    for row in range(total):
        found += mix(np.uint64(row + 1))
    return found  # type: ignore[return-value]


@exact_kernel
def scan_values(
    features: np.ndarray,
    columns: np.ndarray,
    labels: np.ndarray,
    edges: np.ndarray,
    order: np.ndarray,
    batch_size: int,
    reference: np.ndarray,
    counts: np.ndarray,
    batch: np.ndarray,
    moments: np.ndarray,
    class_batch: np.ndarray,
    class_sums: np.ndarray,
) -> None:
    """Add the batches that a part of the stream completes.

    Parameters
    ----------
    features
        (rows, values); `columns` (int64) are followed, and then the label if there is one.
    labels
        (rows,) float64, or empty.
    edges
        Upper ends of classes.
    order
        (part,) places in the arrays.
    reference
        (columns,) float64, subtracted from values so that sums of squares keep their digits.
    counts
        (2,) int64: rows of the batch at hand, whole batches.
    batch
        (columns,) float64, sums of the batch at hand.
    moments
        (4, columns) float64: sums over rows of x and x^2, over batches of their mean and its
        square.
    class_batch
        (classes,) int64, rows of each class in the batch at hand.
    class_sums
        (2, classes) float64: sums over batches of those counts and of their squares.
    """
    followed = columns.size
    for i in range(order.size):
        place = order[i]
        for j in range(followed):
            value = np.float64(features[place, columns[j]]) - reference[j]
            batch[j] += value
            moments[0, j] += value
            moments[1, j] += value * value
        if labels.size:
            label = labels[place]
            value = label - reference[followed]
            batch[followed] += value
            moments[0, followed] += value
            moments[1, followed] += value * value
            group = 0
            while group < edges.size and label > edges[group]:
                group += 1
            class_batch[group] += 1
        counts[0] += 1
        if counts[0] == batch_size:
            for j in range(batch.size):
                mean = batch[j] / batch_size
                moments[2, j] += mean
                moments[3, j] += mean * mean
                batch[j] = 0.0
            for group in range(class_batch.size):
                seen = np.float64(class_batch[group])
                class_sums[0, group] += seen
                class_sums[1, group] += seen * seen
                class_batch[group] = 0
            counts[0] = 0
            counts[1] += 1
