"""Ranges are aligned, batched and read again as they are told to be; ends of files as they are."""

import errno
import fcntl
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.store.chunks import files, open_files
from ooc.store.chunks.files import (
    BATCH_BYTES,
    FileReader,
    Request,
    TruncatedError,
    batched,
    takes_direct_io,
)
from ooc.store.chunks.native import LARGEST_GAP, LARGEST_REQUEST, Job, _merged

PAGE = 4096


@settings(max_examples=50, deadline=None)
@given(start=st.integers(0, 10**6), size=st.integers(1, 10**6))
def test_a_request_is_the_fewest_whole_pages_around_its_range(start: int, size: int) -> None:
    request = Request("f", start, start + size)
    last = request.first + request.length
    assert request.first % PAGE == request.length % PAGE == 0
    assert request.first <= start < request.first + PAGE
    assert last - PAGE < start + size <= last


def test_batches_are_as_full_as_they_may_be() -> None:
    def sizes(*spans: int) -> list[list[int]]:
        return [[r.length for r in part] for part in batched(Request("f", 0, n) for n in spans)]

    half = BATCH_BYTES // 2
    assert sizes() == []
    assert sizes(half, half, 1, 1, 1) == [[half, half], [PAGE, PAGE, PAGE]]
    assert sizes(half, half + 1) == [[half], [half + PAGE]]
    assert sizes(1, 3 * BATCH_BYTES, 1) == [[PAGE], [3 * BATCH_BYTES], [PAGE]]
    assert [len(part) for part in sizes(*[1] * 300)] == [128, 128, 44]


def job(start: int, stop: int, path: str = "f") -> Job:
    return Job(path, start, stop, 0, 1, np.empty(0), (0,), 0)


def merged(*jobs: Job) -> list[tuple[str, int, int, int]]:
    found = list(_merged(iter(jobs)))
    assert [each for request in found for each in request.wanted_for] == list(jobs)
    return [(each.path, each.start, each.stop, len(each.wanted_for)) for each in found]


def test_neighbours_in_a_file_share_a_request() -> None:
    gap, most = LARGEST_GAP, LARGEST_REQUEST
    assert (gap, most) == (64 * 1024, 2 * 2**20 - 2 * PAGE)
    assert merged() == []
    assert merged(job(5, 9), job(9, 12), job(20, 30)) == [("f", 5, 30, 3)]
    assert merged(job(0, 9), job(9 + gap, 90 + gap)) == [("f", 0, 90 + gap, 2)]
    assert len(merged(job(0, 9), job(10 + gap, 90 + gap))) == 2
    assert len(merged(job(0, 9), job(9, 12, "g"))) == 2
    # Those before, and those that overlap, are asked for by themselves.
    assert len(merged(job(20, 30), job(5, 9))) == 2
    assert len(merged(job(5, 9), job(8, 12))) == 2
    assert merged(job(7, 20), job(20, 7 + most)) == [("f", 7, 7 + most, 2)]
    assert merged(job(7, 20), job(20, 8 + most)) == [("f", 7, 20, 1), ("f", 20, 8 + most, 1)]
    assert merged(job(0, 3 * most)) == [("f", 0, 3 * most, 1)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "f").write_bytes(np.random.default_rng(0).bytes(10_000))
    return tmp_path / "f"


@pytest.mark.parametrize("mode", ["direct", "buffered", "cached"])
def test_ends_of_files_are_read_with_their_size(file: Path, mode: str) -> None:
    if mode == "direct" and not takes_direct_io(file):
        pytest.skip("this file system takes no direct I/O")
    content, reader = file.read_bytes(), FileReader(mode)
    for length in (1, 68, 5000, 10_000):
        for at_end, wanted in ((True, content[-length:]), (False, content[:length])):
            found = reader.read_end(str(file), length, at_end)
            assert found is not None and bytes(found[0]) == wanted and found[1] == 10_000
    found = reader.read_end(str(file), 10_001, True)
    assert found is not None and (bytes(found[0]), found[1]) == (b"", 10_000)
    assert reader.read_end("/nowhere/at/all", 5, True) is None
    assert (reader.size(str(file)), reader.size("/nowhere/at/all")) == (10_000, None)
    for stop in (10_001, 30_000):
        with pytest.raises(TruncatedError) as caught:
            reader.read(Request(str(file), 9000, stop))
        assert str(caught.value) == f"it ends after 10,000 of {stop:,} bytes"
    assert reader.retries == 0
    other: Any = FileReader(mode).__reduce__()
    assert other == (FileReader, (mode,))


