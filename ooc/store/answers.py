"""What servers answer: an object or a part of it, bounded in seconds and in bytes, and as asked."""

import asyncio
import errno
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

from ooc.core.errors import InputError
from ooc.core.numbers import positive

# Seconds without a word from a server after which a request is given up. Each MiB that comes
# allows as many again, so that a server that drips is given up, too, and large objects are not.
SECONDS, SECONDS_VARIABLE = 10.0, "OOC_SERVER_SECONDS"
BYTES_IN_SECONDS = 2**20
# A request is sent again with pauses of 0.1, 0.4, 1.6 and 6.4 s, or those that the server asks
# for, but not after twice the bound: it ends within three times the bound, whatever a server does.
# Beside that, aiohttp itself sends again, once and at once, what meets a kept connection that its
# server has closed meanwhile.
RETRIES, FIRST_PAUSE = 4, 0.1
_PIECE_BYTES = 2**20
# HTTP's for no permission, no such object, and no such part of it.
OF_AN_OBJECT = (401, 403, 404, 410, 416)
_STATUS = re.compile(r"status code: (\d{3})\b")
# What a server may tell of objects, and as much of a page that tells of an error as is read.
_PAGE_BYTES = 64 * 2**20
_ERROR_BYTES = 64 * 2**10
# Errors that may be gone when it is asked again; packages that need not be installed are told by
# the names of their kinds.
_PASSING = {
    "TimeoutError", "ClientConnectionError", "ClientPayloadError", "ConnectionError",
    "HTTPClientError", "IncompleteRead", "IncompleteReadError", "ResponseParserError",
    "FlexibleChecksumError", "RequestException",
}  # fmt: skip
# What s3fs makes of 503 and 500, where it keeps no status.
_PASSING_NUMBERS = (errno.EBUSY, errno.EREMOTEIO)


class ServerError(OSError):
    """A server that does not answer, or answers something else: whatever it is asked for."""


@dataclass
class Wanted:
    """Bytes start to stop of an object, its last `-start` bytes, or all, `most` at most.

    Attributes
    ----------
    limit
        When the request that is on its way is given up; bytes that come postpone it.
    received
        Bytes that came so far, of all attempts.
    total, tag
        What the answer told: the object's bytes, and its version.
    """

    start: int | None
    stop: int | None
    most: int
    seconds: float
    limit: asyncio.Timeout | None = None
    received: int = 0
    total: int | None = None
    tag: str | None = None

    @property
    def allowed(self) -> float:
        """Seconds for what came so far."""
        return self.seconds * (1 + self.received / BYTES_IN_SECONDS)


# What the request of this task is to bring.
WANTED: ContextVar[Wanted | None] = ContextVar("WANTED", default=None)


def server_seconds() -> float:
    """Return the bound that the environment gives, or the usual one."""
    given = os.environ.get(SECONDS_VARIABLE, str(SECONDS))
    try:
        return positive(SECONDS_VARIABLE, float(given))
    except ValueError:
        raise InputError(
            f"{SECONDS_VARIABLE} is a positive number of seconds, not {given!r}"
        ) from None


async def take(
    read: Callable[[int], Awaitable[bytes]], status: int, headers: Mapping[str, Any], wanted: Wanted
) -> bytearray:
    """Read an answer's body; refuse it where it is not what was asked for, and read no more.

    Raises
    ------
    ServerError
        If it is of other bytes.
    """
    is_error = status >= 400
    if not is_error:
        _check_part(status, headers, wanted)
    most = _ERROR_BYTES if is_error else wanted.most
    clock, body = asyncio.get_running_loop().time, bytearray()
    begun = clock()
    while piece := await read(min(_PIECE_BYTES, most + 1 - len(body))):
        body += piece
        wanted.received += len(piece)
        if wanted.limit is not None:
            slowest = begun + wanted.seconds * (1 + len(body) / BYTES_IN_SECONDS)
            wanted.limit.reschedule(min(clock() + wanted.seconds, slowest))
        if len(body) > most:
            if is_error:
                break
            raise _too_long(wanted)
    return body


def _check_part(status: int, headers: Mapping[str, Any], wanted: Wanted) -> None:
    length, part = headers.get("content-length"), str(headers.get("content-range", ""))
    first, last, total = _numbers(part)
    wanted.total, wanted.tag = total, headers.get("etag")
    if wanted.start is not None and status != 206:
        wanted.total = None
        if wanted.start > 0:
            raise _too_long(wanted)
    if wanted.start is not None and first is not None and last is not None and total is not None:
        begin = wanted.start if wanted.start >= 0 else max(0, total + wanted.start)
        if first != begin or (wanted.stop is not None and last >= wanted.stop):
            raise ServerError(f"{_said(wanted)} were asked for, {part!r} came")
    # Content that is packed on its way has another length.
    if length is not None and int(length) > wanted.most and "content-encoding" not in headers:
        raise _too_long(wanted, int(length))


