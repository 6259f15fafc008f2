"""How different a dataset's blocks are: Vb/s2 and h_D, from a sample of blocks or from all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ooc.core.errors import DataError
from ooc.core.random_keys import Purpose, key
from ooc.store.chunks import open_reader
from ooc.store.dataset import ArraySpec, Dataset
from ooc.stream.order import shuffled

MOST_CLASSES = 64


@dataclass(frozen=True)
class Column:
    """Variance of one label or feature, between and within blocks.

    Attributes
    ----------
    name
        Such as "y", or "X[3]".
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
    label, features
        The label, if there is one, and each feature.
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
    dataset
        What `ooc.open` returned.
    block_rows
        b.
    sample_blocks
        Blocks to read, drawn without replacement; None for all, which is exact.
    seed
        The sample is a function of it.
    io
        How files are read, see `ooc.store.chunks.files.choose_mode`.

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
        chosen = np.sort(shuffled(np.arange(min(sample_blocks, full)), full, _key(seed)))
    spans = [(int(k) * block_rows, min((int(k) + 1) * block_rows, rows)) for k in chosen]
    weights = np.array([stop - start for start, stop in spans], np.float64)
    label, classes = _label(dataset, spans, weights, blocks, block_rows, io)
    spec = dataset.arrays[dataset.features]
    means, variances = _moments(dataset, spec, spans, io)
    names = [f"{spec.name}[{j}]" for j in range(means.shape[1])]
    features = _columns(names, means, variances, weights, blocks, block_rows)
    return BlockStatistics(block_rows, blocks, len(chosen), label, tuple(features), classes)


def _key(seed: int) -> int:
    return key(seed, Purpose.BLOCK_SAMPLE)


def _label(
    dataset: Dataset,
    spans: Sequence[tuple[int, int]],
    weights: np.ndarray,
    blocks: int,
    block_rows: int,
    io: str,
) -> tuple[Column | None, tuple[float, ...]]:
    if dataset.target is None:
        return None, ()
    spec = dataset.arrays[dataset.target]
    labels = np.empty((int(weights.sum()), *spec.shape[1:]), spec.dtype)
    open_reader(dataset, spec.name, io).read_runs(spans, labels)
    flat = labels.reshape(-1).astype(np.float64)
    _check_finite(dataset, spec, flat)
    values = np.unique(flat)
    by_class = spec.dtype.kind in "iub" and len(values) <= MOST_CLASSES
    starts = np.concatenate([[0], np.cumsum(weights).astype(int)[:-1]])
    if by_class:
        edges = tuple(values[:-1].tolist())
        indicators = flat[:, None] == values
        means = np.add.reduceat(indicators.astype(np.float64), starts) / weights[:, None]
        variances = means * (1.0 - means)
    else:
        edges = tuple(np.quantile(flat, np.linspace(0.1, 0.9, 9)).tolist())
        means = (np.add.reduceat(flat, starts) / weights)[:, None]
        squares = np.add.reduceat(flat**2, starts) / weights
        variances = np.maximum(squares[:, None] - means**2, 0.0)
    (column,) = _columns([spec.name], means, variances, weights, blocks, block_rows, joint=True)
    return column, edges


def _moments(
    dataset: Dataset, spec: ArraySpec, spans: Sequence[tuple[int, int]], io: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return each block's mean and variance of each value of a row, (blocks, values) float64."""
    reader = open_reader(dataset, spec.name, io)
    longest = max(stop - start for start, stop in spans)
    memory = np.empty((longest, *spec.shape[1:]), spec.dtype)
    means, variances = [], []
    for start, stop in spans:
        block = memory[: stop - start]
        reader.read_runs([(start, stop)], block)
        values = block.reshape(len(block), -1).astype(np.float64)
        means.append(values.mean(axis=0))
        variances.append(values.var(axis=0))
        _check_finite(dataset, spec, means[-1])
    return np.array(means), np.array(variances)


def _check_finite(dataset: Dataset, spec: ArraySpec, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise DataError(
            f"array {spec.name} of {dataset.path} holds values that are not finite; a variance "
            "needs numbers in every row"
        )


def _columns(
    names: Sequence[str],
    means: np.ndarray,
    variances: np.ndarray,
    weights: np.ndarray,
    blocks: int,
    block_rows: int,
    joint: bool = False,
) -> list[Column]:
    """Turn moments of blocks into shares; `joint` adds all values up to one column."""
    share, center, variance = _share(means, variances, weights, blocks, joint)
    error = np.zeros_like(share)
    count = len(weights)
    if 2 < count < blocks:
        left_out = np.array(
            [
                _share(
                    np.delete(means, k, 0),
                    np.delete(variances, k, 0),
                    np.delete(weights, k),
                    blocks,
                    joint,
                )[0]
                for k in range(count)
            ]
        )
        spread = ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
        error = np.sqrt((count - 1) / count * spread * (1 - count / blocks))
    return [
        Column(
            name,
            float(center[j]),
            float(variance[j]),
            float(share[j]),
            float(error[j]),
            float(block_rows * share[j]),
        )
        for j, name in enumerate(names)
    ]


def _share(
    means: np.ndarray, variances: np.ndarray, weights: np.ndarray, blocks: int, joint: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
