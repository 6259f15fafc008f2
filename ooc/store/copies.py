"""What a copy of a dataset keeps: all arrays that share its rows, and what lies beside them.

Values are those that are stored; strings and bytes travel as `ooc.store.variable` packs them.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import zarr
from zarr.storage import MemoryStore

from ooc.core.errors import InputError
from ooc.core.sizes import format_size
from ooc.store.array_specs import stored_spec
from ooc.store.beside import kept_attributes, why_not_beside
from ooc.store.chunks import open_reader
from ooc.store.chunks.general import ZarrReader
from ooc.store.chunks.row_reader import Runs
from ooc.store.dataset import ArraySpec, Dataset, open_zarr_array
from ooc.store.fields import Field, create_array
from ooc.store.joined import stored_names, without_joined
from ooc.store.member import ENCODINGS, OLD_CATEGORIES, Member, attributes_of, encoding_of
from ooc.store.members import members_of, opened, quiet
from ooc.store.place import Place
from ooc.store.roles import why_apart
from ooc.store.variable import LENGTH_BYTES, as_bytes, pack_values, unpack_values

FIXED_KINDS = "biufcmMSUV"
# A longer string would make every row's record as long.
LONGEST_VALUE = 64 * 2**10
# What Python and NumPy hold of a string beside its text, and how many copies of that.
OBJECT_BYTES = 192
OBJECT_COPIES = 4

# What AnnData has beside cells.
OF_COLUMNS = re.compile("(var|varm|varp|uns|raw/var|raw/varm)(/|$)")

Read = Callable[[Runs, np.ndarray], None]


@dataclass(frozen=True)
class Copy:
    """A dataset as it is copied: with all arrays that share its rows, as they are stored.

    Attributes
    ----------
    fields
        How each of them is written.
    groups, beside, left_out
        Groups, whose attributes are copied; arrays that are copied as they are; and what is not
        copied, and why.
    widths
        Bytes of a value, of arrays whose values have no fixed size.
    """

    dataset: Dataset
    fields: Mapping[str, Field]
    groups: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    widths: Mapping[str, int] = field(default_factory=dict)

    @property
    def object_bytes(self) -> dict[str, int]:
        """Bytes of the objects that a row of each array of strings becomes in memory."""
        return {
            name: (OBJECT_BYTES + OBJECT_COPIES * width) * math.prod(self.fields[name].shape)
            for name, width in self.widths.items()
        }

    def reader(self, dataset: Dataset, name: str, io: str) -> Read:
        """Return what fills memory with runs of rows of an array of this or a copied dataset."""
        stored = _with_array(dataset, name)
        if name not in self.widths:
            return open_reader(stored, name, io).read_runs
        values = ZarrReader(stored, name)
        kind = self.fields[name].in_memory

        def read(runs: Runs, out: np.ndarray) -> None:
            place = 0
            for first, stop in _by_chunks(runs, values.chunks[0]):
                # Objects are many times as large as bytes: those of one chunk at a time.
                part = out[place : place + stop - first]
                found = np.empty(part.shape[:-1], kind)
                values.read_runs([(first, stop)], found)
                part[...] = pack_values(found, out.shape[-1])
                place += stop - first

        return read

    def for_writer(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return values as the writer takes them."""
        if name not in self.widths:
            return values
        return unpack_values(values, self.fields[name].in_memory)


def plan_copy(source: Dataset, most_bytes: int) -> Copy:
    """Find out what a copy keeps; arrays of strings are read once, for their longest one.

    `most_bytes` are for what lies beside the rows, of which a chunk is decoded at a time.
    """
    with opened(source.place) as group:
        members = members_of(source.place, group, set(without_joined(source.arrays)))
        members |= {each.name: each for each in _tree("", members)}
    # Of joined features a copy keeps the arrays that they are made of.
    first = stored_names(source.arrays[source.features])[0]
    main = members[first]
    if main.array is None:
        raise InputError(
            f"{source.features} of {source.path} is a sparse matrix, and no copy of it in another "
            "order can be made yet; shuffle it where it was written"
        )
    arrays: dict[str, ArraySpec] = {}
    fields: dict[str, Field] = {}
    groups: list[str] = []
    beside: list[str] = []
    widths: dict[str, int] = {}
    left_out: dict[str, str] = {}
    for name, member in members.items():
        if any(name.startswith(f"{each}/") for each in left_out):
            continue
        where, reason = beside, ""
        if member.group is not None:
            where, reason = groups, _why_unordered(member.group, main.array.shape[0])
        elif not _moves(member, main, members):
            reason = why_not_beside(member, most_bytes, source)
        elif _is_of(members, "obs") and name.startswith("obsp/"):
            reason = "its columns, too, are rows of the data, and they would not be put in order"
        else:
            spec, described, width, reason = _described(source, member, most_bytes)
            if not reason:
                arrays[name], fields[name] = spec, described
                widths |= {name: width} if width else {}
                continue
        if reason:
            left_out[name] = reason
        else:
            where.append(name)
    whole = replace(source, arrays=arrays, features=first)
    return Copy(whole, fields, tuple(groups), tuple(beside), left_out, widths)


