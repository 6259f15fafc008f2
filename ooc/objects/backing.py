"""What lies behind an object: arrays of a Zarr group, opened as a dataset without a copy."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import zarr
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, LocalStore, WrapperStore, ZipStore

from ooc.store.addresses import StorageOptions
from ooc.store.dataset import Dataset
from ooc.store.dataset import open as open_path
from ooc.store.feature_choice import ArrayChoice, Columns, text_of
from ooc.store.place import IN_HAND, Place
from ooc.store.roles import RoleName
from ooc.store.selection import Selection

ALONE = "X"
_GROUP = {"zarr_format": 3, "node_type": "group", "attributes": {}}


class ArrayAlone(WrapperStore[Any]):
    """A store that is an array, as a group that holds it under the name `ALONE`."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object, or a part of it."""
        if key == "zarr.json":
            return prototype.buffer.from_bytes(json.dumps(_GROUP).encode())
        if not key.startswith(f"{ALONE}/"):
            return None
        found: Buffer | None = await super().get(
            key.removeprefix(f"{ALONE}/"), prototype, byte_range
        )
        return found

    async def list_dir(self, prefix: str) -> Any:
        """Yield the array's name."""
        if not prefix:
            yield ALONE

    def _with_store(self, store: Any) -> "ArrayAlone":
        return ArrayAlone(store)


class Opened(NamedTuple):
    """How data are to be opened, as `ooc.store.dataset.open` takes it."""

    features: str | Sequence[str] | None = None
    target: RoleName = None
    weight: RoleName = None
    missing: str = "raise"
    storage_options: StorageOptions | None = None
    columns: Columns | None = None


@dataclass(frozen=True)
class Backing:
    """An array of Zarr that lies behind an object, and how the object shows it.

    Attributes
    ----------
    start, stop
        The rows that it shows.
    is_decoded
        Whether it shows values as the array's attributes declare them, or as they are stored.
    """

    array: zarr.Array
    start: int
    stop: int
    is_decoded: bool = True


def place_of(store: Any, inside: str) -> Place:
    """Return where a group of an opened store is: its own path, where that says all."""
    inside = inside.strip("/")
    if isinstance(store, LocalStore):
        return Place(str(Path(store.root, inside)))
    if isinstance(store, ZipStore) and not inside:
        return Place(str(store.path))
    if isinstance(store, FsspecStore):
        file_system: Any = getattr(store.fs, "sync_fs", None) or store.fs
        protocol = file_system.protocol
        scheme = protocol if isinstance(protocol, str) else protocol[0]
        path = "/".join(part for part in (str(store.path).rstrip("/"), inside) if part)
        if scheme in ("file", "local"):
            return Place(path)
        if scheme != "reference":
            url = str(file_system.unstrip_protocol(path))
            return Place(url, dict(file_system.storage_options) or None)
    return in_hand(type(store).__name__, f"{id(store):x}", store, inside)


def in_hand(kind: str, name: str, store: Any, inside: str = "") -> Place:
    """Return the place of a group in a store that no path leads to."""
    path = "/".join(part for part in (kind, name, inside) if part)
    return Place(f"{IN_HAND}://{path}", store=store, inside=inside)


def open_arrays(
    arrays: Mapping[str, tuple[Backing, ...]],
    roles: Mapping[str, Any],
    choices: Sequence[ArrayChoice] = (),
) -> Dataset:
    """Open arrays of one group as the roles of a dataset, and of their rows those that are shown.

    Parameters
    ----------
    arrays
        By role, features one or more; all of one group, and of the same rows.
    roles
        What `ooc.store.dataset.open` takes beside the roles.
    choices
        Of features that are put together, each with its columns.
    """
    main = arrays["features"][0]
    place = place_of(main.array.store, main.array.path.rpartition("/")[0])
    names = {role: [_last(each) for each in several] for role, several in arrays.items()}
    named: dict[str, Any] = {role: name for role, (name, *_) in names.items()}
    if len(choices) > 1 or any(choice.columns is not None for choice in choices):
        # What an object calls a variable need not be what the store calls it.
        stored = zip(choices, names["features"], strict=True)
        named["features"] = [text_of([replace(choice, name=name)]) for choice, name in stored]
    if not main.array.path:
        place, named["features"] = _group_of(main.array)
    given: dict[str, Any] = {**roles, **named}
    dataset = open_path(place, **given)
    dataset = dataset if main.is_decoded else dataset.undecoded()
    if (main.start, main.stop) == (0, dataset.stored_rows):
        return dataset
    rows = main.stop - main.start
    selection = Selection("row", None, (main.start,), (main.stop,), rows)
    return replace(dataset, selection=selection)


def _last(backing: Backing) -> str:
    """Return an array's name in its group."""
    return backing.array.path.rpartition("/")[2]


def _group_of(array: zarr.Array) -> tuple[Place, str]:
    """Return the group of an array that is a whole store, and the array's name in it."""
    path = Path(place_of(array.store, "").path)
    if any((path.parent / file).is_file() for file in ("zarr.json", ".zgroup")):
        return Place(str(path.parent)), path.name
    return in_hand("Array", f"{id(array.store):x}", ArrayAlone(array.store)), ALONE


def are_together(arrays: Sequence[Backing]) -> bool:
    """Tell whether arrays are of one group of one store, and show the same of its rows."""
    first, *others = arrays
    group = first.array.path.rpartition("/")[0]
    return all(
        each.array.store == first.array.store
        and each.array.path.rpartition("/")[0] == group
        and replace(each, array=first.array) == first
        for each in others
    )
