"""What is known of an array before it is read: as it is stored, or as it declares itself."""

from dataclasses import replace
from typing import Any

import numpy as np
import zarr

from ooc.core.errors import InputError
from ooc.store.conventions import read_conventions
from ooc.store.labels import Labels
from ooc.store.member import Member, declared_by
from ooc.store.spec import ArraySpec


def stored_spec(name: str, array: zarr.Array) -> ArraySpec:
    """Describe an array of any dtype as it is stored, in this machine's order of bytes."""
    dtype: Any = array.dtype
    # NumPy's own strings have no order of bytes.
    native = dtype if dtype.kind == "T" else np.dtype(dtype).newbyteorder("=")
    return ArraySpec(name, array.shape, native, array.chunks, array.shards)


def spec_of(member: Member, array: zarr.Array) -> ArraySpec:
    """Describe an array of numbers as its attributes declare that it is decoded."""
    plain, metadata = stored_spec(member.name, array), array.metadata
    if member.is_text:
        return plain.labelled(Labels((), (), plain.dtype))
    attributes = declared_by(member)
    # In version 2, tools that know dimensions keep a `_FillValue` there, a zero as well; to all
    # others it is what chunks that are not stored hold.
    masks = metadata.zarr_format == 2 and "_ARRAY_DIMENSIONS" in attributes
    fill_value = metadata.fill_value if masks and plain.dtype.kind != "b" else None
    try:
        conventions = read_conventions(attributes, plain.dtype, fill_value)
    except InputError as error:
        return replace(plain, problem=str(error))
    if conventions is None:
        return plain
    return replace(plain, dtype=conventions.decoded, conventions=conventions)
