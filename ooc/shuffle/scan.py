"""Sums over a stream of rows: which rows meet, and what batches hold."""

import numpy as np

from ooc.core.compiler import exact_kernel


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
    moments
        (4, columns) float64: sums over rows of x and x^2, over whole batches of their mean and
        its square.

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
