"""fsspec's file systems, whose layers below send nothing again and have no bounds of their own."""

import asyncio
import inspect
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import MethodType
from typing import Any

from zarr.core import sync as zarr_loop
from zarr.core.sync import sync

from ooc.store.addresses import GS_SCHEMES, S3_SCHEMES, WEB_SCHEMES, StorageOptions
from ooc.store.answers import answer_class, server_seconds, session_class

# Connections to one server.
MOST_CONNECTIONS = 64
# Variables that say where servers are, and who asks.
OF_SERVERS = ("AWS_", "BOTO", "GOOGLE_", "CLOUDSDK_", "STORAGE_EMULATOR_")
# What they said when file systems were kept that are there now.
_KEPT_WITH: dict[str, dict[str, str]] = {}
# gcsfs also logs what it raises, with a traceback, which Python prints if nobody handles it.
logging.getLogger("gcsfs").addHandler(logging.NullHandler())


def open_file_system(scheme: str) -> Any:
    """Open the file system of a scheme for single objects, bounded as `RemoteStore` bounds them."""
    found = file_system_class(scheme)(asynchronous=True, **layer_options(scheme))
    send_once(found, scheme)
    return found


def file_system_class(scheme: str) -> Any:
    """Return fsspec's class for a scheme.

    Of gcsfs's two it is the one that speaks JSON alone: the other asks by gRPC what kind of bucket
    it is, for a minute where nobody answers that, and again at each object where it is not told.

    fsspec keeps file systems by their options, and keys that were set in the environment since
    would not count: those it keeps are forgotten then, and live on where they are in use.
    """
    import fsspec

    found: Any = fsspec.get_filesystem_class(scheme)
    if scheme in GS_SCHEMES:
        from gcsfs.core import GCSFileSystem

        found = GCSFileSystem
    told = {name: value for name, value in os.environ.items() if name.startswith(OF_SERVERS)}
    if scheme in (*S3_SCHEMES, *GS_SCHEMES) and _KEPT_WITH.get(scheme, told) != told:
        found.clear_instance_cache()
    _KEPT_WITH[scheme] = told
    return found


def send_once(file_system: Any, scheme: str) -> None:
    """Let a layer below send nothing again."""
    if scheme in S3_SCHEMES:
        file_system.retries = 1
        sync(file_system.set_session())  # which takes a while, without a server
    elif scheme in GS_SCHEMES:  # what its own decorator sends again
        once = inspect.unwrap(type(file_system)._request)
        file_system._request = MethodType(once, file_system)
        file_system.close_session = _close_session


def _close_session(loop: Any, session: Any, asynchronous: bool = False) -> None:
    """Close a session on zarr's loop, to which it belongs; gcsfs would do so on fsspec's.

    The garbage collector may ask for it in the loop's own thread, which cannot wait for itself.
    """
    thread, own_loop = zarr_loop.iothread[0], zarr_loop.loop[0]
    with suppress(Exception):
        if thread is not None and thread.is_alive() and own_loop is not None:
            closing = asyncio.run_coroutine_threadsafe(session.close(), own_loop)
            if threading.current_thread() is not thread:
                closing.result(timeout=1.0)
        else:  # at the interpreter's end there is nobody to close it
            session.detach()


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


def layer_options(scheme: str) -> dict[str, Any]:
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
