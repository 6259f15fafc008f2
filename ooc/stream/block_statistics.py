"""How different a dataset's blocks are: Vb/s2 and h_D, from a sample of blocks or from all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.core.errors import DataError
from ooc.core.random_keys import Purpose, key
from ooc.store.chunks import open_reader
from ooc.store.dataset import Dataset
from ooc.stream.order import shuffled

MOST_CLASSES = 64
# Rows that are not finite are found by the moments that come of them: no warning.
NOT_FINITE: Any = {"invalid": "ignore", "over": "ignore"}


@dataclass(frozen=True)
class Column:
    """Variance of one label or feature, between and within blocks.

    Attributes
    ----------
    mean, variance
        Estimates over all rows; of classes, the variance is the sum over their indicators.
    between_share
        Vb/s2: 0 if all blocks are alike, 1 if all rows of a block are equal.
    error
        Standard error of the share, by the jackknife over blocks; 0 if all blocks were read.
    block_factor
        h_D = b Vb/s2; about 1 for rows in random order, b at worst.
    """

    name: str
    mean: float
    variance: float
    between_share: float
    error: float
    block_factor: float


@dataclass(frozen=True)
class BlockStatistics:
    """What a sample of blocks tells of a dataset.

    Attributes
    ----------
    block_rows, blocks, sampled
        b, K, and how many of them were read.
    classes
        Upper ends of the label's classes, ascending; the last class has none. Values of an
        integer label, tenths of a real one.
    """

    block_rows: int
    blocks: int
    sampled: int
    label: Column | None
    features: tuple[Column, ...]
    classes: tuple[float, ...]

    def worst(self) -> Column:
        """Return the column whose blocks differ most."""
        columns = [*self.features, *([self.label] if self.label else [])]
        return max(columns, key=lambda column: column.between_share)


def block_statistics(
    dataset: Dataset,
    block_rows: int,
    sample_blocks: int | None = 256,
    seed: int = 0,
    io: str = "auto",
) -> BlockStatistics:
    """Estimate how variance is shared between and within blocks, by the values that are finite.

    Parameters
    ----------
    sample_blocks
        Blocks to read, drawn without replacement by the seed; None for all, which is exact.

    Raises
    ------
    DataError
        If no value of a label is finite.

    Examples
    --------
    >>> import ooc
    >>> found = block_statistics(ooc.open(example_dataset), block_rows=50, sample_blocks=None)
    >>> found.blocks, [round(column.block_factor, 1) for column in found.features]
    (20, [0.5, 1.2, 1.3])
    """
    rows = dataset.stored_rows
    blocks = -(-rows // block_rows)
    # A shorter last block is left out of a sample, whose blocks all weigh the same.
    full = max(rows // block_rows, 1)
    if sample_blocks is None or sample_blocks >= blocks:
        chosen = np.arange(blocks)
    else:
        number = key(seed, Purpose.BLOCK_SAMPLE)
        chosen = np.sort(shuffled(np.arange(min(sample_blocks, full)), full, number))
    spans = [(int(k) * block_rows, min((int(k) + 1) * block_rows, rows)) for k in chosen]
    sample = _Sample(dataset, spans, blocks, block_rows, io)
    label, classes = (None, ()) if dataset.target is None else sample.label(dataset.target)
    moments = [_moments(block) for block in sample.read(dataset.features)]
    names = [f"{dataset.features}[{j}]" for j in range(len(moments[0][0]))]
    features = tuple(sample.columns(names, moments))
    return BlockStatistics(block_rows, blocks, len(chosen), label, features, classes)


_Moments = tuple[np.ndarray, np.ndarray, np.ndarray]


def _moments(block: np.ndarray) -> _Moments:
    """Return count, mean and variance of each value, where it is finite."""
    there = np.isfinite(block)
    with np.errstate(**NOT_FINITE):
        if there.all():
            return np.full(block.shape[1], float(len(block))), block.mean(axis=0), block.var(axis=0)
        counts = there.sum(axis=0, dtype=np.float64)
        mean = block.sum(axis=0, where=there) / np.maximum(counts, 1)
        squares = np.square(block - mean).sum(axis=0, where=there)
        return counts, mean, squares / np.maximum(counts, 1)


@dataclass(frozen=True)
class _Sample:
    """The blocks that are read, (first row, stop) each."""

    dataset: Dataset
    spans: Sequence[tuple[int, int]]
    blocks: int
    block_rows: int
    io: str

    def read(self, name: str) -> Iterator[np.ndarray]:
        """Yield blocks of an array, (rows, values) float64, in memory of their own."""
        (spec,), reader = self.dataset.specs((name,)), open_reader(self.dataset, name, self.io)
        longest = max(stop - start for start, stop in self.spans)
        memory = np.empty((longest, *spec.shape[1:]), spec.dtype)
        for start, stop in self.spans:
            block = memory[: stop - start]
            reader.read_runs([(start, stop)], block)
            yield block.reshape(len(block), -1).astype(np.float64)

    def label(self, name: str) -> tuple[Column, tuple[float, ...]]:
        """Return the label's column, and the upper ends of its classes."""
        labels = list(self.read(name))
        flat = np.concatenate(labels).reshape(-1)
        flat = flat[np.isfinite(flat)]
        if len(flat) == 0:
            raise DataError(
                f"array {name} of {self.dataset.path} holds no finite value in {len(labels)} blocks"
                "; correct it, or name another array"
            )
        values = np.unique(flat)
        whole = self.dataset.arrays[name].dtype.kind in "iub"
        by_class = whole and len(values) <= MOST_CLASSES and labels[0].shape[1] == 1
        edges = values[:-1] if by_class else np.quantile(flat, np.linspace(0.1, 0.9, 9))
        counted = [(block == values).astype(np.float64) if by_class else block for block in labels]
        moments = [_moments(block) for block in counted]
        (column,) = self.columns([name], moments, joint=True)
        return column, tuple(edges.tolist())

    def columns(
        self, names: Sequence[str], moments: Sequence[_Moments], joint: bool = False
    ) -> list[Column]:
        """Turn moments of blocks into shares; `joint` adds all values up to one column."""
        weights, means, variances = np.array(moments).transpose(1, 0, 2)
        share, center, variance = self._share(means, variances, weights, joint)
        error, count = np.zeros_like(share), len(weights)
        if 2 < count < self.blocks:
            others = ~np.eye(count, dtype=bool)
            shares = [self._share(means[k], variances[k], weights[k], joint)[0] for k in others]
            left_out = np.array(shares)
            error = np.sqrt((count - 1) * left_out.var(axis=0) * (1 - count / self.blocks))
        numbers = (center[: len(share)], variance, share, error, self.block_rows * share)
        rows = zip(*(each.tolist() for each in numbers), strict=True)
        return [Column(name, *row) for name, row in zip(names, rows, strict=True)]

    def _share(
        self, means: np.ndarray, variances: np.ndarray, weights: np.ndarray, joint: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return Vb/s2, mean and variance of each value."""
        part = weights / np.maximum(weights.sum(axis=0), 1)
        count = np.count_nonzero(weights, axis=0)
        with np.errstate(**NOT_FINITE):
            center = (part * means).sum(axis=0)
            between = (part * (means - center) ** 2).sum(axis=0)
        unbiased = between * count / np.maximum(count - 1, 1) * (self.blocks - 1) / self.blocks
        if len(weights) < self.blocks:
            between = np.where(count > 1, unbiased, between)
        within = (part * variances).sum(axis=0)
        if joint:
            between, within = between.sum(keepdims=True), within.sum(keepdims=True)
        total = between + within
        with np.errstate(**NOT_FINITE):
            share = np.divide(between, total, out=np.zeros_like(total), where=total > 0)
        return share, center, total
