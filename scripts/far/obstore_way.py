"""A store on S3 whose requests obstore sends: within the bounds of `ooc.store.remote`, or without.

It is measured beside the way by s3fs, and no part of the package.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.store import S3Store
from zarr.abc.store import Store
from zarr.storage import ObjectStore

from ooc.store import remote_destination
from ooc.store.answers import Wanted, server_seconds
from ooc.store.remote import MOST_REQUESTS, RemoteStore
from ooc.store.uploads import MOST_PIECES, Known, Uploads
from ooc.store.uploads import PIECE_BYTES as PART_BYTES

PIECE_BYTES = 2**20


def bucket_of(url: str, endpoint: str, prefix: str | None = None) -> S3Store:
    """Open the bucket of a URL without keys; nothing is sent again, as by s3fs below ours."""
    return S3Store(
        urlsplit(url).netloc,
        prefix=prefix,
        endpoint=endpoint,
        region="us-east-1",
        skip_signature=True,
        client_options={"allow_http": True, "timeout": "10min"},
        retry_config={"max_retries": 0},
    )


class BoundedStore(RemoteStore):
    """Asks as many requests at once as `RemoteStore` does, and takes answers by as small pieces."""

    def __init__(self, url: str, endpoint: str) -> None:
        Store.__init__(self, read_only=True)
        self.path = urlsplit(url).path.strip("/")
        self.fs: Any = SimpleNamespace(protocol="s3")
        self.allowed_exceptions = (FileNotFoundError,)
        self._bucket = bucket_of(url, endpoint)
        self._turns = asyncio.Semaphore(MOST_REQUESTS)
        self._seconds, self._tags, self._schemes = server_seconds(), {}, {"s3"}
        self.retries, self.most_bytes = 0, 2**62

    async def _ask(self, path: str, wanted: Wanted) -> bytes | bytearray:
        options: Any = {}
        if wanted.start is not None and wanted.start < 0:
            options = {"range": {"suffix": -wanted.start}}
        elif wanted.start is not None:
            options = {"range": (wanted.start, wanted.stop)}
        answer = await obstore.get_async(self._bucket, path, options=options)
        wanted.total, wanted.tag = answer.meta["size"], answer.meta["e_tag"]
        body = bytearray()
        async for piece in answer.stream(min_chunk_size=PIECE_BYTES):
            body += piece
            wanted.received += len(piece)
        return body

    async def list_dir(self, prefix: str) -> Any:
        """Yield the names in a folder."""
        below = f"{self.path}/{prefix}".rstrip("/")
        found = await obstore.list_with_delimiter_async(self._bucket, below)
        for name in (*found["common_prefixes"], *(each["path"] for each in found["objects"])):
            yield name.removeprefix(below).strip("/")

    async def find(self, prefix: str, most: int) -> Any:
        """Return sizes and tags of the objects below a prefix."""
        found = await obstore.list(self._bucket, f"{self.path}/{prefix}").collect_async()
        return {each["path"]: {"size": each["size"], "ETag": each["e_tag"]} for each in found}


class ObstoreUploads(Uploads):
    """Puts objects by obstore, as large parts and as many of them at once."""

    def __init__(self, store: RemoteStore, bucket: S3Store) -> None:
        super().__init__(store)
        self._bucket, self._root = bucket, store.path.partition("/")[2]
        self._at_once = asyncio.Semaphore(2)

    async def put(self, key: str, content: bytes) -> str:
        """Write a small object."""
        await obstore.put_async(self._bucket, f"{self._root}/{key}", content)
        return ""

    async def put_files(self, files: Mapping[str, Path]) -> dict[str, Known]:
        """Write an object of each file; as many parts are on their way as are of ours."""
        parts: Any = {"chunk_size": PART_BYTES, "max_concurrency": MOST_PIECES // 2}

        async def put_file(key: str, file: Path) -> Known:
            async with self._at_once:
                await obstore.put_async(self._bucket, f"{self._root}/{key}", file, **parts)
            return file.stat().st_size, ""

        found = await asyncio.gather(*(put_file(*each) for each in files.items()))
        return dict(zip(files, found, strict=True))


def use_for_writing(url: str, endpoint: str) -> None:
    """Have what is written to a server from now on sent by obstore."""
    bucket = bucket_of(url, endpoint)
    vars(remote_destination)["Uploads"] = lambda store: ObstoreUploads(store, bucket)


def in_hand(url: str, endpoint: str) -> ObjectStore[S3Store]:
    """Return zarr-python's own store over obstore's, as its users open it."""
    prefix = urlsplit(url).path.strip("/")
    return ObjectStore(bucket_of(url, endpoint, prefix), read_only=True)
