"""Sums over a stream of rows: which rows meet, how far they came, what batches hold."""

import numpy as np

from ooc.core.compiler import exact_kernel

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
        See `PLACE` and `DISPLACEMENT`.
    picture
        (bins, bins) int64, counts by place in the stream and by row.
    """
    bins = picture.shape[0]
    for i in range(rows.size):
        row, place = rows[i], state[PLACE]
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


class BatchSums:
    """Sums over rows of some columns, and over the means of the batches that follow each other.

    Attributes
    ----------
    rows, batches
        Rows so far, and whole batches.
    moments
        (4, columns) float64: sums over rows of x and x^2, over batches of their mean and its
        square.

    Examples
    --------
    >>> sums = BatchSums(batch_size=2, columns=1)
    >>> sums.add(np.array([[1.0], [3.0], [5.0]]))
    >>> sums.batches, sums.moments.ravel().tolist()
    (1, [9.0, 35.0, 2.0, 4.0])
    """

    def __init__(self, batch_size: int, columns: int) -> None:
        self.rows, self.batches = 0, 0
        self.moments = np.zeros((4, columns))
        self._batch_size, self._begun = batch_size, np.zeros(columns)

    def add(self, values: np.ndarray) -> None:
        """Add the next rows, (rows, columns) float64, at least one."""
        size, count = self._batch_size, len(values)
        cuts = [0, *range(size - self.rows % size, count, size)]
        sums = np.add.reduceat(values, cuts)
        sums[0] += self._begun
        self.rows += count
        self._begun = np.zeros(len(self._begun))
        if self.rows % size:
            self._begun, sums = sums[-1], sums[:-1]
        self.batches += len(sums)
        means = sums / size
        terms = (values, values**2, means, means**2)
        self.moments += [each.sum(axis=0) for each in terms]
