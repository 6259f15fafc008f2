"""NetCDF by xarray: variables as they are stored, with the attributes that say how to decode them.

Rows are along the first dimension; packed numbers stay packed, and are decoded where they are read.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ooc.conversion.arrays import ArraySource, array_column, as_column, sorted_columns
from ooc.conversion.formats import Opening, importing
from ooc.conversion.hdf5 import json_value
from ooc.conversion.source import Column, Entries
from ooc.core.errors import DataError, InputError

_HDF5 = b"\x89HDF"


def open_netcdf(path: Path, opening: Opening) -> "NetcdfSource":
    """Open all variables of a file: version 3 by SciPy, version 4 by h5netcdf."""
    xarray = importing("xarray")
    with path.open("rb") as stream:
        engine = "h5netcdf" if stream.read(4) == _HDF5 else "scipy"
    try:
        dataset = xarray.open_dataset(path, engine=engine, decode_cf=False, cache=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read as NetCDF: {str(error).splitlines()[0]}; check the file"
        ) from None
    found: dict[str, Column | str] = {}
    for name, variable in dataset.variables.items():
        plain = {key: _plain(value) for key, value in variable.attrs.items()}
        known = {key: value for key, value in plain.items() if value is not None}
        dimensions = tuple(map(str, variable.dims))
        found[str(name)] = array_column(
            str(name), variable.dtype, variable.shape, known, dimensions
        )
    columns, skipped = sorted_columns(found)
    return NetcdfSource(path, dataset, columns, skipped)


def _plain(value: Any) -> Any:
    """Return an attribute as JSON has it; None where it cannot."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    plain = isinstance(value, float | int | str | list)
    return json_value(value) if plain else None


class NetcdfSource(ArraySource):
    """Variables of an open file."""

    def __init__(self, path: Path, dataset: Any, columns: Any, skipped: Any) -> None:
        told = {str(key): _plain(value) for key, value in dataset.attrs.items()}
        known = {key: value for key, value in told.items() if value is not None}
        super().__init__(path, columns, skipped, known)
        self._dataset = dataset

    def unit_rows(self, name: str) -> int:
        """Return the rows of a chunk."""
        chunks = self._dataset.variables[name].encoding.get("chunksizes")
        return int(chunks[0]) if chunks else 1

    def read(self, name: str, first: int, stop: int) -> Entries:
        """Return rows of a variable."""
        variable = self._dataset.variables[name]
        try:
            values = variable.isel({variable.dims[0]: slice(first, stop)}).values
        except OSError as error:
            raise DataError(
                f"rows {first} to {stop - 1} of {name} in {self.path} cannot be read: {error}; "
                "restore the file from its source"
            ) from None
        return as_column(self.columns[name], np.asarray(values))
