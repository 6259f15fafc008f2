"""The store behind a URL: what is asked, how long, and how often again."""

import asyncio
import atexit
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    SuffixByteRequest,
)
from zarr.buffer import cpu
from zarr.core import sync as zarr_loop
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore

from ooc.core.plain_files import ANY_SIZE
from ooc.store.addresses import GS_SCHEMES, S3_SCHEMES, WEB_SCHEMES, StorageOptions, reason_of
from ooc.store.answers import (
    BYTES_IN_SECONDS,
    FIRST_PAUSE,
    OF_AN_OBJECT,
    RETRIES,
    SECONDS_VARIABLE,
    WANTED,
    ServerError,
    Wanted,
    ask_s3,
    passes,
    retry_after,
    server_seconds,
    status_of,
)
from ooc.store.file_systems import (
    MOST_CONNECTIONS,
    file_system_class,
    layer_options,
    merged,
    send_once,
)
from ooc.store.local import MOST_METADATA_BYTES, is_metadata

# Requests of one array that are on their way at once, whatever the number of reader threads. What
# they bring is in the memory of the readers that wait for it; beside that each connection has
# buffers, as measured.
MOST_REQUESTS, CONNECTION_BYTES = 64, 2**19
# Objects that servers tell of in one answer.
LISTED_AT_ONCE = 1000
# An object of a store that is being written to, which goes when that is whole.
UNFINISHED = "ooc-unfinished.json"

Found = TypeVar("Found")
OneStore = TypeVar("OneStore", bound="RemoteStore")

# Tasks that wait for a server.
_UNDER_WAY: set[asyncio.Task[Any]] = set()


