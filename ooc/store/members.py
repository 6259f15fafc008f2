"""What is in a Zarr group: each member by its own metadata, as consolidated ones may be older.

One damaged member must not stand in the way of the others: what is wrong with it is noted.
"""

import asyncio
import math
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from zarr.buffer import cpu
from zarr.core.sync import sync

from ooc.core.errors import InputError
from ooc.store.local import METADATA, PlainStore, metadata_marks, open_zip
from ooc.store.remote import (
    MOST_REQUESTS,
    StorageOptions,
    cancel_requests,
    explained,
    open_store,
    reason_of,
)

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
_SPARSE = (
    "write it as a dense array (in AnnData adata.X = adata.X.toarray(), part by part ooc.create)"
)
_COLUMN = "write it as an array of numbers; of categories, name the array of their codes"
_CONVERT = "convert it to an integer or float dtype"
# Before version 0.8, AnnData kept what a column's codes mean in a group beside the columns.
OLD_CATEGORIES = "__categories/"
_PICKLE = (
    "is encoded by pickle, which runs code of whoever wrote it, and is never read",
    "write it with another codec",
)
_OF_NUMCODECS = "numcodecs."
# What parsers of metadata raise. Stores raise other kinds, which are not the metadata's fault.
_DAMAGE = (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError)


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
    """

    name: str
    array: zarr.Array | None = None
    dimensions: tuple[str | None, ...] | None = None
    reason: str = ""
    remedy: str = ""
    group: zarr.Group | None = None
    categories: str = ""

    @property
    def first_dimension(self) -> str | None:
        """Name of axis 0."""
        return self.dimensions[0] if self.dimensions else None

    @property
    def is_coordinate(self) -> bool:
        """Whether it labels an axis: its only dimension has its own name."""
        return self.dimensions == (self.name.rpartition("/")[2],)


def open_group(path: str, storage_options: StorageOptions | None) -> zarr.Group:
    """Open a group whose members are read by their own metadata."""
    remote = "://" in path
    if not remote and not Path(path).exists():
        raise InputError(f"{path} does not exist; check the path, or make it with `ooc make`")
    store: Any
    if not remote and Path(path).is_file():
        store, inside = open_zip(path)
    else:
        inside = ""
        store = open_store(path, storage_options) if remote else PlainStore(path, read_only=True)
    try:
        group = zarr.open_group(store, path=inside, mode="r", use_consolidated=False)
        attributes_of(group)
        return group
    except (FileNotFoundError, zarr.errors.GroupNotFoundError, zarr.errors.ContainsArrayError):
        why = (
            "holds no Zarr group: there is no such bucket or key, or it is not a group (a zip "
            "archive is read from a local file); check the URL"
            if remote
            else "is not a Zarr group: it holds no zarr.json or .zgroup of a group; name the "
            "folder of the group"
        )
        if not remote:
            with suppress(Exception):  # what else it is, is but a help
                zarr.open_array(store, path=inside, mode="r")
                why = (
                    "is a Zarr array, and not a group of arrays; name the group that holds it, or "
                    "move the array into one, which `zarr.create_group` makes"
                )
        raise InputError(f"{path} {why}") from None
    except _DAMAGE as error:
        if remote:
            raise
        reason, remedy = _damage(error)
        raise InputError(f"the Zarr group {path} {reason}; {remedy}") from None


def attributes_of(node: zarr.Group | zarr.Array) -> dict[str, Any]:
    """Return the attributes; they are refused where they are no names with values."""
    attributes = node.metadata.attributes
    if not isinstance(attributes, Mapping):
        raise TypeError(f"attributes are a {type(attributes).__name__}, not an object")
    return dict(attributes)


def members_of(
    path: str, group: zarr.Group, wanted: set[str], storage_options: StorageOptions | None
) -> dict[str, Member]:
    """Return the members of a group, by name, and those of groups in it that are `wanted`.

    Behind a URL reading one costs several requests. There consolidated metadata tell of the
    arrays that are not `wanted`, unless they are older than one that is.
    """
    if "://" not in path:
        inside = {name for name in wanted if "/" in name}
        return _opened(group, sorted(_listed(group) | inside), threads=1)
    own = _opened(group, sorted(wanted), threads=MOST_REQUESTS)
    noted = _consolidated(group)
    known = [name for name in wanted if "/" not in name]
    if noted and all(_marks(noted.get(name)) == _marks(own.get(name)) for name in known):
        return dict(sorted({**noted, **own}.items()))
    found: set[str] = set()
    with suppress(Exception):  # many web servers list nothing
        found = _listed(group)
    return _opened(group, sorted(found | noted.keys() | wanted), threads=MOST_REQUESTS)


def member_of(group: zarr.Group, name: str, parts: bool = False) -> Member | None:
    """Open one member by its own metadata; None if there is none of this name.

    A name such as "obsm/X_pca" is of an array in a group of the group. `parts` of one thing, such
    as a column's values and mask, are no rows but for copies.
    """
    *above, last = name.split("/")
    if not {"", ".", ".."}.isdisjoint((*above, last)) or "\\" in name:
        reason, remedy = "is no name inside of the group", 'name an array like "obsm/X_pca"'
        return Member(name, None, None, reason, remedy)
    try:
        words, parent = None, group
        for each in above:
            inner = parent[each]
            if not isinstance(inner, zarr.Group):
                return None
            words, parent = encoding_of(inner), inner
        found = _described(name, parent[last])
        if parts or words is None or words == ENCODINGS["dataframe"]:
            return found
        if words == ENCODINGS["categorical"] and last == "codes":
            return replace(found, categories="/".join((*above, "categories")))
        remedy = _SPARSE if "sparse" in words else _COLUMN
        return Member(name, None, None, f"is a part of {words} and no rows", remedy)
    except _DAMAGE as error:
        if isinstance(error, KeyError) and not any(
            _has_file(group, f"{name}/{file}") for file in METADATA
        ):
            return None
        return Member(name, None, None, *_damage(error))
    except OSError as error:
        if getattr(group.store, "root", None) is None:
            raise
        reason = f"cannot be opened: {error.strerror or error}"
        return Member(name, None, None, reason, "check the disk and the permissions")


def opened_member(path: str, storage_options: StorageOptions | None, name: str) -> Member | None:
    """Open one member of the group at a path, once while its metadata stay as they are."""
    marks = None if "://" in path else metadata_marks(path, name)
    if marks is not None:
        return _kept_member(path, name, marks)
    with opened(path, storage_options) as group:
        return member_of(group, name, parts=True)


@lru_cache(maxsize=64)
def _kept_member(path: str, name: str, marks: object) -> Member | None:
    with opened(path, None) as group:
        return member_of(group, name, parts=True)


@contextmanager
def opened(path: str, storage_options: StorageOptions | None) -> Iterator[zarr.Group]:
    """Open a group for a while, quietly; whatever goes wrong behind a URL becomes one line."""
    with explained(path, storage_options), quiet():
        yield open_group(path, storage_options)


def settle() -> None:
    """Wait, a second at most, for what zarr-python's thread still does of what was broken off."""

    async def others() -> None:
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=1.0)

    sync(others())


