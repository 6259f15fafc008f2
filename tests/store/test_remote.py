"""A remote store: parts of an object are of one object, whenever it is written again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset

from ooc.store.addresses import reason_of
from ooc.store.answers import ServerError, Wanted
from ooc.store.chunks import BadChunkError
from ooc.store.chunks.general import ZarrReader
from ooc.store.remote import RemoteStore


def store_of(tags: list[str], scheme: str) -> RemoteStore:
    """Return a store whose server gives an object these tags, one after the other."""
    store = object.__new__(RemoteStore)
    store._turns, store._seconds = asyncio.Semaphore(1), 1.0
    store._tags, store._schemes = {}, {scheme}
    store.path, store.most_bytes = "", 2**20

    async def ask(path: str, wanted: Wanted) -> bytes:
        wanted.tag, wanted.total = tags.pop(0), 100
        first = wanted.start or 0
        return bytes(range(100))[first : wanted.stop]

    async def patiently(call: Callable[[], Awaitable[Any]], wanted: Wanted) -> Any:
        return await call()

    vars(store).update(_ask=ask, patiently=patiently)
    return store


@pytest.mark.parametrize(
    ("scheme", "second", "is_refused"),
    [("s3", "b", True), ("s3", "a", False), ("http", "b", False), ("gs", "b", True)],
)
def test_parts_of_an_object_that_was_written_again_are_refused(
    scheme: str, second: str, is_refused: bool
) -> None:
    """Servers of the web may tag each answer otherwise; what is taken whole may change."""

    async def read() -> None:
        store = store_of(["a", "b", "a", second], scheme)
        assert (await store.fetch("X/c/1", 0, 4))[0] == bytes([0, 1, 2, 3])
        assert (await store.fetch("X/c/2", 0, 4))[0] == bytes([0, 1, 2, 3])
        assert len((await store.fetch("X/zarr.json", None, None))[0]) == 100
        assert (await store.fetch("X/c/1", 4, 6))[0] == bytes([4, 5])

    if is_refused:
        with pytest.raises(ServerError, match="written again since it was read first"):
            asyncio.run(read())
    else:
        asyncio.run(read())


def test_an_object_that_is_read_whole_may_change_meanwhile() -> None:
    async def read() -> None:
        store = store_of(["a", "b", "c"], "s3")
        for _ in range(3):
            assert len((await store.fetch("X/c/1"))[0]) == 100

    asyncio.run(read())


def test_what_an_error_says_shows_no_secret_of_the_options() -> None:
    """Wherever it stands among them; addresses are none."""
    options = {
        "key": "AKIA-SHOWN-TO-NOBODY",
        "client_kwargs": {"aws_secret": "deep-secret", "endpoint_url": "http://localhost:9000"},
        "more": {"inner": {"token": "deeper-secret"}},
    }
    said = "AKIA-SHOWN-TO-NOBODY deep-secret deeper-secret at http://localhost:9000"
    shown = reason_of(OSError(said), options)
    assert "secret" not in shown and "AKIA" not in shown
    assert "http://localhost:9000" in shown
    grouped = ExceptionGroup("several", [OSError(said)])
    assert reason_of(grouped, options) == shown


def test_a_chunk_s_error_shows_no_secret_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where zarr-python decodes."""
    dataset = write_dataset(tmp_path / "a.zarr", X=np.ones((20, 2), "f4"))
    kept = replace(dataset, storage_options={"secret": "seen-by-nobody"})
    reader = ZarrReader(kept, "X")

    def fail(*given: object, **more: object) -> None:
        raise OSError("denied with seen-by-nobody")

    monkeypatch.setattr("zarr.Array.__getitem__", fail)
    monkeypatch.setattr("zarr.Array.get_basic_selection", fail)
    with pytest.raises(BadChunkError, match="denied with") as told:
        reader.read_runs([(0, 20)], np.empty((20, 2), "f4"))
    assert "seen-by-nobody" not in str(told.value)
