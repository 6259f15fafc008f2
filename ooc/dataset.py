"""Datasets: Zarr groups whose arrays share axis 0. The only file that reads Zarr metadata."""

import asyncio
import errno
import logging
import math
import re
import textwrap
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import zarr
from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.buffer import cpu
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore

from ooc.errors import InputError
from ooc.memory import format_size

NUMERIC_KINDS = "biuf"
MISSING_CHUNKS = ("raise", "fill")
# Requests of one array that are on their way at once, whatever the number of reader threads.
MOST_REQUESTS = 16
HTTP_RETRIES = 3
# A shorter one is part of many words, and no secret.
SHORTEST_SECRET = 6
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
_S3 = {"max_concurrency": 1, "use_listings_cache": False}
_GS = {"use_listings_cache": False}
_LAYER_OPTIONS: dict[str, StorageOptions] = {"s3": _S3, "s3a": _S3, "gs": _GS, "gcs": _GS}
# gcsfs also logs what it raises, with a traceback, which Python prints if nobody handles it.
logging.getLogger("gcsfs").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class ArraySpec:
    """What the readers and the plan need to know of one array.

    Attributes
    ----------
    name
        Its name in the group.
    shape
        Its shape; axis 0 is rows.
    dtype
        Its numeric dtype.
    chunks
        Shape of its chunks, the inner ones when it is sharded.
    shards
        Shape of its shards, or None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None

    @property
    def row_bytes(self) -> int:
        """Decoded bytes of one row."""
        return self.dtype.itemsize * math.prod(self.shape[1:])

    @property
    def chunk_bytes(self) -> int:
        """Decoded bytes of one chunk."""
        return self.dtype.itemsize * math.prod(self.chunks)

    @property
    def chunks_across(self) -> int:
        """Chunks that one row is spread over."""
        return math.prod(
            -(-length // chunk)
            for length, chunk in zip(self.shape[1:], self.chunks[1:], strict=True)
        )

    @property
    def stored_chunks(self) -> int:
        """Chunks of the whole array."""
        return -(-self.shape[0] // self.chunks[0]) * self.chunks_across

    def describe(self) -> str:
        """Say in one line what the array is and how it is stored.

        Examples
        --------
        >>> ArraySpec("X", (1000, 3), np.dtype("f4"), (100, 3), None).describe()
        'float32 (1000, 3), 11.7 KiB, chunks (100, 3)'
        """
        size = format_size(self.row_bytes * self.shape[0])
        shards = f", shards {self.shards}" if self.shards else ""
        return f"{self.dtype} {self.shape}, {size}, chunks {self.chunks}{shards}"

    def to_json(self) -> dict[str, Any]:
        """Return the array's metadata, JSON-ready."""
        return {
            "dtype": str(self.dtype),
            "shape": list(self.shape),
            "chunks": list(self.chunks),
            "shards": list(self.shards) if self.shards else None,
            "bytes": self.row_bytes * self.shape[0],
        }

    def decoded_bytes(self, start: int, stop: int) -> int:
        """Return the bytes that are decoded to read rows start to stop: whole chunks."""
        chunk_rows = self.chunks[0]
        touched = -(-stop // chunk_rows) - start // chunk_rows
        return touched * self.chunks_across * self.chunk_bytes

    def most_decoded_bytes(self, rows: int) -> int:
        """Return the most bytes that are decoded for any aligned block of this many rows."""
        chunk_rows = self.chunks[0]
        unaligned = 0 if rows % chunk_rows == 0 else chunk_rows - 1
        return self.decoded_bytes(0, rows + unaligned)


@dataclass(frozen=True)
class Dataset:
    """A Zarr group with roles for its arrays.

    Attributes
    ----------
    path
        Where it is: a folder or a URL.
    arrays
        Every numeric array that shares axis 0, by name.
    features, target, weight
        Names of the arrays in these roles; target and weight may be absent.
    attributes
        What the dataset's writer noted, from the group's attributes.
    missing
        Whether a chunk that is not stored is an error ("raise") or the fill value ("fill").
    storage_options
        What opens the store behind a URL again; it may hold keys, so that it is never shown.
    """

    path: str
    arrays: Mapping[str, ArraySpec]
    features: str
    target: str | None
    weight: str | None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    missing: str = "raise"
    storage_options: StorageOptions | None = field(default=None, repr=False)

    @property
    def rows(self) -> int:
        """N, rows of every array."""
        return self.arrays[self.features].shape[0]

    def specs(self, names: tuple[str, ...]) -> tuple[ArraySpec, ...]:
        """Return the arrays with these names.

        Raises
        ------
        InputError
            If one is not there.
        """
        for name in names:
            if name not in self.arrays:
                known = ", ".join(self.arrays)
                raise InputError(f"{self.path} has no array {name!r}; it has: {known}")
        return tuple(self.arrays[name] for name in names)


def open(
    path: str | Path,
    features: str = "X",
    target: str | None = None,
    weight: str | None = None,
    missing: str = "raise",
    storage_options: StorageOptions | None = None,
) -> Dataset:
    """Open a Zarr group, version 2 or 3, as a dataset; only metadata are read.

    A URL is read through fsspec, with the packages of ``pip install 'ooc[remote]'``. Errors that
    pass (5xx, throttling, a lost connection) are retried with growing pauses by the store layer:
    s3fs and gcsfs do it themselves, for plain HTTP `RemoteStore` does. Each reader thread waits
    for one run of rows at a time, so that on a far store more ``readers`` hide its latency.

    Parameters
    ----------
    path
        Folder of the group, or its URL: ``s3://``, ``gs://``, ``https://``, ``memory://``, or any
        other that fsspec knows.
    features
        Name of the features array; one row is one sample, of any number of axes.
    target, weight
        Names of the targets and sample weights, one number a row. By default "y" and "weight"
        where the group has them.
    missing
        "raise" or "fill". Zarr leaves out chunks that hold nothing but the fill value; one that
        was lost looks the same, so that only you can say which it is.
    storage_options
        For a URL, what fsspec's file system of its scheme takes, such as ``endpoint_url``,
        ``key``, ``secret`` and ``anon`` for ``s3://``. Without it, keys come from where that
        file system looks for them: its environment variables and files.

    Raises
    ------
    InputError
        If there is no Zarr group, a named array is missing or is not numeric, lengths along
        axis 0 differ, or there are no rows; for a URL also if its scheme is unknown, its package
        is not installed, the server does not answer, or it gives no permission.

    Examples
    --------
    >>> dataset = open(example_dataset)
    >>> dataset.rows, dataset.arrays["X"].shape, dataset.target
    (1000, (1000, 3), 'y')
    """
    path = _checked_path(path, storage_options)
    if missing not in MISSING_CHUNKS:
        raise InputError(f"missing is one of {', '.join(MISSING_CHUNKS)}, not {missing!r}")
    wanted = {features, target or "y", weight or "weight"}
    with _explained(path, storage_options):
        group = _open_group(path, storage_options)
        arrays = _arrays_of(group, wanted, may_refuse_listing="://" in path)
        members = {name: spec_of(name, array) for name, array in sorted(arrays.items())}
    named = {"features": features, "target": target, "weight": weight}
    for role, name in named.items():
        if name is not None and name not in members:
            raise InputError(
                f"{path} has no array {name!r} for {role}; it has: {', '.join(members) or 'none'}; "
                f"name the right one with {role}="
            )
    roles = {
        "features": features,
        "target": target or ("y" if "y" in members else None),
        "weight": weight or ("weight" if "weight" in members else None),
    }
    used = [members[name] for name in roles.values() if name is not None]
    _check_usable(path, used)
    rows = members[features].shape[0]
    aligned = {
        name: spec
        for name, spec in members.items()
        if spec.shape and spec.shape[0] == rows and spec.dtype.kind in NUMERIC_KINDS
    }
    return Dataset(
        path,
        aligned,
        features,
        roles["target"],
        roles["weight"],
        dict(group.attrs),
        missing,
        storage_options,
    )


def open_zarr_array(dataset: Dataset, name: str) -> zarr.Array:
    """Open one array of a dataset for reading."""
    with _explained(dataset.path, dataset.storage_options):
        array = _open_group(dataset.path, dataset.storage_options)[name]
    if not isinstance(array, zarr.Array):
        raise InputError(f"{dataset.path}/{name} is a Zarr group, not an array; name an array")
    return array


def spec_of(name: str, array: zarr.Array) -> ArraySpec:
    """Read the metadata of one array."""
    dtype = np.dtype(array.dtype).newbyteorder("=")
    return ArraySpec(name, array.shape, dtype, array.chunks, array.shards)


class RemoteStore(FsspecStore):
    """The store behind a URL.

    It is fsspec's and not obstore's because fsspec finds credentials where its users' other tools
    find them, takes the options that pandas and Dask take, and is installed wherever Dask is.

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
        if found is None:
            return None
        if isinstance(byte_range, RangeByteRequest):
            expected = byte_range.end - byte_range.start
        elif isinstance(byte_range, SuffixByteRequest):
            # An object may be shorter than that.
            expected = min(byte_range.suffix, len(found))
        else:
            return found
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
                if "http" not in self.fs.protocol or not _passes(error):
                    raise
                await asyncio.sleep(0.1 * 4**attempt)
        return await super().get(key, prototype, byte_range)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names in a folder; web servers write those of folders with a slash."""
        async for name in super().list_dir(prefix):
            yield name.rstrip("/")


def reason_of(error: BaseException, storage_options: StorageOptions | None = None) -> str:
    """Return what an error says, on one line and without what the options keep secret.

    Examples
    --------
    >>> reason_of(OSError("no such key: KEY123"), {"key": "KEY123", "endpoint_url": "http://a"})
    'no such key: ...'
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    for secret in _secrets(storage_options or {}):
        said = said.replace(secret, "...")
    return textwrap.shorten(said, 400) or type(error).__name__


def is_outage(error: BaseException) -> bool:
    """Tell whether an error is that a server does not answer, whatever it is asked for."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.errno in (errno.EBUSY, errno.EREMOTEIO):
        return True  # what s3fs makes of 503 and 500
    status = _status_of(error)
    if status is not None and status >= 500:
        return True
    return bool(_UNREACHABLE & {kind.__name__ for kind in type(error).__mro__})


def _status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an error of aiohttp (status) or gcsfs (code) came with."""
    status = error.status if hasattr(error, "status") else getattr(error, "code", None)
    return status if isinstance(status, int) else None


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
    lost = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)
    return isinstance(error, lost)


def _checked_path(path: str | Path, storage_options: StorageOptions | None) -> str:
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
def _explained(path: str, storage_options: StorageOptions | None) -> Iterator[None]:
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
    if (
        isinstance(error, PermissionError)
        or _status_of(error) in (401, 403)
        or reason.startswith("Forbidden")
        or type(error).__name__ in _NO_CREDENTIALS
    ):
        return (
            f"no permission to read {path}: {reason}; give keys in storage_options or the "
            'environment, or {"anon": True} where the data are public'
        )
    if is_outage(error):
        return (
            f"the server of {path} does not answer: {reason}; check the network, the URL and "
            "storage_options"
        )
    return f"{path} cannot be read: {reason}; check the URL and storage_options"


def _open_group(path: str, storage_options: StorageOptions | None) -> zarr.Group:
    remote = "://" in path
    if not remote and not Path(path).exists():
        raise InputError(f"{path} does not exist; check the path, or make it with `ooc make`")
    try:
        if not remote:
            return zarr.open_group(path, mode="r")
        options = {**_LAYER_OPTIONS.get(path.split("://")[0], {}), **(storage_options or {})}
        store = RemoteStore.from_url(path, options, read_only=True)
        # zarr sends several requests at once, and those that an outage leaves under way would
        # be reported when the process ends: ask for one object alone first.
        sync(store.get("zarr.json", cpu.buffer_prototype))
        return zarr.open_group(store, mode="r")
    except (FileNotFoundError, zarr.errors.GroupNotFoundError, zarr.errors.ContainsArrayError):
        if remote:
            raise InputError(
                f"{path} holds no Zarr group: there is no such bucket or key, or it is not a "
                "group; check the URL"
            ) from None
        raise InputError(
            f"{path} is not a Zarr group: it holds no zarr.json or .zgroup of a group; "
            "name the folder of the group"
        ) from None


def _arrays_of(
    group: zarr.Group, wanted: set[str], may_refuse_listing: bool
) -> dict[str, zarr.Array]:
    """Return the arrays of a group; where it cannot be listed, those that are wanted."""
    try:
        found = dict(group.arrays())
    except Exception:
        if not may_refuse_listing:
            raise
        found = {}
    if may_refuse_listing:
        for name in wanted - found.keys():
            member = group.get(name)
            if isinstance(member, zarr.Array):
                found[name] = member
    return found


def _check_usable(path: str, used: list[ArraySpec]) -> None:
    first = used[0]
    for spec in used:
        if spec.dtype.kind not in NUMERIC_KINDS:
            raise InputError(
                f"array {spec.name} of {path} has dtype {spec.dtype}, which is not a real number; "
                "convert it to an integer or float dtype"
            )
        if not spec.shape:
            raise InputError(f"array {spec.name} of {path} has no axes; rows are along axis 0")
        if spec.shape[0] != first.shape[0]:
            raise InputError(
                f"arrays of {path} differ along axis 0: {first.name} has {first.shape[0]} rows, "
                f"{spec.name} has {spec.shape[0]}; every array needs one entry a row"
            )
    if first.shape[0] == 0 or math.prod(first.shape[1:]) == 0:
        raise InputError(f"array {first.name} of {path} is empty: its shape is {first.shape}")
    for spec in used[1:]:
        if math.prod(spec.shape[1:]) != 1:
            raise InputError(
                f"array {spec.name} of {path} has shape {spec.shape}; it needs one number a row"
            )
