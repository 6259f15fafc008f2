"""Datasets and arrays of xarray, and arrays of Dask: what they are made of, or what they compute.

How a library wraps an array of Zarr is its own business, and may change: whatever is not
recognised as that array, or a run of its rows, is computed and written once.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import zarr

from ooc.core.errors import InputError
from ooc.objects.backing import Backing, Opened, are_together, open_arrays
from ooc.objects.temporary import write_once
from ooc.store.column_names import MOST_NAMES
from ooc.store.dataset import Dataset
from ooc.store.feature_choice import ArrayChoice, read_choices, text_of

# How deep xarray wraps an array of a store.
MOST_LAYERS = 12
ROLES = ("features", "target", "weight")
DECODED_BY = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")
USUAL = {"features": "X", "target": "y", "weight": "weight"}


class Labelled(NamedTuple):
    """Arrays that have names, and know their dimensions.

    Attributes
    ----------
    variables
        By name: what has a shape, a dtype, ``dims``, ``attrs``, and behind ``_data`` what it shows.
    names
        Of those that are no coordinates.
    kind
        Of the object that they are of; it is told.
    """

    variables: Mapping[Any, Any]
    names: Collection[Hashable]
    kind: type


def open_xarray(source: Any, roles: Opened) -> Dataset:
    """Open variables of an `xarray.Dataset`, or an `xarray.DataArray` as features."""
    kind = type(source)
    if not hasattr(source, "data_vars"):
        name = roles.features or source.name or USUAL["features"]
        source, roles = source.to_dataset(name=name), roles._replace(features=name)
    return open_variables(Labelled(source.variables, list(source.data_vars), kind), roles)


def open_variables(source: Labelled, roles: Opened) -> Dataset:
    """Open arrays by the roles of their names: those of a Zarr group as they are, others written.

    Raises
    ------
    InputError
        If a name is not there, or rows are not along the same dimension.
    """
    choices = _choices(source, roles)
    names = {"features": tuple(choice.name for choice in choices), **_names(source, roles)}
    for role, several in names.items():
        for name in several:
            if name not in source.variables:
                there = ", ".join(map(str, source.names)) or "none"
                raise InputError(
                    f"the {source.kind.__name__} has no variable {name!r} for {role}; it has: "
                    f"{there}; name the right one with {role}="
                )
    found = {role: [source.variables[name] for name in each] for role, each in names.items()}
    for name in names["features"]:
        if not source.variables[name].ndim:
            raise InputError(f"variable {name!r} is one number, and has no rows; name another one")
    _check_rows(found)
    off = {role: False for role in ROLES if role not in found}
    behind = {
        role: tuple(_behind(each._data, _is_decoded(each)) for each in several)
        for role, several in found.items()
    }
    if (backed := _together(behind)) is not None:
        return open_arrays(backed, {**off, "missing": roles.missing}, choices)
    told = {role: name for role, (name, *_) in names.items()} | off
    arrays = {name: source.variables[name] for each in names.values() for name in each}
    columns = {name: _column_names(source, name) for name in arrays}
    columns = {name: known for name, known in columns.items() if known}
    return write_once(arrays, source.kind, {**told, "features": _told(choices)}, columns)


def _column_names(source: Labelled, name: str) -> list[str]:
    """Return what the columns of a variable are called, by its attribute or its coordinate."""
    variable = source.variables[name]
    if len(variable.dims) != 2 or variable.shape[1] > MOST_NAMES:
        return []
    noted = variable.attrs.get("feature_names")
    if isinstance(noted, list) and all(isinstance(each, str) for each in noted):
        return noted if len(noted) == variable.shape[1] else []
    beside = source.variables.get(variable.dims[1])
    if beside is None or beside.dims != variable.dims[1:]:
        return []
    known = np.asarray(beside[:]).tolist()
    return known if all(isinstance(each, str) for each in known) else []


def open_dask(source: Any, roles: Opened) -> Dataset:
    """Open an array of Dask as features."""
    if not (hasattr(source, "dask") and hasattr(source, "chunks") and hasattr(source, "shape")):
        kind = type(source).__qualname__
        raise InputError(
            f"an object of dask.{kind} cannot be opened; give a dask.array, or write it by "
            "`to_parquet` and ooc.convert"
        )
    if not source.ndim:
        raise InputError("the dask array is one number, and has no rows; give another one")
    beside = {"target": roles.target, "weight": roles.weight}
    columns = {"columns": roles.columns}
    if (backed := _together({"features": (_behind(source, False),)})) is not None:
        # It has its neighbours for roles, as an array of Zarr has.
        return open_arrays(backed, {**beside, **columns, "missing": roles.missing})
    if named := [role for role, name in beside.items() if name]:
        raise InputError(
            f"the array is computed, and has no {named[0]} beside it; give both by their names, as "
            "in ooc.open({'X': ..., 'y': ...})"
        )
    name = roles.features or USUAL["features"]
    if not isinstance(name, str):
        raise InputError(f"a dask array is one array, which has one name, and not {name!r}")
    return write_once({name: source}, type(source), {"features": name, **columns})


def _choices(source: Labelled, roles: Opened) -> tuple[ArrayChoice, ...]:
    """Return the variables that features are made of; a text may be one's own name, too."""
    name = roles.features
    if isinstance(name, Hashable) and name in source.variables and roles.columns is None:
        return (ArrayChoice(name),)  # type: ignore[arg-type]
    return read_choices(name, roles.columns, USUAL["features"])


