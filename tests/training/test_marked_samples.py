"""Where a sample for marks is taken, what of it is told, and what is left alone."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.models.bad_rows import LARGEST_FEATURE
from ooc.store.held import hold
from ooc.training import marks
from ooc.training.marks import find_mark, refused_values, warn_of_marks
from ooc.training.statistics import LARGEST_TARGET


@pytest.mark.parametrize(
    ("place_rows", "place_bytes", "starts", "count"),
    [
        (10, 2**20, [0, 330, 660, 990], 10),
        (10**6, 80, [0, 332, 664, 996], 4),
        (10**6, 3, [0, 333, 666, 999], 1),
        (600, 2**20, [0, 133, 266, 400], 600),
        (10**6, 2**20, [0], 1000),
    ],
)
def test_a_sample_is_of_four_places_from_the_first_row_to_the_last(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place_rows: int,
    place_bytes: int,
    starts: list[int],
    count: int,
) -> None:
    monkeypatch.setattr(marks, "PLACE_ROWS", place_rows)
    monkeypatch.setattr(marks, "PLACE_BYTES", place_bytes)
    x = np.arange(5000, dtype=np.float32).reshape(1000, 5, 1)
    dataset = write_dataset(tmp_path / "a.zarr", 10, X=x)
    rows, values = marks._sample(dataset, "X")
    expected = np.concatenate([np.arange(start, start + count) for start in starts])
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(values, x.reshape(1000, 5)[expected])


def test_what_cannot_be_read_is_left_out_of_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "PLACE_ROWS", 10)
    dataset = write_dataset(tmp_path / "a.zarr", 10, X=np.ones((400, 2)))
    files = sorted(each for each in (tmp_path / "a.zarr" / "X" / "c").rglob("*") if each.is_file())
    files[0].write_bytes(b"damaged")
    rows, values = marks._sample(dataset, "X")
    assert 0 < len(rows) == len(values) < 40
    for file in files:
        file.write_bytes(b"damaged")
    rows, values = marks._sample(dataset, "X")
    assert rows.size == 0 and values.shape == (0, 1)
    assert list(refused_values(dataset, ["X"], "raise")) == []


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0.0, 4.0, -9999.0, -9999.0], (-9999.0, 0.5, (0.0, 4.0))),
        ([0.0, 4.0, 1.0, -9999.0], None),
        ([0.0, 4.0, 9999.0, 9999.0, 99999.0], (9999.0, 0.4, (0.0, 4.0))),
        ([0.0, 4.0, 9999.0, 99999.0, 99999.0], (99999.0, 0.4, (0.0, 4.0))),
        ([0.0, 4999.5, 9999.0, 9999.0], None),
        ([0.0, 4999.0, 9999.0, 9999.0], (9999.0, 0.5, (0.0, 4999.0))),
        ([5.0, 5.0, -9999.0, -9999.0], None),
        ([np.nan, np.inf, 1.0, 2.0, 1e20, 1e20], (1e20, 1 / 3, (1.0, 2.0))),
    ],
)
def test_a_mark_is_twice_there_and_further_away_than_all_else_spans(
    values: list[float], found: Any
) -> None:
    assert find_mark(np.array(values)[:, None]) == found


@pytest.mark.parametrize(
    ("dtype", "mark", "is_one"),
    [
        ("i2", -32768, True), ("i2", 32767, True), ("i4", -2147483648, True), ("i4", -9999, True),
        ("u2", 9999, True), ("u2", 65535, False), ("i8", -9223372036854775808, True),
        ("f2", -999, True), ("i2", -998, False),
    ],
)  # fmt: skip
def test_marks_are_those_that_an_array_s_type_can_hold(dtype: str, mark: int, is_one: bool) -> None:
    values = np.array([1, 2, 3, mark, mark], dtype)[:, None]
    found = find_mark(values)
    assert (found is not None) == is_one
    assert found is None or found[:2] == (float(mark), 0.4)


def test_a_warning_says_what_where_and_what_to_do(tmp_path: Path) -> None:
    x = np.tile(np.float32([0.5, 1.25]), (40, 1))
    x[[7, 30], 1] = -999
    y = np.linspace(0, 1, 40)
    y[[3, 9, 11]] = 1e20
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=y)
    texts = [
        f"0.025 of the values of X in {dataset.path} are -999 (row 7, feature 1), far from all "
        "others, which lie between 0.5 and 1.25 in a sample: if they mark missing values, declare "
        "them as the array's attribute missing_value = -999.0, and choose what is done with them "
        'with missing_values="drop" or "fill:NUMBER"',
        f"0.075 of the values of y in {dataset.path} are 1e+20 (row 3, target 0), far from all "
        "others, which lie between 0 and 1 in a sample: if they mark missing values, declare them "
        "as the array's attribute missing_value = 1e+20, and choose what is done with them with "
        'missing_values="drop" or "fill:NUMBER"',
    ]
    for names, expected in ((["X", "y"], texts), (["X"], texts[:1]), (["y"], texts[1:]), ([], [])):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            warn_of_marks(dataset, names)
        assert [str(each.message) for each in seen] == expected


@pytest.mark.filterwarnings("error")
def test_bytes_sparse_rows_and_arrays_in_memory_are_taken_as_they_are(tmp_path: Path) -> None:
    y = np.linspace(0, 1, 40)
    y[[3, 9]] = -9999
    warn_of_marks(hold({"X": y[:, None], "y": y}), ["X", "y"])
    small = np.r_[np.arange(38) % 3, -99, -99].astype("i1")
    warn_of_marks(write_dataset(tmp_path / "a.zarr", X=small[:, None]), ["X"])
    matrix = random_matrix(40, 6, 0.9)
    matrix.data[:2] = -9999
    warn_of_marks(ooc.open(write_sparse(tmp_path / "b.zarr", matrix)), ["X"])


def test_values_that_training_would_refuse_are_told_before(tmp_path: Path) -> None:
    """What is missing, only where that is not left out or filled; a limit for each role."""
    x, y = np.zeros((40, 2)), np.zeros(40)
    x[5, 1], x[9, 0], y[7], y[8] = np.nan, 2 * LARGEST_FEATURE, np.nan, -2 * LARGEST_TARGET
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=y)
    ends = ", and training will refuse it; remove or fill such rows first"
    missing = [f"row 5 of X has nan in feature 1{ends}", f"row 7 of y has nan in target 0{ends}"]
    large = [
        f"row 9 of X has {2 * LARGEST_FEATURE} in feature 0{ends}",
        f"row 8 of y has {-2 * LARGEST_TARGET} in target 0{ends}",
    ]
    for rule, expected in (("raise", missing), ("keep", missing), ("drop", large),
                           ("fill:0", large)):  # fmt: skip
        assert list(refused_values(dataset, ["X", "y"], rule)) == expected
    assert list(refused_values(dataset, ["y"], "raise")) == missing[1:]
    x[5, 1], x[9, 0], y[7], y[8] = 0, LARGEST_FEATURE, 0, 2 * LARGEST_FEATURE
    whole = write_dataset(tmp_path / "b.zarr", X=x, y=y)
    assert list(refused_values(whole, ["X", "y"], "raise")) == []
