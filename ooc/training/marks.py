"""Values that look like marks for "missing" which no metadata declare: a sample is looked at."""

import warnings
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ooc.core.errors import DataError
from ooc.models.bad_rows import LARGEST_FEATURE
from ooc.store.chunks import open_reader
from ooc.store.dataset import Dataset
from ooc.store.joined import alone
from ooc.store.stores import told_row
from ooc.training.statistics import LARGEST_TARGET

# What writers put where they have no value: whole numbers of measurements, the smallest and
# largest of 16 and 32 bits, the smallest of 64, which is NumPy's time that is none, and netCDF's
# and older models' large floats.
MARKS = (
    -999.0, -9999.0, -99999.0, -999999.0, 9999.0, 99999.0, 999999.0, -32768.0, 32767.0,
    -2147483648.0, 2147483647.0, -9223372036854775808.0, 1e15, 1e20, -1e20, 1e30, -1e30, 1e34,
    -1e34, 9.969209968386869e36, 1e36, 1e37, -1e37,
)  # fmt: skip
# Rows are taken from so many places of the dataset, and so many at each, of so many bytes.
PLACES = 4
PLACE_ROWS = 1024
PLACE_BYTES = 2**20
# A mark stands at least so often, and lies further from all else than that spans.
FEWEST = 2


def warn_of_marks(dataset: Dataset, names: Collection[str]) -> None:
    """Warn where features or targets, of these arrays, hold what looks like a mark for missing.

    Integers of 8 bits, sparse rows, arrays that declare what is missing, and those in memory, which
    could not, are taken as they are.
    """
    if dataset.held:
        return
    for role, name in zip(("feature", "target"), dataset.roles[:2], strict=True):
        if name is None or name not in names:
            continue
        # Of arrays that stand side by side each has its own marks, and its own span.
        for spec in alone(dataset.arrays[name]):
            if spec.dtype.itemsize == 1 or spec.declares_missing or spec.is_sparse:
                continue
            here = replace(dataset, arrays={**dataset.arrays, spec.name: spec})
            # What a thread reads with goes with it: none of it is part of the run.
            with ThreadPoolExecutor(1) as apart:
                rows, values = apart.submit(_sample, here, spec.name).result()
            found = find_mark(values)
            if found is not None:
                mark = values == values.dtype.type(found[0])
                row, column = (int(place[0]) for place in np.nonzero(mark))
                place = f"row {told_row(dataset, rows[row])}, {role} {column}"
                if name != spec.name:
                    place = f"row {told_row(dataset, rows[row])}, {spec.number_name(column)}"
                _warn(dataset.path, spec.name, place, *found)


def _warn(
    path: str, name: str, place: str, mark: float, share: float, span: tuple[float, float]
) -> None:
    low, high = span
    warnings.warn(
        f"{share:.2g} of the values of {name} in {path} are {mark:g} ({place}), far from all "
        f"others, which lie between {low:.6g} and {high:.6g} in a sample: if they mark missing "
        "values, declare them as the array's attribute "
        f"missing_value = {mark!r}, and choose what is done with them with missing_values="
        '"drop" or "fill:NUMBER"',
        stacklevel=3,
    )


def refused_values(dataset: Dataset, names: Collection[str], missing_values: str) -> Iterator[str]:
    """Yield a line for features and for targets of a sample if training would refuse one."""
    limits, taken = (LARGEST_FEATURE, LARGEST_TARGET), missing_values in ("raise", "keep")
    for role, name, limit in zip(("feature", "target"), dataset.roles[:2], limits, strict=True):
        if name is None or name not in names or dataset.arrays[name].is_sparse:
            continue
        rows, values = _sample(dataset, name)
        sizes = np.abs(values.astype(np.float64))
        wild = ~(sizes <= limit) if taken else sizes > limit
        if wild.any():
            row, column = (int(place[0]) for place in np.nonzero(wild))
            yield (
                f"row {told_row(dataset, rows[row])} of {name} has {values[row, column]} in {role} "
                f"{column}, and training will refuse it; remove or fill such rows first"
            )


def find_mark(values: np.ndarray) -> tuple[float, float, tuple[float, float]] | None:
    """Return a mark in (rows, F) values, its share of them, and the span of all else.

    Examples
    --------
    >>> find_mark(np.array([[0.5], [-9999.0], [1.5], [-9999.0]]))
    (-9999.0, 0.5, (0.5, 1.5))
    >>> find_mark(np.array([[-12000.0], [-9999.0], [-3000.0], [-9999.0]])) is None
    True
    """
    marks = np.array([mark for mark in MARKS if _fits(mark, values.dtype)]).astype(values.dtype)
    is_mark = np.isin(values, marks)
    rest = values[~is_mark & np.isfinite(values)]
    if not is_mark.any() or rest.size == 0:
        return None
    found, counts = np.unique(values[is_mark], return_counts=True)
    low, high = float(rest.min()), float(rest.max())
    for place in np.argsort(-counts, kind="stable"):
        mark, count = float(found[place]), int(counts[place])
        apart = max(low - mark, mark - high)
        if count >= FEWEST and apart > high - low > 0:
            return mark, count / values.size, (low, high)
    return None


def _fits(mark: float, dtype: np.dtype) -> bool:
    """Tell whether an array of this type can hold the mark."""
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return float(limits.min) <= mark <= float(limits.max)


def _sample(dataset: Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return rows' places in the store, and their values (rows, F); what cannot be read is left."""
    spec, reader = dataset.arrays[name], open_reader(dataset, name)
    count = max(1, min(PLACE_ROWS, PLACE_BYTES // max(1, spec.row_bytes), dataset.stored_rows))
    starts = np.linspace(0, dataset.stored_rows - count, PLACES).astype(int)
    rows, parts = [], []
    for start in np.unique(starts).tolist():
        part = spec.memory(count)
        with suppress(DataError):
            reader.read_runs([(start, start + count)], part)
            kept = (
                slice(None)
                if dataset.stores is None
                else dataset.stores.holds(start, start + count)
            )
            rows.append(np.arange(start, start + count)[kept])
            parts.append(part.reshape(count, -1)[kept])
    if not parts:
        return np.empty(0, np.int64), np.empty((0, 1), spec.dtype)
    return np.concatenate(rows), np.concatenate(parts)
