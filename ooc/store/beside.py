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
from ooc.store.members import Member, attributes_of, declared_by, dimensions_of, members_of, opened
from ooc.store.roles import why_apart


def copy_beside(source: Dataset, names: Sequence[str], folder: Path) -> None:
    """Copy members as they are into the group in a folder."""
    with opened(source.path, source.storage_options) as group:
        for name in names:
            shutil.rmtree(folder / name, ignore_errors=True)
            if "://" not in source.path and group.metadata.zarr_format == 3:
                shutil.copytree(Path(source.path, name), folder / name)
            else:
                _copy_node(group[name], zarr.open_group(folder, mode="r+"), name)


def kept_attributes(member: Member) -> dict[str, Any]:
    """Return an array's attributes, as Zarr v3 has them."""
    # In v2 dimension names are an attribute, and for xarray the fill value is what is missing.
    assert member.array is not None
    kept, metadata = declared_by(member), member.array.metadata
    named = kept.pop("_ARRAY_DIMENSIONS", None)
    if metadata.zarr_format == 2 and named is not None:
        value, kind = metadata.fill_value, np.dtype(member.array.dtype).kind
        if value is not None and kind in "iuf" and "_FillValue" not in kept:
            number = base64.standard_b64encode(struct.pack("<d", float(value))).decode()
            kept["_FillValue"] = number if kind == "f" else int(value)
    return kept


def why_not_beside(member: Member, main: Member, most_bytes: int, source: Dataset) -> str:
    """Return why a member cannot be copied as it is; empty if it can."""
    if member.array is None and member.group is None:
        return f"it {member.reason}"
    for name, each in _leaves(member, member.name):
        if each.array is None:
            return f"{name} {each.reason}"
        if member.group is not None and not why_apart(main, each):
            rows = each.array.shape[0]
            return f"its array {name} has {rows} entries, whose order would not be that of the rows"
        if each.array.metadata.zarr_format == 3 and "://" not in source.path:
            continue
        unit = each.array.shards or each.array.chunks
        size = DECODE_COPIES * math.prod(unit) * getattr(each.array.dtype, "itemsize", 16)
        if size > most_bytes:
            left = format_size(most_bytes)
            return f"a chunk of {name} takes {format_size(size)} to copy, but {left} are left"
    return ""


def _leaves(member: Member, where: str) -> Sequence[tuple[str, Member]]:
    """Return all arrays of a member, and what cannot be opened, with their paths."""
    if member.group is None:
        return [(where, member)]
    found: list[tuple[str, Member]] = []
    for name, each in members_of("", member.group, set(), None).items():
        found += _leaves(each, f"{where}/{name}")
    return found


def _copy_node(node: zarr.Group | zarr.Array, parent: zarr.Group, name: str) -> None:
    """Copy through zarr-python, chunk by chunk; what is not stored is not stored there either."""
    if isinstance(node, zarr.Group):
        made = parent.create_group(name, attributes=attributes_of(node))
        for inner, member in members_of("", node, set(), None).items():
            below = member.array if member.group is None else member.group
            assert below is not None
            _copy_node(below, made, inner)
        return
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
