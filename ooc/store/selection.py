"""Which rows of a store a dataset uses: one part of a split, decided row by row, without a list."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.core.hashing import fill_row_keys, keys_of
from ooc.store.stores import is_within

# What decides where the rows of several stores are parted by rows of none: no array's name.
STORES = "/stores"
# Rows that lack a value are one group.
NO_LABEL = int(np.array(np.nan).view(np.int64))
_LISTS = ("lower", "upper", "classes", "groups")
_SIGN = np.uint64(2**63)


@dataclass(frozen=True)
class Selection:
    """One part of a split: the rows whose keys are from a lower limit on and below an upper one.

    Attributes
    ----------
    by
        "row", "block", or the name of the array whose values are kept together; `STORES` for the
        rows from each lower limit to its upper one.
    key
        Key of the function that gives rows, blocks or values random keys. None where their order
        is kept: the key is then the number of the row or block, or the value itself.
    lower, upper
        One limit; with `stratify`, an array of classes, one for each of them, ascending. None
        where there is no limit.
    groups
        Values of the array whose rows are on this part, in place of limits.
    others
        Whether the rows of all other values are.
    within
        The part of which this one is a part.
    gap
        Of rows that overlap: how many are left out before each upper limit, by block at the end of
        each block, so that no two parts share a value.
    """

    by: str
    key: int | None
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    rows: int
    block_rows: int = 1
    stratify: str | None = None
    classes: tuple[int, ...] = ()
    groups: tuple[int, ...] = field(default=(), repr=False)
    others: bool = False
    within: "Selection | None" = None
    gap: int = 0

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays whose values decide."""
        own = self.by if self.stratify is None else self.stratify
        above = () if self.within is None else self.within.arrays
        named = () if own in ("row", "block", STORES) else (own,)
        return tuple(dict.fromkeys((*above, *named)))

    def contains(self, first: int, stop: int, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Tell of rows first to stop - 1 whether they are on this part: (rows,) bool.

        `arrays` holds those rows of the arrays that decide.
        """
        if self.by == STORES:
            found = is_within(np.arange(first, stop), self.lower, self.upper)
        elif self.groups:
            found = np.isin(as_labels(arrays[self.by]), self.groups, invert=self.others)
        else:
            keys = self.keys(first, stop, arrays)
            found = np.ones(stop - first, bool)
            group: Any = 0
            if self.stratify is not None:
                labels = as_labels(arrays[self.stratify])
                group = np.searchsorted(np.array(self.classes), labels)
            if self.lower:
                found &= keys >= np.array(self.lower, np.uint64)[group]
            if self.upper:
                gap = self.gap if self.by == "row" else 0
                upper = np.maximum(np.array(self.upper, np.uint64), np.uint64(gap))
                found &= keys < (upper - np.uint64(gap))[group]
            if self.gap and self.by == "block":
                found &= np.arange(first, stop) % self.block_rows < self.block_rows - self.gap
        if self.within is not None:
            found &= self.within.contains(first, stop, arrays)
        return found

    def keys(self, first: int, stop: int, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the keys of rows first to stop - 1: (rows,) uint64."""
        if self.by == "row":
            if self.key is None:
                return np.arange(first, stop, dtype=np.uint64)
            keys = np.empty(stop - first, np.uint64)
            fill_row_keys(first, self.key, keys)
            return keys
        if self.by == "block":
            blocks = np.arange(first // self.block_rows, (stop - 1) // self.block_rows + 1)
            which = np.arange(first, stop) // self.block_rows - blocks[0]
            own = blocks.astype(np.uint64) if self.key is None else keys_of(blocks, self.key)
            return own[which]
        if self.key is None:
            return in_order(arrays[self.by])
        return keys_of(as_labels(arrays[self.by]), self.key)

    def is_apart_from(self, other: "Selection") -> bool:
        """Tell whether both are parts of one split that share no row; else that is not known."""
        alike: dict[str, Any] = {"lower": (), "upper": (), "rows": 0, "others": False}
        if replace(self, **alike) != replace(other, **alike):
            return False
        if self.groups:
            return self.others != other.others
        return _is_below(self.upper, other.lower) or _is_below(other.upper, self.lower)

    def to_json(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        told |= {name: list(told[name]) for name in _LISTS}
        if not self.gap:  # as a run of an earlier version
            del told["gap"]
        return told | {"within": self.within and self.within.to_json()}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Selection":
        """Return the selection that `to_json` gave."""
        lists = {name: tuple(map(int, saved[name])) for name in _LISTS}
        within = None if saved["within"] is None else cls.from_json(saved["within"])
        return cls(**{**saved, **lists, "within": within})


def _is_below(upper: tuple[int, ...], lower: tuple[int, ...]) -> bool:
    pairs = zip(upper, lower, strict=True)
    return bool(upper and lower) and all(last <= first for last, first in pairs)


def as_labels(values: np.ndarray) -> np.ndarray:
    """Return one int64 for each row; equal values give equal numbers, and NaN gives `NO_LABEL`."""
    column = _column(values)
    if column.dtype.kind in "iub":
        return column.astype(np.int64)
    numbers = column.astype(np.float64) + 0.0  # -0.0 becomes 0.0
    numbers[np.isnan(numbers)] = np.nan  # of its many bits those that `NO_LABEL` has
    whole = np.rint(numbers)
    with np.errstate(invalid="ignore"):  # beyond int64 all are one
        return np.where(whole == numbers, whole, numbers.view(np.int64)).astype(np.int64)


def in_order(values: np.ndarray) -> np.ndarray:
    """Return one uint64 for each row, in the order of the values; NaN comes last.

    Examples
    --------
    >>> np.argsort(in_order(np.array([0.5, -2.0, np.nan, -0.5, 7.0]))).tolist()
    [1, 3, 0, 4, 2]
    """
    column = _column(values)
    if column.dtype.kind in "ub":
        return column.astype(np.uint64)
    if column.dtype.kind == "i":
        return column.astype(np.int64).view(np.uint64) ^ _SIGN
    numbers = column.astype(np.float64) + 0.0
    numbers[np.isnan(numbers)] = np.nan
    bits = numbers.view(np.uint64)
    # Bits of numbers below zero fall as those grow.
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _column(values: np.ndarray) -> np.ndarray:
    flat = values.reshape(len(values), -1)
    if flat.shape[1] != 1:
        raise InputError(f"one number a row is needed, not {flat.shape[1]}; name another array")
    return flat[:, 0]
