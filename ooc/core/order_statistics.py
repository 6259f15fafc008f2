"""Order statistics of numbers that are read piece by piece, exact and in little memory."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

BINS = 2**16


def values_at_ranks(
    pieces: Callable[[], Iterator[np.ndarray]], ranks: Sequence[int]
) -> list[tuple[int, int, int]]:
    """Find the numbers at some places of the sorted order, each with how many are below and equal.

    Each pass cuts the range in which a number lies into `BINS` bins and keeps the bin that holds
    it: at most five passes, whatever the numbers.

    Parameters
    ----------
    pieces
        Yields all numbers, uint64, anew at each call.
    ranks
        Places from 0 on, below the count of numbers.

    Returns
    -------
    list
        For each rank the number, how many are below it, and how many equal it.

    Examples
    --------
    >>> numbers = np.array([7, 3, 7, 1], np.uint64)
    >>> values_at_ranks(lambda: iter([numbers]), [0, 2])
    [(1, 0, 1), (7, 2, 2)]
    """
    least, most = 2**64 - 1, 0
    for part in pieces():
        if part.size:
            least, most = min(least, int(part.min())), max(most, int(part.max()))
    # Of each rank the first number of its range, how long that is, and how many are below it.
    spans = [(least, most - least + 1, 0) for _ in ranks]
    equal = [0 for _ in ranks]
    while True:
        widths = [-(-length // BINS) for _, length, _ in spans]
        counts = [np.zeros(BINS, np.int64) for _ in ranks]
        for part in pieces():
            for (first, length, _), width, count in zip(spans, widths, counts, strict=True):
                inside = part[(part >= np.uint64(first)) & (part - np.uint64(first) < length)]
                bins = (inside - np.uint64(first)) // np.uint64(width)
                count += np.bincount(bins.astype(np.int64), minlength=BINS)
        for place, (rank, count) in enumerate(zip(ranks, counts, strict=True)):
            first, length, below = spans[place]
            passed = below + np.cumsum(count)
            bin_ = int(np.searchsorted(passed, rank, "right"))
            start = bin_ * widths[place]
            before, equal[place] = int(passed[bin_] - count[bin_]), int(count[bin_])
            spans[place] = (first + start, min(widths[place], length - start), before)
        if all(width == 1 for width in widths):
            return [(first, below, n) for (first, _, below), n in zip(spans, equal, strict=True)]
