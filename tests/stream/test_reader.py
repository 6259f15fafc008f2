"""Windows come in plan order into reused slabs, whatever scheduler reads them."""

import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import numpy as np
import pytest
from datasets import small_windows, write_dataset

from ooc.core.errors import DataError
from ooc.store.chunks import BadChunkError
from ooc.store.dataset import Dataset
from ooc.stream.loader import Loader
from ooc.stream.reader import WindowReader
from ooc.stream.scheduler import transfers_rows
from ooc.stream.unread import MOST_NOTED

MEMORY = "512MiB"


@pytest.fixture(autouse=True)
def several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep windows so small that a small dataset needs several."""
    small_windows(monkeypatch, 4 * 2**10)


def stream(dataset: Dataset) -> list[tuple[list[int], float]]:
    loader = Loader(dataset, 64, memory=MEMORY, seed=2)
    assert loader.plan.order.windows > 2
    return [(batch.rows.tolist(), float(batch["X"].sum())) for batch in loader]


@pytest.mark.parametrize(
    "scheduler", ["threads", "synchronous", pytest.param("processes", marks=pytest.mark.slow)]
)
def test_any_scheduler_of_dask_gives_the_same_stream(dataset: Dataset, scheduler: str) -> None:
    expected = stream(dataset)
    with dask.config.set(scheduler=scheduler, num_workers=2):
        assert transfers_rows() == (scheduler == "processes")
        assert stream(dataset) == expected


@contextmanager
def cluster() -> Iterator[None]:
    distributed = pytest.importorskip("distributed")
    options = {"host": "127.0.0.1", "dashboard_address": None, "threads_per_worker": 1}
    with (
        distributed.LocalCluster(n_workers=2, processes=True, **options) as local,
        distributed.Client(local),
    ):
        yield


@pytest.mark.slow
def test_a_cluster_of_processes_gives_the_same_stream(dataset: Dataset) -> None:
    expected = stream(dataset)
    with cluster():
        assert transfers_rows()
        assert stream(dataset) == expected


def test_slabs_are_reused(dataset: Dataset) -> None:
    plan = Loader(dataset, 64, memory=MEMORY).plan
    with WindowReader(dataset, ("X",), plan) as reader:
        places = [(epoch, w, 0) for epoch in range(3) for w in range(plan.order.windows)]
        memory = {w.arrays["X"].__array_interface__["data"][0] for w in reader.windows(places)}
    assert len(memory) == plan.slabs == 4


def test_windows_come_in_order_and_the_last_is_marked(dataset: Dataset) -> None:
    plan = Loader(dataset, 64, memory=MEMORY).plan
    places = [(epoch, w, 0) for epoch in range(2) for w in range(plan.order.windows)]
    with WindowReader(dataset, ("X",), plan) as reader:
        for place, window in zip(places, reader.windows(places), strict=True):
            assert (window.epoch, window.index, window.start) == place
            assert window.last == (window.index == plan.order.windows - 1)
            assert np.array_equal(
                window.arrays["X"][:, 0], window.rows(np.arange(len(window.order)))
            )


def test_damage_ends_the_stream_and_names_the_array(dataset: Dataset) -> None:
    file = sorted(Path(dataset.path, "y", "c").iterdir())[3]
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(DataError, match=r"chunk .* of array y in"):
        stream(dataset)


def test_bad_chunks_are_counted_and_the_first_are_kept(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run over data that are damaged all over must not grow, in a window or in many."""
    monkeypatch.setattr("ooc.stream.reader.MOST_NOTED", 5)
    monkeypatch.setattr("ooc.stream.unread.MOST_NOTED", 3)
    plan = Loader(dataset, 64, memory=MEMORY).plan
    lost = sorted(Path(dataset.path, "y", "c").iterdir())[3]
    lost.unlink()
    places = [(epoch, w, 0) for epoch in range(3) for w in range(plan.order.windows)]
    with WindowReader(dataset, ("X", "y"), plan, on_bad_chunk="skip") as reader:
        counts = [(w.epoch, w.skipped_chunks) for w in reader.windows(places)]
    in_epochs = [sum(count for epoch, count in counts if epoch == e) for e in range(3)]
    assert in_epochs[0] == in_epochs[1] == in_epochs[2] > 1
    assert len(reader.bad_chunks) == 5 < sum(in_epochs)
    assert all(chunk.array == "y" and chunk.file == str(lost) for chunk in reader.bad_chunks)


def test_of_a_window_of_missing_chunks_few_are_held(tmp_path: Path) -> None:
    rows = np.arange(2000.0)
    dataset = write_dataset(tmp_path / "a.zarr", 1, X=rows)
    for shard in sorted(Path(dataset.path, "X", "c").iterdir())[1:]:
        shard.unlink()
    loader = Loader(dataset, 64, memory=MEMORY, on_bad_chunk="skip", block_rows=500)
    for window in loader.windows(1):
        held = sum(issubclass(type(each), BadChunkError) for each in gc.get_objects())
        assert held <= 4 * MOST_NOTED < window.skipped_chunks
        assert window.skipped_rows == 500 * len(window.block_starts) - len(window.order)
    assert (loader.skipped_chunks, loader.skipped_rows) == (1996, 1996)


def test_a_window_knows_its_arrays_by_role(dataset: Dataset) -> None:
    plan = Loader(dataset, 64, memory=MEMORY).plan
    with WindowReader(dataset, ("X",), plan) as reader:
        [window] = reader.windows([(0, 0, 0)])
        assert window.features is window.arrays["X"]
        assert window.target is None
        assert window.weight is None
    with WindowReader(dataset, ("X", "y"), plan) as reader:
        [window] = reader.windows([(0, 0, 0)])
        assert window.target is window.arrays["y"]


def test_a_dataset_that_vanishes_ends_the_stream(dataset: Dataset) -> None:
    loader = Loader(dataset, 64, memory=MEMORY)
    shutil.rmtree(Path(dataset.path, "X", "c"))
    with pytest.raises(DataError, match="is not stored"):
        list(loader)
