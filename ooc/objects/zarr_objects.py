"""Groups and arrays of zarr-python, and sessions of Icechunk."""

from typing import Any

import zarr

from ooc.core.errors import InputError
from ooc.objects.backing import Backing, Opened, in_hand, open_arrays, place_of
from ooc.store.dataset import Dataset
from ooc.store.dataset import open as open_path


def open_zarr(source: Any, roles: Opened) -> Dataset:
    """Open a group, or an array as the features of the group that it is in."""
    if isinstance(source, zarr.Group):
        return open_path(place_of(source.store, source.path), *roles)
    if not isinstance(source, zarr.Array):
        kind = type(source).__name__
        raise InputError(f"an object of zarr.{kind} cannot be opened; give its zarr.Group")
    if roles.features is not None:
        raise InputError(
            f"an array is the features itself; leave features={roles.features!r} out, or give the "
            "zarr.Group that holds both"
        )
    rest: dict[str, Any] = {"target": roles.target, "weight": roles.weight}
    rest |= {"missing": roles.missing, "columns": roles.columns}
    return open_arrays({"features": (Backing(source, 0, source.shape[0]),)}, rest)


def open_icechunk(source: Any, roles: Opened) -> Dataset:
    """Open what a session of Icechunk, or its store, shows of its repository."""
    session = getattr(source, "session", source)
    store = getattr(session, "store", None)
    if store is None:
        raise InputError(
            f"an object of icechunk.{type(source).__name__} cannot be opened; give a session of "
            'it, such as repository.readonly_session("main")'
        )
    return open_path(in_hand("Session", session.snapshot_id, store), *roles)
