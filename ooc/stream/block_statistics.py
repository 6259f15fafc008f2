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
from ooc.store.dataset import ArraySpec, Dataset
from ooc.stream.order import shuffled

MOST_CLASSES = 64
# Of the moments of a sample, or of labels: more columns or rows than fit are drawn from.
MOST_BYTES = 32 * 2**20
# Moments of a column in one block of a sample; and what a column takes in any case.
MOMENT_BYTES, COLUMN_BYTES = 24, 128
# Values that are looked at together, as float64: they stay in the core's cache.
PIECE_BYTES = 2**18
# Values that differ by less of their mean are equal: what is left is of its rounding.
ROUNDING = 1e-13
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
    spec
        The array, where it says what a place of its rows is called.
    """

    array: str
    block_rows: int
    places: np.ndarray = field(repr=False)
    numbers: np.ndarray = field(repr=False)
    spec: ArraySpec | None = field(default=None, repr=False, compare=False)

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
        place = int(self.places[index])
        name = f"{self.array}[{place}]" if self.spec is None else self.spec.number_name(place)
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
    """Estimate how variance is shared between and within blocks, by the values that are finite.

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
    number = key(seed, Purpose.BLOCK_SAMPLE)
    if sample_blocks is None or sample_blocks >= blocks:
        chosen = np.arange(blocks)
    else:
        chosen = _drawn(min(sample_blocks, full), full, number)
    spans = [(int(k) * block_rows, min((int(k) + 1) * block_rows, rows)) for k in chosen]
    if dataset.stores is not None:
        spans = [span for span in spans if dataset.stores.pieces(*span)]
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
            telling = self.dataset.arrays[name].telling_places
            places = self._places(telling, self.most_bytes)
        moments = (_moments(block, places) for block in self._read(name))
        shares = self._shares(moments, len(places))
        return Columns(name, self.block_rows, places, shares, self.dataset.arrays[name])

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
        of_values = np.empty((len(self.spans), 3, len(places)))
        of_classes: np.ndarray | None = np.zeros((len(self.spans), 0))
        if spec.dtype.kind not in "iub" or width > 1:
            of_classes = None
        for row, block in enumerate(self._read(name)):
            of_values[row] = _moments(block, places)
            some = block.reshape(-1)[::step].astype(np.float64)
            kept.append(some[np.isfinite(some)])
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
        if not any(map(len, kept)):
            raise DataError(
                f"array {name} of {self.dataset.path} holds no finite value in {len(kept)} blocks; "
                "correct it, or name another array"
            )
        if of_classes is None:
            edges = np.quantile(np.concatenate(kept), np.linspace(0.1, 0.9, 9))
        else:
            edges = known[:-1].astype(np.float64)
            counts = np.repeat(of_values[:, :1, 0], len(known), axis=1)
            of_values = np.stack([counts, of_classes, of_classes * (1 - of_classes)], axis=1)
        numbers = self._shares(of_values, of_values.shape[2], joint=True)
        column = Columns(name, self.block_rows, places[:1], numbers)[0]
        return replace(column, name=name), tuple(edges.tolist())

    def _read(self, name: str) -> Iterator[np.ndarray]:
        """Yield blocks of an array, (rows, values), each in the memory of the one before."""
        (spec,), reader = self.dataset.specs((name,)), open_reader(self.dataset, name, self.io)
        longest = max(stop - start for start, stop in self.spans)
        memory = spec.memory(longest, own_memory)
        for start, stop in self.spans:
            block = memory[: stop - start]
            reader.read_runs([(start, stop)], block)
            if self.dataset.stores is not None:  # some rows may be of none
                block = block[self.dataset.stores.holds(start, stop)]
            yield block.reshape(len(block), -1)

    def _shares(
        self, moments: Iterable[np.ndarray], values: int, joint: bool = False
    ) -> np.ndarray:
        """Turn moments of blocks into what `Columns` holds; `joint` adds all values up to one."""
        count = len(self.spans)
        if not 2 < count < self.blocks:
            center, between, within = self._summed(moments, values)
            if joint:
                between, within = between.sum(keepdims=True), within.sum(keepdims=True)
            share = _ratio(between, within)
            return np.stack([center[: len(share)], between + within, share, 0 * share])
        table = own_memory((3, count, values), np.dtype(np.float64))
        for row, each in enumerate(moments):
            table[:, row] = each
        # Without the first block, without the second, and so on; all of them at the end.
        others = [*~np.eye(count, dtype=bool), np.ones(count, bool)]
        numbers, sums = np.empty((4, values)), np.zeros((2, count + 1))
        across = max(2, PIECE_BYTES // (8 * count))
        for first in range(0, values, across):
            piece = slice(first, first + across)
            parts = [self._parts(*table[:, kept, piece]) for kept in others]
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

    def _parts(self, weights: np.ndarray, means: np.ndarray, variances: np.ndarray) -> _Parts:
        """Return mean, variance between blocks and variance within them, of each value."""
        part = weights / np.maximum(weights.sum(axis=0), 1)
        with np.errstate(**NOT_FINITE):
            center = (part * means).sum(axis=0)
            between = (part * (means - center) ** 2).sum(axis=0)
        between = self._of_all(between, np.count_nonzero(weights, axis=0))
        return _unless_constant(center, between, (part * variances).sum(axis=0))

    def _summed(self, moments: Iterable[np.ndarray], values: int) -> _Parts:
        """Return the same of all blocks, one after the other, however many there are."""
        total, count, center, between, within = np.zeros((5, values))
        with np.errstate(**NOT_FINITE):
            for weight, mean, variance in moments:
                total += weight
                count += weight > 0
                step = mean - center
                center += step * (weight / np.maximum(total, 1))
                between += weight * step * (mean - center)
                within += weight * variance
        total = np.maximum(total, 1)
        return _unless_constant(center, self._of_all(between / total, count), within / total)

    def _of_all(self, between: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Return the variance between all blocks, estimated from some."""
        if len(self.spans) >= self.blocks:
            return between
        return between * count / np.maximum(count - 1, 1) * (self.blocks - 1) / self.blocks


def _moments(block: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return count, mean and variance of some columns, (3, C), a piece at a time."""
    moments = np.zeros((3, len(places)))
    down, across = PIECE_BYTES // 8, max(2, PIECE_BYTES // (8 * len(block)))
    for first in range(0, len(places), across):
        part = places[first : first + across]
        are_neighbours = part[-1] - part[0] == len(part) - 1
        beside = block[:, part[0] : part[-1] + 1] if are_neighbours else None
        count, mean, variance = moments[:, first : first + across]
        for top in range(0, len(block), down):
            rows = slice(top, top + down)
            some = block[rows].take(part, axis=1) if beside is None else beside[rows]
            more, its_mean, its_variance = _finite_moments(some.astype(np.float64))
            if top == 0:
                count[:], mean[:], variance[:] = more, its_mean, its_variance
                continue
            share, step = more / np.maximum(count + more, 1), its_mean - mean
            mean += share * step
            variance += share * (its_variance - variance + (1 - share) * step**2)
            count += more
    return moments


def _finite_moments(values: np.ndarray) -> _Parts:
    """Return count, mean and variance of each column, where it is finite."""
    there = np.isfinite(values)
    with np.errstate(**NOT_FINITE):
        if there.all():
            count = np.full(values.shape[1], float(len(values)))
            return count, values.mean(axis=0), values.var(axis=0)
        count = there.sum(axis=0, dtype=np.float64)
        mean = values.sum(axis=0, where=there) / np.maximum(count, 1)
        squares = np.square(values - mean).sum(axis=0, where=there)
        return count, mean, squares / np.maximum(count, 1)


def _unless_constant(center: np.ndarray, between: np.ndarray, within: np.ndarray) -> _Parts:
    """Return these with no variance at all where it is rounding alone."""
    varies = ~(np.sqrt(between + within) <= ROUNDING * np.abs(center))
    return center, np.where(varies, between, 0.0), np.where(varies, within, 0.0)


def _ratio(between: np.ndarray, within: np.ndarray) -> np.ndarray:
    total = between + within
    with np.errstate(**NOT_FINITE):
        return np.divide(between, total, out=np.zeros_like(total), where=total > 0)
