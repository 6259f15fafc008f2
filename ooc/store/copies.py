"""What a copy of a dataset keeps: all arrays that share its rows, and what lies beside them.

Values are those that are stored. Arrays of any fixed size travel as they are; those of strings or
bytes without one travel as bytes of one width, behind their length.
"""

import base64
import math
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.buffer import cpu
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from ooc.core.errors import DataError
from ooc.core.sizes import format_size
from ooc.store.chunks import open_reader
from ooc.store.chunks.general import DECODE_COPIES, ZarrReader
from ooc.store.chunks.row_reader import Runs
from ooc.store.dataset import ArraySpec, Dataset
from ooc.store.members import (
    Member,
    attributes_of,
    dimensions_of,
    member_of,
    members_of,
    open_group,
    quiet,
)
from ooc.store.remote import explained
from ooc.store.roles import why_apart
from ooc.store.writer import Field, create_array

FIXED_KINDS = "biufcmMSUV"
LENGTH_BYTES = 4
# A longer string would make every row's record as long.
LONGEST_VALUE = 64 * 2**10
# What Python holds of a short string, and of a reference to it.
OBJECT_BYTES = 96

Read = Callable[[Runs, np.ndarray], None]


@dataclass(frozen=True)
class Copy:
    """A dataset as it is copied.

    Attributes
    ----------
    dataset
        The dataset, with all arrays that share its rows, as they are stored.
    fields
        How each of them is written.
    beside
        Other members, which are copied as they are.
    left_out
        Members that are not copied, and why.
    widths
        Bytes of a value, of arrays whose values have no fixed size.
    """

    dataset: Dataset
    fields: Mapping[str, Field]
    beside: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    widths: Mapping[str, int] = field(default_factory=dict)

    @property
    def object_bytes(self) -> int:
        """Bytes of the objects that one chunk of strings becomes in memory, at most."""
        specs = [self.dataset.arrays[name] for name in self.widths]
        return max((OBJECT_BYTES * math.prod(spec.chunks[:-1]) for spec in specs), default=0)

    def reader(self, dataset: Dataset, name: str, io: str) -> Read:
        """Return what fills memory with runs of rows of an array of this or a copied dataset."""
        stored = _with_array(dataset, name)
        if name not in self.widths:
            return open_reader(stored, name, io).read_runs
        values = ZarrReader(stored, name)
        kind = self.fields[name].in_memory

        def read(runs: Runs, out: np.ndarray) -> None:
            found = np.empty(out.shape[:-1], kind)
            values.read_runs(runs, found)
            out[...] = pack_values(found, out.shape[-1])

        return read

    def for_writer(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return values as the writer takes them."""
        if name not in self.widths:
            return values
        return unpack_values(values, self.fields[name].in_memory)


def plan_copy(source: Dataset, most_bytes: int) -> Copy:
    """Find out what a copy keeps; arrays of strings are read once, for their longest one.

    Parameters
    ----------
    most_bytes
        Memory for what lies beside the rows: a chunk of it is decoded at a time.
    """
    with explained(source.path, source.storage_options), quiet():
        group = open_group(source.path, source.storage_options)
        members = members_of(source.path, group, set(source.arrays), source.storage_options)
    main = members[source.features]
    arrays: dict[str, ArraySpec] = {}
    fields: dict[str, Field] = {}
    beside: list[str] = []
    widths: dict[str, int] = {}
    left_out: dict[str, str] = {}
    for name, member in members.items():
        if member.array is None or why_apart(main, member) or 0 in member.array.shape:
            reason = _why_not_beside(member, main, most_bytes, source)
        else:
            spec, described, width, reason = _described(source, member)
            if not reason:
                arrays[name], fields[name] = spec, described
                widths |= {name: width} if width else {}
                continue
        if reason:
            left_out[name] = reason
        else:
            beside.append(name)
    whole = replace(source, arrays=arrays)
    return Copy(whole, fields, tuple(beside), left_out, widths)


def copy_beside(copy: Copy, folder: Path) -> None:
    """Copy what lies beside the rows, as it is, into the group in a folder."""
    source = copy.dataset
    local = Path(source.path)
    with quiet(), explained(source.path, source.storage_options):
        group = open_group(source.path, source.storage_options)
        for name in copy.beside:
            shutil.rmtree(folder / name, ignore_errors=True)
            if _copies_files(source, group):
                shutil.copytree(local / name, folder / name)
            else:
                _copy_node(group[name], zarr.open_group(folder, mode="r+"), name)


def pack_values(values: np.ndarray, width: int) -> np.ndarray:
    """Return strings or bytes as (..., width) uint8: the length, the bytes, then zeros.

    Examples
    --------
    >>> pack_values(np.array(["ab", ""], object), 6).tolist()
    [[2, 0, 0, 0, 97, 98], [0, 0, 0, 0, 0, 0]]
    """
    packed = bytearray(values.size * width)
    for number, value in enumerate(values.ravel().tolist()):
        stored = _as_bytes(value)
        start = number * width
        packed[start : start + LENGTH_BYTES] = struct.pack("<I", len(stored))
        packed[start + LENGTH_BYTES : start + LENGTH_BYTES + len(stored)] = stored
    return np.frombuffer(packed, np.uint8).reshape(*values.shape, width)


def unpack_values(packed: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return what `pack_values` packed.

    Examples
    --------
    >>> unpack_values(pack_values(np.array(["ab", ""], object), 6), np.dtypes.StringDType())
    array(['ab', ''], dtype=StringDType())
    """
    width = packed.shape[-1]
    stored, found = packed.tobytes(), []
    for start in range(0, len(stored), width):
        begin = start + LENGTH_BYTES
        (length,) = struct.unpack("<I", stored[start:begin])
        found.append(stored[begin : begin + length])
    if dtype.kind != "O":
        texts = [each.decode() for each in found]
        return np.array(texts, dtype).reshape(packed.shape[:-1])
    values = np.empty(len(found), object)
    values[:] = found
    return values.reshape(packed.shape[:-1])


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _described(source: Dataset, member: Member) -> tuple[ArraySpec, Field, int, str]:
    """Return how an array that shares the rows is read and written, or why it cannot be."""
    assert member.array is not None
    array, width, reason = member.array, 0, ""
    dtype: Any = array.dtype
    spec = ArraySpec(member.name, array.shape, dtype, array.chunks, array.shards)
    attributes, dimensions = _kept_attributes(member), member.dimensions
    described = Field("uint8", array.shape[1:], attributes, dimensions)
    if dtype.kind in FIXED_KINDS and dtype.itemsize and not dtype.hasobject:
        native = dtype.newbyteorder("=")
        spec = replace(spec, dtype=native)
        described = described._replace(dtype=native, fill_value=array.fill_value)
    elif dtype.kind in "TO":
        width = LENGTH_BYTES + _longest(source, member)
        width += -width % 4
        if width > LONGEST_VALUE:
            reason = (
                f"one of its values has {format_size(width)}, over {format_size(LONGEST_VALUE)}"
            )
        shape, chunks = (*array.shape, width), (*array.chunks, width)
        spec = ArraySpec(member.name, shape, np.dtype(np.uint8), chunks, None)
        name = "string" if dtype.kind == "T" else "variable_length_bytes"
        described = described._replace(dtype=name, value_bytes=width)
    else:
        reason = f"its dtype {dtype} cannot be written"
    return spec, described, width, reason or _why_not_written(described)


def _why_not_written(described: Field) -> str:
    try:
        with quiet():
            create_array(zarr.create_group(MemoryStore()), "it", described, 1, 1, 1)
    except Exception as error:  # whatever a dtype or a name breaks
        return f"it cannot be written: {error}"
    return ""


def _kept_attributes(member: Member) -> dict[str, Any]:
    """Return an array's attributes, as Zarr v3 has them.

    In v2 dimension names are an attribute, and for xarray the fill value is what is missing.
    """
    assert member.array is not None
    kept, metadata = attributes_of(member.array), member.array.metadata
    named = kept.pop("_ARRAY_DIMENSIONS", None)
    if metadata.zarr_format == 2 and named is not None:
        value, kind = metadata.fill_value, np.dtype(member.array.dtype).kind
        if value is not None and kind in "iuf" and "_FillValue" not in kept:
            number = base64.standard_b64encode(struct.pack("<d", float(value))).decode()
            kept["_FillValue"] = number if kind == "f" else int(value)
    return kept


def _longest(source: Dataset, member: Member) -> int:
    """Return the bytes of an array's longest value; it is read chunk by chunk."""
    reader = ZarrReader(_with_array(source, member.name), member.name)
    rows, step, longest = reader.shape[0], reader.chunks[0], 0
    assert member.array is not None
    for first in range(0, rows, step):
        stop = min(first + step, rows)
        values = np.empty((stop - first, *reader.shape[1:]), member.array.dtype)
        reader.read_runs([(first, stop)], values)
        longest = max(longest, *(len(_as_bytes(value)) for value in values.ravel().tolist()))
    return longest


def _with_array(dataset: Dataset, name: str) -> Dataset:
    """Return the dataset with an array as it is stored, whatever its dtype."""
    with quiet(), explained(dataset.path, dataset.storage_options):
        member = member_of(open_group(dataset.path, dataset.storage_options), name)
    if member is None or member.array is None:
        raise DataError(f"array {name} of {dataset.path} is not there any more; open it again")
    array: Any = member.array
    dtype = array.dtype.newbyteorder("=") if array.dtype.kind in FIXED_KINDS else array.dtype
    spec = ArraySpec(name, array.shape, dtype, array.chunks, array.shards)
    return replace(dataset, arrays={**dataset.arrays, name: spec})


def _copies_files(source: Dataset, group: zarr.Group) -> bool:
    return "://" not in source.path and group.metadata.zarr_format == 3


def _why_not_beside(member: Member, main: Member, most_bytes: int, source: Dataset) -> str:
    """Return why a member cannot be copied as it is; empty if it can."""
    if member.array is None and member.group is None:
        return f"it {member.reason}"
    local = "://" not in source.path
    for name, each in _leaves(member, member.name):
        if each.array is None:
            return f"{name} {each.reason}"
        if member.group is not None and not why_apart(main, each):
            rows = each.array.shape[0]
            return f"its array {name} has {rows} entries, whose order would not be that of the rows"
        metadata: Any = each.array.metadata
        if metadata.zarr_format == 3 and local:
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
    member = Member(name, node, dimensions_of(node))
    dtype: Any = node.dtype
    names = {"T": "string", "O": "variable_length_bytes"}
    fill = {} if node.fill_value is None else {"fill_value": node.fill_value}
    array = parent.create_array(
        name,
        shape=node.shape,
        chunks=node.chunks,
        shards=node.shards,
        dtype=names.get(dtype.kind, dtype),
        attributes=_kept_attributes(member),
        dimension_names=member.dimensions,
        **fill,
    )
    unit = node.shards or node.chunks
    for cell in np.ndindex(*(-(-n // each) for n, each in zip(node.shape, unit, strict=True))):
        key = f"{node.path}/{node.metadata.encode_chunk_key(cell)}"
        if sync(node.store.get(key, cpu.buffer_prototype)) is None:
            if node.fill_value is None:
                raise DataError(
                    f"chunk {'.'.join(map(str, cell))} of array {node.path} is not stored, and its "
                    "array's fill_value is null, so that it has no value; restore it"
                )
            continue
        place = tuple(
            slice(at * each, (at + 1) * each) for at, each in zip(cell, unit, strict=True)
        )
        array[place] = node[place]
