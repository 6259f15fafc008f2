"""Rows that are sequences of a long array: expected values are NumPy's sliding_window_view."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

import ooc
from ooc.core.errors import InputError
from ooc.store.chunks import BadChunkError, open_reader, parts_of, scratch_bytes
from ooc.store.fingerprint import fingerprint
from ooc.store.held import hold
from ooc.store.transforms import transform_in, transformed
from ooc.store.verify import verify

TIMES = 700
X = np.random.default_rng(0).normal(size=(TIMES, 3)).astype("f4")
Y = np.arange(TIMES)


def rows_of(values: np.ndarray, length: int, stride: int) -> np.ndarray:
    """Return all sequences, copied."""
    return np.moveaxis(sliding_window_view(values, length, axis=0)[::stride], -1, 1).copy()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("X", data=X, chunks=(40, 2), shards=(120, 4))
    group.create_array("y", data=Y, chunks=(90,))
    group.create_array("one", data=X[:, 0], chunks=(64,))
    packed = group.create_array("packed", data=(100 * X).astype("i2"), chunks=(50, 3))
    packed.attrs.update(scale_factor=0.01, missing_value=-999)
    return tmp_path / "a.zarr"


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("length", "stride"), [(10, 4), (10, 10), (10, 1), (7, 20), (64, 8), (1, 1), (1, 3), (700, 9)]
)
def test_rows_are_those_of_numpy(store: Path, length: int, stride: int) -> None:
    dataset = ooc.open(store, transform=f"sequences:{length}:{stride}")
    wanted, last = rows_of(X, length, stride), Y[length - 1 :: stride]
    assert dataset.rows == len(wanted) and dataset.row_shape == (length, 3)
    assert dataset.arrays["y"].shape == last.shape
    for shuffle in ("none", "blocks"):
        loader = ooc.Loader(
            dataset, 33 if len(wanted) > 33 else 1, memory="512MiB", shuffle=shuffle, block_rows=20,
            window="auto" if shuffle == "none" or len(wanted) <= 20 else 3,
        )  # fmt: skip
        seen = []
        for batch in loader:
            np.testing.assert_array_equal(batch["X"], wanted[batch.rows])
            np.testing.assert_array_equal(batch["y"], last[batch.rows])
            seen.append(batch.rows)
        assert np.sort(np.concatenate(seen)).tolist() == list(range(len(wanted)))


@given(
    st.integers(1, 30), st.integers(1, 30), st.integers(1, 25),
    st.lists(st.integers(0, 10**6), max_size=4),
)  # fmt: skip
def test_any_runs_are_read_with_room_between(
    length: int, stride: int, each: int, starts: list[int]
) -> None:
    """Runs of as many rows each, ascending, the last one maybe shorter."""
    dataset = transformed(hold({"X": X, "y": Y}), f"sequences:{length}:{stride}")
    rows, spec = dataset.rows, dataset.arrays["X"]
    blocks = sorted({start % -(-rows // each) for start in starts})
    runs = [(block * each, min((block + 1) * each, rows)) for block in blocks]
    for name, wanted in (("X", rows_of(X, length, stride)), ("y", Y[length - 1 :: stride])):
        own = dataset.arrays[name]
        count = sum(stop - start for start, stop in runs)
        out = own.memory(count + spec.overlap * max(0, len(runs) - 1), np.zeros)
        open_reader(dataset, name).read_runs(runs, out)
        place = 0
        for start, stop in runs:
            np.testing.assert_array_equal(out[place : place + stop - start], wanted[start:stop])
            place += stop - start + spec.overlap


def test_one_axis_columns_and_arrays_side_by_side(store: Path) -> None:
    for options, wanted in (
        ({"features": "one"}, X[:, 0]),
        ({"columns": [2, 0]}, X[:, [2, 0]]),
        ({"features": ["one", "X"]}, np.column_stack([X[:, 0], X])),
        ({"features": "packed"}, (100 * X).astype("i2") * 0.01),
    ):
        dataset = ooc.open(store, transform="sequences:16:3", **options)  # type: ignore[arg-type]
        found = next(iter(ooc.Loader(dataset, 229, memory="512MiB", shuffle="none")))
        np.testing.assert_allclose(found[dataset.features], rows_of(wanted, 16, 3), rtol=1e-6)


def test_what_is_known_of_rows(store: Path) -> None:
    dataset = ooc.open(store, transform="sequences:16")
    spec = dataset.arrays["X"]
    assert dataset.transform == "sequences:16:1" and spec.overlap == 15
    assert spec.row_bytes == 16 * 12 and spec.kept_row_bytes == 12
    assert dataset.stored_row_bytes == 12 + 8 + 4 + 24  # X, y, one and packed
    assert "sequences of 16 times, one every 1, of (700, 3)" in spec.describe()
    assert spec.number_name(7) == "X[2,1]" and spec.stored_at(7) == (spec.source, 1)
    assert [part.shape for _, part in parts_of(dataset, spec)] == [(700, 3)]
    marks = fingerprint(dataset, ["X", "y"])
    assert marks["rows"] == 685
    assert marks["arrays"]["X"]["sequences"] == {"length": 16, "stride": 1, "last": False}
    assert marks != fingerprint(ooc.open(store, transform="sequences:17"), ["X", "y"])
    assert verify(dataset) == []
    assert transform_in({"dataset": {"transform": dataset.transform}}) == dataset.transform
    assert transformed(dataset, "sequences:16") is dataset
    assert scratch_bytes(dataset.arrays["y"], 100) > 0


def test_a_window_takes_its_times_once(store: Path) -> None:
    """Sixty-four times as many values as are stored take little more than these."""
    dataset = ooc.open(store, transform="sequences:64:1")
    plan = ooc.Loader(dataset, 10, memory="512MiB", block_rows=320, window=2).plan
    stored = TIMES * (12 + 8)
    assert plan.slabs * stored < plan.terms["slabs"] < 1.5 * plan.slabs * stored
    assert plan.row_bytes == 12 + 8


def test_chunks_that_are_lost_are_told_by_the_rows_that_need_them(store: Path) -> None:
    (store / "X" / "c" / "1" / "0").unlink()  # times 120 to 239
    dataset = ooc.open(store, transform="sequences:10:4")
    spec = dataset.arrays["X"]
    out = spec.memory(20)
    with pytest.raises(
        BadChunkError, match=r"chunk 3\.0 of array X .* rows 28 to 39, cannot"
    ) as found:
        open_reader(dataset, "X").read_runs([(20, 40)], out)
    assert found.value.rows == (28, 39)
    options: Any = {"memory": "512MiB", "shuffle": "none", "block_rows": 20}
    loader = ooc.Loader(dataset, 7, on_bad_chunk="skip", **options)
    rows = np.concatenate([batch.rows for batch in loader])
    touched = [i for i in range(dataset.rows) if 4 * i + 10 > 120 and 4 * i < 240]
    assert sorted({*range(dataset.rows)} - {*rows.tolist()}) == touched
    assert loader.skipped_rows == len(touched)


def test_missing_values_are_those_of_any_time(tmp_path: Path) -> None:
    values = X.copy()
    values[[0, 100, 101, 699], [0, 1, 2, 1]] = np.nan
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("X", data=values, chunks=(40, 3))
    dataset = ooc.open(tmp_path / "a.zarr", transform="sequences:10:4")
    wanted = rows_of(values, 10, 4)
    lacks = np.isnan(wanted).any(axis=(1, 2))
    options: Any = {"memory": "512MiB", "block_rows": 20, "window": 3}
    loader = ooc.Loader(dataset, 7, missing_values="drop", **options)
    rows = np.concatenate([batch.rows for batch in loader])
    assert sorted(rows.tolist()) == np.flatnonzero(~lacks).tolist()
    assert loader.missing == {"X": int(lacks.sum())}
    for batch in ooc.Loader(dataset, 7, missing_values="fill:5", **options):
        filled = np.nan_to_num(wanted[batch.rows], nan=5)
        np.testing.assert_array_equal(batch["X"], filled)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sequences:701", "has 700 times along axis 0, fewer than the 701 of one row"),
        ("sequences", "write sequences:512:128"),
        ("sequences:0:3", "both from 1 on"),
        ("sequences:9:2:1", "both from 1 on"),
        ("sequences:9:x", "both from 1 on"),
        ("sequences:9:2,hash", "stand alone"),
        ("sequence:9", "no transform is called 'sequence'; choose one of: sequences, log-"),
    ],
)
def test_other_texts_are_refused(store: Path, text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        ooc.open(store, transform=text)


def test_rows_that_cannot_be_sequences_are_refused(store: Path, tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "b.zarr").create_array("X", data=X, chunks=(40, 3))
    with pytest.raises(InputError, match="none goes on in the next; open each by itself"):
        ooc.open([store, tmp_path / "b.zarr"], target=False, transform="sequences:9")
    part, _ = ooc.split(ooc.open(store))
    with pytest.raises(InputError, match="open the sequences first, and split those"):
        transformed(part, "sequences:9")
    dataset = ooc.open(store, transform="sequences:9")
    with pytest.raises(InputError, match="is opened with transform='sequences:9:1', and"):
        transformed(dataset, "sequences:9:2")
    with pytest.raises(ValueError, match=r"make memory for them by spec\.memory"):
        open_reader(dataset, "X").read_runs([(0, 5)], np.empty((5, 9, 3), "f4"))
