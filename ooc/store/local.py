"""Local folders as zarr-python's stores, of which only plain files are read."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from ooc.core.plain_files import ANY_SIZE, check_plain

METADATA = ("zarr.json", ".zarray", ".zgroup")
# Metadata become objects of many times their size; how large chunks may be, their readers know.
MOST_METADATA_BYTES = 64 * 2**20
# File systems' clocks tick; within a tick, a file that is written again can look the same.
_TICK_NANOSECONDS = 50_000_000


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
        holds_metadata = key.endswith((*METADATA, ".zattrs", ".zmetadata"))
        most_bytes = MOST_METADATA_BYTES if holds_metadata else ANY_SIZE
        check_plain(Path(self.root, key), most_bytes)


def metadata_marks(group: str, name: str) -> tuple[tuple[int, ...], ...] | None:
    """Return marks of the files that tell of a group's member, which change when they are written.

    None where they were written so short ago that they might change without one.
    """
    marks, folder = [], Path(group)
    for part in ("", *name.split("/")):
        folder /= part
        for file in (*METADATA, ".zattrs"):
            with suppress(OSError, ValueError):
                found = (folder / file).stat()
                marks.append((found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    newest = max((mark[-1] for mark in marks), default=0)
    return tuple(marks) if newest + _TICK_NANOSECONDS < time.time_ns() else None
