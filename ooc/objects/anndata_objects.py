"""Objects of AnnData: those in memory, and backed ones, whose files are HDF5."""

from typing import Any

import numpy as np
import zarr

from ooc.core.errors import InputError
from ooc.objects.backing import Opened
from ooc.objects.temporary import new_folder, told
from ooc.store.dataset import Dataset
from ooc.store.dataset import open as open_path

# What rows can be read of, or named by.
PARTS = ("X", "layers", "obs", "obsm", "raw", "var")
PIECE_VALUES, CHUNK_VALUES = 2**22, 2**17


def open_anndata(source: Any, roles: Opened) -> Dataset:
    """Write an AnnData to a temporary store, out of its file where it is backed, and open that.

    Its layout is that of AnnData's own stores: sparse matrices stay sparse.
    """
    if not hasattr(source, "obs") or not hasattr(source, "write_zarr"):
        kind = type(source).__qualname__
        raise InputError(f"an object of anndata.{kind} cannot be opened; give an AnnData")
    path = new_folder() / "data.zarr"
    if not source.isbacked:
        told(type(source), _bytes_of(source.X), path)
        source.write_zarr(path)
        return open_path(path, *roles)
    if source.is_view:
        raise InputError(
            f"this is a view of the backed file {source.filename}; open the AnnData of the whole "
            "file, and take rows by ooc.split, or write the view to a file of its own"
        )
    told(type(source), source.filename.stat().st_size, path)
    group = zarr.create_group(path, zarr_format=3)
    file = source.file._file
    _copy_attributes(file, group)
    for name in PARTS:
        if name in file:
            _copy(file[name], group, name)
    return open_path(path, *roles)


def _bytes_of(matrix: Any) -> int:
    parts = [getattr(matrix, name, None) for name in ("data", "indices", "indptr")]
    if isinstance(matrix, np.ndarray) or any(each is None for each in parts):
        return int(getattr(matrix, "nbytes", 0))
    return sum(int(getattr(each, "nbytes", 0)) for each in parts)


def _copy(node: Any, above: zarr.Group, name: str) -> None:
    """Copy a node of an HDF5 file: both formats have AnnData's layout in common."""
    if hasattr(node, "keys"):
        group = above.create_group(name)
        _copy_attributes(node, group)
        for each in node:
            _copy(node[each], group, each)
        return
    is_text = node.dtype.kind in "OS"
    dtype: Any = np.dtypes.StringDType() if is_text else node.dtype
    row_values = max(1, int(np.prod(node.shape[1:])))
    rows = max(1, min(node.shape[0] if node.shape else 1, CHUNK_VALUES // row_values))
    chunks = (rows, *node.shape[1:])[: len(node.shape)]
    array = above.create_array(name, shape=node.shape, dtype=dtype, chunks=chunks)
    _copy_attributes(node, array)
    if not node.shape:
        array[...] = _text(node[()]) if is_text else node[()]
        return
    step = max(1, PIECE_VALUES // row_values // rows) * rows
    for first in range(0, node.shape[0], step):
        part = node.asstr()[first : first + step] if is_text else node[first : first + step]
        array[first : first + step] = part.astype(dtype) if is_text else part


def _copy_attributes(node: Any, target: Any) -> None:
    target.update_attributes({name: _plain(value) for name, value in node.attrs.items()})


def _plain(value: Any) -> Any:
    """Return an attribute as JSON has it."""
    if isinstance(value, np.ndarray):
        return [_plain(each) for each in value.tolist()]
    return _text(value) if isinstance(value, bytes) else getattr(value, "item", lambda: value)()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
