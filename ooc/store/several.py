"""Several stores as one dataset: one order over the blocks of all, and nothing copied."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ooc.core.errors import InputError
from ooc.store.addresses import StorageOptions
from ooc.store.dataset import Dataset
from ooc.store.dataset import open as open_one
from ooc.store.feature_choice import Columns
from ooc.store.patterns import paths_of
from ooc.store.place import Place
from ooc.store.roles import RoleName
from ooc.store.selection import STORES, Selection
from ooc.store.sparse import SparseSpec
from ooc.store.spec import ArraySpec
from ooc.store.stacked import stacked
from ooc.store.stacked_sparse import stacked_sparse
from ooc.store.stores import Stores, placed

Paths = str | Path | Place | Sequence[str | Path]
# So many paths are named where all are too many.
_MOST_NAMED = 3


def open(
    path: Paths,
    features: str | Sequence[str] | None = None,
    target: RoleName = None,
    weight: RoleName = None,
    missing: str = "raise",
    storage_options: StorageOptions | None = None,
    columns: Columns | None = None,
) -> Dataset:
    """Open one group of Zarr, or several as one, as `ooc.objects.opening.open` does.

    Raises
    ------
    InputError
        Where that one does; where stores have other roles, or rows of another kind; where a
        pattern fits nothing, or a store is named twice.

    Examples
    --------
    >>> open([example_dataset]).rows
    1000
    """
    given: Any = (features, target, weight, missing, storage_options, columns)
    if isinstance(path, Place):
        return open_one(path, *given)
    paths = paths_of(path, storage_options)
    if len(paths) == 1:
        return open_one(paths[0], *given)
    return together([open_one(each, *given) for each in paths])


def together(parts: Sequence[Dataset]) -> Dataset:
    """Return datasets as one: the arrays that all have, with the rows of one after the other."""
    first, *others = parts
    for other in others:
        for role, own, name in zip(
            ("features", "target", "weight"), first.roles, other.roles, strict=True
        ):
            if own != name:
                told = [each or f"no {role}" for each in (own, name)]
                raise InputError(
                    f"{first.path} has {told[0]} for its {role}, and {other.path} has {told[1]}; "
                    f"name the {role} that all of them have, or none"
                )
    paths = [part.path for part in parts]
    main = [part.arrays[part.features] for part in parts]
    # Of sparse rows only some have places that are known.
    least = max([spec.unit for spec in main if isinstance(spec, SparseSpec)], default=1)
    unit = -(-max(spec.chunks[0] for spec in main) // least) * least
    stores = placed(paths, [part.stored_rows for part in parts], unit, least)
    arrays, unused = {}, dict(first.unused)
    for name in first.arrays:
        lacking = next((part for part in others if name not in part.arrays), None)
        if lacking is not None:
            unused[name] = f"it is not in {lacking.path}"
            continue
        try:
            arrays[name] = _as_one([part.arrays[name] for part in parts], stores)
        except InputError as error:
            if name in first.roles:
                raise
            unused[name] = str(error)
    selection = None
    if stores.padding:
        rows = sum(part.stored_rows for part in parts)
        selection = Selection(STORES, None, stores.starts, stores.stops, rows)
    shared = {
        key: value
        for key, value in first.attributes.items()
        if all(other.attributes.get(key) == value for other in others)
    }
    passed_over = {key: why for part in reversed(parts) for key, why in part.passed_over.items()}
    return replace(
        first,
        path=_told(paths),
        arrays=arrays,
        attributes=shared,
        selection=selection,
        unused=unused,
        passed_over=passed_over,
        parts=tuple(parts),
        stores=stores,
    )


def _as_one(specs: Sequence[ArraySpec], stores: Stores) -> ArraySpec:
    """Describe arrays of one name as one: dense ones, or sparse ones."""
    found = [spec for spec in specs if isinstance(spec, SparseSpec)]
    return stacked_sparse(found, stores) if len(found) == len(specs) else stacked(specs, stores)


def _told(paths: Sequence[str]) -> str:
    """Return what several stores are called in a message."""
    if len(paths) <= _MOST_NAMED:
        return " and ".join([", ".join(paths[:-1]), paths[-1]])
    return f"{len(paths)} stores, {paths[0]} to {paths[-1]}"
