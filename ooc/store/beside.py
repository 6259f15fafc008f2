"""What lies beside the rows of a dataset, copied as it is: other arrays, and groups."""

import base64
import math
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.buffer import cpu
from zarr.core.sync import sync

from ooc.core.errors import DataError
from ooc.core.sizes import format_size
from ooc.store.chunks.general import DECODE_COPIES
from ooc.store.chunks.row_reader import NO_VALUE
from ooc.store.dataset import Dataset
from ooc.store.member import Member, attributes_of, dimensions_of
from ooc.store.members import opened


def copy_beside(source: Dataset, groups: Sequence[str], names: Sequence[str], folder: Path) -> None:
    """Copy arrays as they are into the group in a folder, and what is said of groups in it."""
    with opened(source.place) as group:
        target = zarr.open_group(folder, mode="r+")
        for name in groups:
            target.require_group(name).update_attributes(attributes_of(_node(group, name)))
        for name in names:
            shutil.rmtree(folder / name, ignore_errors=True)
            if _is_copied_by_files(source, node := _node(group, name)):
                shutil.copytree(Path(source.path, name), folder / name)
            else:
                _copy_array(node, target, name)


def kept_attributes(member: Member) -> dict[str, Any]:
    """Return an array's attributes, as Zarr v3 has them."""
    # In v2 dimension names are an attribute, and for xarray the fill value is what is missing.
    assert member.array is not None
    kept, metadata = attributes_of(member.array), member.array.metadata
    named = kept.pop("_ARRAY_DIMENSIONS", None)
    if metadata.zarr_format == 2 and named is not None:
        value, kind = metadata.fill_value, np.dtype(member.array.dtype).kind
        if value is not None and kind in "iuf" and "_FillValue" not in kept:
            number = base64.standard_b64encode(struct.pack("<d", float(value))).decode()
            kept["_FillValue"] = number if kind == "f" else int(value)
    return kept


def why_not_beside(member: Member, most_bytes: int, source: Dataset) -> str:
    """Return why an array cannot be copied as it is; empty if it can."""
    array = member.array
    if array is None:
        return f"it {member.reason}"
    if _is_copied_by_files(source, array):
        return ""
    unit = array.shards or array.chunks
    size = DECODE_COPIES * math.prod(unit) * getattr(array.dtype, "itemsize", 16)
    if size > most_bytes:
        return (
            f"a chunk of it takes {format_size(size)} to copy, but {format_size(most_bytes)} are "
            "left"
        )
    return ""


def _is_copied_by_files(source: Dataset, node: Any) -> bool:
    return node.metadata.zarr_format == 3 and Path(source.path).is_dir()


def _node(group: zarr.Group, name: str) -> Any:
    return group[name]


def _copy_array(node: zarr.Array, parent: zarr.Group, name: str) -> None:
    """Copy through zarr-python, chunk by chunk; what is not stored is not stored there either."""
    member, dtype = Member(name, node, dimensions_of(node)), node.dtype
    names = {"T": "string", "O": "variable_length_bytes"}
    fill = {} if node.fill_value is None else {"fill_value": node.fill_value}
    array = parent.create_array(
        name,
        shape=node.shape,
        chunks=node.chunks,
        shards=node.shards,
        dtype=names.get(dtype.kind, dtype),
        attributes=kept_attributes(member),
        dimension_names=member.dimensions,
        **fill,
    )
    unit = node.shards or node.chunks
    for cell in np.ndindex(*(-(-n // each) for n, each in zip(node.shape, unit, strict=True))):
        key = f"{node.path}/{node.metadata.encode_chunk_key(cell)}"
        if sync(node.store.get(key, cpu.buffer_prototype)) is None:
            if node.fill_value is None:
                chunk = ".".join(map(str, cell))
                raise DataError(
                    f"chunk {chunk} of array {node.path} is not stored, and {NO_VALUE}; restore it"
                )
            continue
        place = tuple(
            slice(at * each, (at + 1) * each) for at, each in zip(cell, unit, strict=True)
        )
        array[place] = node[place]
