"""A run begins although workers die as they are given the door."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ooc.cluster import crew


def begin(monkeypatch: pytest.MonkeyPatch, failing: int) -> int:
    """Begin where so many calls of the scheduler end with a closed stream; return the calls."""
    calls: list[object] = []

    async def register_plugin(plugin: object) -> None:
        calls.append(plugin)
        if len(calls) <= failing:
            raise OSError("Stream is closed")

    async def watch() -> None:
        pass

    monkeypatch.setattr(crew, "LOOK_SECONDS", 0.0)
    client = SimpleNamespace(register_plugin=register_plugin)
    one: Any = SimpleNamespace(_client=client, _watch=watch, _watching=None)
    asyncio.run(crew.Crew._begin(one))
    return len(calls)


def test_it_is_given_again_where_a_worker_died(monkeypatch: pytest.MonkeyPatch) -> None:
    assert begin(monkeypatch, 0) == 1
    assert begin(monkeypatch, 2) == 3


def test_a_scheduler_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="closed"):
        begin(monkeypatch, crew.MOST_BEGINNINGS)
