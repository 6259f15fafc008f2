"""Local folders and zip archives as zarr-python's stores, of which only plain files are read."""

import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from zarr.storage import LocalStore, ZipStore

from ooc.core.errors import InputError
from ooc.core.plain_files import ANY_SIZE, check_plain
from ooc.core.sizes import format_size

METADATA = ("zarr.json", ".zarray", ".zgroup")
# Metadata become objects of many times their size; how large chunks may be, their readers know.
MOST_METADATA_BYTES = 64 * 2**20
# File systems' clocks tick; within a tick, a file that is written again can look the same.
_TICK_NANOSECONDS = 50_000_000
# The list of an archive's files is in memory as a whole.
MOST_ENTRIES = 100_000


def is_metadata(key: str) -> bool:
    """Tell whether an object of this key holds metadata."""
    return key.endswith((*METADATA, ".zattrs", ".zmetadata"))


class PlainStore(LocalStore):
    """A local store in which pipes and devices are damage: else reading them would not end."""

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        """Return an object, or a part of it; a ValueError refuses what is no plain file."""
        self._check(key)
        return await super().get(key, *arguments, **options)

    def get_sync(self, key: str, *arguments: Any, **options: Any) -> Any:
        """Do as `get`."""
        self._check(key)
        return super().get_sync(key, *arguments, **options)

    def _check(self, key: str) -> None:
        check_plain(Path(self.root, key), _most_bytes(key))


class ZippedStore(ZipStore):
    """A zip archive as a store."""

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        """Return an object, or a part of it; a ValueError refuses metadata beyond any size."""
        self.check_size(key, _most_bytes(key))
        return await super().get(key, *arguments, **options)

    def check_size(self, key: str, most_bytes: int) -> None:
        """Refuse, by a ValueError, what would unpack to more bytes than it may hold."""
        found = self._zf.NameToInfo.get(key)
        if found is not None and found.file_size > most_bytes:
            size, most = format_size(found.file_size), format_size(most_bytes)
            raise ValueError(f"{key} has {size}, above the {most} that it may hold")


def open_zip(path: str) -> tuple[ZippedStore, str]:
    """Open a zip archive; return where its group is, too: folders are zipped with their names."""
    status = Path(path).stat()
    return _open_zip(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _open_zip(path: str, size: int, changed: int) -> tuple[ZippedStore, str]:
    """Open an archive once for all arrays and threads, until it is written again."""
    store = ZippedStore(path, mode="r")
    try:
        store._sync_open()
    except BadZipFile as error:
        raise InputError(
            f"{path} is a file, and no whole zip archive ({error}); name the folder or the zip "
            "archive of a Zarr group"
        ) from None
    names = store._zf.NameToInfo
    if len(names) > MOST_ENTRIES:
        raise InputError(
            f"{path} holds {len(names):,} files, above the {MOST_ENTRIES:,} that are read from a "
            "zip archive; unpack it, and name the folder"
        )
    ends = tuple(f"/{file}" for file in METADATA)
    depths = {
        f"/{name}".rpartition("/")[0]: name.count("/")
        for name in names
        if f"/{name}".endswith(ends)
    }
    least = [each for each, depth in depths.items() if depth == min(depths.values())]
    return store, least[0].lstrip("/") if len(least) == 1 else ""


def _most_bytes(key: str) -> int:
    return MOST_METADATA_BYTES if is_metadata(key) else ANY_SIZE


def metadata_marks(group: str, name: str) -> tuple[tuple[int, ...], ...] | None:
    """Return marks of the files that tell of a group's member, which change when they are written.

    None where there are none, or were written so short ago that they might change without one.
    """
    marks, folder = [], Path(group)
    for part in ("", *name.split("/")):
        folder /= part
        for file in (*METADATA, ".zattrs"):
            with suppress(OSError, ValueError):
                found = (folder / file).stat()
                marks.append((found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    newest = max((mark[-1] for mark in marks), default=time.time_ns())
    return tuple(marks) if newest + _TICK_NANOSECONDS < time.time_ns() else None
