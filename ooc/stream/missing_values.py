"""What is done with rows whose arrays declare missing values: they are read as NaN."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ooc.core.errors import DataError, InputError
from ooc.core.sliding import values_behind, values_between
from ooc.store.dataset import ArraySpec

RULES = ("raise", "drop", "fill", "keep")
# Values that are looked at at a time: they stay in a core's cache.
PIECE_VALUES = 64 * 1024
# Beside each row of a window: whether it lacks a value; of rows that overlap, a count as well.
ROW_BYTES, OVERLAPPING_ROW_BYTES = 2, 8


@dataclass(frozen=True)
class MissingRule:
    """One of `RULES`, and the number that fills."""

    name: str
    number: float = 0.0

    def arrays(self, specs: Sequence[ArraySpec]) -> tuple[str, ...]:
        """Return the arrays that are looked at.

        Errors are for those that declare missing values. A NaN of any other array is the model's
        to refuse, unless its rows are to be dropped or filled.
        """
        if self.name == "keep":
            return ()
        everywhere = self.name != "raise"
        # A value that a sparse row does not have is 0: none of it is missing.
        floats = [spec for spec in specs if spec.dtype.kind == "f" and not spec.is_sparse]
        return tuple(spec.name for spec in floats if everywhere or spec.declares_missing)


def rule_of(text: str) -> MissingRule:
    """Read a rule: raise, drop, fill (with 0), fill:NUMBER or keep.

    Examples
    --------
    >>> rule_of("fill:2.5"), rule_of("drop").name
    (MissingRule(name='fill', number=2.5), 'drop')
    """
    name, colon, number = str(text).partition(":")
    try:
        value = float(number) if colon else 0.0
    except ValueError:
        value = np.nan
    if name not in RULES or (colon and name != "fill") or not np.isfinite(value):
        raise InputError(
            f"missing_values is one of raise, drop, fill (with 0), fill:NUMBER, keep, not {text!r}"
        )
    return MissingRule(name, value)


def rows_that_lack(values: np.ndarray) -> np.ndarray | None:
    """Tell of each row whether a value of it is NaN; None if no row lacks one."""
    if values.ndim > 1 and not values.flags.c_contiguous:
        return _views_that_lack(values)
    found = None
    width = max(1, int(np.prod(values.shape[1:])))
    step = max(1, PIECE_VALUES // width)
    for start in range(0, len(values), step):
        flat = values[start : start + step].reshape(-1)
        # The least of values is NaN where one is. No product of BLAS, whose threads would wait for
        # the next one on the cores that decode.
        if not np.isnan(flat.min(initial=np.inf)):
            continue
        lacks = np.isnan(flat).reshape(-1, width).any(axis=1)
        if lacks.any():
            found = np.zeros(len(values), bool) if found is None else found
            found[start : start + step] = lacks
    return found


def _views_that_lack(values: np.ndarray) -> np.ndarray | None:
    """Do as `rows_that_lack` for rows that overlap: each value is looked at once."""
    step, width = values_between(values), int(np.prod(values.shape[1:]))
    flat, changes = values_behind(values), None
    for first in range(0, len(flat), PIECE_VALUES):
        lacking = first + np.flatnonzero(np.isnan(flat[first : first + PIECE_VALUES]))
        if len(lacking) == 0:
            continue
        if changes is None:
            changes = np.zeros(len(values) + 1, np.int32)
        # The first row that has the value, and the one after the last.
        np.add.at(changes, np.maximum(0, -(-(lacking - width + 1) // step)), 1)
        np.subtract.at(changes, np.minimum(len(values), lacking // step + 1), 1)
    return None if changes is None else np.cumsum(changes[:-1], out=changes[:-1]) > 0


def complete(
    rule: MissingRule, names: Sequence[str], arrays: Mapping[str, np.ndarray], order: np.ndarray
) -> tuple[np.ndarray, dict[str, int]]:
    """Apply a rule to a window's rows.

    Parameters
    ----------
    order
        Places of the rows that are used.

    Returns
    -------
    tuple
        The places that are still used, and how many rows of these lacked a value, by array.
    """
    counts: dict[str, int] = {}
    left = order
    for name in names:
        lacks = rows_that_lack(arrays[name])
        if lacks is None:
            continue
        if count := int(np.count_nonzero(lacks[order])):
            counts[name] = count
        if rule.name == "drop":
            left = left[~lacks[left]]
        elif rule.name == "fill":
            flat = values_behind(arrays[name])
            for start in range(0, len(flat), PIECE_VALUES):
                piece = flat[start : start + PIECE_VALUES]
                piece[np.isnan(piece)] = rule.number
    return left, counts


def missing_error(
    spec: ArraySpec, where: str, row: str, values: np.ndarray, count: int, rows: int
) -> DataError:
    """Name the first row that lacks a value, its column, and how many there are in a window."""
    column = int(np.argmax(np.isnan(values.reshape(-1))))
    total = int(np.isnan(values).sum())
    spec, column = spec.stored_at(column)
    many = f"column {column}" + (f" and {total - 1} more of its columns" if total > 1 else "")
    told = spec.conventions.describe() if spec.conventions else str(spec.dtype)
    return DataError(
        f"array {spec.name} of {where} has a missing value in row {row}, {many} ({told}); "
        f"{count:,} of the {rows:,} rows of this window lack one: leave such rows out with "
        "missing_values=drop, or replace what is missing with missing_values=fill:NUMBER"
    )


def void_rows(arrays: Mapping[str, np.ndarray], counts: dict[str, int]) -> np.ndarray | None:
    """Put 0 where rows of a batch lack a value and count them; tell which, None if there are none.

    A model can then be asked for all rows; `with_void` marks its answers for these.
    """
    found = None
    for name, values in arrays.items():
        is_looked_at = isinstance(values, np.ndarray) and values.dtype.kind == "f"
        lacks = rows_that_lack(values) if is_looked_at else None
        if lacks is not None:
            counts[name] = counts.get(name, 0) + int(np.count_nonzero(lacks))
            values[np.isnan(values)] = 0
            found = lacks if found is None else found | lacks
    return found


def with_void(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return a copy of answers without one for some rows: NaN, or -1 of whole numbers.

    Examples
    --------
    >>> with_void(np.array([3, 5]), np.array([False, True]))
    array([ 3, -1])
    """
    found = values.copy()
    found[rows] = np.nan if found.dtype.kind == "f" else -1
    return found
