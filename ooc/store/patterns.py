"""Paths and URLs that fit a pattern, such as ``20*.zarr``."""

import glob
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path

from zarr.core.sync import sync
from zarr.storage import FsspecStore

from ooc.core.errors import InputError
from ooc.store.addresses import StorageOptions, checked_path, explained
from ooc.store.remote import open_store

_SIGNS = "*?["
# Of a server whose address is one of IPv6.
_BRACKETED = re.compile(r"//\[[0-9A-Fa-f:.%]*\]")


def paths_of(path: str | Path | Sequence[str | Path], options: StorageOptions | None) -> list[str]:
    """Return the paths that are meant, those of a pattern in the order of their names.

    Raises
    ------
    InputError
        If a pattern fits nothing, or a path is named twice.

    Examples
    --------
    >>> paths_of(["b.zarr", "a.zarr"], None)
    ['b.zarr', 'a.zarr']
    """
    given = [path] if isinstance(path, str | PathLike) else list(path)
    found: list[str] = []
    for each in map(str, given):
        found += _matching(each, options) if is_pattern(each) else [each]
    if not found:
        raise InputError("there is no path to open; name one or several groups of Zarr")
    seen = set[str]()
    for each in found:
        own = each if "://" in each else str(Path(each).resolve())
        if own in seen:
            raise InputError(
                f"{each} is named twice, and its rows would count twice; name each store once"
            )
        seen.add(own)
    return found


def is_pattern(path: str) -> bool:
    """Tell whether a path stands for those that fit it: it has a sign of one, and is not there.

    Examples
    --------
    >>> is_pattern("s3://bucket/20*.zarr"), is_pattern("https://[::1]:9000/2023.zarr")
    (True, False)
    """
    looked_at = _BRACKETED.sub("//", path)
    return any(sign in looked_at for sign in _SIGNS) and not Path(path).exists()


def _matching(pattern: str, options: StorageOptions | None) -> list[str]:
    if "://" in pattern:
        found = _remote(checked_path(pattern, options), options)
    else:
        found = sorted(glob.glob(pattern))  # noqa: PTH207  whose paths keep a leading ./
    if not found:
        raise InputError(f"no path fits {pattern}; check it, or name the stores one by one")
    return found


def _remote(pattern: str, options: StorageOptions | None) -> list[str]:
    folder, _, name = pattern.rpartition("/")
    if is_pattern(folder):
        raise InputError(
            f"{pattern} has a pattern before its last part; name the stores of each folder"
        )
    with explained(folder, options):
        names = sync(_names_in(open_store(folder, options)))
    return [f"{folder}/{each}" for each in sorted(names) if fnmatchcase(each, name)]


async def _names_in(store: FsspecStore) -> set[str]:
    return {each async for each in store.list_dir("")}
