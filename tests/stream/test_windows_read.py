"""What a window holds once it is read: its slabs, its rows, and what could not be read."""

import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import numpy as np
import pytest
import scipy.sparse
from datasets import foreign, small_windows, write_dataset
from sparse_rows import write_sparse

import ooc
from ooc.core.errors import DataError, InputError
from ooc.store.chunks import BadChunkError
from ooc.store.dataset import Dataset
from ooc.stream import reader as module
from ooc.stream.loader import Loader
from ooc.stream.reader import WindowReader
from ooc.stream.scheduler import check_scheduler
from ooc.stream.unread import MOST_NOTED, Unread
from ooc.stream.window import Window

MEMORY = "512MiB"


def test_rows_that_a_bad_chunk_holds_are_noted_in_the_block_that_asked() -> None:
    """Blocks of rows 10 to 14, 20 to 24 and 40 to 41 lie one after the other."""
    unread = Unread([(10, 15), (20, 25), (40, 42)])
    assert unread.rows.tolist() == [False] * 12
    for run, rows in ((0, (8, 11)), (1, (22, 23)), (2, (41, 60))):
        unread.append(BadChunkError("X", "a.zarr", (0,), "file", rows, "is damaged", run))
    bad = [True, True, *[False] * 5, True, True, False, False, True]
    assert unread.rows.tolist() == bad
    assert [each.rows for each in unread.first] == [(8, 11), (22, 23), (41, 60)]
    for _ in range(150):
        unread.append(BadChunkError("X", "a.zarr", (0,), "file", (20, 20), "is damaged", 1))
    assert (unread.count, len(unread.first)) == (153, MOST_NOTED)
    assert unread.rows.tolist() == [*bad[:5], True, *bad[6:]]
    assert MOST_NOTED == 100


def test_a_window_knows_the_rows_at_its_places() -> None:
    window = Window({}, ("X", None, "w"), np.zeros(0), 0, np.array([30, 0, 90]), 10, 0, 0, True)
    assert window.rows(np.array([0, 9, 10, 19, 20])).tolist() == [30, 39, 0, 9, 90]
    weighed = replace(window, arrays={"X": np.ones(2), "w": np.zeros(2)})
    assert weighed.weight is weighed.arrays["w"]
    assert weighed.features is weighed.arrays["X"]
    assert weighed.target is None


@pytest.fixture
def lacking(tmp_path: Path) -> Dataset:
    """95 rows in blocks of 10; values are missing in rows 13, 57 and 58, and chunk 4 is damaged."""
    x = np.arange(190, dtype=np.float32).reshape(95, 2)
    x[[13, 57, 58], [1, 0, 1]] = np.nan
    x[58] = np.nan
    arrays: Any = {
        "X": {"data": x, "chunks": (10, 2)},
        "y": {"data": np.arange(95), "chunks": (10,)},
    }
    path = foreign(tmp_path / "a.zarr", 2, **arrays)
    (path / "X" / "4.0").write_bytes(b"damaged")
    return ooc.open(path)


@pytest.mark.parametrize("shuffle", ["blocks", "none"])
def test_what_is_left_out_is_told_window_by_window(lacking: Dataset, shuffle: str) -> None:
    options: Any = {"on_bad_chunk": "skip", "missing_values": "drop", "shuffle": shuffle}
    loader = Loader(lacking, 8, memory=MEMORY, window=3, block_rows=10, **options)
    skipped, lost, seen = 0, {13, 57, 58, *range(40, 50)}, list[int]()
    for window in loader.windows(1):
        stored = {
            int(row) for first in window.block_starts for row in range(first, min(first + 10, 95))
        }
        rows = window.rows(window.order).tolist()
        assert set(rows) == stored - lost
        assert window.skipped_rows == len(stored & lost)
        assert window.skipped_chunks == (40 in stored)
        lack = len(stored & {13, 57, 58})
        assert window.missing == ({"X": lack} if lack else {})
        assert (window.epoch, window.start, window.block_rows) == (0, 0, 10)
        assert window.wait_seconds >= 0
        np.testing.assert_array_equal(window.target[window.order], rows)
        np.testing.assert_array_equal(window.features[window.order, 0], 2 * np.array(rows))
        skipped += window.skipped_rows
        seen += rows
    assert sorted(seen) == sorted(set(range(95)) - lost)
    assert (seen == sorted(seen)) == (shuffle == "none")
    assert (loader.skipped_rows, loader.skipped_chunks) == (13, 1)
    assert loader.missing == {"X": 3}


