"""Arrays by name, in a mapping: of Zarr or Dask, or in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.objects.backing import Opened
from ooc.objects.labelled_arrays import Labelled, open_variables
from ooc.store.dataset import Dataset


@dataclass(frozen=True)
class _Named:
    """An array as `open_variables` takes it; its first axis is that of rows."""

    _data: Any
    dims: tuple[str, ...] = ("row",)
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._data.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self._data.dtype)

    @property
    def chunks(self) -> Any:
        return getattr(self._data, "chunks", None)

    def __getitem__(self, rows: slice) -> Any:
        return self._data[rows]


def open_mapping(source: Mapping[Any, Any], roles: Opened) -> Dataset:
    """Open arrays by their names.

    Raises
    ------
    InputError
        If one is no array, or has another number of rows than another.
    """
    for name, array in source.items():
        if not isinstance(name, str):
            raise InputError(f"arrays are named by texts, and not by {name!r}")
        if not (hasattr(array, "shape") and hasattr(array, "dtype")):
            kind = type(array).__qualname__
            raise InputError(
                f"{name} is an object of {kind}, and no array; give one of Zarr, Dask or NumPy, or "
                "write the data with ooc.create"
            )
        if not array.shape:
            raise InputError(f"{name} is one number, and has no rows; give an array")
    rows = {name: array.shape[0] for name, array in source.items()}
    for name, count in rows.items():
        if count != (first := next(iter(rows.values()))):
            raise InputError(
                f"{next(iter(rows))} has {first} rows, and {name} has {count}; each row of one is "
                "that of the other"
            )
    named = {name: _Named(array) for name, array in source.items()}
    return open_variables(Labelled(named, list(named), type(source)), roles)
