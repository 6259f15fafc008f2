"""One array or group of a store, by its own metadata: what it is, or why it cannot be used."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numcodecs
import numpy as np
import zarr
from zarr.buffer import cpu
from zarr.core.sync import sync

from ooc.store.addresses import reason_of
from ooc.store.labels import TEXT_KINDS

NUMERIC_KINDS = "biuf"
LARGEST = 2**63
# Groups whose arrays are parts of one thing, as AnnData marks them: what that is, in words.
_NULLABLE = ("nullable-integer", "nullable-boolean", "nullable-string-array")
ENCODINGS = {
    "csr_matrix": "a sparse matrix of AnnData (csr_matrix)",
    "csc_matrix": "a sparse matrix of AnnData (csc_matrix)",
    "categorical": "a categorical column of AnnData",
    **{kind: f"a column of AnnData with missing values ({kind})" for kind in _NULLABLE},
    "awkward-array": "an awkward array of AnnData",
    "dataframe": "a table of AnnData (dataframe)",
}
SPARSE = "name the whole matrix, in CSR, as features of the group that holds it"
COLUMN = "write it as an array of numbers; of categories, name the array of their codes"
_CONVERT = "convert it to an integer or float dtype"
# Before version 0.8, AnnData kept what a column's codes mean in a group beside the columns.
OLD_CATEGORIES = "__categories/"
_PICKLE = (
    "is encoded by pickle, which runs code of whoever wrote it, and is never read",
    "write it with another codec",
)
_OF_NUMCODECS = "numcodecs."
# What parsers of metadata raise. Stores raise other kinds, which are not the metadata's fault.
DAMAGE = (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError)


@dataclass(frozen=True)
class Member:
    """One array or group.

    Attributes
    ----------
    array
        The array, or None where the member is a group or cannot be opened.
    dimensions
        Names of the axes, where the store has them.
    reason, remedy
        Why it cannot be an array of numbers, as in "X {reason}", and what to do about that; empty
        if it can.
    categories
        Where a store keeps what the array's numbers are codes of, as AnnData does: -1 is none.
    sparse_rows
        How many rows there are, where the member is a sparse matrix that features are read from.
    """

    name: str
    array: zarr.Array | None = None
    dimensions: tuple[str | None, ...] | None = None
    reason: str = ""
    remedy: str = ""
    group: zarr.Group | None = None
    categories: str = ""
    sparse_rows: int | None = None

    @property
    def rows(self) -> int | None:
        """Entries along axis 0; None without one."""
        if self.array is None:
            return self.sparse_rows
        return self.array.shape[0] if self.array.shape else None

    @property
    def is_text(self) -> bool:
        """Whether it is an array of text, one a row, which can be labels."""
        if self.array is None or len(self.array.shape) != 1:
            return False
        dtype: Any = self.array.dtype
        return dtype.kind in TEXT_KINDS

    @property
    def is_categorical(self) -> bool:
        """Whether it is a group of a column's codes and what they stand for, as AnnData has it."""
        attributes = {} if self.group is None else attributes_of(self.group)
        return attributes.get("encoding-type") == "categorical"

    @property
    def first_dimension(self) -> str | None:
        """Name of axis 0."""
        return self.dimensions[0] if self.dimensions else None

    @property
    def is_coordinate(self) -> bool:
        """Whether it labels an axis: its only dimension has its own name."""
        return self.dimensions == (self.name.rpartition("/")[2],)


def attributes_of(node: zarr.Group | zarr.Array) -> dict[str, Any]:
    """Return the attributes; they are refused where they are no names with values."""
    attributes = node.metadata.attributes
    if not isinstance(attributes, Mapping):
        raise TypeError(f"attributes are a {type(attributes).__name__}, not an object")
    return dict(attributes)


def encoding_of(group: zarr.Group) -> str | None:
    """Return in words what a group's arrays are parts of, if it is one thing."""
    attributes = attributes_of(group)
    kind = attributes.get("encoding-type") or attributes.get("h5sparse_format")
    kind = {"csr": "csr_matrix", "csc": "csc_matrix"}.get(str(kind), str(kind))
    return ENCODINGS.get(kind)


def declared_by(member: Member) -> dict[str, Any]:
    """Return an array's attributes, with what its store says elsewhere of codes of categories."""
    assert member.array is not None
    found = attributes_of(member.array)
    if member.categories:
        found = {"missing_value": -1, "units": f"codes of {member.categories}", **found}
    return found


def has_file(group: zarr.Group, file: str) -> bool:
    """Tell whether a group's store has an object of this name."""
    key = f"{group.path}/{file}".lstrip("/")
    return sync(group.store.get(key, cpu.buffer_prototype)) is not None


