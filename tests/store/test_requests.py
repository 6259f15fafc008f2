"""Requests to a server are sent again with pauses, within bounds, and told what became of them."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.buffer import cpu

from ooc.store import remote
from ooc.store.answers import WANTED, ServerError, Wanted, session_class
from ooc.store.file_systems import layer_options
from ooc.store.remote import (
    RemoteStore,
    open_store,
)

WHOLE = bytes(range(100))


class StatusError(Exception):
    def __init__(self, status: int, said: str = "", **headers: str) -> None:
        super().__init__(said)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class FileSystem:
    """One of fsspec's that holds an object, and fails as often as it is told to."""

    protocol: Any = "some"
    errors: tuple[Exception, ...] = ()

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        self.asked.append((path, start, end))
        if len(self.asked) <= len(self.errors):
            raise self.errors[len(self.asked) - 1]
        return WHOLE[start:end]


class Clock:
    """Time that goes on only while somebody pauses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.pauses = 1000.0, list[float]()
        real = asyncio.sleep

        async def sleep(seconds: float) -> None:
            self.pauses.append(round(seconds, 3))
            self.now += seconds
            await real(0)

        monkeypatch.setattr("ooc.store.remote.asyncio.sleep", sleep)

    def run(self, made: Callable[[], Awaitable[Any]]) -> Any:
        loop = asyncio.new_event_loop()
        loop.time = lambda: self.now  # type: ignore[method-assign]
        try:
            return loop.run_until_complete(made())  # type: ignore[arg-type]
        finally:
            loop.close()


def store_of(*errors: Exception, path: str = "bucket/a.zarr", seconds: float = 10.0) -> RemoteStore:
    store = object.__new__(RemoteStore)
    store.fs = FileSystem()  # type: ignore[assignment]
    store.fs.errors = errors  # type: ignore[attr-defined]
    store._turns, store._seconds, store._tags = asyncio.Semaphore(16), seconds, {}
    store._schemes, store.path = {"some"}, path
    store.retries, store.most_bytes = 0, 2**20
    store.allowed_exceptions = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
    return store


BUSY = StatusError(503, "too many")


def test_errors_that_pass_are_asked_for_again_with_growing_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for count in range(5):
        clock, store = Clock(monkeypatch), store_of(*[BUSY] * count)

        async def fetched(store: RemoteStore = store) -> bytes | bytearray:
            found, _ = await store.fetch("X/c/0")
            assert WANTED.get() is None
            return found

        assert clock.run(fetched) == WHOLE
        assert clock.pauses == [0.1, 0.4, 1.6, 6.4][:count]
        assert store.retries == count and len(store.fs.asked) == count + 1  # type: ignore[attr-defined]
        assert not remote._UNDER_WAY


# What a server says, the bound in seconds, and what is told in the end.
GIVEN_UP: list[tuple[list[Exception], float, list[float], str]] = [
    (
        [BUSY] * 9, 10, [0.1, 0.4, 1.6, 6.4],
        "it answers 503 (too many); requests sent: 5, in 8.5 s",
    ),
    ([BUSY] * 9, 1, [0.1, 0.4], "it answers 503 (too many); requests sent: 3, in 0.5 s"),
    (
        [StatusError(503, "no", retry_after="20")], 10, [],
        "it answers 503 (no), and asks to wait for 20 s; requests sent: 1, in 0.0 s",
    ),
    (
        [StatusError(503, "no", retry_after="15")] * 2, 10, [15],
        "it answers 503 (no), and asks to wait for 15 s; requests sent: 2, in 15.0 s",
    ),
    (
        [TimeoutError()] * 9, 2.5, [0.1, 0.4, 1.6],
        "too little came in 2.5 s (OOC_SERVER_SECONDS); requests sent: 4, in 2.1 s",
    ),
    ([ConnectionResetError(104, "reset")] * 9, 1, [0.1, 0.4],
     "reset; requests sent: 3, in 0.5 s"),
    ([StatusError(400, "bad")], 10, [], "it answers 400 (bad); requests sent: 1, in 0.0 s"),
    ([StatusError(302, "moved")], 10, [], "it answers 302 (moved); requests sent: 1, in 0.0 s"),
    ([BUSY, StatusError(400, "bad")], 10, [0.1],
     "it answers 400 (bad); requests sent: 2, in 0.1 s"),
]  # fmt: skip


@pytest.mark.parametrize(("errors", "seconds", "pauses", "said"), GIVEN_UP)
def test_a_request_is_given_up_within_its_bound_and_told(
    monkeypatch: pytest.MonkeyPatch, errors: list[Exception], seconds: float,
    pauses: list[float], said: str,
) -> None:  # fmt: skip
    clock, store = Clock(monkeypatch), store_of(*errors, seconds=seconds)
    with pytest.raises(ServerError) as caught:
        clock.run(lambda: store.fetch("X/c/0"))
    assert (str(caught.value), clock.pauses) == (said, pauses)
    assert store.retries == len(pauses)
    assert not remote._UNDER_WAY


def test_what_was_late_because_this_process_was_busy_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, store = Clock(monkeypatch), store_of(BUSY, BUSY, BUSY)
    ask, seconds = store._ask, [30.0, 1.0, 25.0]

    async def slowly(path: str, wanted: Wanted) -> bytes | bytearray:
        clock.now += seconds.pop(0)
        return await ask(path, wanted)

    store._ask = slowly  # type: ignore[method-assign]
    with pytest.raises(ServerError, match=r"requests sent: 2, in 31\.1 s$"):
        clock.run(lambda: store.fetch("X/c/0"))
    assert clock.pauses == [0.1]


@pytest.mark.parametrize(
    "error",
    [*(StatusError(status) for status in (401, 403, 404, 410, 416)), ValueError("x"),
     FileNotFoundError("x"), PermissionError("x")],
)  # fmt: skip
def test_what_is_of_an_object_is_raised_as_it_is(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    clock, store = Clock(monkeypatch), store_of(error)
    with pytest.raises(type(error)) as caught:
        clock.run(lambda: store.fetch("X/c/0"))
    assert caught.value is error and clock.pauses == [] and store.retries == 0


def test_parts_are_asked_for_as_zarr_means_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    for part, asked, found in (
        (None, (None, None), WHOLE),
        (RangeByteRequest(20, 30), (20, 30), WHOLE[20:30]),
        (SuffixByteRequest(7), (-7, None), WHOLE[-7:]),
        (OffsetByteRequest(90), (90, None), WHOLE[90:]),
    ):  # fmt: skip
        store = store_of()
        buffer = clock.run(lambda s=store, p=part: s.get("X/c/0", cpu.buffer_prototype, p))
        assert buffer.to_bytes() == found
        assert store.fs.asked == [("bucket/a.zarr/X/c/0", *asked)]  # type: ignore[attr-defined]
    store = store_of(FileNotFoundError())
    assert clock.run(lambda: store.get("X/c/0", cpu.buffer_prototype)) is None
    store = store_of(OSError("The requested range is not satisfiable"))
    assert clock.run(lambda: store.get("X", cpu.buffer_prototype)).to_bytes() == b""
    store = store_of(path="")
    clock.run(lambda: store.fetch("X/c/0"))
    assert store.fs.asked == [("X/c/0", None, None)]  # type: ignore[attr-defined]


def test_a_part_that_is_cut_short_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with pytest.raises(OSError, match=r"^20 bytes were asked for, 5 came; it is cut short$"):
        clock.run(lambda: store_of().fetch("X", 95, 115))
    # At an end, or from some byte on, less is no damage.
    assert clock.run(lambda: store_of().fetch("X", -200)) == (WHOLE, None)
    assert clock.run(lambda: store_of().fetch("X", 95))[0] == WHOLE[95:]


def test_each_kind_of_object_has_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seen = Clock(monkeypatch), []

    async def ask(path: str, wanted: Wanted) -> bytes:
        seen.append((wanted.start, wanted.stop, wanted.most, wanted.seconds))
        return WHOLE[wanted.start : wanted.stop]

    store = store_of(seconds=3)
    store._ask = ask  # type: ignore[method-assign]
    for key, *part in (
        ("zarr.json",), ("X/zarr.json",), ("X/c/0",), ("X/c/0", 5, 9), ("X/c/0", -9), ("X/c/0", 5),
    ):  # fmt: skip
        clock.run(lambda key=key, part=part: store.fetch(key, *part))
    assert [most for _, _, most, _ in seen] == [64 * 2**20] * 2 + [2**20, 4, 9, 2**20]
    assert {seconds for *_, seconds in seen} == {3}


@pytest.mark.slow
def test_a_slow_store_has_time_for_the_bytes_that_it_may_bring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, store = Clock(monkeypatch), store_of(seconds=10)
    limits: list[float] = []
    limit = SimpleNamespace(reschedule=lambda when: limits.append(when - clock.now))
    wanted = Wanted(None, None, 3 * 2**20, 10.0, limit=limit)  # type: ignore[arg-type]
    clock.run(lambda: store._ask("X", wanted))
    assert limits == [40]
    # Of those whose bytes are seen, each that comes gives time.
    store._schemes = {"https", "http"}
    clock.run(lambda: store._ask("X", wanted))
    assert limits == [40]


def test_folders_are_listed_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, store = Clock(monkeypatch), store_of()
    asked: list[Any] = []

    async def listed(path: str, detail: bool) -> list[str]:
        asked.append((path, detail))
        return [f"{path}/zarr.json", f"{path}/c/", "other"]

    store.fs._ls = listed  # type: ignore[attr-defined]

    async def names(prefix: str) -> list[str]:
        return [name async for name in store.list_dir(prefix)]

    assert clock.run(lambda: names("X/")) == ["zarr.json", "c", "other"]
    assert asked == [("bucket/a.zarr/X", False)]

    async def gone(path: str, detail: bool) -> list[str]:
        raise FileNotFoundError(path)

    store.fs._ls = gone  # type: ignore[attr-defined]
    assert clock.run(lambda: names("X")) == []


@pytest.mark.parametrize(("most", "answers"), [(0, 1), (999, 1), (1000, 2), (5000, 6)])
def test_a_long_list_has_time_for_all_of_its_answers(
    monkeypatch: pytest.MonkeyPatch, most: int, answers: int
) -> None:
    clock, store = Clock(monkeypatch), store_of(seconds=10)
    seen: list[Any] = []

    async def find(path: str, detail: bool) -> dict[str, Any]:
        wanted = WANTED.get()
        assert wanted is not None and wanted.limit is not None
        seen.append((path, detail, wanted.most, wanted.limit.when() - clock.now))
        return {"X/c/0": {"size": 5}}

    store.fs._find = find  # type: ignore[attr-defined]
    assert clock.run(lambda: store.find("X", most)) == {"X/c/0": {"size": 5}}
    assert seen == [("bucket/a.zarr/X", True, 64 * 2**20, 10.0 * answers)]


def test_layers_below_send_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOC_SERVER_SECONDS", "7")
    for scheme in ("s3", "s3a"):
        told = layer_options(scheme)
        assert told["use_listings_cache"] is False
        assert told["config_kwargs"] == {
            "connect_timeout": 7, "read_timeout": 7, "retries": {"max_attempts": 0},
            "max_pool_connections": 64, "http_session_cls": session_class(),
        }  # fmt: skip
    for scheme, name in (("gs", "session_kwargs"), ("gcs", "session_kwargs"),
                         ("http", "client_kwargs"), ("https", "client_kwargs")):  # fmt: skip
        told = layer_options(scheme)
        limit = told[name]["timeout"]
        assert (limit.total, limit.sock_connect, limit.sock_read) == (None, 7, 7)
        assert ("use_listings_cache" in told) == (name == "session_kwargs")
    assert layer_options("memory") == {}


@pytest.mark.parametrize("scheme", ["s3", "gs", "https"])
def test_layers_that_send_again_by_themselves_are_told_not_to(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    asked: list[Any] = []

    async def note(what: str, *given: Any) -> None:
        asked.append(what)

    def again(call: Any) -> Any:
        @functools.wraps(call)
        async def several(*given: Any) -> None:
            for _ in range(6):
                await call(*given)

        return several

    class Layer:
        retries = 5

        async def set_session(self) -> None:
            await note("session")

        @again
        async def _request(self, what: str) -> None:
            await note(what)

        def _strip_protocol(self, path: str) -> str:
            return path

    layer = Layer()
    store = SimpleNamespace(fs=layer, get=lambda key, prototype: note(key))
    given: dict[str, Any] = {}

    def layer_with(asynchronous: bool, **options: Any) -> Layer:
        given.update(options)
        return layer

    def from_url(path: str, options: dict[str, Any], read_only: bool) -> Any:
        asked.append((path, options["anon"], len(options) > 1, read_only))
        return store

    def begin(self: Any, fs: Layer, path: str, read_only: bool) -> None:
        self.fs, self.get = fs, store.get
        from_url(path, given, read_only)

    monkeypatch.setattr(RemoteStore, "from_url", from_url)
    monkeypatch.setattr(RemoteStore, "__init__", begin)
    monkeypatch.setattr("ooc.store.remote.file_system_class", lambda scheme: layer_with)
    opened: Any = open_store(f"{scheme}://b/a", {"anon": True})
    assert opened.fs is layer
    session = ["session"] if scheme == "s3" else []
    assert asked == [(f"{scheme}://b/a", True, True, True), *session, "zarr.json"]
    assert layer.retries == (1 if scheme == "s3" else 5)
    asked.clear()
    asyncio.run(layer._request("once"))
    assert asked == ["once"] * (1 if scheme == "gs" else 6)


def test_a_store_in_memory_is_opened_for_reading() -> None:
    store: Any = open_store("memory://requests-of-tests.zarr", None)
    assert store.read_only and store.retries == 0
    assert store._schemes == {"memory"} and store._turns._value == 64
