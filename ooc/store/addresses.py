"""URLs of datasets, and what is said where what lies behind them cannot be read."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ooc.core.errors import InputError
from ooc.store.answers import is_of_server, status_of

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


def written_path(path: str | Path, storage_options: StorageOptions | None) -> str:
    """Return where something is written, as `checked_path`; refuse URLs that are but read."""
    text = checked_path(path, storage_options)
    scheme, _, below = text.partition("://")
    if scheme in WEB_SCHEMES:
        raise InputError(
            f"{text} is on a web server, which is but read from; write to a bucket, such as "
            "s3://bucket/name.zarr, or to a local path"
        )
    if below and scheme in ("file", "local"):
        raise InputError(f"{text} is on this machine; give its local path, {below}")
    return text


@contextmanager
def explained(
    path: str,
    storage_options: StorageOptions | None,
    done: str = "read",
    kind: type[InputError] = InputError,
) -> Iterator[None]:
    """Turn what the layers below a URL raise, of many unrelated kinds, into one line.

    `done` is what is done to the path, and `kind` the error that is raised.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if "://" not in path:
            raise
        # The cause may show keys in its own arguments.
        raise kind(_explanation(path, error, storage_options, done)) from None


def _explanation(
    path: str, error: Exception, storage_options: StorageOptions | None, done: str
) -> str:
    scheme, reason = path.split("://")[0], reason_of(error, storage_options)
    found = _first_of(error)
    if isinstance(error, ImportError):
        todo = "run: pip install 'ooc[remote]'" if scheme in REMOTE_SCHEMES else "install it"
        return f"{path} needs a package that is not installed ({reason}); {todo}"
    if isinstance(error, ValueError) and str(error).startswith("Protocol not known"):
        return f"{path} has the unknown scheme {scheme!r}; use s3, gs, https, memory or a folder"
    if is_denied(error) or type(found).__name__ in _NO_CREDENTIALS:
        if done == "read":
            return (
                f"no permission to read {path}: {reason}; give keys in storage_options or the "
                'environment, or {"anon": True} where the data are public'
            )
        return (
            f"no permission to write to {path}: {reason}; give keys in storage_options or the "
            "environment that may list, read, write and remove objects there"
        )
    if is_of_server(found):
        todo = "check the network, the URL and storage_options"
        return f"the server of {path} does not answer: {reason}; {todo}"
    if done != "read" and isinstance(found, FileNotFoundError):
        todo = f"make the bucket {urlsplit(path).netloc} first, or check the URL"
        return f"{path} cannot be {done}: {reason}; {todo}"
    return f"{path} cannot be {done}: {reason}; check the URL and storage_options"
