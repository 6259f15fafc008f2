"""Closed forms of blockwise shuffling: what a batch's variance is, and which rows meet in it.

N rows in K blocks of b rows, n blocks in a window, batches of B. Population variance s2 = Vb + Vw,
between and within blocks. Each form is tested against enumeration or simulation.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, copysign, inf, sqrt


def inflation(
    between_share: float, rows: int, block_rows: int, blocks_per_window: int, batch_size: int
) -> float:
    """Return the variance of a batch's mean under blocks, over that under a full shuffle.

    Blocks: s2/B + (B-1)/B c with c = p (Vb - Vw/(b-1)) - (1-p) Vb/(K-1) and p = (b-1)/(nb-1).
    Full shuffle: s2/B (N-B)/(N-1). All blocks are taken as full; `between_share` is Vb/s2.

    Examples
    --------
    >>> round(inflation(1 / 400, 400_000, 400, 40, 256), 3)  # rows as if in random order
    1.0
    >>> round(inflation(0.9, 400_000, 400, 40, 256), 1)  # nearly all variance is between blocks
    6.5
    """
    b, n, batch = block_rows, min(blocks_per_window, -(-rows // block_rows)), batch_size
    blocks = -(-rows // b)
    if blocks < 2 or n >= blocks or batch < 2:
        return 1.0
    between, within = between_share, 1.0 - between_share
    same_block = (b - 1) / (n * b - 1)
    covariance = -(1 - same_block) * between / (blocks - 1)
    if b > 1:
        covariance += same_block * (between - within / (b - 1))
    variance = 1.0 / batch + (batch - 1) / batch * covariance
    full = (rows - batch) / (rows - 1) / batch
    return variance / full if full > 0 else 1.0


def smallest_window(
    between_share: float, rows: int, block_rows: int, batch_size: int, limit: float
) -> int:
    """Return the fewest blocks, at least 2, by which the inflation is at most `limit`.

    Examples
    --------
    >>> smallest_window(0.9, 400_000, 400, 256, 1.05)
    821
    """
    blocks = -(-rows // block_rows)

    def mixes(window: int) -> bool:
        return inflation(between_share, rows, block_rows, window, batch_size) <= limit

    fewest = min(2, blocks)
    return fewest + bisect_left(range(fewest, blocks), True, key=mixes)


@dataclass(frozen=True)
class PairCount:
    """Mean and standard deviation of how many pairs of rows share a block and a batch."""

    mean: float
    deviation: float

    def score(self, observed: float) -> float:
        """Return how many standard deviations an observed count is above the mean."""
        if self.deviation == 0.0:
            return 0.0 if observed == self.mean else copysign(inf, observed - self.mean)
        return (observed - self.mean) / self.deviation


def pairs_in_window(blocks: Sequence[int], batches: Sequence[int]) -> PairCount:
    """Count the pairs of rows of one block that a uniform permutation puts into one batch.

    Given are the rows of each block and of each batch's part in the window. The moments are those
    of the random intersection of two graphs (Barton and David, 1966), both made of cliques.
    """
    rows = sum(blocks)
    if rows < 2:
        return PairCount(0.0, 0.0)
    edges = [sum(comb(size, 2) for size in side) for side in (blocks, batches)]
    paths = [sum(3 * comb(size, 3) for size in side) for side in (blocks, batches)]
    apart = [comb(e, 2) - p for e, p in zip(edges, paths, strict=True)]
    mean = edges[0] * edges[1] / comb(rows, 2)
    pairs = 0.0
    if rows > 2:
        pairs += paths[0] * paths[1] / (3 * comb(rows, 3))
    if rows > 3:
        pairs += apart[0] * apart[1] / (3 * comb(rows, 4))
    variance = mean + 2 * pairs - mean * mean
    # What is left of large equal terms may be their rounding.
    return PairCount(mean, sqrt(max(variance, 0.0)))


def pairs_expected(window_blocks: Sequence[Sequence[int]], batch_size: int) -> PairCount:
    """Count same-block pairs over windows, each permuted by itself, from their blocks' rows.

    Examples
    --------
    >>> blocks = [400] * 40_000 + [57]
    >>> round(pairs_expected([blocks], 400).mean)  # a full shuffle of 16,000,057 rows
    79600
    """
    mean, variance, place = 0.0, 0.0, 0
    for blocks in window_blocks:
        rows = sum(blocks)
        cuts = range(-(place % batch_size), rows, batch_size)
        parts = [min(cut + batch_size, rows) - max(cut, 0) for cut in cuts]
        counted = pairs_in_window(blocks, parts)
        mean, variance = mean + counted.mean, variance + counted.deviation**2
        place += rows
    return PairCount(mean, sqrt(variance))
