"""Ranges of files: many in flight give the bytes that plain reads give, or say that they do not."""

import errno
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ooc.store.chunks import asynchronous_io, files
from ooc.store.chunks.files import FileReader, Request, takes_direct_io

SIZE = 300_001


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "bytes"
    path.write_bytes(np.random.default_rng(0).bytes(SIZE))
    if not takes_direct_io(path):
        pytest.skip("this file system takes no direct I/O")
    return path


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a few requests fill a batch, in this thread's memory as in any other."""
    monkeypatch.setattr(files, "BATCH_BYTES", 64 * 2**10)
    monkeypatch.setattr(files, "_MEMORY", files._ThreadMemory())


def asynchronous_io_is_there() -> bool:
    return len(files._MEMORY.batches) == 2


ranges = st.tuples(st.integers(0, SIZE - 1), st.integers(1, 100_000)).map(
    lambda span: (span[0], min(sum(span), SIZE))
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans=st.lists(ranges, max_size=40), mode=st.sampled_from(["direct", "buffered", "cached"]))
def test_many_ranges_are_what_the_file_holds(
    file: Path, spans: list[tuple[int, int]], mode: str
) -> None:
    content, reader = file.read_bytes(), FileReader(mode)
    requests = [Request(str(file), *span) for span in spans]
    found = [(request, bytes(data or b"")) for request, data in reader.read_all(requests)]
    assert found == [(each, content[each.start : each.stop]) for each in requests]


def test_more_requests_than_a_batch_has_places(file: Path) -> None:
    content, reader = file.read_bytes(), FileReader("direct")
    requests = [Request(str(file), 7 * i, 7 * i + 5) for i in range(3 * asynchronous_io.DEPTH)]
    found = [bytes(data or b"") for _, data in reader.read_all(requests)]
    assert found == [content[each.start : each.stop] for each in requests]


def test_what_fails_in_flight_is_told_apart_and_read_in_the_plain_way(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asynchronous_io_is_there()
    whole, content, reader = asynchronous_io.Batch.collect, file.read_bytes(), FileReader("direct")

    def failing(batch: asynchronous_io.Batch) -> Sequence[int]:
        results = list(whole(batch))
        results[1:3] = [-errno.EIO, 4096]
        return results

    monkeypatch.setattr(asynchronous_io.Batch, "collect", failing)
    requests = [Request(str(file), start, start + 9000) for start in (0, 20_000, 40_000, 60_000)]
    found = [data if data is None else bytes(data) for _, data in reader.read_all(requests)]
    assert found == [content[:9000], None, None, content[60_000:69_000]]
    assert reader.retries == 1, "an error that may pass is counted, a short read is none"
    assert bytes(reader.read(requests[1])) == content[20_000:29_000]


def test_a_missing_file_and_a_short_one_spoil_only_their_own_ranges(file: Path) -> None:
    content, reader = file.read_bytes(), FileReader("direct")
    requests = [
        Request(str(file), 0, 100),
        Request(str(file.with_name("nowhere")), 0, 100),
        Request(str(file), SIZE - 10, SIZE + 10),
        Request(str(file), 500, 600),
    ]
    found = [data if data is None else bytes(data) for _, data in reader.read_all(requests)]
    assert found == [content[:100], None, None, content[500:600]]
    with pytest.raises(FileNotFoundError):
        reader.read(requests[1])
    with pytest.raises(files.TruncatedError, match=f"it ends after {SIZE:,} of {SIZE + 10:,}"):
        reader.read(requests[2])


def test_a_kernel_without_it_is_read_in_the_plain_way(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asynchronous_io, "_libc", lambda: None)
    monkeypatch.setattr(asynchronous_io, "_IDLE", [])
    assert not asynchronous_io_is_there()
    ((_, data),) = FileReader("direct").read_all([Request(str(file), 3, 70_000)])
    assert data is not None and bytes(data) == file.read_bytes()[3:70_000]


def test_leaving_early_lands_what_is_in_flight_and_closes_the_files(file: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    reader = FileReader("direct")
    requests = [Request(str(file), start, start + 9000) for start in range(0, 200_000, 10_000)]
    with closing(reader.read_all(requests)) as answers:
        next(answers)
    assert len(files._MEMORY.batches) == 2
    assert all(batch._pending == 0 for batch in files._MEMORY.batches)
    del reader, answers
    assert len(list(Path("/proc/self/fd").iterdir())) == before
