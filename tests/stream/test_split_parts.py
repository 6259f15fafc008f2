"""Splits in time, by chosen groups, in more than two parts, and of a part."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import small_windows, write_dataset
from pairs import pairs

import ooc
from ooc.core.errors import InputError
from ooc.store.dataset import Dataset
from ooc.store.selection import Selection, in_order
from ooc.stream.loader import Loader

MEMORY, ROWS = "512MiB", 997


@pytest.fixture
def grouped(tmp_path: Path) -> Dataset:
    """Rows in blocks of 10, with groups, times that are in no order, and some that are equal."""
    rng = np.random.default_rng(1)
    return write_dataset(
        tmp_path / "grouped.zarr",
        X=np.arange(ROWS, dtype=np.float32)[:, None],
        y=rng.choice(3, ROWS, p=[0.7, 0.25, 0.05]),
        donor=rng.integers(-3, 8, ROWS),
        time=rng.permutation(ROWS) * 0.5 + 1.7e9,
        day=rng.integers(-40, 40, ROWS).astype(np.float32),
        treated=np.arange(ROWS) % 3 == 0,
    )


@pytest.fixture(autouse=True)
def several_windows_and_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 3 * 2**10)
    monkeypatch.setattr("ooc.store.columns.PIECE_BYTES", 2**9)


def rows_of(dataset: Dataset) -> list[int]:
    rows = np.concatenate([batch.rows for batch in Loader(dataset, 20, memory=MEMORY)])
    assert len(rows) == dataset.rows
    return sorted(rows.tolist())


def values_of(dataset: Dataset, name: str) -> np.ndarray:
    array: Any = zarr.open_group(dataset.path, mode="r")[name]
    return np.asarray(array[:])[rows_of(dataset)]


WAYS: list[dict[str, Any]] = [
    {"by": "row"},
    {"by": "block"},
    {"by": "donor"},
    {"by": "row", "stratify": "y"},
    {"by": "row", "ordered": True},
    {"by": "block", "ordered": True},
    {"by": "time", "ordered": True},
    {"by": "day", "ordered": True},
]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_three_parts_are_disjoint_and_together_everything(
    grouped: Dataset, way: dict[str, Any]
) -> None:
    shares = (0.25, 0.125)
    parts = ooc.split(grouped, shares, seed=3, **way)
    found = [rows_of(part) for part in parts]
    assert sorted(itertools.chain(*found)) == list(range(ROWS))
    for part, share in zip(parts[1:], shares, strict=True):
        assert part.rows == pytest.approx(share * ROWS, abs=3 if way["by"] == "row" else 60)
    assert parts[0].held_out == parts[2].selection
    for first in parts:
        for second in parts:
            assert first.selection is not None and second.selection is not None
            assert first.selection.is_apart_from(second.selection) == (first is not second)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("by", "most"), [("row", 0), ("block", 10), ("time", 0), ("day", 30)])
def test_parts_in_order_follow_one_another(grouped: Dataset, by: str, most: int) -> None:
    parts = ooc.split(grouped, (0.2, 0.1), by=by, ordered=True)
    wanted = [ROWS - round(0.2 * ROWS) - round(0.1 * ROWS), round(0.2 * ROWS), round(0.1 * ROWS)]
    for part, rows in zip(parts, wanted, strict=True):
        assert abs(part.rows - rows) <= most + 1
    key = [
        np.array(rows_of(part)) if by in ("row", "block") else values_of(part, by) for part in parts
    ]
    assert key[0].max() < key[1].min() and key[1].max() < key[2].min()


def test_equal_values_are_on_the_side_that_is_nearer_to_the_share(tmp_path: Path) -> None:
    day = np.repeat([3, 1, 2], [40, 30, 30])
    dataset = write_dataset(tmp_path / "a.zarr", X=np.ones((100, 1)), day=day)
    for share, rows in [(0.3, 40), (0.54, 40), (0.56, 70), (0.69, 70)]:
        _, last = ooc.split(dataset, share, by="day", ordered=True)
        assert (last.rows, set(values_of(last, "day"))) == (rows, {3} if rows == 40 else {2, 3})


@pytest.mark.slow
def test_chosen_groups_are_validation_rows(grouped: Dataset) -> None:
    for chosen in ([5], [-3, 0, 7.0], ["5", "-1"]):
        train, validation = ooc.split(grouped, by="donor", groups=chosen)
        wanted = {int(each) for each in chosen}
        assert set(values_of(validation, "donor")) == wanted
        assert set(values_of(train, "donor")) == set(range(-3, 8)) - wanted
        assert train.rows + validation.rows == ROWS
        assert train.held_out == validation.selection


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("chosen", [True, 1, "True"])
def test_truth_values_are_groups(grouped: Dataset, chosen: object) -> None:
    _, validation = ooc.split(grouped, by="treated", groups=[chosen])
    assert rows_of(validation) == list(range(0, ROWS, 3))


def test_groups_are_called_as_the_store_calls_them(tmp_path: Path) -> None:
    """Of AnnData's categories, in a group of the group, as AnnData itself writes them."""
    anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    donors = np.random.default_rng(0).choice(["D1", "D2", "Ünal"], 200)
    table = pandas.DataFrame({"donor": pandas.Categorical(donors)}, [str(n) for n in range(200)])
    anndata.AnnData(np.ones((200, 3), np.float32), obs=table).write_zarr(tmp_path / "a.zarr")
    train, validation = ooc.split(
        ooc.open(tmp_path / "a.zarr"), by="obs/donor", groups=["D2", "Ünal"]
    )
    assert rows_of(validation) == np.flatnonzero(donors != "D1").tolist()
    assert rows_of(train) == np.flatnonzero(donors == "D1").tolist()
    with pytest.raises(InputError, match="has no row of group 'D9'; there are: D1, D2, Ünal"):
        ooc.split(ooc.open(tmp_path / "a.zarr"), by="obs/donor", groups=["D9"])


