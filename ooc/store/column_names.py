"""What the columns of an array are called, as far as its store says so."""

from contextlib import suppress

import numpy as np
import zarr

from ooc.store.labels import TEXT_KINDS
from ooc.store.member import DAMAGE, attributes_of, dimensions_of

# Of wider rows names are of no use to anybody, and take memory.
MOST_NAMES = 100_000


def column_names(group: zarr.Group, name: str, count: int) -> tuple[str, ...]:
    """Return one name for each of the columns of an array of a group; none where one is doubled.

    They are the array's attribute "feature_names", which `ooc.convert` writes, the text that
    labels its second dimension, as xarray has it, or the index of "var" beside it in AnnData.

    Examples
    --------
    >>> column_names(zarr.open_group(example_dataset, mode="r"), "X", 3)
    ()
    """
    if count > MOST_NAMES:
        return ()
    with suppress(*DAMAGE):
        for names in (_noted(group, name), _beside(group, name)):
            if len(names) == count == len(set(names)):
                return names
    return ()


def _noted(group: zarr.Group, name: str) -> tuple[str, ...]:
    names = attributes_of(group[name]).get("feature_names")
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        return ()
    return tuple(names)


def _beside(group: zarr.Group, name: str) -> tuple[str, ...]:
    """Return the text that labels the second axis of an array."""
    node, folder = group[name], name.rpartition("/")[0]
    dimensions = dimensions_of(node) if isinstance(node, zarr.Array) else None
    if dimensions is not None and len(dimensions) == 2 and dimensions[1]:
        return _text(group, f"{folder}/{dimensions[1]}".lstrip("/"))
    # Features of cells are the genes of the same object: layers are, and embeddings are not.
    var = {"X": "var", "layers": "var", "raw/X": "raw/var"}.get(
        name if name in ("X", "raw/X") else folder
    )
    if var is None or var not in group:
        return ()
    return _text(group, f"{var}/{attributes_of(group[var]).get('_index', '_index')}")


def _text(group: zarr.Group, name: str) -> tuple[str, ...]:
    node = group.get(name)
    if not isinstance(node, zarr.Array) or len(node.shape) != 1 or node.shape[0] > MOST_NAMES:
        return ()
    if node.dtype.kind not in TEXT_KINDS:
        return ()
    return tuple(map(str, np.asarray(node[...]).tolist()))
