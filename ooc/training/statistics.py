"""What a model may ask of all rows before it is trained: moments of features, counts of classes."""

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial, reduce
from typing import Any

import numpy as np

from ooc.core.errors import DataError
from ooc.core.progress import Progress, Report, silent, tell
from ooc.core.sliding import rows_at
from ooc.models.bad_rows import LARGEST_FEATURE
from ooc.store.dataset import Dataset
from ooc.store.joined import stored_number
from ooc.store.sparse_rows import SparseRows
from ooc.store.stores import told_row
from ooc.stream.block_statistics import NOT_FINITE
from ooc.stream.loader import Loader
from ooc.stream.missing_values import rule_of
from ooc.stream.options import StreamOptions
from ooc.stream.plan import Demand
from ooc.stream.window import Window

# A window is cut into so many parts, whose moments are merged in their order: how many threads
# there are makes no difference.
PARTS = 8
THREADS = 2
PIECE_BYTES = 2**20
# Features that are looked at together; the moments of more are no small part of what is held.
MOST_COLUMNS = 2**16
HELD_BYTES = 80
# Sparse rows that are looked at together.
SPARSE_PIECE = 1024
# Beyond it, the squares of targets are beyond float64.
LARGEST_TARGET = 1e150


class RowStatistics:
    """Answers of one run's rows; see `ooc.models.contract.Statistics`.

    Parameters
    ----------
    loader
        The run's own; its position stays.
    report
        Called on the way through all rows.
    skips_missing
        Whether moments of features leave out what is NaN.
    """

    def __init__(
        self, loader: Loader, report: Report = silent, skips_missing: bool = False
    ) -> None:
        self._loader, self._dataset, self._report = loader, loader.dataset, report
        self._skips_missing = skips_missing

    def without_missing(self) -> "RowStatistics":
        """Return the same, where moments of features are those of the values that are not NaN."""
        return RowStatistics(self._loader, self._report, skips_missing=True)

    @property
    def is_sparse(self) -> bool:
        """Whether rows are sparse: nothing is asked of their features."""
        return self._dataset.arrays[self._dataset.features].is_sparse

    def sample_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of each feature in the run's first window."""
        return self._sample[0]

    def target_sample_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of each target in the run's first window."""
        return self._sample[1]

    @cached_property
    def _sample(self) -> list[tuple[np.ndarray, np.ndarray]]:
        walk = self._loader.looked_at()  # a window's memory is there as long as it goes on
        window = next(walk)
        empty = np.empty((len(window.order), 0))
        none = empty if self.is_sparse else window.features
        target = [] if window.target is None else [window.target]
        found = [_window_moments(none, window.order, self._skips_missing)]
        found += [_window_moments(each, window.order) for each in target]
        return [_mean_and_deviation(moments) for moments in found]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of each feature over all rows.

        Raises
        ------
        DataError
            If a value is not finite, or too large; its row is named.
        """
        skips = self._skips_missing
        return self._over_all_rows(self._dataset.features, LARGEST_FEATURE, skips)

    def target_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of each target over all rows; raises as `moments`."""
        return self._over_all_rows(str(self._dataset.target), LARGEST_TARGET)

    def _windows(self, name: str) -> Iterator[Window]:
        """Yield the rows that are trained on in their own order, in windows that have some."""
        loader, is_empty = self._loader, True
        loader.forget()  # the pass has the memory to itself
        stream, held = loader.stream, loader.plan.terms.get("held", 0)
        arrays, stream, demand = pass_over(self._dataset, loader.names, name, stream, held)
        stream = replace(stream, readers=loader.plan.readers)
        rows = Loader(self._dataset, 1, arrays=arrays, demand=demand, stream=stream)
        begun, done, total = time.perf_counter(), 0, rows.plan.order.epoch_rows
        text = f"looking at all rows of {name}"
        tell(self._report, text)
        for window in rows.windows(1):
            if len(window.order):
                is_empty = False
                yield window
            done += len(window.order) + window.skipped_rows
            spent = (done * rows.plan.row_bytes, time.perf_counter() - begun)
            self._report(Progress(done, total, *spent, text=text))
        if is_empty:
            raise DataError(
                f"no row of {self._dataset.path} could be used: each lacks a value or cannot be "
                "read"
            )

    def _over_all_rows(
        self, name: str, limit: float, skips_missing: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        total = None
        for window in self._windows(name):
            moments = _window_moments(window.arrays[name], window.order, skips_missing)
            if not np.isfinite(moments).all():
                wild = wildest(window, name, limit, skips_missing)
                assert wild is not None, "moments that are not finite come from wild values"
                raise wild
            if total is None:
                total = moments
                continue
            for some in _column_slices(self._values(name)):
                total[:, some] = merge_moments(total[:, some], moments[:, some])
        assert total is not None, "there are windows, or an error"
        return _mean_and_deviation(total)

    def _values(self, name: str) -> int:
        """Return the values of an array's row."""
        return math.prod(self._dataset.arrays[name].shape[1:])

    def class_counts(self, classes: int, model: str, targets: str) -> np.ndarray:
        """Return how many rows each label has.

        Raises
        ------
        DataError
            If a class has no rows, or a label is none of the classes.
        """
        counts, dataset = np.zeros(classes, np.int64), self._dataset
        for window in self._windows(str(dataset.target)):
            assert window.target is not None
            labels = window.target.reshape(len(window.target), -1)[window.order].reshape(-1)
            whole = (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
            if not whole.all():
                place = int(np.argmin(whole))
                (row,) = window.rows(window.order[place : place + 1].astype(np.int64))
                raise DataError(
                    f"row {told_row(window, row)} of {dataset.target} has target "
                    f"{float(labels[place])}, but {model} takes {targets}; correct the row, or "
                    "choose another model"
                )
            counts += np.bincount(labels.astype(np.int64), minlength=classes)
        if not counts.all():
            raise DataError(
                f"class {int(np.argmin(counts))} has no rows in {dataset.path}, so that classes "
                "cannot be balanced; give class_weights as numbers"
            )
        return counts


def pass_over(
    dataset: Dataset, names: Sequence[str], name: str, stream: StreamOptions, held: int
) -> tuple[Sequence[str], StreamOptions, Demand]:
    """Return how all rows of an array are read in their own order, beside the arrays `names`."""
    # A row is left out for what it lacks, or what cannot be read, in any array.
    leaves_out = rule_of(stream.missing_values).name == "drop" or stream.on_bad_chunk == "skip"
    kept = ("memory", "io", "on_bad_chunk", "missing_values")
    ordered = StreamOptions(shuffle="none", **{each: getattr(stream, each) for each in kept})
    values = math.prod(dataset.arrays[name].shape[1:])
    moments = HELD_BYTES * values if values > MOST_COLUMNS else 0
    return names if leaves_out else (name,), ordered, Demand(moments, 0, 0, held)


def _window_moments(
    values: np.ndarray, order: np.ndarray, skips_missing: bool = False
) -> np.ndarray:
    """Return (3, F) float64: count, mean and summed squared distance from it, of a window."""
    rows = values.reshape(len(values), -1)
    parts = [part for part in np.array_split(order, PARTS) if len(part)]
    found = np.empty((3, rows.shape[1]))
    with ThreadPoolExecutor(THREADS) as pool, np.errstate(**NOT_FINITE):
        for some in _column_slices(rows.shape[1]):
            found[:, some] = reduce(
                merge_moments, pool.map(partial(_moments_of, rows, some, skips_missing), parts)
            )
    return found


def _column_slices(values: int) -> list[slice]:
    return [slice(first, first + MOST_COLUMNS) for first in range(0, values, MOST_COLUMNS)]


def _moments_of(
    rows: np.ndarray, some: slice, skips_missing: bool, order: np.ndarray
) -> np.ndarray:
    """Return the moments of some columns of some rows, taken a few at a time."""
    step = max(1, PIECE_BYTES // (8 * rows.shape[1]))

    def piece(first: int) -> np.ndarray:
        taken = order[first : first + step]
        # Of columns that lie apart, `take` would copy all rows first.
        is_whole = rows.shape[1] <= MOST_COLUMNS
        values = rows_at(rows, taken) if is_whole else rows[taken, some]
        values = values.astype(np.float64, order="C")
        if skips_missing:
            return _known_moments(values)
        mean = values.mean(axis=0)
        np.subtract(values, mean, out=values)
        squares = np.einsum("ij,ij->j", values, values)
        return np.stack([np.full_like(mean, len(values)), mean, squares])

    with np.errstate(**NOT_FINITE):
        return reduce(merge_moments, map(piece, range(0, len(order), step)))


def _known_moments(values: np.ndarray) -> np.ndarray:
    """Return the moments of what is not NaN, (3, F); zeros of a column where nothing else is."""
    is_missing = np.isnan(values)
    count = (len(values) - is_missing.sum(axis=0)).astype(np.float64)
    values[is_missing] = 0.0
    mean = values.sum(axis=0) / np.maximum(count, 1.0)
    np.subtract(values, mean, out=values)
    values[is_missing] = 0.0
    return np.stack([count, mean, np.einsum("ij,ij->j", values, values)])


def merge_moments(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the moments of two sets of rows together (Chan, Golub and LeVeque 1983).

    Parameters
    ----------
    one, other
        (3, F) float64: count, mean, and summed squared distance from the mean.

    Examples
    --------
    >>> two, four = np.array([[1.0], [2.0], [0.0]]), np.array([[1.0], [4.0], [0.0]])
    >>> merge_moments(two, four).ravel()
    array([2., 3., 2.])
    """
    count, distance = one[0] + other[0], other[1] - one[1]
    share = other[0] / np.maximum(count, 1.0)
    squares = one[2] + other[2] + distance**2 * one[0] * share
    return np.stack([count, one[1] + distance * share, squares])


def _mean_and_deviation(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count, mean, squares = moments
    return mean, np.sqrt(squares / np.maximum(count, 1.0))


def wildest(
    window: Window, array: str, limit: float, skips_missing: bool = False
) -> DataError | None:
    """Name an array's first value that is not finite, else the largest one beyond a limit, if any.

    A value like this is mostly a mark for "missing" that its writer did not declare.
    """
    found_rows: Any = window.arrays[array]
    if isinstance(found_rows, SparseRows):
        return _wildest_sparse(window, found_rows, array, limit)
    rows = found_rows.reshape(len(found_rows), -1)
    step, worst = max(1, PIECE_BYTES // (8 * rows.shape[1])), (limit, -1, -1)
    for first in range(0, len(window.order), step):
        sizes = np.abs(rows_at(rows, window.order[first : first + step]).astype(np.float64))
        sizes[np.isnan(sizes)] = 0.0 if skips_missing else np.inf
        here, column = divmod(int(np.argmax(sizes)), sizes.shape[1])
        if sizes[here, column] > worst[0]:
            worst = (float(sizes[here, column]), first + here, column)
    size, found, column = worst
    if found < 0:
        return None
    at = window.order[found : found + 1].astype(np.int64)
    row, value = told_row(window, window.rows(at)[0]), rows[at[0], column]
    name, column = stored_number(window, array, column)
    place = f"feature {column}" if array == window.roles[0] else f"place {column}"
    return _wild(row, name, value, place, size, limit)


def _wildest_sparse(window: Window, rows: SparseRows, array: str, limit: float) -> DataError | None:
    """Do as `wildest` for sparse rows, a few at a time."""
    for first in range(0, len(window.order), SPARSE_PIECE):
        places = window.order[first : first + SPARSE_PIECE].astype(np.int64)
        matrix = rows.take(places)
        sizes = np.where(np.isnan(matrix.data), np.inf, np.abs(matrix.data))
        if sizes.max(initial=0.0) > limit:
            at = int(np.argmax(sizes))
            place = int(np.searchsorted(matrix.indptr, at, "right")) - 1
            row = told_row(window, window.rows(places[place : place + 1])[0])
            column, size = f"feature {matrix.indices[at]}", float(sizes[at])
            return _wild(row, array, matrix.data[at], column, size, limit)
    return None


def _wild(row: str, array: str, value: Any, place: str, size: float, limit: float) -> DataError:
    why = "" if np.isinf(size) else f", beyond {limit:g}, where squares overflow"
    return DataError(
        f"row {row} of {array} has {value} in {place}{why}; remove or fill such rows first"
    )