@pytest.mark.parametrize(
    ("numbers", "pauses"),
    [
        ([errno.EIO], [0.05]), ([errno.EAGAIN, errno.ETIMEDOUT, errno.ESTALE], [0.05, 0.2, 0.8]),
        ([errno.EIO] * 4, [0.05, 0.2, 0.8]), ([errno.ENOENT], []), ([errno.EACCES], []),
        ([errno.EIO, errno.EACCES], [0.05]),
    ],
)  # fmt: skip
def test_errors_that_may_pass_are_read_again_three_times(
    file: Path, monkeypatch: pytest.MonkeyPatch, numbers: list[int], pauses: list[float]
) -> None:
    reader, left, slept = FileReader("cached"), list(numbers), list[float]()
    whole = files.os.preadv

    def failing(*given: Any) -> int:
        if left:
            raise OSError(left.pop(0), "it failed")
        return whole(*given)

    monkeypatch.setattr(files.os, "preadv", failing)
    monkeypatch.setattr(files.time, "sleep", lambda seconds: slept.append(round(seconds, 3)))
    request = Request(str(file), 100, 200)
    if len(pauses) == len(numbers):
        assert bytes(reader.read(request)) == file.read_bytes()[100:200]
    else:
        with pytest.raises(OSError, match="it failed"):
            reader.read(request)
    assert (slept, reader.retries) == (pauses, len(pauses))


def test_a_range_that_fails_among_others_is_told_and_counted(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, whole, left = FileReader("cached"), files.os.preadv, [0, errno.EIO, errno.EACCES, 0]

    def failing(*given: Any) -> int:
        if number := left.pop(0):
            raise OSError(number, "it failed")
        return whole(*given)

    monkeypatch.setattr(files.os, "preadv", failing)
    requests = [Request(str(file), start, start + 10) for start in (0, 100, 200, 300)]
    found = [data if data is None else bytes(data) for _, data in reader.read_all(requests)]
    content = file.read_bytes()
    assert found == [content[:10], None, None, content[300:310]]
    assert reader.retries == 1


def test_short_reads_are_gone_on_with(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, steps = files.os.preadv, [PAGE, PAGE, 10_000 - 2 * PAGE]

    def short(descriptor: int, buffers: list[Any], offset: int) -> int:
        return whole(descriptor, [buffers[0][: steps.pop(0)]], offset)

    monkeypatch.setattr(files.os, "preadv", short)
    found = FileReader("cached").read(Request(str(file), 50, 9990))
    assert bytes(found) == file.read_bytes()[50:9990] and steps == []


def test_a_read_that_ends_off_the_alignment_is_at_the_end_of_its_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.os, "preadv", lambda *given: 512)
    with pytest.raises(TruncatedError, match=r"^it ends after 4,608 of 9,990 bytes$"):
        FileReader("cached").read(Request(str(file), 5000, 9990))


@pytest.mark.parametrize(("mode", "dropped"), [("buffered", True), ("cached", False)])
def test_what_is_read_through_the_cache_is_dropped_where_it_is_to_be(
    file: Path, monkeypatch: pytest.MonkeyPatch, mode: str, dropped: bool
) -> None:
    advised: list[tuple[int, ...]] = []
    monkeypatch.setattr(files.os, "posix_fadvise", lambda *given: advised.append(tuple(given[1:])))
    request = Request(str(file), 5000, 5010)
    for read in (lambda: FileReader(mode).read(request),
                 lambda: list(FileReader(mode).read_all([request]))):  # fmt: skip
        read()
        assert advised == ([(PAGE, PAGE, files.os.POSIX_FADV_DONTNEED)] if dropped else [])
        advised.clear()


def test_direct_reads_go_past_the_cache_and_hold_no_file_longer(file: Path) -> None:
    if not takes_direct_io(file):
        pytest.skip("this file system takes no direct I/O")
    for mode, direct in (("direct", True), ("buffered", False), ("cached", False)):
        opened = FileReader(mode)._files.get(str(file))
        flags = fcntl.fcntl(opened.descriptor, fcntl.F_GETFL)
        assert bool(flags & os.O_DIRECT) == direct
    held, content, reader = len(open_files._HELD), file.read_bytes(), FileReader("direct")
    # What ends before its range is read again by whoever tells what is wrong.
    spans = [(0, 100), (9000, 10_010), (500, 600), (9000, 10_000)]
    found = [data and bytes(data) for _, data in reader.read_all(
        Request(str(file), *span) for span in spans
    )]  # fmt: skip
    assert found == [content[:100], None, content[500:600], content[9000:]]
    assert len(open_files._HELD) == held
    with closing(reader.read_all([Request(str(file), 0, 5000)] * 2000)) as answers:
        next(answers)
    assert len(open_files._HELD) == held, "though most of them were never asked for"


def test_memory_of_a_thread_grows_in_whole_pages_and_stays() -> None:
    memory = files._ThreadMemory()
    first = memory.at_least(5000)
    assert len(first) == 2 * PAGE
    assert memory.at_least(2 * PAGE).obj is first.obj
    assert len(memory.at_least(2 * PAGE + 1)) == 3 * PAGE
