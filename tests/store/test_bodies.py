"""Bodies of answers are bounded in bytes and in seconds, and errors are told for what they are."""

import asyncio
import errno
import time
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest

from ooc.core.errors import InputError
from ooc.store.answers import (
    WANTED,
    ServerError,
    Wanted,
    ask_s3,
    passes,
    retry_after,
    server_seconds,
    session_class,
    status_of,
    take,
)

MIB = 2**20


class Body:
    """A body that comes in pieces, each after some seconds; it notes how much is asked for."""

    def __init__(self, *pieces: bytes, seconds: float = 0.0) -> None:
        self.pieces, self.seconds, self.now = [*pieces, b""], seconds, 100.0
        self.asked: list[int] = []
        self.limits: list[float] = []

    async def read(self, most: int) -> bytes:
        self.asked.append(most)
        self.now += self.seconds
        return self.pieces.pop(0)[:most]

    def reschedule(self, when: float) -> None:
        self.limits.append(when - 100)


def taken(body: Body, wanted: Wanted, status: int = 200, **headers: str) -> bytes:
    wanted.limit = body  # type: ignore[assignment]
    loop = asyncio.new_event_loop()
    loop.time = lambda: body.now  # type: ignore[method-assign]
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        return bytes(loop.run_until_complete(take(body.read, status, told, wanted)))
    finally:
        loop.close()


def refused(kind: type[OSError], *given: Any, **headers: str) -> str:
    with pytest.raises(kind) as caught:
        taken(*given, **headers)
    assert type(caught.value) is kind
    return str(caught.value)


def test_no_more_is_read_than_is_wanted() -> None:
    body, wanted = Body(b"abcd", b"ef"), Wanted(None, None, 6, 10.0)
    assert taken(body, wanted, content_length="6", etag="v1") == b"abcdef"
    assert body.asked == [7, 3, 1]
    assert (wanted.received, wanted.total, wanted.tag) == (6, None, "v1")
    large = Body(bytes(MIB), bytes(MIB), bytes(5))
    assert len(taken(large, Wanted(None, None, 3 * MIB, 10.0))) == 2 * MIB + 5
    assert large.asked == [MIB, MIB, MIB, MIB + 1 - 5]
    # Whoever sends more is cut off after one byte of it.
    long = Body(b"abcd", b"efgh")
    assert refused(OSError, long, Wanted(None, None, 6, 10.0)) == (
        "it may have 6 bytes, and more came"
    )
    assert long.asked == [7, 3]


def test_what_is_longer_by_its_header_is_not_read_at_all() -> None:
    body = Body(b"")
    assert refused(OSError, body, Wanted(None, None, 1000, 1.0), content_length="1001") == (
        "it may have 1,000 bytes, and 1,001 came"
    )
    said = "were asked for, 4,000 came: its server does not answer range requests"
    for start, stop, part in (
        (2000, 3000, "bytes 2,000 to 3,000"), (-1000, None, "its last 1,000 bytes"),
    ):  # fmt: skip
        wanted = Wanted(start, stop, 1000, 1.0)
        assert refused(ServerError, body, wanted, 206, content_length="4000") == f"{part} {said}"
    assert body.asked == []
    packed = Wanted(None, None, 1000, 1.0)
    assert taken(Body(b"x"), packed, content_length="9000", content_encoding="gzip") == b"x"


def test_a_server_that_sends_the_whole_for_a_part_is_refused() -> None:
    said = "bytes 20 to 30 were asked for, more came: its server does not answer range requests"
    wanted = Wanted(20, 30, 10, 1.0)
    assert refused(ServerError, Body(b"x"), wanted) == said
    assert wanted.total is None
    # From its beginning on it may be all that there is.
    first = Wanted(0, 30, 30, 1.0)
    assert taken(Body(b"x" * 30), first, content_range="bytes 0-29/30") == b"x" * 30
    assert first.total is None
    last = Wanted(-10, None, 10, 1.0)
    assert taken(Body(b"x" * 7), last, content_length="7") == b"x" * 7


def test_a_part_tells_the_size_of_the_whole() -> None:
    for start, stop, part in ((20, 30, "20-29"), (-10, None, "90-99"), (-200, None, "0-99")):
        wanted = Wanted(start, stop, 1000, 1.0)
        taken(Body(b"x"), wanted, 206, content_range=f"bytes {part}/100", etag="v2")
        assert (wanted.total, wanted.tag) == (100, "v2")
    wanted = Wanted(20, 30, 10, 1.0)
    assert refused(ServerError, Body(), wanted, 206, content_range="bytes 21-29/100") == (
        "bytes 20 to 30 were asked for, 'bytes 21-29/100' came"
    )
    # An object may end before what was asked for does.
    short = Wanted(20, 30, 10, 1.0)
    assert taken(Body(b"x" * 8), short, 206, content_range="bytes 20-27/28") == b"x" * 8
    assert short.total == 28
    # What is not told is not held against it.
    unknown = Wanted(20, 30, 10, 1.0)
    assert taken(Body(b"x"), unknown, 206, content_range="bytes 20-29/*") == b"x"
    assert unknown.total is None


