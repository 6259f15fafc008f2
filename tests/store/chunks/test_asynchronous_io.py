"""Batches of requests in flight: each lands in its place, and what the kernel refuses is told."""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ooc.store.chunks import asynchronous_io
from ooc.store.chunks.asynchronous_io import DEPTH, Batch, Placed

PAGE = 4096
CONTENT = np.random.default_rng(0).bytes(5 * PAGE + 100)


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "f").write_bytes(CONTENT)
    found = os.open(tmp_path / "f", os.O_RDONLY)
    yield found
    os.close(found)


@pytest.fixture
def batch() -> Batch:
    try:
        return Batch(8 * PAGE)
    except OSError as error:
        pytest.skip(f"this kernel has no asynchronous I/O: {error}")


def test_each_request_lands_in_its_place(batch: Batch, descriptor: int) -> None:
    batch.submit([
        Placed(descriptor, PAGE, PAGE, 3 * PAGE), Placed(descriptor, 0, 2 * PAGE, 0),
        Placed(descriptor, 4 * PAGE, 2 * PAGE, 6 * PAGE), Placed(descriptor, 9 * PAGE, PAGE, PAGE),
    ])  # fmt: skip
    read = batch.collect()
    assert read[:4] == [PAGE, 2 * PAGE, PAGE + 100, 0]
    assert bytes(batch.memory[3 * PAGE : 4 * PAGE]) == CONTENT[PAGE : 2 * PAGE]
    assert bytes(batch.memory[: 2 * PAGE]) == CONTENT[: 2 * PAGE]
    assert bytes(batch.memory[6 * PAGE : 7 * PAGE + 100]) == CONTENT[4 * PAGE :]
    # The next ones know nothing of those before.
    batch.submit([Placed(descriptor, 0, PAGE, 7 * PAGE)])
    assert batch.collect()[0] == PAGE
    assert bytes(batch.memory[7 * PAGE :]) == CONTENT[:PAGE]
    assert batch._pending == 0


def test_as_many_as_a_batch_has_places_are_read(batch: Batch, descriptor: int) -> None:
    batch.submit([Placed(descriptor, 0, PAGE, 0)] * DEPTH)
    assert batch.collect() == [PAGE] * DEPTH


def test_what_the_kernel_does_not_take_is_told(batch: Batch, descriptor: int) -> None:
    closed = os.dup(descriptor)
    os.close(closed)
    batch.submit([Placed(descriptor, 0, PAGE, 0), Placed(closed, 0, PAGE, PAGE)])
    read = batch.collect()
    assert read[0] == PAGE
    # It stops at one that it cannot take, and says neither of it nor of those behind.
    assert read[1] == -errno.EAGAIN and batch._pending == 0
    batch.submit([])
    assert batch._pending == 0


def test_a_call_that_was_interrupted_is_made_again(
    batch: Batch, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, left = asynchronous_io._call, [errno.EINTR, errno.EINTR]

    def failing(number: int, *given: Any) -> int:
        if number == asynchronous_io._GET_EVENTS and left:
            ctypes.set_errno(left.pop())
            return -1
        return whole(number, *given)

    monkeypatch.setattr(asynchronous_io, "_call", failing)
    batch.submit([Placed(descriptor, 0, PAGE, 0)])
    assert batch.collect()[0] == PAGE and left == []
    batch.submit([Placed(descriptor, 0, PAGE, 0)])
    left.append(errno.EINVAL)
    with pytest.raises(OSError, match="io_getevents failed") as caught:
        batch.collect()
    assert caught.value.errno == errno.EINVAL
    assert batch.collect()[0] == PAGE


def test_some_that_are_taken_later_land_too(
    batch: Batch, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may take fewer at once than it is given."""
    whole = asynchronous_io._call

    def few(number: int, *given: Any) -> int:
        if number == asynchronous_io._SUBMIT:
            context, count, pointers = given
            return whole(number, context, min(2, count), pointers)
        if number == asynchronous_io._GET_EVENTS:
            context, _, most, *rest = given
            return whole(number, context, 1, min(3, most), *rest)
        return whole(number, *given)

    monkeypatch.setattr(asynchronous_io, "_call", few)
    batch.submit([Placed(descriptor, n % 5 * PAGE, PAGE, n * PAGE) for n in range(7)])
    assert batch.collect()[:7] == [PAGE] * 7
    for n in range(7):
        start = n % 5 * PAGE
        assert bytes(batch.memory[n * PAGE : (n + 1) * PAGE]) == CONTENT[start : start + PAGE]


def test_a_kernel_without_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asynchronous_io, "_libc", lambda: None)
    monkeypatch.setattr(asynchronous_io, "_IDLE", [])
    with pytest.raises(OSError, match="io_setup was refused") as caught:
        Batch(PAGE)
    assert caught.value.errno == errno.ENOSYS


def test_what_the_system_made_for_a_batch_serves_the_next_one(batch: Batch) -> None:
    one = Batch(PAGE)
    context = one._context.value
    del one
    others = [Batch(PAGE), Batch(PAGE)]
    assert others[0]._context.value == context != others[1]._context.value


def test_with_requests_in_flight_it_serves_nobody_any_more(
    batch: Batch, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, whole = list[int](), asynchronous_io._call

    def noted(number: int, *given: Any) -> int:
        if number == asynchronous_io._DESTROY:
            ended.append(given[0].value)
        return whole(number, *given)

    monkeypatch.setattr(asynchronous_io, "_call", noted)
    landed, flying = Batch(PAGE), Batch(PAGE)
    landed.submit([Placed(descriptor, 0, PAGE, 0)])
    landed.collect()
    of_landed, of_flying = landed._context.value, flying._context.value
    flying.submit([Placed(descriptor, 0, PAGE, 0)])
    del landed, flying
    assert ended == [of_flying]
    assert of_flying not in {Batch(PAGE)._context.value for _ in range(3)}
    assert of_landed in {context.value for context in asynchronous_io._IDLE}


def test_a_forked_child_makes_its_own(batch: Batch, descriptor: int) -> None:
    one = Batch(PAGE)
    del one
    assert asynchronous_io._IDLE
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(BaseException):
            status = 2 * bool(asynchronous_io._IDLE)
            own = Batch(PAGE)
            own.submit([Placed(descriptor, PAGE, PAGE, 0)])
            status += own.collect() != [PAGE, *[0] * (DEPTH - 1)]
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
