"""The files of an array: how many, how large, and when they were written last.

Memory is bounded: files are listed one at a time, and hashes are sums, whatever the order.
"""

import hashlib
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import zarr
from zarr.core.sync import sync

from ooc.store.dataset import Dataset, open_zarr_array
from ooc.store.remote import RemoteStore

# Objects of a remote array that are listed: a few requests.
MOST_LISTED = 10_000
# What object stores call the hash of an object, or what stands for it.
_TAGS = ("ETag", "etag", "md5Hash", "content_md5")
_HASH_BYTES = 16

# Its name below the array, its bytes, and what changes when it is written again.
File = tuple[bytes, int, object]


def inventory(dataset: Dataset, name: str) -> dict[str, Any] | None:
    """Return how many files an array has, their bytes, and two hashes, JSON-ready.

    "sizes" is of names and sizes, "changes" of these and the times of the last modification in
    nanoseconds, or of the ETags behind a URL. None where the files cannot be listed cheaply.

    Examples
    --------
    >>> import ooc
    >>> inventory(ooc.open(example_dataset), "X")["files"]
    2
    """
    array = open_zarr_array(dataset, name)
    root = getattr(array.store, "root", None)
    files: Iterable[File]
    if root is not None:
        folder = os.path.join(root, array.path)  # noqa: PTH118
        # Folders of chunks lie no deeper: one that holds a link to itself has an end.
        files, changes = _local_files(folder, len(array.shape) + 1), "times"
    elif "://" not in dataset.path:
        status = Path(dataset.path).stat()
        files, changes = [(b"", status.st_size, status.st_mtime_ns)], "times"
    else:
        if (listed := _listed(array, dataset)) is None:
            return None
        files = list(_remote_files(listed, array))
        changes = "tags" if any(tag for _, _, tag in files) else "none"
    count = size = sizes = marks = 0
    for path, length, change in files:
        count, size = count + 1, size + length
        known = b"%s\0%d" % (path, length)
        sizes += _number(known)
        marks += _number(b"%s\0%s" % (known, str(change).encode()))
    found = {"files": count, "bytes": size, "sizes": _hex(sizes)}
    return {**found, "changes": None if changes == "none" else f"{changes} {_hex(marks)}"}


def _local_files(folder: str, deeper: int, below: bytes = b"") -> Iterator[File]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = below + os.fsencode(entry.name)
            try:
                status = entry.stat()
            except OSError:  # a link to nothing: a chunk that cannot be read
                status = entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                yield name, status.st_size, status.st_mtime_ns
            elif deeper:
                yield from _local_files(entry.path, deeper - 1, name + b"/")


def _listed(array: zarr.Array, dataset: Dataset) -> Mapping[str, Mapping[str, Any]] | None:
    """Return what a server tells of all objects of an array, or None where it is not asked."""
    scheme, store = dataset.path.split("://")[0], array.store
    each = array.shards or array.chunks
    objects = math.prod(-(-n // c) for n, c in zip(array.shape, each, strict=True))
    # A web server's folders are pages, and what it lists is a guess.
    if scheme in ("http", "https") or objects > MOST_LISTED or not isinstance(store, RemoteStore):
        return None
    # Servers may allow to read and not to list.
    with suppress(Exception):
        return sync(store.find(array.path, objects))
    return None


def _remote_files(listed: Mapping[str, Mapping[str, Any]], array: zarr.Array) -> Iterator[File]:
    for path, told in listed.items():
        below = path.rpartition(f"/{array.path}/")[2]
        tag = next((told[key] for key in _TAGS if told.get(key)), None)
        yield os.fsencode(below), int(told.get("size") or 0), tag


def _number(text: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(text, digest_size=_HASH_BYTES).digest(), "little")


def _hex(total: int) -> str:
    return f"{total % 2 ** (8 * _HASH_BYTES):0{2 * _HASH_BYTES}x}"
