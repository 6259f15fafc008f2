"""Objects behind a URL are written: whole or not at all, piece by piece, within bounded memory.

A large object on S3 is a multipart upload: its parts are sent again one by one, and it is there
when all of them are. Other file systems of fsspec have ways of their own to put a file.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ooc.store.addresses import GS_SCHEMES, S3_SCHEMES
from ooc.store.answers import BYTES_IN_SECONDS, Wanted
from ooc.store.local import MOST_METADATA_BYTES
from ooc.store.remote import RemoteStore

# Parts of objects, and small objects, that are on their way at once. S3 takes no more parts of one
# object than `MOST_PARTS`.
PIECE_BYTES, MOST_PIECES, MOST_PARTS = 8 * 2**20, 4, 10_000
# A piece, what the transport has not sent of it yet, and what else there is of a request.
UPLOAD_BYTES = MOST_PIECES * (2 * PIECE_BYTES + 2**20)
# Objects of a listing, for which it may take its time.
_MOST_LISTED = 1_000_000

Answer = TypeVar("Answer")
# Bytes of an object, and its version, empty where that is not told.
Known = tuple[int, str]


class Uploads:
    """Puts objects into the store behind a URL, and removes them."""

    def __init__(self, store: RemoteStore) -> None:
        self._store, self._fs = store, store.fs
        self._schemes, self._turns = store.schemes, asyncio.Semaphore(MOST_PIECES)
        self._is_s3 = bool(self._schemes & {*S3_SCHEMES})

    async def put(self, key: str, content: bytes) -> str:
        """Write a small object; return its version, if that is told."""
        path = self._path(key)
        if self._is_s3:
            return _tag(await self._s3("put_object", path, len(content), Body=content))
        await self._send(lambda: self._fs._pipe_file(path, content), len(content))
        return ""

    async def put_files(self, files: Mapping[str, Path]) -> dict[str, Known]:
        """Write an object of each file; return what is known of each."""
        async with asyncio.TaskGroup() as group:
            tasks = {
                key: group.create_task(self._put_file(key, file)) for key, file in files.items()
            }
        return {key: task.result() for key, task in tasks.items()}

    async def _put_file(self, key: str, file: Path) -> Known:
        size, path = file.stat().st_size, self._path(key)
        if size <= PIECE_BYTES:
            async with self._turns:
                return size, await self.put(key, await asyncio.to_thread(file.read_bytes))
        if self._is_s3:
            return size, await self._put_parts(path, file, size)
        how = {"chunksize": PIECE_BYTES} if self._schemes & {*GS_SCHEMES} else {}
        async with self._turns:
            await self._send(lambda: self._fs._put_file(str(file), path, **how), size)
        return size, ""

    async def _put_parts(self, path: str, file: Path, size: int) -> str:
        told = await self._s3("create_multipart_upload", path)
        upload, step = {"UploadId": told["UploadId"]}, max(PIECE_BYTES, -(-size // MOST_PARTS))
        try:
            async with asyncio.TaskGroup() as group:
                parts = [
                    group.create_task(self._put_part(path, file, first, step, upload))
                    for first in range(0, size, step)
                ]
            tags = [{"PartNumber": n + 1, "ETag": part.result()} for n, part in enumerate(parts)]
            return await self._complete(path, size, {**upload, "MultipartUpload": {"Parts": tags}})
        except BaseException:
            # Parts that are in no object are paid for, too.
            with suppress(Exception):
                await self._s3("abort_multipart_upload", path, **upload)
            raise

    async def _put_part(
        self, path: str, file: Path, first: int, length: int, upload: Mapping[str, Any]
    ) -> str:
        async with self._turns:
            content = await asyncio.to_thread(_read, file, first, length)
            given = {**upload, "PartNumber": 1 + first // length, "Body": content}
            told = await self._s3("upload_part", path, len(content), **given)
        return str(told["ETag"])

    async def _complete(self, path: str, size: int, upload: Mapping[str, Any]) -> str:
        try:
            return _tag(await self._s3("complete_multipart_upload", path, size, **upload))
        except FileNotFoundError:
            # An answer that was lost: it was complete already when it was asked for again.
            told = await self._s3("head_object", path)
            if told.get("ContentLength") != size:
                raise
            return _tag(told)

    async def _s3(self, method: str, path: str, size: int = 0, **given: Any) -> Any:
        bucket, key, _ = self._fs.split_path(path)
        return await self._send(
            lambda: self._fs._call_s3(method, Bucket=bucket, Key=key, **given), size
        )

    async def _send(self, ask: Callable[[], Awaitable[Answer]], size: int = 0) -> Answer:
        """Send a request with so many bytes, again if need be, in the time that they may take."""
        seconds = self._store.seconds
        wanted = Wanted(None, None, MOST_METADATA_BYTES, seconds, received=size)
        return await self._store.patiently(ask, wanted, 1 + size / BYTES_IN_SECONDS)

    async def names(self) -> set[str]:
        """Return what lies in the store's folder; nothing where there is none."""
        path = self._path("")
        try:
            found = await self._send(lambda: self._fs._ls(path, detail=False))
        except FileNotFoundError:
            return set()
        return {name.rstrip("/").rpartition("/")[2] for name in found}

    async def known(self) -> dict[str, Known]:
        """Return what is told of all objects of the store, by key."""
        found = await self._store.find("", _MOST_LISTED)
        root = self._path("").strip("/")
        return {
            path.strip("/").removeprefix(f"{root}/"): (int(told.get("size") or 0), _tag(told))
            for path, told in found.items()
            if told.get("type") != "directory"
        }

    async def remove(self, keys: Iterable[str]) -> None:
        """Remove objects, of which some may be gone already."""

        async def remove_one(key: str) -> None:
            async with self._turns:
                with suppress(FileNotFoundError):
                    await self._send(lambda: self._fs._rm_file(self._path(key)))

        async with asyncio.TaskGroup() as group:
            for key in keys:
                group.create_task(remove_one(key))

    async def abort_parts(self) -> None:
        """Remove parts that a killed writer left of objects, where that is allowed."""
        if not self._is_s3:
            return
        bucket, prefix, _ = self._fs.split_path(self._path(""))
        given = {"Bucket": bucket, "Prefix": f"{prefix}/"}
        with suppress(Exception):
            told = await self._send(lambda: self._fs._call_s3("list_multipart_uploads", **given))
            for each in told.get("Uploads", ()):
                upload = {"UploadId": each["UploadId"]}
                await self._s3("abort_multipart_upload", f"{bucket}/{each['Key']}", **upload)

    def _path(self, key: str) -> str:
        return f"{self._store.path}/{key}".rstrip("/")


def _tag(told: Mapping[str, Any]) -> str:
    return str(told.get("ETag") or "").strip('"')


def _read(file: Path, first: int, length: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(first)
        return stream.read(length)