@pytest.mark.slow
@pytest.mark.parametrize(("outer", "inner"), pairs(WAYS, WAYS))
def test_a_part_is_split_like_a_whole(
    grouped: Dataset, outer: dict[str, Any], inner: dict[str, Any]
) -> None:
    rest, apart = ooc.split(grouped, 0.3, seed=1, **outer)
    train, validation = ooc.split(rest, 0.5, seed=2, **inner)
    rows = rows_of(train), rows_of(validation)
    assert sorted(rows[0] + rows[1]) == rows_of(rest)
    # A donor has some 90 rows, a block 10.
    assert abs(validation.rows - 0.5 * rest.rows) <= {"donor": 60, "block": 25, "day": 15}.get(
        inner["by"], 3
    )
    assert not set(rows_of(apart)) & {*rows[0], *rows[1]}


@pytest.mark.slow
def test_groups_of_a_part_are_of_that_part(grouped: Dataset) -> None:
    rest, _ = ooc.split(grouped, 0.3, seed=1)
    train, validation = ooc.split(rest, by="donor", groups=[5, 6])
    rows, donors = np.array(rows_of(rest)), values_of(rest, "donor")
    assert rows_of(validation) == rows[np.isin(donors, [5, 6])].tolist()
    assert rows_of(train) == rows[~np.isin(donors, [5, 6])].tolist()


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_part_is_the_same_when_it_is_read_from_a_file(
    grouped: Dataset, way: dict[str, Any]
) -> None:
    part = ooc.split(ooc.split(grouped, 0.3)[0], (0.2, 0.2), **way)[1].selection
    assert part is not None
    assert Selection.from_json(json.loads(json.dumps(part.to_json()))) == part


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint64", "bool", "float32", "float64"])
def test_keys_are_in_the_order_of_values(dtype: str) -> None:
    rng = np.random.default_rng(0)
    values = (rng.standard_normal(300) * 90).astype(dtype)
    if values.dtype.kind == "f":
        values[:4] = [np.inf, -np.inf, 0.0, -0.0]
        values[-1] = np.nan
    order = np.argsort(in_order(values[:, None]), kind="stable")
    np.testing.assert_array_equal(values[order], np.sort(values))
    equal = values[:, None] == values[None]
    keys = in_order(values)
    assert np.array_equal((keys[:, None] == keys[None])[:-1, :-1], equal[:-1, :-1])


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": (0.5, 0.5)}, "shares of 0.5 and 0.5 leave no rows to train on"),
        ({"validation": ()}, r"between 0 and 1, not \(\)"),
        ({"validation": (0.2, 0.0)}, r"between 0 and 1, not \(0.2, 0.0\)"),
        ({"validation": (0.2, 1e-5)}, "the test side of .* would be empty"),
        ({"validation": (0.1, 0.1, 1e-5)}, "the number 4 side of .* would be empty"),
        ({"groups": [1]}, "groups are values of an array, and go not with by='row'"),
        ({"groups": [1], "by": "donor", "ordered": True}, "go not with ordered"),
        ({"groups": [99], "by": "donor"}, r"no row of group 99; there are: -3, -2, -1, 0"),
        ({"groups": ["D3"], "by": "donor"}, "array donor of .* has no row of group 'D3'"),
        ({"groups": range(-3, 8), "by": "donor"}, r"training side .* empty with groups=\[-3, -2"),
        ({"stratify": "y", "ordered": True}, "stratify='y' goes with rows in random order only"),
        ({"by": "obs/donor"}, "has no array 'obs/donor'"),
    ],
)
def test_what_cannot_be_says_why(grouped: Dataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ooc.split(grouped, **options)


def test_parts_are_those_of_a_naive_twin(grouped: Dataset) -> None:
    """By row: sorted by a key, the first shares are held out, the last one is trained on."""
    from ooc.core.random_keys import Purpose, key, splitmix

    number = key(7, Purpose.SPLIT)
    golden = 0x9E3779B97F4A7C15
    keys = [splitmix((number + (row + 1) * golden) % 2**64) for row in range(ROWS)]
    order = np.argsort(np.array(keys, np.uint64))
    train, validation, test = ooc.split(grouped, (0.2, 0.3), seed=7)
    first, second = round(0.2 * ROWS), round(0.5 * ROWS)
    assert rows_of(validation) == sorted(order[:first].tolist())
    assert rows_of(test) == sorted(order[first:second].tolist())
    assert rows_of(train) == sorted(order[second:].tolist())