def test_the_first_row_that_lacks_a_value_is_told_by_its_place_in_the_dataset(
    lacking: Dataset, tmp_path: Path
) -> None:
    """Of those that are used in the window: not row 13, which is on the other side."""
    x = np.ones((95, 2), np.float32)
    x[[13, 57, 58], 1] = -9
    arrays: Any = {"X": {"data": x, "chunks": (10, 2), "attributes": {"_FillValue": -9.0}}}
    data = ooc.open(foreign(tmp_path / "b.zarr", 2, **arrays))
    loader = Loader(data, 8, memory=MEMORY, window=10, block_rows=10, seed=3)
    with pytest.raises(
        DataError, match=r"X of .*b\.zarr has a missing value in row 13, column 1"
    ) as e:
        list(loader)
    assert "3 of the 95 rows of this window lack one" in str(e.value)
    sides = [ooc.split(data, 0.5, seed=seed)[1] for seed in range(12)]
    for side in sides:
        selection = side.selection
        assert selection is not None
        used = np.flatnonzero(selection.contains(0, 95, {}))
        bad = sorted(set(used.tolist()) & {13, 57, 58})
        if len(bad) in (0, 3):
            continue
        with pytest.raises(
            DataError, match=f"in row {bad[0]}, .* {len(bad)} of the {len(used)} rows"
        ):
            list(Loader(side, 8, memory=MEMORY, window=10, block_rows=10))


