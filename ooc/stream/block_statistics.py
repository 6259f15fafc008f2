"""How different a dataset's blocks are: Vb/s2 and h_D, from a sample of blocks or from all.

Moments of blocks are arrays of bounded size: where there are more columns, some are drawn.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np

from ooc.core.errors import DataError
from ooc.core.memory import own_memory
from ooc.core.random_keys import Purpose, key
from ooc.store.chunks import open_reader
from ooc.store.dataset import Dataset
from ooc.stream.order import shuffled

MOST_CLASSES = 64
# Of the moments of a sample, or of labels: more columns or rows than fit are drawn from.
MOST_BYTES = 32 * 2**20
# A mean and a variance of a column in one block of a sample; and what a column takes in any case.
MOMENT_BYTES, COLUMN_BYTES = 16, 128
# Values that are looked at together, as float64: they stay in the core's cache.
PIECE_BYTES = 2**18
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
class Columns(Sequence[Column]):
    """Columns of one array, each made when it is asked for: there may be millions.

    Attributes
    ----------
    places
        (C,) int64, where they are in a row.
    numbers
        (4, C) float64: mean, variance, share between blocks, and its error.
    """

    array: str
    block_rows: int
    places: np.ndarray = field(repr=False)
    numbers: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Column: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Column]: ...

    def __getitem__(self, index: int | slice) -> Column | Sequence[Column]:
        """Return a column, or some."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        mean, variance, share, error = self.numbers[:, index].tolist()
        name = f"{self.array}[{self.places[index]}]"
        return Column(name, mean, variance, share, error, self.block_rows * share)

    def worst(self) -> Column:
        """Return the first of those whose blocks differ most."""
        return self[int(np.argmax(np.nan_to_num(self.numbers[2])))]


@dataclass(frozen=True)
class BlockStatistics:
    """What a sample of blocks tells of a dataset.

    Attributes
    ----------
    block_rows, blocks, sampled
        b, K, and how many of them were read.
    features
        Of all features, or of those that were asked for or drawn.
    classes
        Upper ends of the label's classes, ascending; the last class has none. Values of an
        integer label, tenths of a real one.
    """

    block_rows: int
    blocks: int
    sampled: int
    label: Column | None
    features: Columns
    classes: tuple[float, ...]

    def worst(self) -> Column:
        """Return the column whose blocks differ most."""
        columns = [self.features.worst(), *([self.label] if self.label else [])]
        return max(columns, key=lambda column: column.between_share)