def _numbers(part: str) -> tuple[int | None, int | None, int | None]:
    """Return first byte, last byte and total of a Content-Range, each None if it is not told."""
    span, _, total = part.removeprefix("bytes ").partition("/")
    first, _, last = span.partition("-")
    return tuple(int(text) if text.isdecimal() else None for text in (first, last, total))  # type: ignore[return-value]


def _said(wanted: Wanted) -> str:
    start, stop = wanted.start, wanted.stop
    if start is None:
        return f"{wanted.most:,} bytes at most"
    return f"its last {-start:,} bytes" if stop is None else f"bytes {start:,} to {stop:,}"


def _too_long(wanted: Wanted, length: int | None = None) -> OSError:
    came = "more" if length is None else f"{length:,}"
    if wanted.start is None:  # the object may be damaged
        return OSError(f"it may have {wanted.most:,} bytes, and {came} came")
    return ServerError(
        f"{_said(wanted)} were asked for, {came} came: its server does not answer range requests"
    )


@cache
def answer_class() -> type:
    """Return the class of aiohttp's answers that are read as far as they are wanted."""
    import aiohttp

    class Answer(aiohttp.ClientResponse):
        async def read(self) -> bytes:
            wanted = WANTED.get()
            if wanted is None or self._body is not None:
                return await super().read()
            body: Any = await take(self.content.read, self.status, self.headers, wanted)
            self._body = body
            return self._body

    return Answer


@cache
def session_class() -> type:
    """Return the class of aiobotocore's sessions whose answers are read as far as they are wanted.

    But for objects, which `ask_s3` reads itself.
    """
    from aiobotocore.httpsession import AIOHTTPSession

    class Session(AIOHTTPSession):
        async def send(self, request: Any) -> Any:
            if (wanted := WANTED.get()) is None:
                return await super().send(request)
            streams, request.stream_output = request.stream_output, True  # it is read here
            answer = await super().send(request)
            if (status := answer.status_code) >= 300 or not streams:
                status = max(status, 400) if status >= 300 else status
                page = replace(wanted, start=None, stop=None, most=_PAGE_BYTES)
                try:
                    body = await take(answer.raw.content.read, status, answer.headers, page)
                finally:
                    answer.raw.close()  # the rest of it must not stand before another answer
                wanted.received, answer._content = page.received, bytes(body)
            return answer

    return Session


async def ask_s3(fs: Any, path: str, wanted: Wanted) -> bytearray:
    """Ask for an object by s3fs, which itself would read it whole, and again and again."""
    bucket, key, version = fs.split_path(path)
    options = {"VersionId": version} if version else {}
    if wanted.start is not None:
        options["Range"] = await fs._process_limits(path, wanted.start, wanted.stop)
    answer = await fs._call_s3("get_object", Bucket=bucket, Key=key, **options)
    body, told = answer["Body"], answer["ResponseMetadata"]
    try:
        return await take(body.read, told["HTTPStatusCode"], told["HTTPHeaders"], wanted)
    finally:
        body.close()


def status_of(error: BaseException) -> int:
    """Return the HTTP status that an error came with, or 0.

    Of aiohttp, gcsfs and botocore; obstore has it in what it says alone.
    """
    answers = (_answer_of(each).get("HTTPStatusCode") for each in (error, error.__cause__))
    status = error.status if hasattr(error, "status") else getattr(error, "code", None)
    told = next((each for each in (status, *answers) if isinstance(each, int)), 0)
    if not told and _is_of_obstore(error) and (found := _STATUS.search(str(error))):
        return int(found[1])
    return told


def _is_of_obstore(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "obstore"


def is_of_server(error: BaseException) -> bool:
    """Tell whether an error is of a server, or of the way to it, whatever it is asked for."""
    if not _is_of_obstore(error):
        return isinstance(error, ServerError)
    if status := status_of(error):
        return status not in OF_AN_OBJECT
    return "HTTP error" in str(error)


def _answer_of(error: BaseException | None) -> Mapping[str, Any]:
    response = getattr(error, "response", None)
    return response.get("ResponseMetadata", {}) if isinstance(response, Mapping) else {}


def passes(error: BaseException) -> bool:
    """Tell whether an error may be gone when it is asked again."""
    if isinstance(error, ServerError):
        return False
    if status := status_of(error):
        return status in (408, 425, 429) or status >= 500
    if isinstance(error, OSError) and error.errno in _PASSING_NUMBERS:
        return True
    return not _PASSING.isdisjoint(kind.__name__ for kind in type(error).__mro__)


def retry_after(error: BaseException) -> float:
    """Return the seconds that a server asks not to be asked for, or 0."""
    for each in (error, error.__cause__):
        told = getattr(each, "headers", None) or _answer_of(each).get("HTTPHeaders") or {}
        said = str(told.get("retry-after", told.get("Retry-After", "")))
        with suppress(ValueError):
            return max(0.0, float(said))
        with suppress(ValueError):
            return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    return 0.0
