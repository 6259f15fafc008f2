"""The stream of batches: every row once, and a position that is enough."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import foreign, small_windows, write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

import ooc
from ooc.core.errors import InputError
from ooc.store.dataset import Dataset
from ooc.stream.loader import Loader

MEMORY = "512MiB"


@pytest.fixture(autouse=True)
def several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep windows so small that a small dataset needs several."""
    small_windows(monkeypatch, 3 * 2**10)


def loader_of(dataset: Dataset, batch_size: int = 64, **options: object) -> Loader:
    return Loader(dataset, batch_size, **{"memory": MEMORY, **options})  # type: ignore[arg-type]


def rows_of(loader: Loader) -> list[list[int]]:
    return [batch.rows.tolist() for batch in loader]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("shuffle", ["blocks", "none"])
@pytest.mark.parametrize("batch_size", [1, 7, 64, 1003])
def test_every_row_once_in_full_batches(dataset: Dataset, shuffle: str, batch_size: int) -> None:
    loader = loader_of(dataset, batch_size, shuffle=shuffle, memory=MEMORY)
    sizes, seen = [], []
    everything = zarr.open_array(Path(dataset.path) / "X", mode="r")[...]
    for batch in loader:
        assert np.array_equal(batch["X"], everything[batch.rows])
        assert np.array_equal(batch["y"], batch.rows % 2)
        sizes.append(len(batch.rows))
        seen.append(batch.rows)
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(1003))
    assert set(sizes[:-1]) <= {batch_size}
    assert len(sizes) == loader.plan.steps == -(-1003 // batch_size)


def test_batches_cross_windows(dataset: Dataset) -> None:
    loader = loader_of(dataset)
    assert loader.plan.order.windows > 3
    assert loader.plan.order.window_rows % 64


def test_epochs_differ_and_repeat_with_their_seed(dataset: Dataset) -> None:
    loader = loader_of(dataset, seed=5)
    first, second = rows_of(loader), rows_of(loader)
    assert first != second
    again = loader_of(dataset, seed=5)
    assert [rows_of(again), rows_of(again)] == [first, second]
    assert rows_of(loader_of(dataset, seed=6)) != first


def test_the_stream_does_not_depend_on_readers(dataset: Dataset) -> None:
    streams = [rows_of(loader_of(dataset, readers=readers)) for readers in (1, 2, 4)]
    assert streams[0] == streams[1] == streams[2]


@pytest.mark.slow
def test_save_and_restore_at_every_step(dataset: Dataset) -> None:
    """The rest of two epochs is the same from any position, saved as JSON text."""
    loader = loader_of(dataset, batch_size=100)
    positions, stream = [json.dumps(loader.state_dict())], []
    for _ in range(2):
        for batch in loader:
            stream.append((batch.step, batch.seed, batch.rows.tolist()))
            positions.append(json.dumps(loader.state_dict()))
    assert len(stream) == 22
    for step, position in enumerate(positions[:-1]):
        restored = loader_of(dataset, batch_size=100)
        restored.load_state_dict(json.loads(position))
        rest = [(b.step, b.seed, b.rows.tolist()) for b in restored]
        if step < 11:
            rest += [(b.step, b.seed, b.rows.tolist()) for b in restored]
        assert rest == stream[step:]


def test_a_position_is_a_few_integers(dataset: Dataset) -> None:
    assert len(json.dumps(loader_of(dataset).state_dict())) < 300


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 9}, "seed was 9, here it is 0"),
        ({"rows": 5}, "rows was 5, here it is 1003"),
        ({"row": 9999}, "row 9999 of epoch 0, but an epoch has 1003 rows"),
        ({"epoch": -1}, "epoch -1"),
    ],
)
def test_a_position_of_another_stream_is_refused(
    dataset: Dataset, change: dict[str, int], message: str
) -> None:
    loader = loader_of(dataset)
    with pytest.raises(InputError, match=message):
        loader.load_state_dict({**loader.state_dict(), **change})


def test_no_position_at_all_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="has no entry"):
        loader_of(dataset).load_state_dict({"epoch": 1})


def test_leaving_early_and_going_on(dataset: Dataset) -> None:
    loader = loader_of(dataset)
    first = [next(iter(loader)).rows.tolist() for _ in range(1)]
    assert first + rows_of(loader) == rows_of(loader_of(dataset))


