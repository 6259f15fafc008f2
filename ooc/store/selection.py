"""Which rows of a store a dataset uses: one side of a split, decided row by row, without a list."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.core.hashing import fill_row_keys, keys_of

# Rows that lack a value are one group.
NO_LABEL = int(np.array(np.nan).view(np.int64))


@dataclass(frozen=True)
class Selection:
    """One side of a split. A row is on the side `below` if its key is below its limit.

    Attributes
    ----------
    by
        "row", "block", or the name of the array whose values are kept together.
    key
        Key of the function that gives rows, blocks or values their keys.
    limits
        One limit; with `stratify`, an array of classes, one for each of them, ascending.
    """

    by: str
    key: int
    limits: tuple[int, ...]
    below: bool
    rows: int
    block_rows: int = 1
    stratify: str | None = None
    classes: tuple[int, ...] = ()

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays whose values decide."""
        if self.stratify is not None:
            return (self.stratify,)
        return () if self.by in ("row", "block") else (self.by,)

    def contains(self, first: int, stop: int, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Tell of rows first to stop - 1 whether they are on this side: (rows,) bool.

        `arrays` holds those rows of the arrays that decide.
        """
        limits: Any = np.uint64(self.limits[0])
        if self.by == "row":
            keys = np.empty(stop - first, np.uint64)
            fill_row_keys(first, self.key, keys)
        elif self.by == "block":
            blocks = np.arange(first // self.block_rows, (stop - 1) // self.block_rows + 1)
            which = np.arange(first, stop) // self.block_rows - blocks[0]
            keys = keys_of(blocks, self.key)[which]
        else:
            keys = keys_of(as_labels(arrays[self.by]), self.key)
        if self.stratify is not None:
            labels = as_labels(arrays[self.stratify])
            group = np.searchsorted(np.array(self.classes), labels)
            limits = np.array(self.limits, np.uint64)[group]
        is_below: np.ndarray = keys < limits
        return is_below if self.below else ~is_below

    def to_json(self) -> dict[str, Any]:
        """Return what makes the selection the one that it is, JSON-ready."""
        names = ("by", "key", "limits", "below", "rows", "stratify")
        return {name: getattr(self, name) for name in names} | {"limits": list(self.limits)}


def as_labels(values: np.ndarray) -> np.ndarray:
    """Return one int64 for each row; equal values give equal numbers, and NaN gives `NO_LABEL`."""
    flat = values.reshape(len(values), -1)
    if flat.shape[1] != 1:
        raise InputError(f"one number a row is needed, not {flat.shape[1]}; name another array")
    column = flat[:, 0]
    if column.dtype.kind in "iub":
        return column.astype(np.int64)
    numbers = column.astype(np.float64) + 0.0  # -0.0 becomes 0.0
    numbers[np.isnan(numbers)] = np.nan  # of its many bits those that `NO_LABEL` has
    whole = np.rint(numbers)
    with np.errstate(invalid="ignore"):  # beyond int64 all are one
        return np.where(whole == numbers, whole, numbers.view(np.int64)).astype(np.int64)
