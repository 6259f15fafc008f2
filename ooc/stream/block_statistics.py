"""How different a dataset's blocks are: Vb/s2 and h_D, from a sample of blocks or from all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ooc.core.errors import DataError
from ooc.core.random_keys import Purpose, key
from ooc.store.chunks import open_reader
from ooc.store.dataset import Dataset
from ooc.stream.order import shuffled

MOST_CLASSES = 64


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
    """Estimate how variance is shared between and within blocks.

    Parameters
    ----------
    sample_blocks
        Blocks to read, drawn without replacement by the seed; None for all, which is exact.

    Raises
    ------
    DataError
        If a value is not finite.

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
    label: Column | None = None
    classes: tuple[float, ...] = ()
    if dataset.target is not None:
        (label,), classes = _label(dataset, dataset.target, spans, blocks, block_rows, io)
    read = _read(dataset, dataset.features, spans, io)
    moments = [_moments(block) for block in read]
    names = [f"{dataset.features}[{j}]" for j in range(len(moments[0][0]))]
    features = _columns(names, moments, spans, blocks, block_rows)
    return BlockStatistics(block_rows, blocks, len(chosen), label, tuple(features), classes)


def _read(
    dataset: Dataset, name: str, spans: Sequence[tuple[int, int]], io: str
) -> Iterator[np.ndarray]:
    """Yield blocks of an array, (rows, values) float64, in memory of their own."""
    (spec,), reader = dataset.specs((name,)), open_reader(dataset, name, io)
    longest = max(stop - start for start, stop in spans)
    memory = np.empty((longest, *spec.shape[1:]), spec.dtype)
    for start, stop in spans:
        block = memory[: stop - start]
        reader.read_runs([(start, stop)], block)
        values = block.reshape(len(block), -1).astype(np.float64)
        if not np.isfinite(values).all():
            raise DataError(
                f"array {name} of {dataset.path} holds values that are not finite; a variance "
                "needs numbers in every row"
            )
        yield values


def _label(
    dataset: Dataset,
    name: str,
    spans: Sequence[tuple[int, int]],
    blocks: int,
    block_rows: int,
    io: str,
) -> tuple[list[Column], tuple[float, ...]]:
    """Return the label's column, and the upper ends of its classes."""
    labels = list(_read(dataset, name, spans, io))
    flat = np.concatenate(labels).reshape(-1)
    values = np.unique(flat)
    whole = dataset.arrays[name].dtype.kind in "iub"
    if whole and len(values) <= MOST_CLASSES and labels[0].shape[1] == 1:
        edges = values[:-1]
        moments = [_moments((block == values).astype(np.float64)) for block in labels]
    else:
        edges = np.quantile(flat, np.linspace(0.1, 0.9, 9))
        moments = [_moments(block) for block in labels]
    return _columns([name], moments, spans, blocks, block_rows, True), tuple(edges.tolist())


def _moments(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return block.mean(axis=0), block.var(axis=0)


def _columns(
    names: Sequence[str],
    moments: Sequence[tuple[np.ndarray, np.ndarray]],
    spans: Sequence[tuple[int, int]],
    blocks: int,
    block_rows: int,
    joint: bool = False,
) -> list[Column]:
    """Turn moments of blocks into shares; `joint` adds all values up to one column."""
    means, variances = np.array(moments).transpose(1, 0, 2)
    weights = np.array([stop - start for start, stop in spans], np.float64)
    share, center, variance = _share(means, variances, weights, blocks, joint)
    error = np.zeros_like(share)
    count = len(weights)
    if 2 < count < blocks:
        others = ~np.eye(count, dtype=bool)
        left_out = np.array(
            [_share(means[k], variances[k], weights[k], blocks, joint)[0] for k in others]
        )
        error = np.sqrt((count - 1) * left_out.var(axis=0) * (1 - count / blocks))
    numbers = (center[: len(share)], variance, share, error, block_rows * share)
    rows = zip(*(each.tolist() for each in numbers), strict=True)
    return [Column(name, *row) for name, row in zip(names, rows, strict=True)]


def _share(
    means: np.ndarray, variances: np.ndarray, weights: np.ndarray, blocks: int, joint: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Vb/s2, mean and variance of each value."""
    part = (weights / weights.sum())[:, None]
    center = (part * means).sum(axis=0)
    between = (part * (means - center) ** 2).sum(axis=0)
    count = len(weights)
    if 1 < count < blocks:
        between = between * count / (count - 1) * (blocks - 1) / blocks
    within = (part * variances).sum(axis=0)
    if joint:
        between, within = between.sum(keepdims=True), within.sum(keepdims=True)
    total = between + within
    return np.divide(between, total, out=np.zeros_like(total), where=total > 0), center, total