def described(name: str, node: zarr.Array | zarr.Group) -> Member:
    """Return what a node is; one of `DAMAGE` is raised where its metadata cannot be used."""
    if isinstance(node, zarr.Group):
        words = encoding_of(node)
        if has_file(node, ".zarray"):
            raise ValueError("they say nothing of the array")
        if words is None:
            return Member(name, None, None, "is a group, not an array", "name an array", node)
        remedy = SPARSE if "sparse" in words else COLUMN
        if "dataframe" in words:
            reason = f"is a group: {words}, whose columns are named by their paths"
            return Member(name, None, None, reason, "name one of them", node)
        why = "which only features can be" if "sparse" in words else "not supported yet"
        return Member(name, None, None, f"is a group: {words}, {why}", remedy, node)
    attributes_of(node)
    names = _codec_names(node)
    if {"pickle", f"{_OF_NUMCODECS}pickle"} & names:
        return Member(name, None, None, *_PICKLE)
    for codec in names:
        if codec.startswith(_OF_NUMCODECS):
            _check_installed(codec.removeprefix(_OF_NUMCODECS))
    if transformers := getattr(node.metadata, "storage_transformers", ()):
        # zarr-python passes over them, and would read what they transformed as it is stored.
        raise ValueError(f"its storage transformers are not known: {transformers!r}")
    size = getattr(node.dtype, "itemsize", 1)
    if max(map(math.prod, (node.shape, node.chunks))) * size >= LARGEST:
        raise ValueError(f"shape {node.shape} and chunks {node.chunks} are too large")
    if any(chunk < 1 for chunk in node.chunks) and 0 not in node.shape:
        raise ValueError(f"a chunk cannot have the shape {node.chunks}")
    old = attributes_of(node).get("categories")
    categories = old if isinstance(old, str) and old.startswith(OLD_CATEGORIES) else ""
    return Member(name, node, dimensions_of(node), *_reason(node), categories=categories)


def dimensions_of(array: zarr.Array) -> tuple[str | None, ...] | None:
    """Return the names of an array's axes: of Zarr v3, or the attribute that xarray writes in v2.

    A ValueError says that there are names, but not one for each axis.
    """
    names = getattr(array.metadata, "dimension_names", None)
    if names is None and (names := attributes_of(array).get("_ARRAY_DIMENSIONS")) is None:
        return None
    if not isinstance(names, list | tuple) or len(names) != len(array.shape):
        raise ValueError(f"{len(array.shape)} axes have the dimension names {names!r}")
    return tuple(None if name is None else str(name) for name in names)


def _reason(array: zarr.Array) -> tuple[str, str]:
    """Return why an array cannot be one of numbers, and what to do; nothing if it can."""
    shape, dtype = array.shape, array.dtype
    if not isinstance(dtype, np.dtype) or dtype.kind not in NUMERIC_KINDS:
        return f"has dtype {dtype}, which is not a real number", _CONVERT
    if not shape:
        return "has no axes", "rows are along axis 0"
    if math.prod(shape[1:]) == 0:
        return f"has rows without values, as its shape is {shape}", "name another array"
    return "", ""


def _codec_names(array: zarr.Array) -> set[str]:
    """Return the names of all codecs, also of those inside of others."""
    found: set[str] = set()

    def collect(part: Any) -> None:
        if isinstance(part, Mapping):
            found.update(str(part[key]) for key in ("id", "name") if key in part)
            part = list(part.values())
        if isinstance(part, list | tuple):
            for each in part:
                collect(each)
        elif hasattr(part, "get_config"):
            collect(part.get_config())

    metadata = array.metadata
    collect([getattr(metadata, key, None) for key in ("filters", "compressor")])
    collect([codec.to_dict() for codec in getattr(metadata, "codecs", ())])
    return found


def _check_installed(codec: str) -> None:
    """Raise where a codec of numcodecs needs a package; zarr-python looks when it first decodes."""
    with suppress(TypeError):  # settings are not given
        numcodecs.get_codec({"id": codec})


def damage_of(error: Exception) -> tuple[str, str]:
    """Return the reason and the remedy of what was raised by metadata."""
    said = "nested too deeply" if isinstance(error, RecursionError) else reason_of(error)
    is_unknown_codec = type(error).__name__ == "UnknownCodecError"
    if "object_codec_id': 'pickle'" in said or (is_unknown_codec and "pickle" in said):
        return _PICKLE
    if is_unknown_codec:
        remedy = "install the package that brings that codec"
        return f"needs a codec that is not installed ({said})", remedy
    if said.startswith("Unknown chunk grid"):
        return f"is stored in a way that is not known ({said})", "write it in chunks of one shape"
    if "No Zarr data type" in said:
        return f"has a dtype that is not known ({said})", _CONVERT
    return f"has metadata that cannot be used ({said})", "restore them from their source"
