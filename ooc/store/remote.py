"""Datasets behind URLs: the store, what is retried, and what to say when it does not answer."""

import asyncio
import atexit
import inspect
import logging
import re
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any, TypeVar
from urllib.parse import urlsplit

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

from ooc.core.errors import InputError
from ooc.core.plain_files import ANY_SIZE
from ooc.store.answers import (
    BYTES_IN_SECONDS,
    FIRST_PAUSE,
    OF_AN_OBJECT,
    RETRIES,
    SECONDS_VARIABLE,
    WANTED,
    ServerError,
    Wanted,
    answer_class,
    ask_s3,
    is_of_server,
    passes,
    retry_after,
    server_seconds,
    session_class,
    status_of,
)
from ooc.store.local import MOST_METADATA_BYTES, is_metadata

# Requests of one array that are on their way at once, whatever the number of reader threads, and
# those of all arrays.
MOST_REQUESTS, MOST_CONNECTIONS = 16, 64
# Objects that servers tell of in one answer.
LISTED_AT_ONCE = 1000
# A shorter one is part of many words, and no secret.
SHORTEST_SECRET = 6
# Their packages come with the extra "remote".
S3_SCHEMES, GS_SCHEMES, WEB_SCHEMES = ("s3", "s3a"), ("gs", "gcs"), ("http", "https")
REMOTE_SCHEMES = (*S3_SCHEMES, *GS_SCHEMES, *WEB_SCHEMES)
# Errors of packages that need not be installed are told by their names.
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
_DENIED = {"PermissionDeniedError", "UnauthenticatedError"}
# pathlib folds the two slashes of a URL into one.
_FOLDED_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")

StorageOptions = Mapping[str, Any]
Found = TypeVar("Found")

