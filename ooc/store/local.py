"""Local folders as zarr-python's stores, of which only plain files are read."""

from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from ooc.core.plain_files import ANY_SIZE, check_plain

METADATA = ("zarr.json", ".zarray", ".zgroup")
# Metadata become objects of many times their size; how large chunks may be, their readers know.
MOST_METADATA_BYTES = 64 * 2**20


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
        most_bytes = MOST_METADATA_BYTES if is_metadata(key) else ANY_SIZE
        check_plain(Path(self.root, key), most_bytes)
