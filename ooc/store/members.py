"""What is in a Zarr group: each member by its own metadata, as consolidated ones may be older.

One damaged member must not stand in the way of the others: what is wrong with it is noted.
"""

import asyncio
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import zarr
from zarr.buffer import cpu
from zarr.core.sync import sync

from ooc.core.errors import InputError
from ooc.store.addresses import explained
from ooc.store.local import METADATA, PlainStore, metadata_marks, open_zip
from ooc.store.member import (
    COLUMN,
    DAMAGE,
    ENCODINGS,
    SPARSE,
    Member,
    attributes_of,
    damage_of,
    described,
    encoding_of,
    has_file,
)
from ooc.store.place import Place
from ooc.store.references import is_references, open_references
from ooc.store.remote import (
    UNFINISHED,
    cancel_requests,
    open_store,
)

# Members of a remote group that are opened at once.
MOST_OPENED = 16


def open_group(place: Place) -> zarr.Group:
    """Open a group whose members are read by their own metadata."""
    path, remote, inside = place.path, place.is_remote, place.inside
    if not remote and not Path(path).exists():
        raise InputError(f"{path} does not exist; check the path, or make it with `ooc make`")
    store: Any
    if place.store is not None:
        store = place.store
    elif remote:
        store = open_store(path, place.storage_options)
    elif Path(path).is_file():
        store, inside = (open_references(path), "") if is_references(path) else open_zip(path)
    else:
        store = PlainStore(path, read_only=True)
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
        if remote:
            with suppress(Exception):
                if sync(store.get(UNFINISHED, cpu.buffer_prototype)) is not None:
                    why = (
                        "is half-written: whoever writes it has not finished; wait for that, or "
                        "give the same command again there to go on"
                    )
        else:
            with suppress(Exception):  # what else it is, is but a help
                zarr.open_array(store, path=inside, mode="r")
                why = (
                    "is a Zarr array, and not a group of arrays; name the group that holds it, or "
                    "move the array into one, which `zarr.create_group` makes"
                )
        raise InputError(f"{path} {why}") from None
    except DAMAGE as error:
        if remote:
            raise
        reason, remedy = damage_of(error)
        raise InputError(f"the Zarr group {path} {reason}; {remedy}") from None


def members_of(place: Place, group: zarr.Group, wanted: set[str]) -> dict[str, Member]:
    """Return the members of a group, by name, and those of groups in it that are `wanted`.

    Behind a URL reading one costs several requests. There consolidated metadata tell of the
    arrays that are not `wanted`, unless they are older than one that is.
    """
    if not place.is_remote:
        inside = {name for name in wanted if "/" in name}
        return _opened(group, sorted(_listed(group) | inside), threads=1)
    own = _opened(group, sorted(wanted), threads=MOST_OPENED)
    noted = _consolidated(group)
    known = [name for name in wanted if "/" not in name]
    if noted and all(_marks(noted.get(name)) == _marks(own.get(name)) for name in known):
        return dict(sorted({**noted, **own}.items()))
    found: set[str] = set()
    with suppress(Exception):  # many web servers list nothing
        found = _listed(group)
    return _opened(group, sorted(found | noted.keys() | wanted), threads=MOST_OPENED)


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
        found = described(name, parent[last])
        if parts or words is None or words == ENCODINGS["dataframe"]:
            return found
        if words == ENCODINGS["categorical"] and last == "codes":
            return replace(found, categories="/".join((*above, "categories")))
        remedy = SPARSE if "sparse" in words else COLUMN
        return Member(name, None, None, f"is a part of {words} and no rows", remedy)
    except DAMAGE as error:
        if isinstance(error, KeyError) and not any(
            has_file(group, f"{name}/{file}") for file in METADATA
        ):
            return None
        return Member(name, None, None, *damage_of(error))
    except OSError as error:
        if getattr(group.store, "root", None) is None:
            raise
        reason = f"cannot be opened: {error.strerror or error}"
        return Member(name, None, None, reason, "check the disk and the permissions")


def opened_member(place: Place, name: str) -> Member | None:
    """Open one member of the group at a path, once while its metadata stay as they are."""
    marks = None if place.is_remote else metadata_marks(place.path, name)
    if marks is not None:
        return _kept_member(place.path, name, marks)
    with opened(place) as group:
        return member_of(group, name, parts=True)


@lru_cache(maxsize=64)
def _kept_member(path: str, name: str, marks: object) -> Member | None:
    with opened(Place(path)) as group:
        return member_of(group, name, parts=True)


@contextmanager
def opened(place: Place) -> Iterator[zarr.Group]:
    """Open a group for a while, quietly; whatever goes wrong behind a URL becomes one line."""
    with explained(place.path, place.storage_options), quiet():
        yield open_group(place)


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


def check_whole(path: str, group: zarr.Group, members: Mapping[str, Member]) -> None:
    """Refuse a group whose arrays are parts of one matrix or column, and no rows of their own."""
    words = encoding_of(group)
    if words is None and {"data", "indices", "indptr"} <= members.keys():
        words = "a sparse matrix"
    # The columns of a table are rows as those of any group.
    if words is not None and "dataframe" not in words:
        raise InputError(
            f"{path} is {words}: its arrays are parts of it and no rows; "
            f"{SPARSE if 'sparse' in words else COLUMN}"
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
        return {name: described(name, node) for name, node in noted.members()}
    return {}


def _marks(member: Member | None) -> Any:
    if member is None or member.array is None:
        return member is None, member is not None and member.group is not None
    array = member.array
    return array.shape, array.chunks, array.shards, str(array.dtype), attributes_of(array)
