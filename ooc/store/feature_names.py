"""What the features of a row are called, as far as a store says so."""

import math
from contextlib import suppress

import numpy as np
import zarr

from ooc.store.dataset import Dataset
from ooc.store.labels import TEXT_KINDS
from ooc.store.member import DAMAGE, attributes_of, dimensions_of
from ooc.store.members import opened

# Of wider rows names are of no use to anybody, and take memory.
MOST_NAMES = 100_000


def feature_names_of(dataset: Dataset) -> tuple[str, ...]:
    """Return one name for each feature of a row; none where the store has none, or one twice.

    They are the features' attribute "feature_names", which `ooc.convert` writes, the text that
    labels their second dimension, as xarray has it, or the index of "var" beside them in AnnData.

    Examples
    --------
    >>> import ooc
    >>> feature_names_of(ooc.open(example_dataset))
    ()
    """
    count = math.prod(dataset.row_shape)
    if "hash" in dataset.transform:  # columns that many features share have no names
        return ()
    if dataset.held or len(dataset.row_shape) != 1 or count > MOST_NAMES:
        return ()
    with opened(dataset.place) as group, suppress(*DAMAGE):
        for names in (_noted(group, dataset.features), _beside(group, dataset.features)):
            if len(names) == count == len(set(names)):
                return names
    return ()


def _noted(group: zarr.Group, features: str) -> tuple[str, ...]:
    names = attributes_of(group[features]).get("feature_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(names)


def _beside(group: zarr.Group, features: str) -> tuple[str, ...]:
    """Return the text that labels the second axis of the features."""
    node, folder = group[features], features.rpartition("/")[0]
    dimensions = dimensions_of(node) if isinstance(node, zarr.Array) else None
    if dimensions is not None and len(dimensions) == 2 and dimensions[1]:
        return _text(group, f"{folder}/{dimensions[1]}".lstrip("/"))
    # Features of cells are the genes of the same object: layers are, and embeddings are not.
    var = {"X": "var", "layers": "var", "raw/X": "raw/var"}.get(
        features if features in ("X", "raw/X") else folder
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