def test_tasks_keep_all_readers_busy_and_are_not_too_large(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows that are on their way share the readers; a task is of 32 MiB at most."""
    plan = Loader(dataset, 64, memory=MEMORY, window=20, readers=5).plan
    assert plan.slabs == 4

    def tasks(**changes: Any) -> int:
        with WindowReader(dataset, ("X",), replace(plan, **changes)) as reader:
            return reader._tasks

    assert [tasks(readers=readers) for readers in (1, 3, 5)] == [1, 1, 2]
    assert tasks(slabs=2) == 5
    rows = plan.order.window_rows
    assert tasks(row_bytes=7 * 32 * 2**20 // rows + 1) == 8


@pytest.mark.parametrize(("scheduler", "ahead"), [(None, 4), ("synchronous", 1)])
def test_windows_are_read_ahead_by_the_readers_of_this_process(
    dataset: Dataset, scheduler: str | None, ahead: int
) -> None:
    plan = Loader(dataset, 64, memory=MEMORY, window=20, readers=5).plan
    with dask.config.set(scheduler=scheduler), WindowReader(dataset, ("X",), plan) as reader:
        assert reader._coordinators._max_workers == ahead
        assert reader._pool._max_workers == 5


def test_the_first_window_is_read_alone_by_all_readers(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 3 * 2**10)
    plan = Loader(dataset, 64, memory=MEMORY, window=6, readers=5).plan
    begun, other = list[tuple[int, int]](), threading.Event()
    read = WindowReader._read

    def noted(self: WindowReader, place: tuple[int, int, int], slab: Any, tasks: int) -> Any:
        begun.append((place[1], tasks))
        if place[1] == 0:
            assert not other.wait(0.2), "another one is read beside it"
        else:
            other.set()
        return read(self, place, slab, tasks)

    monkeypatch.setattr(WindowReader, "_read", noted)
    places = [(0, window, 0) for window in range(plan.order.windows)]
    assert len(places) > plan.slabs == 4
    with WindowReader(dataset, ("X",), plan) as reader:
        seen = [window.index for window in reader.windows(places)]
    assert seen == list(range(len(places)))
    assert begun[0] == (0, 5)
    assert sorted(begun[1:]) == [(number, 2) for number in seen[1:]]


def test_a_sparse_matrix_is_read_in_this_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = scipy.sparse.random_array((60, 9), density=0.3, rng=1, format="csr", dtype=np.float32)
    data = ooc.open(write_sparse(tmp_path / "a.zarr", matrix, y=np.arange(60)))
    plan = Loader(data, 8, memory=MEMORY).plan
    monkeypatch.setattr(module, "transfers_rows", lambda: True)
    with pytest.raises(InputError) as refused:
        WindowReader(data, ("X",), plan)
    assert str(refused.value) == (
        f"X of {data.path} is a sparse matrix, which is read in this process alone; leave Dask's "
        "scheduler as it is"
    )


def test_a_loop_in_a_forked_process_is_refused(dataset: Dataset) -> None:
    loader = Loader(dataset, 64, memory=MEMORY, window=20)
    with WindowReader(dataset, ("X",), loader.plan) as reader:
        windows = reader.windows([(0, 0, 0), (0, 1, 0)])
        next(windows)
        reader._process = 1
        with pytest.raises(InputError) as refused:
            next(windows)
        reader._process = os.getpid()
    assert str(refused.value) == (
        f"process {os.getpid()} was forked from 1 in the midst of a loop over rows, whose readers "
        "it does not have; begin a loop of its own in it"
    )


@pytest.mark.parametrize("text", ["work()", "if __name__ == '__main__':\n    work()"])
@pytest.mark.parametrize("how", ["spawn", "fork", "module"])
def test_processes_that_would_run_a_script_again_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, how: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(text)
    name = "package.__main__" if how == "module" else None
    spec = None if name is None else type("Spec", (), {"name": name})()
    main = type("Main", (), {"__file__": str(script), "__spec__": spec})()
    monkeypatch.setitem(sys.modules, "__main__", main)
    check_scheduler()
    context = "fork" if how == "fork" else "spawn"
    settings = {"scheduler": "processes", "multiprocessing.context": context}
    with dask.config.set(settings):
        if how != "spawn" or "__name__" in text:
            check_scheduler()
            return
        with pytest.raises(InputError) as refused:
            check_scheduler()
    assert str(refused.value) == (
        f"Dask's scheduler of processes would run {script} again in each of them; begin its work "
        "below if __name__ == '__main__':, or choose another scheduler"
    )


def test_drawn_rows_are_weighed_by_what_is_on_their_side(tmp_path: Path) -> None:
    weight = np.arange(95.0)
    data = write_dataset(tmp_path / "a.zarr", X=np.ones((95, 1)), y=np.zeros(95), weight=weight)
    side = ooc.split(data, 0.4)[1]
    assert side.selection is not None
    used = side.selection.contains(0, 95, {})
    loader = Loader(side, 8, memory=MEMORY, sampling="weight", window=3, block_rows=10)
    for window in loader.windows(1):
        rows = window.rows(np.arange(len(window.arrays["weight"])))
        np.testing.assert_array_equal(window.weights, weight[rows] * used[rows])
        assert used[window.rows(window.order)].all()
        assert (weight[window.rows(window.order)] > 0).all()


def test_retries_are_those_of_all_arrays(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Loader(dataset, 64, memory=MEMORY).plan
    with WindowReader(dataset, ("X", "y"), plan) as reader:
        assert reader.retries == 0
        sources: Any = {
            name: SimpleNamespace(retries=count) for name, count in zip("Xy", (2, 3), strict=True)
        }
        monkeypatch.setattr(reader, "_sources", sources)
        assert reader.retries == 5
