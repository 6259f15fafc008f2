"""The sparse matrices of a group, what lies beside their rows, and the names of their columns."""

from collections.abc import Mapping

import numpy as np
import zarr

from ooc.store.copies import OF_COLUMNS
from ooc.store.member import NUMERIC_KINDS, attributes_of
from ooc.store.sparse import is_sparse


def sparse_members(group: zarr.Group) -> dict[str, zarr.Group]:
    """Return the sparse matrices of a group whose rows may be the data's, by their paths."""
    return {
        name: node
        for name, node in group.members(max_depth=None)
        if isinstance(node, zarr.Group) and is_sparse(node) and not OF_COLUMNS.match(name)
    }


def array_beside(group: zarr.Group, rows: int, nodes: Mapping[str, zarr.Group]) -> str:
    """Return an array of numbers whose rows are those of a sparse matrix; empty if none is."""
    for name, node in group.members(max_depth=None):
        inside = any(name.startswith(f"{each}/") for each in nodes) or OF_COLUMNS.match(name)
        if inside or not isinstance(node, zarr.Array) or name.endswith("/categories"):
            continue
        if node.shape[:1] == (rows,) and node.dtype.kind in NUMERIC_KINDS:
            return name
    return ""


def column_names(group: zarr.Group, name: str) -> list[str]:
    """Return what AnnData calls the columns of a matrix, or what `ooc.convert` has noted."""
    noted = attributes_of(group[name]).get("feature_names")
    if isinstance(noted, list):
        return list(map(str, noted))
    if (name != "X" and not name.startswith("layers/")) or "var" not in group:
        return []
    index = f"var/{attributes_of(group['var']).get('_index', '_index')}"
    found = group.get(index)
    return list(map(str, np.asarray(found[...]).tolist())) if isinstance(found, zarr.Array) else []
