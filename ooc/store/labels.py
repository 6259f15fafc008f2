"""What the labels of a target are called, and how they become the codes 0 to K - 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# The kinds of NumPy's types of text.
TEXT_KINDS = "TU"
# What a label is called; as JSON has it.
Name = str | int | float | bool


@dataclass(frozen=True)
class Labels:
    """The labels of a target, in the order of their codes.

    Attributes
    ----------
    names
        What each of the K classes is called; none where nobody has looked for them yet.
    values
        What stands for each of them in the store.
    stored
        The type of those values as they are read.
    is_ordered
        Whether the store says that the order of its categories means something.

    Examples
    --------
    >>> labels = Labels(("no", "yes"), (-1, 1), np.dtype("int64"))
    >>> labels.codes(np.array([1, -1, 5]))
    array([ 1,  0, -1])
    """

    names: tuple[Name, ...]
    values: tuple[Any, ...]
    stored: np.dtype
    is_ordered: bool = False

    @property
    def has_order(self) -> bool:
        """Whether codes are in an order of labels: ascending numbers, or what the store tells."""
        if self.is_ordered:
            return True
        numbers = [name for name in self.names if not isinstance(name, str)]
        return len(numbers) == len(self.names) and numbers == sorted(numbers)

    @property
    def is_text(self) -> bool:
        """Whether the stored values are text."""
        return self.stored.kind in TEXT_KINDS

    @property
    def is_named(self) -> bool:
        """Whether they are more than numbers that stand for themselves."""
        return self.is_text or self.values != self.names

    @property
    def are_codes(self) -> bool:
        """Whether the stored values are the codes themselves."""
        return bool(self.names) and self.values == tuple(range(len(self.names)))

    @property
    def dtype(self) -> np.dtype:
        """The type of codes: one that can say that there is none, where values can."""
        return np.dtype(np.float64 if self.stored.kind == "f" else np.int64)

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return the codes of values, int64: -1 of those that are none of the labels."""
        known = np.array(self.values, values.dtype)
        order = np.argsort(known, kind="stable")
        place = np.minimum(np.searchsorted(known[order], values), len(known) - 1)
        codes = order[place]
        return np.where(known[codes] == values, codes, -1)


def named(codes: np.ndarray, names: Sequence[Name]) -> np.ndarray:
    """Return the names of codes; of -1, which is none, "" among texts and else NaN.

    Examples
    --------
    >>> named(np.array([1, 0, -1]), ("cat", "dog"))
    array(['dog', 'cat', ''], dtype='<U3')
    >>> named(np.array([1, 0, -1]), (-1, 1))
    array([ 1., -1., nan])
    """
    known = np.array(list(names))
    if (codes >= 0).all():
        return known[codes]
    void = np.array([""] if known.dtype.kind == "U" else [np.nan])
    return np.concatenate([known, void])[codes]


def listed(names: Sequence[Name], most: int = 10) -> str:
    """Return what the first classes are called, in one line.

    Examples
    --------
    >>> listed(("cat", "dog", "eel"), most=2)
    'cat, dog and 1 more'
    """
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + rest