def test_further_arrays_travel_by_name(tmp_path: Path) -> None:
    dataset = write_dataset(
        tmp_path / "a.zarr",
        X=np.ones((50, 2), np.float32),
        y=np.zeros(50),
        pose=np.arange(150).reshape(50, 3),
    )
    batch = next(iter(Loader(dataset, 10, memory="512MiB", arrays=["X", "pose"])))
    assert set(batch.arrays) == {"X", "pose"}
    assert np.array_equal(batch["pose"][:, 0], 3 * batch.rows)
    assert batch.target is None
    with pytest.raises(InputError, match="no array 'poses'; it has: X, pose, y"):
        Loader(dataset, 10, memory="512MiB", arrays=["X", "poses"])


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(2, 300),
    x_chunk=st.integers(1, 50),
    y_chunk=st.integers(1, 300),
    batch_size=st.integers(1, 300),
    seed=st.integers(0, 99),
)
def test_any_layout_gives_every_row_with_its_target(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    x_chunk: int,
    y_chunk: int,
    batch_size: int,
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("layout")
    group = zarr.create_group(path, overwrite=True)
    group.create_array("X", shape=(rows, 2), chunks=(x_chunk, 2), dtype="f4")[...] = np.arange(
        2 * rows
    ).reshape(rows, 2)
    group.create_array("y", shape=(rows,), chunks=(y_chunk,), dtype="i4")[...] = np.arange(rows)
    seen = []
    loader = Loader(ooc.open(path, missing="fill"), min(batch_size, rows), memory=MEMORY, seed=seed)
    for batch in loader:
        assert np.array_equal(batch["y"], batch.rows)
        assert np.array_equal(batch["X"][:, 0], 2 * batch.rows)
        seen.append(batch.rows)
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(rows))


def test_global_random_state_is_not_touched(dataset: Dataset) -> None:
    before = np.random.get_state(legacy=True)
    rows_of(loader_of(dataset))
    after = np.random.get_state(legacy=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("lanes", [1, 3])
def test_lanes_give_every_row_once_whoever_reads(dataset: Dataset, lanes: int) -> None:
    streams = [rows_of(loader_of(dataset, lanes=lanes, readers=readers)) for readers in (1, 4)]
    assert streams[0] == streams[1]
    assert sorted(row for batch in streams[0] for row in batch) == list(range(1003))
    assert loader_of(dataset, lanes=lanes).plan.order.blocks_per_window % lanes == 0


def test_a_position_of_other_lanes_is_refused(dataset: Dataset) -> None:
    state = loader_of(dataset, lanes=2, window=6).state_dict()
    with pytest.raises(InputError, match="lanes was 2, here it is 3"):
        loader_of(dataset, lanes=3, window=6).load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 1}, "a window of 1 blocks mixes nothing; it needs at least 2"),
        ({"window": 3, "lanes": 4}, "too small for 4 lanes"),
        ({"lanes": 0}, "lanes must be at least 1"),
        ({"lanes": 2, "shuffle": "none"}, "use one"),
        ({"window": "large"}, "not 'large'"),
    ],
)
def test_a_window_that_cannot_be(
    dataset: Dataset, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        loader_of(dataset, **options)


@pytest.mark.slow
@pytest.mark.parametrize("gone_window", [0, 3])
def test_what_is_left_out_is_counted_once_wherever_it_goes_on(
    tmp_path: Path, gone_window: int
) -> None:
    """Damage, and rows that lack a value; nothing of the first window, or the last, can be used."""
    x = np.arange(240, dtype=np.float32).reshape(80, 3)
    x[::7, 1] = np.nan
    arrays = {"X": {"data": x, "chunks": (10, 3)}, "y": {"data": np.arange(80), "chunks": (10,)}}
    dataset = ooc.open(foreign(tmp_path / "a.zarr", 2, **arrays))
    options: dict[str, Any] = {
        "batch_size": 9,
        "window": 2,
        "on_bad_chunk": "skip",
        "missing_values": "drop",
    }
    order = loader_of(dataset, **options).plan.order
    damaged = [
        order.window_blocks(0, gone_window)[0],
        order.window_blocks(0, gone_window)[1],
        order.window_blocks(0, 2)[0],
    ]
    lost = np.isin(np.arange(80) // 10, damaged)
    for block in damaged:
        Path(dataset.path, "X", f"{block}.0").write_bytes(b"damaged")

    def rest_of(loader: Loader, epochs: int) -> Any:
        rows = [rows_of(loader) for _ in range(epochs)]
        return rows, loader.skipped_rows, loader.skipped_chunks, loader.missing

    gone = lost | np.isnan(x[:, 1])
    whole = loader_of(dataset, **options)
    rows, *counts = rest_of(whole, 2)
    kept = np.flatnonzero(~gone).tolist()
    assert [sorted(chain(*epoch)) for epoch in rows] == [kept, kept]
    assert counts == [2 * gone.sum(), 6, {"X": 2 * np.count_nonzero(np.isnan(x[:, 1]) & ~lost)}]
    first, positions = loader_of(dataset, **options), []
    for epoch in range(2):
        positions.append((epoch, 0, json.dumps(first.state_dict())))
        for step, _ in enumerate(first):
            positions.append((epoch, step + 1, json.dumps(first.state_dict())))
    for epoch, step, position in positions:
        loader = loader_of(dataset, **options)
        loader.load_state_dict(json.loads(position))
        again, *found = rest_of(loader, 2 - loader.epoch)
        assert found == counts, (epoch, step)
        assert list(chain(*again)) == list(chain(*rows[epoch:]))[step:], (epoch, step)
