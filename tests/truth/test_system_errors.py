"""Limits and errors of the system: all rows are read, or it is said what they are.

Values come from NumPy; stores are written by zarr-python.
"""

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import foreign
from labelled import trainer, write_labelled
from pairs import pairs

import ooc
from ooc.core.errors import DataError, InputError
from ooc.store.chunks import BadChunkError, open_files, open_reader
from ooc.store.dataset import Dataset

MEMORY = "512MiB"


@pytest.fixture
def labelled(tmp_path: Path) -> Dataset:
    return write_labelled(tmp_path / "labelled.zarr")


@contextmanager
def few_files(more: int) -> Iterator[None]:
    """Allow so many more open files than there are by now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


Many = tuple[Path, np.ndarray, np.ndarray]


@pytest.fixture(scope="module", params=[2, 3])
def many(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Many:
    """A store of 800 files, in either format, with its features and its targets."""
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((1200, 2)), rng.integers(1, 9, 1200)
    arrays = {"X": {"data": x, "chunks": (3, 2)}, "y": {"data": y, "chunks": (3,)}}
    return foreign(tmp_path_factory.mktemp("many") / "a.zarr", request.param, **arrays), x, y


@pytest.mark.slow
@pytest.mark.parametrize(("io", "more"), pairs(["auto", "direct", "buffered"], [20, 60, 500]))
def test_more_files_than_may_be_open_are_all_read(many: Many, io: str, more: int) -> None:
    path, x, y = many
    open_files._KEPT.clear()
    with few_files(more):
        loader = ooc.Loader(
            ooc.open(path), 100, memory=MEMORY, io=io, on_bad_chunk="skip", readers=4
        )
        seen = {}
        for batch in loader:
            assert len(open_files._DESCRIPTORS) <= open_files.most_open_files() + 8
            values = zip(batch["X"].copy(), batch["y"].copy(), strict=True)
            seen |= dict(zip(batch.rows.tolist(), values, strict=True))
    assert loader.skipped_rows == 0
    assert sorted(seen) == list(range(1200))
    np.testing.assert_array_equal([seen[row][0] for row in range(1200)], x)
    np.testing.assert_array_equal([seen[row][1] for row in range(1200)], y)


@pytest.mark.slow
@pytest.mark.parametrize("io", ["direct", "buffered"])
def test_a_process_that_has_many_files_open_reads_with_the_few_that_are_left(
    many: Many, io: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_files, "_OF_OTHERS", [0])
    with ExitStack() as others:
        for _ in range(300):
            others.enter_context(Path("/dev/null").open())
        test_more_files_than_may_be_open_are_all_read(many, io, 20)


FAULTS = ("EMFILE", "ENFILE", "EACCES", "EPERM", "ENOMEM", "ENOTCONN")
WAYS = {"native, buffered": "buffered", "native, direct": "direct", "zarr-python": None}


def reader_of(path: Path, way: str, missing: str = "raise") -> Any:
    """Write a store that is read in this way, and open its features."""
    x = np.arange(600.0).reshape(200, 3)
    order = {"order": "F"} if WAYS[way] is None else {}
    dataset = ooc.open(foreign(path, 2, X={"data": x, "chunks": (10, 3), **order}), missing=missing)
    return open_reader(dataset, "X", WAYS[way] or "auto")


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("way", WAYS)
def test_an_error_of_the_system_is_no_bad_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, name: str
) -> None:
    reader, number = reader_of(tmp_path / "a.zarr", way), getattr(errno, name)
    whole_open, whole_bytes = os.open, Path.open

    def failing(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).endswith(("7.0", "X/8.0")):
            raise OSError(number, os.strerror(number), str(path))
        return whole_open(path, *arguments, **options)

    def failing_path(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.name == "7.0":
            raise OSError(number, os.strerror(number), str(self))
        return whole_bytes(self, *arguments, **options)

    monkeypatch.setattr(os, "open", failing)
    monkeypatch.setattr(Path, "open", failing_path)
    bad: list[BadChunkError] = []
    told = rf"array X of .*a\.zarr cannot be read from .*7\.0: {os.strerror(number)}; no chunk is"
    with pytest.raises(InputError, match=told) as caught:
        reader.read_runs([(0, 200)], np.empty((200, 3)), bad)
    assert not isinstance(caught.value, DataError) and bad == []


@pytest.mark.parametrize("missing", ["raise", "fill"])
@pytest.mark.parametrize("way", WAYS)
def test_a_folder_that_went_away_is_no_lot_of_missing_chunks(
    tmp_path: Path, way: str, missing: str
) -> None:
    reader, bad = reader_of(tmp_path / "a.zarr", way, missing), []
    shutil.rmtree(tmp_path / "a.zarr")
    with pytest.raises(InputError, match=r"array X of .*: No such file or directory; no chunk is"):
        reader.read_runs([(0, 200)], np.empty((200, 3)), bad)
    assert bad == []


@pytest.mark.parametrize("missing", ["raise", "fill"])
@pytest.mark.parametrize("way", WAYS)
def test_a_chunk_that_is_gone_is_one_bad_chunk_or_the_fill_value(
    tmp_path: Path, way: str, missing: str
) -> None:
    reader, bad = reader_of(tmp_path / "a.zarr", way, missing), list[BadChunkError]()
    (tmp_path / "a.zarr" / "X" / "7.0").unlink()
    out = np.empty((200, 3))
    reader.read_runs([(0, 200)], out, bad)
    expected = np.arange(600.0).reshape(200, 3)
    expected[70:80] = 0
    if missing == "raise":
        assert [chunk.rows for chunk in bad] == [(70, 79)]
        out[70:80] = 0
    np.testing.assert_array_equal(out, expected)


def test_a_checkpoint_that_the_system_cannot_open_is_not_damaged(
    labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer().fit(labelled, 2, tmp_path / "run")

    def failing(file: object, **options: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files", str(file))

    monkeypatch.setattr(np, "load", failing)
    with pytest.raises(InputError, match=r"cannot read the checkpoint .*: Too many open files"):
        ooc.load(tmp_path / "run")
