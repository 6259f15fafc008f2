"""The same array of several stores, one after the other, described as one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.store.labels import TEXT_KINDS, Labels
from ooc.store.spec import ArraySpec
from ooc.store.stores import NONE, Stores


@dataclass(frozen=True)
class StackedSpec(ArraySpec):
    """What the readers and the plan need to know of arrays that are read as one.

    Attributes
    ----------
    dtype
        One that holds the values of all, to which they are cast.
    chunks
        Along each axis the largest of any.
    parts, stores
        The arrays, each of its own store, and where their rows are.
    """

    parts: tuple[ArraySpec, ...] = ()
    stores: Stores = NONE

    @property
    def declares_missing(self) -> bool:
        """Whether some of its values may be missing: they are read as NaN."""
        return any(part.declares_missing for part in self.parts)

    @property
    def chunk_bytes(self) -> int:
        """Decoded bytes of the largest chunk."""
        return max(part.chunk_bytes for part in self.parts)

    @property
    def stored_chunks(self) -> int:
        """Chunks of all arrays."""
        return sum(part.stored_chunks for part in self.parts)

    @property
    def index_bytes(self) -> int:
        """Bytes of the indices of shards, which readers keep."""
        return sum(part.index_bytes for part in self.parts)

    def decoded_bytes(self, start: int, stop: int) -> int:
        """Return the bytes that are decoded to read rows start to stop: whole chunks."""
        pieces = self.stores.pieces(start, stop)
        return sum(self.parts[number].decoded_bytes(*rows) for number, *rows in pieces)

    def most_decoded_bytes(self, rows: int) -> int:
        """Return the most bytes that are decoded for any block of this many rows of one store."""
        return max(
            part.decoded_bytes(0, min(rows, part.shape[0]) + part.chunks[0] - 1)
            for part in self.parts
        )

    def describe(self) -> str:
        """Say in one line what it is."""
        return f"{self._without_padding().describe()}, in {len(self.parts)} stores"

    def undecoded(self) -> "ArraySpec":
        """Return the arrays as they are stored, whatever their attributes declare."""
        return stacked([part.undecoded() for part in self.parts], self.stores)

    def labelled(self, labels: Labels) -> "ArraySpec":
        """Return the arrays with their values read as codes of labels, the same in all stores."""
        return stacked([part.labelled(labels) for part in self.parts], self.stores)

    def unlabelled(self) -> "ArraySpec":
        """Return the arrays with their values as they are, whatever they stand for."""
        return stacked([part.unlabelled() for part in self.parts], self.stores)

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it, JSON-ready."""
        rows = zip(self.stores.starts, self.parts, strict=True)
        return self._without_padding().to_json() | {
            "stores": [{"first_row": first, **part.to_json()} for first, part in rows]
        }

    def _without_padding(self) -> ArraySpec:
        """Return what is told of them: one array of their rows alone."""
        rows = sum(part.shape[0] for part in self.parts)
        shape = (rows, *self.shape[1:])
        return ArraySpec(self.name, shape, self.dtype, self.chunks, None, labels=self.labels)


def stacked(parts: Sequence[ArraySpec], stores: Stores) -> ArraySpec:
    """Describe arrays of one name as one.

    Raises
    ------
    InputError
        If their rows have different shapes, or no type holds the values of all.
    """
    first = parts[0]
    for part, path in zip(parts, stores.paths, strict=True):
        if part.is_sparse:
            raise InputError(
                f"{part.name} of {path} is a sparse matrix, and in other stores it is dense; store "
                "it alike in all"
            )
        if part.shape[1:] != first.shape[1:]:
            raise InputError(
                f"array {part.name} has rows of shape {first.shape[1:]} in {stores.paths[0]}, and "
                f"of shape {part.shape[1:]} in {path}; open stores whose rows are alike"
            )
    labels = _shared_labels(parts)
    return StackedSpec(
        first.name,
        (stores.stops[-1], *first.shape[1:]),
        _common(parts, stores),
        tuple(max(lengths) for lengths in zip(*(part.chunks for part in parts), strict=True)),
        None,
        problem=next((part.problem for part in parts if part.problem), None),
        labels=labels,
        parts=tuple(parts),
        stores=stores,
    )


def _common(parts: Sequence[ArraySpec], stores: Stores) -> np.dtype:
    """Return a type that holds the values of all, exactly."""
    try:
        common = np.result_type(*(part.dtype for part in parts))
    except TypeError:
        common = None
    for part, path in zip(parts, stores.paths, strict=True):
        if common is None or not _holds(common, part.dtype) or _is_text(part) != _is_text(parts[0]):
            kinds = [_kind(each) for each in (parts[0], part)]
            raise InputError(
                f"array {part.name} is {kinds[0]} in {stores.paths[0]} and {kinds[1]} in "
                f"{path}, and no type holds the values of both; store it alike in all"
            )
    assert common is not None
    return common


def _is_text(spec: ArraySpec) -> bool:
    """Tell whether values are text, as they are read or before they are codes of labels."""
    is_code = spec.labels is not None and not spec.labels.names and spec.labels.is_text
    return is_code or spec.dtype.kind in TEXT_KINDS


def _kind(spec: ArraySpec) -> str:
    return "text" if _is_text(spec) else str(spec.dtype)


def _holds(common: np.dtype, dtype: np.dtype) -> bool:
    return common == dtype or (common.kind != "O" and np.can_cast(dtype, common, "safe"))


def _shared_labels(parts: Sequence[ArraySpec]) -> Labels | None:
    """Return what the codes are called, which is the same in all; values stay each store's own."""
    labels = parts[0].labels
    if labels is None or not labels.names:
        return labels
    return replace(labels, values=tuple(range(len(labels.names))), stored=np.dtype(np.int64))