class RemoteStore(FsspecStore):
    """The store behind a URL: fsspec's, which finds keys where its users' other tools find them.

    The requests on their way at once are bounded here: zarr's ``async.concurrency`` is one setting
    of the whole process, which reader threads cannot set and restore without undoing each other.
    They are sent again here, too, and by none of the layers below.

    Attributes
    ----------
    retries
        Requests that were sent again so far.
    most_bytes
        What an object that is no metadata may have.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turns = asyncio.Semaphore(MOST_REQUESTS)
        self._seconds, self._tags = server_seconds(), dict[str, str]()
        self.retries, self.most_bytes = 0, ANY_SIZE
        protocol = self.fs.protocol
        self._schemes = {protocol} if isinstance(protocol, str) else set(protocol)

    @property
    def seconds(self) -> float:
        """The bound of a word from the server."""
        return self._seconds

    @property
    def schemes(self) -> set[str]:
        """What its URL may begin with."""
        return self._schemes

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object, or exactly the part of it that was asked for."""
        start = stop = None
        if isinstance(byte_range, RangeByteRequest):
            start, stop = byte_range.start, byte_range.end
        elif isinstance(byte_range, SuffixByteRequest):
            start = -byte_range.suffix
        elif isinstance(byte_range, OffsetByteRequest):
            start = byte_range.offset
        try:
            found, _ = await self.fetch(key, start, stop)
        except self.allowed_exceptions:
            return None
        return prototype.buffer.from_bytes(found)

    async def fetch(
        self, key: str, start: int | None = None, stop: int | None = None
    ) -> tuple[bytes | bytearray, int | None]:
        """Return bytes start to stop of an object, or its last `-start`, and its size if told.

        Raises
        ------
        FileNotFoundError
            If there is no such object.
        ServerError
            If the server does not answer, or something else; other errors are of the object.
        """
        most = MOST_METADATA_BYTES if is_metadata(key) else self.most_bytes
        if start is not None and (start < 0 or stop is not None):
            most = -start if stop is None else stop - start
        wanted = Wanted(start, stop, most, self._seconds)
        path = f"{self.path}/{key}" if self.path else key
        async with self._turns:
            found = await self.patiently(lambda: self._ask(path, wanted), wanted)
        # The index of a shard and what it tells of have to be of the same object.
        tag = None if start is None or "http" in self._schemes else wanted.tag
        if tag is not None and self._tags.setdefault(key, tag) != tag:
            raise ServerError("it was written again since it was read first")
        if stop is not None and len(found) != most:
            raise OSError(f"{most:,} bytes were asked for, {len(found):,} came; it is cut short")
        return found, wanted.total

    async def _ask(self, path: str, wanted: Wanted) -> bytes | bytearray:
        if self._schemes & {*S3_SCHEMES}:
            return await ask_s3(self.fs, path, wanted)
        if not self._schemes & {*GS_SCHEMES, *WEB_SCHEMES} and wanted.limit is not None:
            # How its bytes come is not seen.
            slowest = self._seconds * (1 + wanted.most / BYTES_IN_SECONDS)
            wanted.limit.reschedule(asyncio.get_running_loop().time() + slowest)
        try:
            found: bytes = await self.fs._cat_file(path, start=wanted.start, end=wanted.stop)
        except OSError as error:
            if "not satisfiable" not in str(error):
                raise
            return b""  # there is an object, and nothing where it is asked for
        return found

    async def patiently(
        self, ask: Callable[[], Awaitable[Found]], wanted: Wanted, answers: float = 1
    ) -> Found:
        """Ask, in vain if need be, in the time that an answer may take: see `ooc.store.answers`."""
        clock, attempt = asyncio.get_running_loop().time, 0
        begun, token, task = clock(), WANTED.set(wanted), asyncio.current_task()
        assert task is not None
        _UNDER_WAY.add(task)
        try:
            while True:
                try:
                    async with asyncio.timeout(self._seconds * answers) as wanted.limit:
                        return await ask()
                except Exception as error:
                    if not passes(error):
                        if (status := status_of(error)) < 300 or status in OF_AN_OBJECT:
                            raise
                        raise ServerError(self._told(error, attempt + 1, clock() - begun)) from None
                    pause = max(FIRST_PAUSE * 4**attempt, retry_after(error))
                    attempt, spent = attempt + 1, clock() - begun
                    # What was late because this process was busy is asked for again, too.
                    left = 2 * wanted.allowed - (spent if attempt > 1 else 0)
                    if attempt > RETRIES or pause >= left:
                        raise ServerError(self._told(error, attempt, spent)) from None
                self.retries += 1
                await asyncio.sleep(pause)
        finally:
            _UNDER_WAY.discard(task)
            WANTED.reset(token)

    def _told(self, error: Exception, attempts: int, spent: float) -> str:
        """Say what became of a request."""
        said = getattr(error, "strerror", None) or reason_of(error)
        if isinstance(error, TimeoutError):
            said = f"too little came in {self._seconds:g} s ({SECONDS_VARIABLE})"
        elif status := status_of(error):
            said = f"it answers {status} ({said})"
        if (later := retry_after(error)) > 0:
            said += f", and asks to wait for {later:,.0f} s"
        return f"{said}; requests sent: {attempts}, in {spent:.1f} s"

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names in a folder; web servers write those of folders with a slash."""
        below = f"{self.path}/{prefix.rstrip('/')}"
        with suppress(*self.allowed_exceptions):
            for name in await self._listed(partial(self.fs._ls, below, detail=False)):
                yield name.replace(f"{below}/", "").removeprefix(self.path).strip("/")

    async def find(self, prefix: str, most: int) -> Mapping[str, Mapping[str, Any]]:
        """Return what the server tells of the objects below a prefix, `most` at most."""
        ask = partial(self.fs._find, f"{self.path}/{prefix}", detail=True)
        found: Mapping[str, Mapping[str, Any]] = await self._listed(ask, 1 + most // LISTED_AT_ONCE)
        return found

    async def _listed(self, ask: Callable[[], Awaitable[Any]], answers: int = 1) -> Any:
        wanted = Wanted(None, None, MOST_METADATA_BYTES, self._seconds)
        return await self.patiently(ask, wanted, answers)


def connections_bytes(paths: str | Sequence[str]) -> int:
    """Return what connections to servers take where data are read that lie behind URLs.

    Examples
    --------
    >>> connections_bytes("a.zarr"), connections_bytes(["a.zarr", "s3://bucket/b.zarr"]) // 2**20
    (0, 32)
    """
    found = [paths] if isinstance(paths, str) else paths
    is_remote = any("://" in path for path in found)
    return MOST_CONNECTIONS * CONNECTION_BYTES if is_remote else 0


def open_store(path: str, storage_options: StorageOptions | None) -> FsspecStore:
    """Open the store behind a URL for reading."""
    store = store_at(path, storage_options, RemoteStore)
    # zarr sends several requests at once, and those that an outage leaves under way would be
    # reported when the process ends: ask for one object alone first.
    sync(store.get("zarr.json", cpu.buffer_prototype))
    return store


def store_at(path: str, storage_options: StorageOptions | None, kind: type[OneStore]) -> OneStore:
    """Return the store behind a URL; nothing is asked of it yet."""
    scheme = path.split("://")[0]
    options = merged(layer_options(scheme), storage_options or {})
    if scheme in (*S3_SCHEMES, *GS_SCHEMES):
        fs = file_system_class(scheme)(asynchronous=True, **options)
        store: Any = kind(fs=fs, path=fs._strip_protocol(path), read_only=True)
    else:
        store = kind.from_url(path, options, read_only=True)
    send_once(store.fs, scheme)
    found: OneStore = store
    return found


def cancel_requests() -> None:
    """Cancel all that is on its way to servers, as nobody waits for it any more."""
    loop = zarr_loop.loop[0]

    async def cancel() -> None:
        tasks = [task for task in _UNDER_WAY if task.get_loop() is loop]  # and none of a parent's
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)
            await asyncio.sleep(0.01)  # and what waits for them

    if _UNDER_WAY and loop is not None and not loop.is_closed():
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(cancel(), loop).result(2)


atexit.register(cancel_requests)