def _told(choices: Sequence[ArrayChoice]) -> str | list[str]:
    """Return choices as `ooc.store.dataset.open` takes them."""
    if len(choices) == 1 and choices[0].columns is None:
        return choices[0].name
    return [text_of([choice]) for choice in choices]


def _names(source: Labelled, roles: Opened) -> dict[str, tuple[Any]]:
    """Return the target and the weight: those that are named, and others of the usual names."""
    found = {}
    for role, name in (("target", roles.target), ("weight", roles.weight)):
        if name is None and USUAL[role] in source.names:
            name = USUAL[role]
        if name is not None and name is not False:
            found[role] = (name,)
    return found


def _together(
    behind: Mapping[str, tuple[Backing | None, ...]],
) -> dict[str, tuple[Backing, ...]] | None:
    """Return what lies behind all roles, where that is one group; None where not."""
    backed = {
        role: tuple(each for each in several if each is not None)
        for role, several in behind.items()
    }
    is_whole = all(len(backed[role]) == len(several) for role, several in behind.items())
    together = is_whole and are_together([each for several in backed.values() for each in several])
    return backed if together else None


def _check_rows(variables: Mapping[str, Sequence[Any]]) -> None:
    main = variables["features"][0]
    for role, several in variables.items():
        for each in several:
            if each.dims[:1] != main.dims[:1]:
                raise InputError(
                    f"rows of the features are along {main.dims[0]!r}, those of the {role} along "
                    f"{each.dims[0] if each.dims else 'nothing'!r}; transpose one, so that its "
                    "first dimension is that of rows"
                )


def _is_decoded(variable: Any) -> bool:
    """Tell whether xarray has decoded a variable: then what it was decoded by is its encoding."""
    return variable.attrs.keys().isdisjoint(DECODED_BY)


def _behind(data: Any, is_decoded: bool) -> Backing | None:
    """Return the array of Zarr that an object shows as it is, or a run of its rows."""
    start = stop = None
    for _ in range(MOST_LAYERS):
        if isinstance(data, zarr.Array):
            if not data.shape:
                return None
            start, stop = start or 0, data.shape[0] if stop is None else stop
            return Backing(data, start, stop, is_decoded)
        if type(data).__name__ in ("LazilyIndexedArray", "LazilyOuterIndexedArray"):
            rows = _run_of(data.key.tuple, data.array.shape)
            if rows is None:
                return None
            start, stop = rows
        if hasattr(data, "dask"):
            data = _original(data)
        else:
            # What xarray wraps, it calls so; a store's own array is private to its wrapper.
            data = getattr(data, "array", None) if not _is_store(data) else data._array
        if data is None:
            return None
    return None


def _is_store(data: Any) -> bool:
    return type(data).__name__ == "ZarrArrayWrapper" and hasattr(data, "_array")


def _original(data: Any) -> Any:
    """Return what a dask array reads, where it does nothing but read it whole."""
    layers = getattr(data.dask, "layers", {})
    if len(layers) != 2 or not any(name.startswith("original-") for name in layers):
        return None
    (first,) = [dict(layer) for name, layer in layers.items() if name.startswith("original-")]
    (found,) = first.values()
    found = getattr(found, "value", found)  # as later versions keep data in graphs
    shape = getattr(found, "shape", None)
    return found if shape == data.shape else None


def _run_of(key: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return the run of rows that an index takes, all else whole; None of any other."""
    if not all(isinstance(each, slice) for each in key):
        return None
    (start, stop, step), *others = (
        each.indices(length) for each, length in zip(key, shape, strict=True)
    )
    whole = [(0, length, 1) for length in shape[1:]]
    return (start, stop) if step == 1 and others == whole and start < stop else None