def _tree(where: str, members: Mapping[str, Member]) -> Iterator[Member]:
    """Yield members and what is in those that are groups, by their paths; parents come first."""
    for name, member in members.items():
        if "/" not in name:
            yield replace(member, name=where + name)
            if member.group is not None:
                inside = members_of(Place(""), member.group, set())
                yield from _tree(f"{where}{name}/", inside)


def _is_of(members: Mapping[str, Member], name: str, kind: str = "dataframe") -> bool:
    """Tell whether a group is one of AnnData's."""
    group = members[name].group if name in members else None
    return group is not None and encoding_of(group) == ENCODINGS[kind]


def _moves(member: Member, main: Member, members: Mapping[str, Member]) -> bool:
    """Tell whether an array's rows are those of the features."""
    if member.array is None or why_apart(main, member) or 0 in member.array.shape:
        return False
    above, _, last = member.name.rpartition("/")
    if OLD_CATEGORIES in member.name or (last != "codes" and _is_of(members, above, "categorical")):
        return False
    # As many cells as genes do not make genes cells.
    sides = [not OF_COLUMNS.match(each.name) for each in (member, main)]
    return not _is_of(members, "obs") or sides[0] == sides[1]


def _why_unordered(group: zarr.Group, rows: int) -> str:
    """Return why a group cannot be copied, as its arrays are no rows but what it is has them."""
    parts = ("data", "indices", "indptr")
    words = encoding_of(group) or ("a sparse matrix" if all(p in group for p in parts) else "")
    told = attributes_of(group)
    shape = told.get("shape", told.get("h5sparse_shape", [told.get("length")]))
    if ("sparse" in words or "awkward" in words) and not {rows, None}.isdisjoint(shape):
        return f"it is {words}, whose rows cannot be put in order"
    return ""


def _described(
    source: Dataset, member: Member, most_bytes: int
) -> tuple[ArraySpec, Field, int, str]:
    """Return how an array that shares the rows is read and written, or why it cannot be."""
    assert member.array is not None
    array, width, reason = member.array, 0, ""
    spec, dtype = stored_spec(member.name, array), array.dtype
    described = Field("uint8", array.shape[1:], kept_attributes(member), member.dimensions)
    if dtype.kind in FIXED_KINDS and dtype.itemsize and not dtype.hasobject:
        described = described._replace(dtype=spec.dtype, fill_value=array.fill_value)
    elif dtype.kind in "TO" and (needed := OBJECT_BYTES * math.prod(array.chunks)) > most_bytes:
        left = format_size(max(0, most_bytes))
        reason = f"a chunk of its strings takes {format_size(needed)} or more, but {left} are left"
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


def _by_chunks(runs: Runs, chunk_rows: int) -> Iterator[tuple[int, int]]:
    """Cut runs where chunks begin."""
    for first, stop in runs:
        while first < stop:
            end = min(stop, first - first % chunk_rows + chunk_rows)
            yield first, end
            first = end


def _why_not_written(described: Field) -> str:
    try:
        with quiet():
            create_array(zarr.create_group(MemoryStore()), "it", described, 1, 1, 1)
    except Exception as error:  # whatever a dtype or a name breaks
        return f"it cannot be written: {error}"
    return ""


def _longest(source: Dataset, member: Member) -> int:
    """Return the bytes of an array's longest value; it is read chunk by chunk."""
    stored, longest = _with_array(source, member.name), 0
    reader, dtype = ZarrReader(stored, member.name), stored.arrays[member.name].dtype
    for first, stop in _by_chunks([(0, reader.shape[0])], reader.chunks[0]):
        values = np.empty((stop - first, *reader.shape[1:]), dtype)
        reader.read_runs([(first, stop)], values)
        longest = max(longest, *(len(as_bytes(value)) for value in values.ravel().tolist()))
    return longest


def _with_array(dataset: Dataset, name: str) -> Dataset:
    """Return the dataset with an array as it is stored, whatever its dtype."""
    # What is known of it may be how a copy holds it, in bytes of one width.
    spec = stored_spec(name, open_zarr_array(replace(dataset, arrays={}), name))
    return replace(dataset, arrays={**dataset.arrays, name: spec})