def test_a_page_of_an_error_is_read_as_far_as_it_is_short() -> None:
    page = Body(bytes(70_000), bytes(9))
    assert len(taken(page, Wanted(20, 30, 10, 1.0), 404, content_length="70009")) == 64 * 1024 + 1
    assert page.asked == [64 * 1024 + 1]
    assert taken(Body(b"no"), Wanted(None, None, 1, 1.0), 400) == b"no"
    assert refused(OSError, Body(b"no"), Wanted(None, None, 1, 1.0), 399)


class Served:
    """A request that aiobotocore's session has sent, and its answer."""

    def __init__(self, status: int, body: Body, stream_output: bool) -> None:
        self.status_code, self.stream_output = status, stream_output
        self.headers: dict[str, str] = {}
        self.raw = SimpleNamespace(content=body, close=self.close)
        self.closed, self._content = 0, None

    def close(self) -> None:
        self.closed += 1

    def sent(self, monkeypatch: pytest.MonkeyPatch, wanted: Wanted | None) -> None:
        async def send(session: Any, request: Any) -> Any:
            assert request.stream_output or wanted is None
            return request

        async def run() -> None:
            WANTED.set(wanted)
            session: Any = object.__new__(session_class())
            assert await session.send(self) is self

        monkeypatch.setattr("aiobotocore.httpsession.AIOHTTPSession.send", send)
        asyncio.run(run())


