"""The arrays of a store that `ooc make` wrote; needs nothing but zarr."""

from pathlib import Path

import zarr


def arrays_of(store: Path) -> tuple[zarr.Array, zarr.Array]:
    """Return a store's features and targets."""
    return zarr.open_array(store / "X", mode="r"), zarr.open_array(store / "y", mode="r")
