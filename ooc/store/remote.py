"""Datasets behind URLs: the store, what is retried, and what to say when it does not answer."""

import asyncio
import errno
import logging
import os
import re
import textwrap
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.buffer import cpu
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore

from ooc.core.errors import InputError
from ooc.core.numbers import positive

# Requests of one array that are on their way at once, whatever the number of reader threads.
MOST_REQUESTS = 16
HTTP_RETRIES = 3
# A shorter one is part of many words, and no secret.
SHORTEST_SECRET = 6
# Seconds without a word from a server after which a request is given up; it is sent again.
SECONDS, SECONDS_VARIABLE = 10.0, "OOC_SERVER_SECONDS"
# Their packages come with the extra "remote".
REMOTE_SCHEMES = ("s3", "s3a", "gs", "gcs", "http", "https")
# Errors of packages that need not be installed are told by their names.
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
_UNREACHABLE = {"ConnectionError", "HTTPClientError", "ClientConnectionError", "TimeoutError"}
# pathlib folds the two slashes of a URL into one.
_FOLDED_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")

StorageOptions = Mapping[str, Any]

# With more than one request an object, s3fs asks for its size before it asks for the object; and
# a listing that is kept does not show what was added since.
_GS: StorageOptions = {"use_listings_cache": False}
_S3: StorageOptions = {"max_concurrency": 1, **_GS}
_LAYER_OPTIONS = {"s3": _S3, "s3a": _S3, "gs": _GS, "gcs": _GS}
# gcsfs also logs what it raises, with a traceback, which Python prints if nobody handles it.
logging.getLogger("gcsfs").addHandler(logging.NullHandler())


class RemoteStore(FsspecStore):
    """The store behind a URL: fsspec's, which finds keys where its users' other tools find them.

    The requests on their way at once are bounded here: zarr's ``async.concurrency`` is one setting
    of the whole process, which reader threads cannot set and restore without undoing each other.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turns = asyncio.Semaphore(MOST_REQUESTS)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object, or exactly the part of it that was asked for."""
        async with self._turns:
            found = await self._get(key, prototype, byte_range)
        if found is None or byte_range is None:
            return found
        expected = len(found)
        if isinstance(byte_range, RangeByteRequest):
            expected = byte_range.end - byte_range.start
        elif isinstance(byte_range, SuffixByteRequest):
            expected = min(byte_range.suffix, expected)  # an object may be shorter
        if len(found) != expected:
            raise OSError(
                f"{expected:,} bytes were asked for, {len(found):,} came; it is cut short, or its "
                "server does not answer range requests"
            )
        return found

    async def _get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        for attempt in range(HTTP_RETRIES):
            try:
                return await super().get(key, prototype, byte_range)
            except Exception as error:
                again = attempt == 0 or not isinstance(error, TimeoutError)
                if "http" not in self.fs.protocol or not (again and _passes(error)):
                    raise
                await asyncio.sleep(0.1 * 4**attempt)
        return await super().get(key, prototype, byte_range)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names in a folder; web servers write those of folders with a slash."""
        async for name in super().list_dir(prefix):
            yield name.rstrip("/")


def open_store(path: str, storage_options: StorageOptions | None) -> FsspecStore:
    """Open the store behind a URL for reading."""
    scheme = path.split("://")[0]
    options = {**_LAYER_OPTIONS.get(scheme, {}), **_timeouts(scheme), **(storage_options or {})}
    store = RemoteStore.from_url(path, options, read_only=True)
    # zarr sends several requests at once, and those that an outage leaves under way would be
    # reported when the process ends: ask for one object alone first.
    sync(store.get("zarr.json", cpu.buffer_prototype))
    return store


def _timeouts(scheme: str) -> dict[str, Any]:
    """Return options by which a server that says nothing is given up, where none are given."""
    given = os.environ.get(SECONDS_VARIABLE, str(SECONDS))
    try:
        seconds = positive(SECONDS_VARIABLE, float(given))
    except ValueError:
        raise InputError(
            f"{SECONDS_VARIABLE} is a positive number of seconds, not {given!r}"
        ) from None
    if scheme in ("http", "https"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
        return {"client_kwargs": {"timeout": timeout}}
    if scheme in ("s3", "s3a"):
        each = {"connect_timeout": seconds, "read_timeout": seconds}
        return {"config_kwargs": {**each, "retries": {"max_attempts": 2}}}
    return {}


def reason_of(error: BaseException, storage_options: StorageOptions | None = None) -> str:
    """Return what an error says, on one line and without what the options keep secret.

    Examples
    --------
    >>> reason_of(OSError("no such key: KEY123"), {"key": "KEY123", "endpoint_url": "http://a"})
    'no such key: ...'
    """
    error = _first_of(error)
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    for secret in _secrets(storage_options or {}):
        said = said.replace(secret, "...")
    return textwrap.shorten(said, 400) or type(error).__name__


def is_outage(error: BaseException) -> bool:
    """Tell whether an error is that a server does not answer, whatever it is asked for."""
    error = _first_of(error)
    if isinstance(error, OSError) and error.errno in (errno.EBUSY, errno.EREMOTEIO):
        return True  # what s3fs makes of 503 and 500
    unreachable = _UNREACHABLE & {kind.__name__ for kind in type(error).__mro__}
    return _status_of(error) >= 500 or bool(unreachable)


def is_denied(error: BaseException) -> bool:
    """Tell whether an error is that a server, or a file system, gives no permission to read."""
    error = _first_of(error)
    forbidden = _status_of(error) in (401, 403) or str(error).startswith("Forbidden")
    return forbidden or isinstance(error, PermissionError)


def _first_of(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _status_of(error: BaseException) -> int:
    """Return the HTTP status that an error of aiohttp (status) or gcsfs (code) came with, or 0."""
    status = error.status if hasattr(error, "status") else getattr(error, "code", None)
    return status if isinstance(status, int) else 0


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif isinstance(value, str) and len(value) >= SHORTEST_SECRET and "url" not in name:
            yield value


def _passes(error: Exception) -> bool:
    """Tell whether an error of plain HTTP may be gone when it is asked again."""
    import aiohttp

    if isinstance(error, aiohttp.ClientResponseError):
        return error.status == 429 or error.status >= 500
    return isinstance(
        error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | TimeoutError
    )


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
    if is_outage(error):
        todo = "check the network, the URL and storage_options"
        if "time" in reason.lower():
            seconds = os.environ.get(SECONDS_VARIABLE, SECONDS)
            todo += f"; a request is given up after {seconds} s in which nothing came"
            todo += f" ({SECONDS_VARIABLE})"
        return f"the server of {path} does not answer: {reason}; {todo}"
    return f"{path} cannot be read: {reason}; check the URL and storage_options"