def block_statistics(
    dataset: Dataset,
    block_rows: int,
    sample_blocks: int | None = 256,
    seed: int = 0,
    io: str = "auto",
    columns: np.ndarray | None = None,
    most_bytes: int = MOST_BYTES,
) -> BlockStatistics:
    """Estimate how variance is shared between and within blocks.

    Parameters
    ----------
    sample_blocks
        Blocks to read, drawn without replacement by the seed; None for all, which is exact.
    columns
        Places of the features to look at; by default all, or, where their moments do not fit,
        as many as do, drawn by the seed.
    most_bytes
        What moments may take, beside one block.

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
    number = key(seed, Purpose.BLOCK_SAMPLE)
    if sample_blocks is None or sample_blocks >= blocks:
        chosen = np.arange(blocks)
    else:
        chosen = _drawn(min(sample_blocks, full), full, number)
    spans = [(int(k) * block_rows, min((int(k) + 1) * block_rows, rows)) for k in chosen]
    sample = _Sample(dataset, spans, blocks, block_rows, io, number, most_bytes)
    label, classes = (None, ()) if dataset.target is None else sample.label(dataset.target)
    features = sample.columns(dataset.features, columns)
    return BlockStatistics(block_rows, blocks, len(chosen), label, features, classes)


def sample_bytes(values: int, blocks: int, sample_blocks: int) -> int:
    """Return what the moments of rows of so many values take, if none is left out."""
    return values * (COLUMN_BYTES + MOMENT_BYTES * sample_blocks * (sample_blocks < blocks))


def _drawn(count: int, total: int, number: int) -> np.ndarray:
    """Draw so many of 0 to total - 1, without replacement and ascending."""
    return np.sort(shuffled(np.arange(count), total, number))


_Moments = tuple[np.ndarray, np.ndarray]
_Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _Sample:
    """The blocks that are read, (first row, stop) each."""

    dataset: Dataset
    spans: Sequence[tuple[int, int]]
    blocks: int
    block_rows: int
    io: str
    number: int
    most_bytes: int

    def columns(self, name: str, places: np.ndarray | None) -> Columns:
        """Return the columns of an array at these places of a row, or at those that fit."""
        if places is None:
            places = self._places(math.prod(self.dataset.row_shape), self.most_bytes)
        moments = (self._moments(name, block, places) for block in self._read(name))
        return Columns(name, self.block_rows, places, self._shares(moments, len(places)))

    def _places(self, values: int, most_bytes: int) -> np.ndarray:
        """Return the places in a row of those columns whose moments fit, all if they do."""
        most = max(1, most_bytes // sample_bytes(1, self.blocks, len(self.spans)))
        return np.arange(values) if values <= most else _drawn(most, values, self.number)

    def label(self, name: str) -> tuple[Column, tuple[float, ...]]:
        """Return the label's column, and the upper ends of its classes."""
        spec = self.dataset.arrays[name]
        width, rows = math.prod(spec.shape[1:]), sum(stop - start for start, stop in self.spans)
        places = self._places(width, self.most_bytes // 4)
        # Tenths are those of some rows where all do not fit, with the copy that is sorted.
        step = max(1, -(-32 * rows * width // self.most_bytes))
        known, kept = np.empty(0, spec.dtype), []
        of_values = np.empty((2, len(self.spans), len(places)))
        of_classes: np.ndarray | None = np.zeros((len(self.spans), 0))
        if spec.dtype.kind not in "iub" or width > 1:
            of_classes = None
        for row, block in enumerate(self._read(name)):
            of_values[:, row] = self._moments(name, block, places)
            kept.append(block.reshape(-1)[::step].astype(np.float64))
            if of_classes is None:
                continue
            found, counts = np.unique(block, return_counts=True)
            new = np.setdiff1d(found, known)
            if len(known) + len(new) > MOST_CLASSES:
                of_classes = None
                continue
            at = np.searchsorted(known, new)
            known, of_classes = np.insert(known, at, new), np.insert(of_classes, at, 0.0, axis=1)
            of_classes[row, np.searchsorted(known, found)] = counts / len(block)
        if of_classes is None:
            edges = np.quantile(np.concatenate(kept), np.linspace(0.1, 0.9, 9))
        else:
            edges = known[:-1].astype(np.float64)
            of_values = np.stack([of_classes, of_classes * (1 - of_classes)])
        moments = zip(*of_values, strict=True)
        numbers = self._shares(moments, of_values.shape[2], joint=True)
        column = Columns(name, self.block_rows, places[:1], numbers)[0]
        return replace(column, name=name), tuple(edges.tolist())

    def _read(self, name: str) -> Iterator[np.ndarray]:
        """Yield blocks of an array, (rows, values), each in the memory of the one before."""
        (spec,), reader = self.dataset.specs((name,)), open_reader(self.dataset, name, self.io)
        longest = max(stop - start for start, stop in self.spans)
        memory = own_memory((longest, *spec.shape[1:]), spec.dtype)
        for start, stop in self.spans:
            block = memory[: stop - start]
            reader.read_runs([(start, stop)], block)
            yield block.reshape(len(block), -1)

    def _moments(self, name: str, block: np.ndarray, places: np.ndarray) -> _Moments:
        """Return mean and variance of some columns of a block, a piece at a time."""
        means, variances = np.empty(len(places)), np.empty(len(places))
        down, across = PIECE_BYTES // 8, max(2, PIECE_BYTES // (8 * len(block)))
        for first in range(0, len(places), across):
            part = places[first : first + across]
            are_neighbours = part[-1] - part[0] == len(part) - 1
            beside = block[:, part[0] : part[-1] + 1] if are_neighbours else None
            count, mean, variance = 0, np.zeros(len(part)), np.zeros(len(part))
            for top in range(0, len(block), down):
                rows = slice(top, top + down)
                some = block[rows].take(part, axis=1) if beside is None else beside[rows]
                values = some.astype(np.float64)
                if not np.isfinite(values).all():
                    raise DataError(
                        f"array {name} of {self.dataset.path} holds values that are not finite; a "
                        "variance needs numbers in every row"
                    )
                with np.errstate(**NOT_FINITE):
                    one = values.mean(axis=0), values.var(axis=0)
                    if count == 0:
                        (mean, variance), count = one, len(values)
                        continue
                    share = len(values) / (count + len(values))
                    step = one[0] - mean
                    mean = mean + share * step
                    variance += share * (one[1] - variance + (1 - share) * step**2)
                count += len(values)
            means[first : first + across], variances[first : first + across] = mean, variance
        return means, variances

    def _shares(self, moments: Iterable[_Moments], values: int, joint: bool = False) -> np.ndarray:
        """Turn moments of blocks into what `Columns` holds; `joint` adds all values up to one."""
        weights = np.array([stop - start for start, stop in self.spans], np.float64)
        count = len(weights)
        if not 2 < count < self.blocks:
            center, between, within = self._summed(moments, weights, values)
            if joint:
                between, within = between.sum(keepdims=True), within.sum(keepdims=True)
            share = _ratio(between, within)
            return np.stack([center[: len(share)], between + within, share, 0 * share])
        means, variances = np.empty((count, values)), np.empty((count, values))
        for row, (mean, variance) in enumerate(moments):
            means[row], variances[row] = mean, variance
        # Without the first block, without the second, and so on; all of them at the end.
        others = [*~np.eye(count, dtype=bool), np.ones(count, bool)]
        numbers, sums = np.empty((4, values)), np.zeros((2, count + 1))
        across = max(2, PIECE_BYTES // (8 * count))
        for first in range(0, values, across):
            piece = slice(first, first + across)
            some = means[:, piece], variances[:, piece]
            parts = [self._parts(some[0][k], some[1][k], weights[k]) for k in others]
            between, within = (np.stack([part[which] for part in parts]) for which in (1, 2))
            numbers[0, piece] = parts[-1][0]
            if joint:
                sums += between.sum(axis=1), within.sum(axis=1)
            else:
                numbers[1:, piece] = self._with_errors(between, within)
        if joint:
            numbers = numbers[:, :1]
            numbers[1:] = self._with_errors(sums[0][:, None], sums[1][:, None])
        return numbers

    def _with_errors(self, between: np.ndarray, within: np.ndarray) -> np.ndarray:
        """Return variance, share and its error, by the shares without each block."""
        share, count = _ratio(between, within), len(between) - 1
        left_out = 1 - count / self.blocks
        error = np.sqrt((count - 1) * share[:-1].var(axis=0) * left_out)
        return np.stack([between[-1] + within[-1], share[-1], error])

    def _parts(self, means: np.ndarray, variances: np.ndarray, weights: np.ndarray) -> _Parts:
        """Return mean, variance between blocks and variance within them, of each value."""
        part, count = (weights / weights.sum())[:, None], len(weights)
        with np.errstate(**NOT_FINITE):
            center = (part * means).sum(axis=0)
            between = (part * (means - center) ** 2).sum(axis=0)
        return center, self._of_all(between, count), (part * variances).sum(axis=0)

    def _summed(self, moments: Iterable[_Moments], weights: np.ndarray, values: int) -> _Parts:
        """Return the same of all blocks, one after the other, however many there are."""
        center, between, within = np.zeros((3, values))
        total = 0.0
        with np.errstate(**NOT_FINITE):
            for weight, (mean, variance) in zip(weights.tolist(), moments, strict=True):
                total += weight
                step = mean - center
                center += step * (weight / total)
                between += weight * step * (mean - center)
                within += weight * variance
        return center, self._of_all(between / total, len(weights)), within / total

    def _of_all(self, between: np.ndarray, count: int) -> np.ndarray:
        """Return the variance between all blocks, estimated from some."""
        if not 1 < count < self.blocks:
            return between
        return between * count / (count - 1) * (self.blocks - 1) / self.blocks


def _ratio(between: np.ndarray, within: np.ndarray) -> np.ndarray:
    total = between + within
    with np.errstate(**NOT_FINITE):
        return np.divide(between, total, out=np.zeros_like(total), where=total > 0)
