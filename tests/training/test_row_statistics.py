"""What is told of rows before training: values too wild, the first window, passes and counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from datasets import small_windows, write_dataset
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.core.errors import DataError
from ooc.core.progress import Progress
from ooc.store.sparse_rows import rows_of
from ooc.stream.options import StreamOptions
from ooc.stream.plan import Demand
from ooc.stream.window import Window
from ooc.training import statistics
from ooc.training.statistics import RowStatistics, pass_over, wildest

MEMORY = "512MiB"
LIMIT = 1e18


def window_of(x: np.ndarray, y: np.ndarray, order: list[int], sparse: bool = False) -> Window:
    """Return a window of two blocks of four rows: rows 40 to 43, then 12 to 15."""
    rows: Any = rows_of(scipy.sparse.csr_array(x)) if sparse else x
    return Window(
        {"X": rows, "y": y}, ("X", "y", None), np.array(order, np.int32), 0,
        np.array([40, 12]), 4, 0, 0, True,
    )  # fmt: skip


WILD: list[tuple[dict[tuple[int, int], float], list[int], str | None]] = [
    ({}, [0, 1, 2], None),
    ({(1, 1): 1e18}, [0, 1, 2], None),
    ({(6, 0): np.inf}, [5, 1, 2], None),  # a row that nobody visits
    ({(6, 0): -np.inf}, [5, 1, 6], "row 14 of X has -inf in feature 0; "),
    ({(2, 2): np.nan, (5, 1): np.inf}, [5, 1, 2], "row 13 of X has inf in feature 1; "),
    ({(2, 2): np.nan, (5, 1): np.inf}, [2, 1, 5], "row 42 of X has nan in feature 2; "),
    (
        {(3, 1): -2e18},
        [7, 3, 0],
        "row 43 of X has -2e+18 in feature 1, beyond 1e+18, where squares overflow; ",
    ),
]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("piece", [8, 2**20])
@pytest.mark.parametrize(("values", "order", "told"), WILD)
def test_the_first_value_that_is_too_wild_is_named_by_its_row_in_the_store(
    monkeypatch: pytest.MonkeyPatch,
    values: dict[tuple[int, int], float],
    order: list[int],
    told: str | None,
    piece: int,
    sparse: bool,
) -> None:
    """In the order in which rows are visited, a few at a time or all at once."""
    monkeypatch.setattr(statistics, "PIECE_BYTES", piece)
    monkeypatch.setattr(statistics, "SPARSE_PIECE", 2 if piece == 8 else 1024)
    x = np.arange(24, dtype=np.float64).reshape(8, 3) * (np.arange(8) % 3 > 0)[:, None]
    for place, value in values.items():
        x[place] = value
    error = wildest(window_of(x, np.zeros(8), order, sparse), "X", LIMIT)
    expected = None if told is None else f"{told}remove or fill such rows first"
    assert (None if error is None else str(error)) == expected


def test_of_several_large_ones_the_largest_is_named_and_of_targets_its_place() -> None:
    y = np.array([1.0, 2e18, 5.0, -3e18, 9e18, 0.0, 0.0, 0.0])
    error = wildest(window_of(np.zeros((8, 3)), y, [0, 1, 2, 3, 5]), "y", LIMIT)
    assert str(error) == (
        "row 43 of y has -3e+18 in place 0, beyond 1e+18, where squares overflow; remove or fill "
        "such rows first"
    )


@pytest.mark.parametrize("columns", [1, 2, 5, 2**16])
def test_moments_of_wide_rows_are_those_of_their_columns(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """Looked at a few columns and a few rows at a time, over several windows."""
    small_windows(monkeypatch, 2**12)
    monkeypatch.setattr(statistics, "MOST_COLUMNS", columns)
    monkeypatch.setattr(statistics, "PIECE_BYTES", 8 * 5 * 3)
    x = (rng.standard_normal((331, 5)) * [1, 10, 100, 1, 1] + [0, 5, 0, 1e4, 0]).astype("f4")
    y = rng.standard_normal((331, 2)) + 3
    dataset = write_dataset(tmp_path / "a.zarr", 20, X=x, y=y)
    side = ooc.split(dataset, 0.3, seed=1, by="row")[0]
    used = np.sort(np.concatenate([b.rows for b in ooc.Loader(side, 10, memory=MEMORY)]))
    found = RowStatistics(ooc.Loader(side, 10, memory=MEMORY))
    for (mean, deviation), values in ((found.moments(), x), (found.target_moments(), y)):
        rows = values[used].astype(np.float64)
        np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(deviation, rows.std(axis=0), rtol=1e-9)


def test_a_sample_is_the_run_s_own_first_window(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 2**12)
    x, y = rng.standard_normal((400, 3)).astype("f4"), rng.standard_normal(400)
    x[::7, 1] = np.nan
    dataset = write_dataset(tmp_path / "a.zarr", 20, X=x, y=y)
    loader = ooc.Loader(dataset, 10, memory=MEMORY, missing_values="drop", seed=3)
    first = next(loader.windows(1))
    rows = first.rows(first.order.astype(np.int64))
    assert 0 < len(rows) < 300
    loader = ooc.Loader(dataset, 10, memory=MEMORY, missing_values="drop", seed=3)
    found = RowStatistics(loader)
    for (mean, deviation), values in (
        (found.sample_moments(), x[rows]),
        (found.target_sample_moments(), y[rows, None]),
    ):
        np.testing.assert_allclose(mean, values.mean(axis=0, dtype=float), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(deviation, values.std(axis=0, dtype=float), rtol=1e-6)
    assert (loader.epoch, loader.row, loader.missing) == (0, 0, {})


def test_nothing_is_asked_of_the_features_of_sparse_rows(tmp_path: Path) -> None:
    matrix, y = random_matrix(200, 30), np.linspace(0, 1, 200)
    loader = ooc.Loader(ooc.open(write_sparse(tmp_path / "a.zarr", matrix, y=y)), 10, memory=MEMORY)
    found = RowStatistics(loader)
    assert found.is_sparse
    assert found.sample_moments()[0].size == 0 and found.target_sample_moments()[0].size == 1


def test_a_pass_tells_how_far_it_is_with_the_rows_that_it_leaves_out(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 2**11)
    x, y = rng.standard_normal((400, 3)).astype("f4"), np.arange(400) % 3 / 1.0
    x[5::10, 1] = np.nan
    dataset = write_dataset(tmp_path / "a.zarr", 20, X=x, y=y)
    told: list[Progress] = []
    loader = ooc.Loader(dataset, 10, memory=MEMORY, missing_values="drop")
    counts = RowStatistics(loader, told.append).class_counts(3, "softmax", "labels")
    kept = y[np.arange(400) % 10 != 5].astype(int)
    assert counts.tolist() == np.bincount(kept).tolist()
    assert {each.text for each in told} == {"looking at all rows of y"}
    last = told[-1]
    assert (last.rows, last.total_rows, last.bytes) == (400, 400, 400 * (3 * 4 + 8))
    rows = [each.rows for each in told[1:]]
    assert len(rows) > 3 and rows == sorted(set(rows))


@pytest.mark.parametrize(
    ("y", "told"),
    [
        (2.5, "row 77 of y has target 2.5, but softmax takes three; correct the row, or choose"),
        (-1.0, "row 77 of y has target -1.0, but softmax takes three; correct the row, or choose"),
        (3.0, "row 77 of y has target 3.0, but softmax takes three; correct the row, or choose"),
        (np.nan, "row 77 of y has target nan, but softmax takes three; correct the row, or choose"),
        (None, "class 1 has no rows in"),
    ],
)
def test_labels_that_cannot_be_counted_are_named(
    tmp_path: Path, y: float | None, told: str
) -> None:
    labels = np.resize([0.0, 2.0] if y is None else [0.0, 1.0, 2.0], 100)
    if y is not None:
        labels[77] = y
        labels[95] = y
    dataset = write_dataset(tmp_path / "a.zarr", X=np.ones((100, 1)), y=labels)
    with pytest.raises(DataError) as error:
        RowStatistics(ooc.Loader(dataset, 10, memory=MEMORY)).class_counts(3, "softmax", "three")
    expected = (
        f"class 1 has no rows in {dataset.path}, so that classes cannot be balanced; give "
        "class_weights as numbers"
        if y is None
        else f"{told} another model"
    )
    assert str(error.value) == expected


def test_where_no_row_is_left_a_pass_says_so(tmp_path: Path) -> None:
    x = np.full((30, 2), np.nan)
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=np.zeros(30))
    loader = ooc.Loader(dataset, 10, memory=MEMORY, missing_values="drop")
    with pytest.raises(DataError) as error:
        RowStatistics(loader).target_moments()
    assert str(error.value) == (
        f"no row of {dataset.path} could be used: each lacks a value or cannot be read"
    )


@pytest.mark.parametrize(
    ("how", "names"),
    [
        ({}, ("y",)),
        ({"missing_values": "fill:0"}, ("y",)),
        ({"missing_values": "drop"}, ["X", "y"]),
        ({"on_bad_chunk": "skip"}, ["X", "y"]),
    ],
)
def test_a_pass_reads_one_array_in_its_own_order_unless_rows_are_left_out(
    tmp_path: Path, how: dict[str, Any], names: Any
) -> None:
    dataset = write_dataset(tmp_path / "a.zarr", X=np.ones((30, 2)), y=np.zeros(30))
    stream = StreamOptions(memory="300MiB", io="buffered", seed=7, window=2, lanes=2, **how)
    expected = StreamOptions(memory="300MiB", io="buffered", shuffle="none", **how)
    assert pass_over(dataset, ["X", "y"], "y", stream, 5) == (names, expected, Demand(0, 0, 0, 5))


def test_moments_of_very_wide_rows_are_a_part_of_what_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "MOST_COLUMNS", 6)
    for values, held in ((6, 0), (8, 80 * 8)):
        dataset = write_dataset(tmp_path / f"{values}.zarr", X=np.ones((30, 2, values // 2)))
        demand = pass_over(dataset, ["X"], "X", StreamOptions(), 0)[2]
        assert demand == Demand(held, 0, 0, 0)