@contextmanager
def quiet() -> Iterator[None]:
    """Let zarr-python's remarks on what a store holds pass: what matters is said by us."""
    with warnings.catch_warnings():
        for category in (zarr.errors.ZarrUserWarning, zarr.errors.UnstableSpecificationWarning):
            warnings.simplefilter("ignore", category)
        yield


def encoding_of(group: zarr.Group) -> str | None:
    """Return in words what a group's arrays are parts of, if it is one thing."""
    attributes = attributes_of(group)
    kind = attributes.get("encoding-type") or attributes.get("h5sparse_format")
    kind = {"csr": "csr_matrix", "csc": "csc_matrix"}.get(str(kind), str(kind))
    return ENCODINGS.get(kind)


def check_whole(path: str, group: zarr.Group, members: Mapping[str, Member]) -> None:
    """Refuse a group whose arrays are parts of one matrix or column, and no rows of their own."""
    words = encoding_of(group)
    if words is None and {"data", "indices", "indptr"} <= members.keys():
        words = "a sparse matrix"
    # The columns of a table are rows as those of any group.
    if words is not None and "dataframe" not in words:
        raise InputError(
            f"{path} is {words}: its arrays are parts of it and no rows; it is not supported yet: "
            f"{_SPARSE if 'sparse' in words else _COLUMN}"
        )


def _opened(group: zarr.Group, names: list[str], threads: int) -> dict[str, Member]:
    open_one = partial(member_of, group)
    if threads == 1:
        found = list(map(open_one, names))
    else:
        with ThreadPoolExecutor(threads) as pool:
            try:
                found = list(pool.map(open_one, names))
            except BaseException as error:
                if not isinstance(error, Exception):  # a signal, which waits for no server
                    cancel_requests()
                raise
    return {member.name: member for member in found if member is not None}


def _listed(group: zarr.Group) -> set[str]:
    async def names() -> set[str]:
        return {name async for name in group.store.list_dir(group.path)}

    return {name for name in sync(names()) if not name.startswith(".") and name != "zarr.json"}


def _consolidated(group: zarr.Group) -> dict[str, Member]:
    with suppress(Exception):  # whatever is wrong with them, they are but a shorter way
        noted = zarr.open_group(group.store, path=group.path, mode="r", use_consolidated=True)
        return {name: _described(name, node) for name, node in noted.members()}
    return {}


def _marks(member: Member | None) -> Any:
    if member is None or member.array is None:
        return member is None, member is not None and member.group is not None
    array = member.array
    return array.shape, array.chunks, array.shards, str(array.dtype), attributes_of(array)


def declared_by(member: Member) -> dict[str, Any]:
    """Return an array's attributes, with what its store says elsewhere of codes of categories."""
    assert member.array is not None
    found = attributes_of(member.array)
    if member.categories:
        found = {"missing_value": -1, "units": f"codes of {member.categories}", **found}
    return found


def _has_file(group: zarr.Group, file: str) -> bool:
    key = f"{group.path}/{file}".lstrip("/")
    return sync(group.store.get(key, cpu.buffer_prototype)) is not None


def _described(name: str, node: zarr.Array | zarr.Group) -> Member:
    if isinstance(node, zarr.Group):
        words = encoding_of(node)
        if _has_file(node, ".zarray"):
            raise ValueError("they say nothing of the array")
        if words is None:
            return Member(name, None, None, "is a group, not an array", "name an array", node)
        remedy = _SPARSE if "sparse" in words else _COLUMN
        if "dataframe" in words:
            reason = f"is a group: {words}, whose columns are named by their paths"
            return Member(name, None, None, reason, "name one of them", node)
        return Member(name, None, None, f"is a group: {words}, not supported yet", remedy, node)
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


def _damage(error: Exception) -> tuple[str, str]:
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