# Tasks that wait for a server.
_UNDER_WAY: set[asyncio.Task[Any]] = set()
# gcsfs also logs what it raises, with a traceback, which Python prints if nobody handles it.
logging.getLogger("gcsfs").addHandler(logging.NullHandler())


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
            found = await self._patiently(lambda: self._ask(path, wanted), wanted)
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

    async def _patiently(
        self, ask: Callable[[], Awaitable[Found]], wanted: Wanted, answers: int = 1
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
        return await self._patiently(ask, wanted, answers)


def open_store(path: str, storage_options: StorageOptions | None) -> FsspecStore:
    """Open the store behind a URL for reading."""
    scheme = path.split("://")[0]
    options = merged(_layer_options(scheme), storage_options or {})
    store = RemoteStore.from_url(path, options, read_only=True)
    _send_once(store.fs, scheme)
    # zarr sends several requests at once, and those that an outage leaves under way would be
    # reported when the process ends: ask for one object alone first.
    sync(store.get("zarr.json", cpu.buffer_prototype))
    return store


def open_file_system(scheme: str) -> Any:
    """Open fsspec's file system of a scheme for single objects, with the bounds of `open_store`."""
    import fsspec

    found = fsspec.filesystem(scheme, asynchronous=True, **_layer_options(scheme))
    _send_once(found, scheme)
    return found


def _send_once(file_system: Any, scheme: str) -> None:
    """Let a layer below send nothing again."""
    if scheme in S3_SCHEMES:
        file_system.retries = 1
        sync(file_system.set_session())  # which takes a while, without a server
    elif scheme in GS_SCHEMES:  # what its own decorator sends again
        once = inspect.unwrap(type(file_system)._request)
        file_system._request = MethodType(once, file_system)


def merged(ours: StorageOptions, theirs: StorageOptions) -> dict[str, Any]:
    """Return options of both, also of those in options; theirs count.

    Examples
    --------
    >>> merged({"client_kwargs": {"a": 1, "b": 1}}, {"client_kwargs": {"b": 2}, "anon": True})
    {'client_kwargs': {'a': 1, 'b': 2}, 'anon': True}
    """
    found = {**ours, **theirs}
    for name in ours.keys() & theirs.keys():
        if isinstance(ours[name], Mapping) and isinstance(theirs[name], Mapping):
            found[name] = merged(ours[name], theirs[name])
    return found


def _layer_options(scheme: str) -> dict[str, Any]:
    """Return options by which layers below send nothing again, and have no bounds of their own."""
    seconds = server_seconds()
    if scheme in S3_SCHEMES:
        connection = {
            "connect_timeout": seconds,
            "read_timeout": seconds,
            "retries": {"max_attempts": 0},
            "max_pool_connections": MOST_CONNECTIONS,
            "http_session_cls": session_class(),
        }
        # A listing that is kept does not show what was added since.
        return {"config_kwargs": connection, "use_listings_cache": False}
    if scheme not in (*GS_SCHEMES, *WEB_SCHEMES):
        return {}
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
    session = {"timeout": timeout, "response_class": answer_class()}
    if scheme in WEB_SCHEMES:
        return {"client_kwargs": session}
    return {"session_kwargs": session, "use_listings_cache": False}


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


def reason_of(error: BaseException, storage_options: StorageOptions | None = None) -> str:
    """Return what an error says, on one line and without what the options keep secret.

    Examples
    --------
    >>> reason_of(OSError("no such key: KEY123"), {"key": "KEY123", "endpoint_url": "http://a"})
    'no such key: ...'
    """
    error = _first_of(error)
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    said = said.partition("\n\nDebug source:")[0]  # what obstore adds for those who wrote it
    for secret in _secrets(storage_options or {}):
        said = said.replace(secret, "...")
    return textwrap.shorten(said, 400) or type(error).__name__


def is_denied(error: BaseException) -> bool:
    """Tell whether an error is that a server, or a file system, gives no permission to read."""
    error = _first_of(error)
    forbidden = status_of(error) in (401, 403) or str(error).startswith("Forbidden")
    return forbidden or isinstance(error, PermissionError) or type(error).__name__ in _DENIED


def _first_of(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif isinstance(value, str) and len(value) >= SHORTEST_SECRET and "url" not in name:
            yield value


def checked_path(path: str | Path, storage_options: StorageOptions | None) -> str:
    """Return a folder as it is, a URL in one form; refuse secrets in it, as paths are shown."""
    text = _FOLDED_URL.sub(r"\1://", str(path))
    if "://" not in text:
        if storage_options:
            raise InputError(f"storage_options are for URLs, and {text} is a local folder")
        return text
    try:
        url = urlsplit(text)
    except ValueError:  # brackets that hold no IPv6 address
        url = urlsplit("")
    if not url.scheme or not (url.netloc + url.path).strip("/"):
        shown = text.rpartition("@")[2]
        raise InputError(f"{shown} is no URL of a Zarr group; write it like s3://bucket/name.zarr")
    where = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    if url.password is not None:
        raise InputError(f"the URL of {where} holds a password; give it in storage_options")
    if url.query and url.scheme in ("http", "https"):
        raise InputError(
            f"the URL of {where} has a query, and a group is many objects below one address; "
            "give tokens in storage_options"
        )
    return text.rstrip("/")


@contextmanager
def explained(path: str, storage_options: StorageOptions | None) -> Iterator[None]:
    """Turn what the layers below a URL raise, of many unrelated kinds, into one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if "://" not in path:
            raise
        # The cause may show keys in its own arguments.
        raise InputError(_explanation(path, error, storage_options)) from None


def _explanation(path: str, error: Exception, storage_options: StorageOptions | None) -> str:
    scheme, reason = path.split("://")[0], reason_of(error, storage_options)
    if isinstance(error, ImportError):
        todo = "run: pip install 'ooc[remote]'" if scheme in REMOTE_SCHEMES else "install it"
        return f"{path} needs a package that is not installed ({reason}); {todo}"
    if isinstance(error, ValueError) and str(error).startswith("Protocol not known"):
        return f"{path} has the unknown scheme {scheme!r}; use s3, gs, https, memory or a folder"
    if is_denied(error) or type(error).__name__ in _NO_CREDENTIALS:
        return (
            f"no permission to read {path}: {reason}; give keys in storage_options or the "
            'environment, or {"anon": True} where the data are public'
        )
    if is_of_server(_first_of(error)):
        todo = "check the network, the URL and storage_options"
        return f"the server of {path} does not answer: {reason}; {todo}"
    return f"{path} cannot be read: {reason}; check the URL and storage_options"