def test_pages_of_s3_are_bounded_and_its_objects_left_to_their_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of errors a part is read, whatever part of an object was asked for; listings are whole."""
    pages = (bytes(40 * 2**10), bytes(40 * 2**10))
    denied = Served(403, Body(*pages), stream_output=True)
    denied.sent(monkeypatch, Wanted(1000, 1004, 4, 10.0))
    assert denied._content == bytes(80 * 2**10)[: 2**16 + 1] and denied.closed == 1
    listing = Served(200, Body(b"<List", b"/>"), stream_output=False)
    wanted = Wanted(4, 8, 4, 10.0)  # what is asked beside an object is not a part of it
    listing.sent(monkeypatch, wanted)
    assert (listing._content, wanted.received) == (b"<List/>", 7)
    endless = Served(200, Body(b"<List", b"/>....."), stream_output=False)
    monkeypatch.setattr("ooc.store.answers._PAGE_BYTES", 7)
    with pytest.raises(OSError, match="it may have 7 bytes, and more came"):
        endless.sent(monkeypatch, Wanted(None, None, 7, 10.0))
    assert endless.closed == 1
    body = Body(b"abcd")
    for wanted, streams in ((Wanted(0, 4, 4, 10.0), True), (None, True), (None, False)):
        left = Served(200, body, streams)
        left.sent(monkeypatch, wanted)
        assert (left._content, left.closed, body.asked) == (None, 0, [])


def test_bytes_that_come_postpone_the_end_and_drops_do_not() -> None:
    """Ten seconds for the first MiB, and ten more for each that came."""
    fast = Body(bytes(MIB), bytes(MIB), bytes(MIB // 2), seconds=3)
    wanted = Wanted(None, None, 4 * MIB, 10.0)
    taken(fast, wanted)
    assert fast.limits == [13, 16, 19]
    assert (wanted.received, wanted.allowed) == (2.5 * MIB, 35)
    slow = Body(*[bytes(MIB // 4)] * 4, seconds=9)
    taken(slow, Wanted(None, None, 4 * MIB, 10.0))
    assert slow.limits == [12.5, 15, 17.5, 20]


def test_seconds_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OOC_SERVER_SECONDS", raising=False)
    assert server_seconds() == 10
    monkeypatch.setenv("OOC_SERVER_SECONDS", "2.5")
    assert server_seconds() == 2.5
    monkeypatch.setenv("OOC_SERVER_SECONDS", "soon")
    with pytest.raises(InputError) as caught:
        server_seconds()
    assert str(caught.value) == "OOC_SERVER_SECONDS is a positive number of seconds, not 'soon'"
    for given in ("0", "-1", "inf", "nan"):
        monkeypatch.setenv("OOC_SERVER_SECONDS", given)
        with pytest.raises(InputError, match="OOC_SERVER_SECONDS"):
            server_seconds()


class StatusError(Exception):
    """Error as aiohttp, gcsfs or botocore raises it."""

    def __init__(self, **told: Any) -> None:
        super().__init__()
        vars(self).update(told)


def of_s3(status: int, **headers: str) -> StatusError:
    told = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    return StatusError(response={"ResponseMetadata": told})


def caused_by(error: Exception) -> Exception:
    found = OSError("translated")
    found.__cause__ = error
    return found


def test_the_status_of_an_answer_is_found_wherever_it_is() -> None:
    for error in (StatusError(status=503), StatusError(code=503), of_s3(503)):
        assert status_of(error) == 503 and passes(error)
    assert status_of(caused_by(of_s3(404))) == 404
    for error in (StatusError(code="NoSuchKey"), StatusError(response=7), OSError("no")):
        assert status_of(error) == 0 and not passes(error)
    assert [status for status in range(400, 600) if passes(StatusError(status=status))] == [
        408, 425, 429, *range(500, 600),
    ]  # fmt: skip
    assert not passes(StatusError(status=302))


def test_errors_without_a_status_pass_by_what_they_are() -> None:
    for error in (TimeoutError(), ConnectionResetError(), ConnectionRefusedError()):
        assert passes(error)
    for number in (errno.EBUSY, errno.EREMOTEIO):
        assert passes(OSError(number, "busy"))
    for error in (OSError(errno.EIO, "io"), ValueError(), FileNotFoundError(), PermissionError()):
        assert not passes(error)
    for name in ("ClientPayloadError", "IncompleteRead", "HTTPClientError", "RequestException"):
        inner = type(name, (Exception,), {})
        assert passes(inner()) and passes(type("Special", (inner,), {})())
    # It is told already how often it was asked.
    assert not passes(ServerError("busy"))
    assert not passes(StatusError(status=404, errno=errno.EBUSY))


def test_a_server_may_ask_to_wait() -> None:
    assert retry_after(StatusError(headers={"retry-after": "7"})) == 7
    assert retry_after(StatusError(headers={"Retry-After": "1.5"})) == 1.5
    assert retry_after(of_s3(503, **{"retry-after": "9"})) == 9
    assert retry_after(caused_by(of_s3(503, **{"retry-after": "9"}))) == 9
    for said in ("-3", "soon", "", formatdate(0, usegmt=True)):
        assert retry_after(StatusError(headers={"retry-after": said})) == 0
    assert retry_after(OSError("no")) == 0
    later = formatdate(time.time() + 100, usegmt=True)
    assert 90 < retry_after(StatusError(headers={"retry-after": later})) <= 100


class Closing(Body):
    closed = False

    def close(self) -> None:
        self.closed = True


class S3:
    """s3fs, as far as it is asked."""

    def __init__(self, body: Body, status: int = 200, **headers: str) -> None:
        self.answer = {
            "Body": body,
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
        }
        self.calls: list[dict[str, Any]] = []

    def split_path(self, path: str) -> tuple[str, str, str | None]:
        bucket, _, rest = path.partition("/")
        key, _, version = rest.partition("?")
        return bucket, key, version or None

    async def _process_limits(self, path: str, start: int, stop: int | None) -> str:
        return f"bytes={start}:{stop}"

    async def _call_s3(self, method: str, **options: Any) -> dict[str, Any]:
        self.calls.append({"method": method, **options})
        return self.answer


def test_an_object_of_s3_is_asked_for_once_and_let_go() -> None:
    body = Closing(b"abc")
    fs = S3(body, etag="v1")
    wanted = Wanted(None, None, 3, 1.0)
    assert asyncio.run(ask_s3(fs, "bucket/a/b", wanted)) == b"abc"
    assert fs.calls == [{"method": "get_object", "Bucket": "bucket", "Key": "a/b"}]
    assert body.closed and wanted.tag == "v1"
    part = S3(Closing(b"abc"), 206, **{"content-range": "bytes 5-7/90"})
    wanted = Wanted(5, 8, 3, 1.0)
    assert asyncio.run(ask_s3(part, "bucket/a?v7", wanted)) == b"abc"
    assert part.calls == [
        {"method": "get_object", "Bucket": "bucket", "Key": "a", "VersionId": "v7",
         "Range": "bytes=5:8"}
    ]  # fmt: skip
    assert wanted.total == 90
    long = Closing(b"abcdef")
    with pytest.raises(OSError, match="it may have 3 bytes, and more came"):
        asyncio.run(ask_s3(S3(long), "bucket/a", Wanted(None, None, 3, 1.0)))
    assert long.closed
