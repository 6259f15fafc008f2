"""Ranges of objects behind a URL, as `ooc.store.chunks.files` reads those of files."""

import asyncio
from collections.abc import Generator, Iterable
from typing import Any

from zarr.core.sync import sync

from ooc.store.addresses import is_denied, reason_of
from ooc.store.answers import ServerError
from ooc.store.chunks.files import Request, TruncatedError, batched
from ooc.store.dataset import Dataset, open_zarr_array
from ooc.store.remote import RemoteStore

UNKNOWN_SIZE = 2**63


class ObjectReader:
    """Reads ranges of the objects of one array; a chunk that is an object is read whole."""

    mode = "requests"

    def __init__(
        self, dataset: Dataset, name: str, store: RemoteStore, most_bytes: int, whole: bool
    ) -> None:
        self._dataset, self._name, self._store, self._whole = dataset, name, store, whole
        store.most_bytes = most_bytes

    @property
    def retries(self) -> int:
        """Requests that were sent again so far."""
        return self._store.retries

    def size(self, path: str) -> int | None:
        """Return the most bytes that an object may have: whether it is there, reading tells."""
        return self._store.most_bytes

    def read_end(self, path: str, length: int, at_end: bool) -> tuple[memoryview, int] | None:
        """Return the last bytes of an object, or the first, and its size; None if it is no more."""
        part = (-length, None) if at_end else (0, length)
        try:
            data, size = sync(self._fetch(path, *part))
        except FileNotFoundError:
            return None
        if len(data) < length:
            return data, len(data)
        return data, UNKNOWN_SIZE if size is None else size

    def read(self, request: Request) -> memoryview:
        """Return the bytes of a range, or as many as an object has that is read whole."""
        ((_, data),) = self.read_all([request])
        if isinstance(data, memoryview):
            return data
        raise data or TruncatedError("it is cut short")

    def read_all(
        self, requests: Iterable[Request]
    ) -> Generator[tuple[Request, memoryview | OSError | None], None, None]:
        """Yield ranges in order, each with its bytes, or with what is wrong.

        None is for chunks that share a request, and one of which may be to blame.
        """
        for part in batched(requests):
            for request, found in zip(part, sync(self._fetch_all(part)), strict=True):
                if not isinstance(found, OSError):
                    yield request, found[0]
                elif _is_shared(request) and not _is_of_all(found):
                    yield request, None
                else:
                    yield request, found

    async def _fetch_all(self, requests: list[Request]) -> list[tuple[memoryview, Any] | OSError]:
        asked = [(None, None) if self._whole else (each.start, each.stop) for each in requests]
        each = zip(requests, asked, strict=True)
        tasks = (self._fetch(wanted.path, *part) for wanted, part in each)
        return await asyncio.gather(*tasks, return_exceptions=True)  # type: ignore[return-value]

    async def _fetch(
        self, path: str, start: int | None, stop: int | None
    ) -> tuple[memoryview, int | None]:
        """Return bytes and size of an object; an OSError says what is wrong, and no secret."""
        try:
            found, size = await self._store.fetch(path[len(self._dataset.path) + 1 :], start, stop)
            return memoryview(found), size
        except self._store.allowed_exceptions as error:
            raise FileNotFoundError(str(error)) from None
        except Exception as error:  # of the many kinds of the layers below
            said = reason_of(error, self._dataset.storage_options)
            if isinstance(error, ServerError):
                raise ServerError(said) from None
            raise (PermissionError if is_denied(error) else OSError)(said) from None

    def __reduce__(self) -> tuple[Any, ...]:
        # Loops and connections do not travel.
        return _opened_again, (self._dataset, self._name, self._store.most_bytes, self._whole)


def _opened_again(dataset: Dataset, name: str, *how: Any) -> ObjectReader:
    store: Any = open_zarr_array(dataset, name).store
    return ObjectReader(dataset, name, store, *how)


def _is_shared(request: Request) -> bool:
    return len(request.wanted_for or ()) > 1


def _is_of_all(error: OSError) -> bool:
    return isinstance(error, ServerError | PermissionError | FileNotFoundError)
