"""Splits against a twin that lists all keys and sorts them, and refusals word by word."""

from collections import defaultdict
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import write_dataset

import ooc
from ooc.core.errors import DataError, InputError
from ooc.core.random_keys import GOLDEN, Purpose, key, splitmix
from ooc.store.dataset import Dataset
from ooc.stream.splits import make_subset

ROWS, CHUNK = 203, 10


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Groups of any sizes, some negative or fractions, read in several pieces; rare classes."""
    monkeypatch.setattr("ooc.store.columns.PIECE_BYTES", 2**9)
    rng = np.random.default_rng(1)
    site = rng.integers(-8, 8, ROWS) ** 3 / 2
    y = rng.choice([2, 5, 9], ROWS, p=[0.7, 0.25, 0.05])
    return write_dataset(tmp_path / "a.zarr", CHUNK, X=np.ones((ROWS, 1)), y=y, site=site)


def key_of(value: int, seed: int) -> int:
    return splitmix((key(seed, Purpose.SPLIT) + (value + 1) * GOLDEN) % 2**64)


def share_of(share: float, count: int) -> int:
    return int((Decimal(str(share)) * count).quantize(Decimal(1), ROUND_HALF_EVEN))


def bits_of(value: float) -> int:
    """Return whole numbers as they are, others as their bits."""
    return int(value) if value == int(value) else int(np.float64(value).view(np.int64))


def validation_rows(data: Dataset, share: float, seed: int, by: str, stratify: str | None) -> set:
    sets: dict[object, list[int]] = defaultdict(list)
    columns = {name: read(data, name) for name in ("site", "y")}
    for row in range(ROWS):
        of = {"row": row, "block": row // CHUNK}.get(by, columns.get(by, [None] * ROWS)[row])
        sets[of].append(row)
    if by in ("row", "block"):
        ordered = sorted(sets, key=lambda each: key_of(int(each), seed))  # type: ignore[arg-type]
        if stratify is None:
            kept = ordered[: share_of(share, len(ordered))]
        else:
            kept = []
            for label in np.unique(columns[stratify]):
                of_class = [row for row in ordered if columns[stratify][row] == label]
                kept += of_class[: share_of(share, len(of_class))]
        return {row for each in kept for row in sets[each]}
    ordered = sorted(sets, key=lambda each: key_of(bits_of(each), seed))  # type: ignore[arg-type]
    nearest, taken = set[int](), set[int]()
    for each in ordered:
        taken = taken | set(sets[each])
        if abs(len(taken) - share * ROWS) < abs(len(nearest) - share * ROWS):
            nearest = taken
    return nearest


def read(data: Dataset, name: str) -> np.ndarray:
    return zarr.open_array(Path(data.path) / name, mode="r")[...]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.915, 0.005])
@pytest.mark.parametrize(
    ("by", "stratify"), [("row", None), ("block", None), ("site", None), ("row", "y")]
)
def test_a_side_has_the_rows_with_the_smallest_keys(
    data: Dataset, by: str, stratify: str | None, share: float
) -> None:
    expected = validation_rows(data, share, 7, by, stratify)
    if not expected:
        with pytest.raises(InputError, match=r"the validation side of .* would be empty"):
            ooc.split(data, share, 7, by, stratify)
        return
    train, validation = ooc.split(data, share, 7, by, stratify)
    assert (train.rows, validation.rows) == (ROWS - len(expected), len(expected))
    columns = {name: read(data, name) for name in ("site", "y")}
    for side, rows in ((train, set(range(ROWS)) - expected), (validation, expected)):
        assert side.selection is not None
        found: set[int] = set()
        for first in range(0, ROWS, 37):
            stop = min(first + 37, ROWS)
            part = {name: values[first:stop] for name, values in columns.items()}
            found |= set(
                (first + np.flatnonzero(side.selection.contains(first, stop, part))).tolist()
            )
        assert found == rows
        subset = make_subset(side, 7)
        assert subset is not None
        counts = np.bincount(np.array(sorted(rows)) // 7, minlength=ROWS // 7)
        assert subset.blocks.tolist() == np.flatnonzero(counts).tolist()
        assert subset.rows.tolist() == counts[counts > 0].tolist()


def test_a_tenth_of_rows_by_the_seed_0_is_split_off_by_default(data: Dataset) -> None:
    assert ooc.split(data)[1].selection == ooc.split(data, 0.1, 0, "row", None)[1].selection
    assert make_subset(data, 10) is None


def test_a_share_is_the_decimal_number_that_was_written(tmp_path: Path) -> None:
    """0.15 of 10 rows are 1.5, which is rounded to 2; the nearest float is below it."""
    data = write_dataset(tmp_path / "a.zarr", 1, X=np.ones((10, 1)))
    assert [ooc.split(data, 0.15, by=by)[1].rows for by in ("row", "block")] == [2, 2]


@pytest.mark.parametrize("validation", [0, 1, 1.5, -0.1])
def test_a_share_is_between_0_and_1(data: Dataset, validation: float) -> None:
    with pytest.raises(InputError) as refused:
        ooc.split(data, validation)
    assert str(refused.value) == f"validation must be between 0 and 1, not {validation}"


@pytest.mark.parametrize(
    ("share", "by", "side"),
    [
        (0.001, "row", "validation"),
        (0.999, "row", "training"),
        (0.01, "block", "validation"),
        (0.99, "block", "training"),
        (0.001, "site", "validation"),
        (0.999, "site", "training"),
    ],
)
def test_a_side_without_rows_is_refused(data: Dataset, share: float, by: str, side: str) -> None:
    with pytest.raises(InputError) as refused:
        ooc.split(data, share, by=by)
    assert str(refused.value) == (
        f"the {side} side of {data.path} would be empty with validation={share} by {by} of 203 "
        "rows; choose another share or a finer split"
    )


def test_what_cannot_decide_is_refused_in_whole_sentences(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError) as refused:
        ooc.split(data, by="site", stratify="y")
    assert str(refused.value) == "stratify='y' goes with by=\"row\" only, not with by='site'"
    monkeypatch.setattr("ooc.stream.splits.MOST_CLASSES", 3)
    assert ooc.split(data, stratify="y")[1].rows > 0
    monkeypatch.setattr("ooc.stream.splits.MOST_CLASSES", 2)
    with pytest.raises(InputError) as refused:
        ooc.split(data, stratify="y")
    assert str(refused.value) == (
        f"array y of {data.path} has 3 different values, too many to be classes (at most 2); name "
        "an array of labels"
    )


def test_classes_are_at_most_4096(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "a.zarr", 5000, X=np.ones((4097, 1)), y=np.arange(4097))
    with pytest.raises(InputError, match=r"has 4097 different values, .* \(at most 4096\)"):
        ooc.split(data, stratify="y")


@pytest.mark.parametrize("by", ["site", "row"])
@pytest.mark.parametrize("where", [[131, 131, 140], [0]])
def test_an_array_that_decides_and_lacks_values_is_told_with_its_first_row(
    data: Dataset, tmp_path: Path, by: str, where: list[int]
) -> None:
    site = read(data, "site")
    site[where] = np.nan
    lacking = write_dataset(tmp_path / "b.zarr", CHUNK, X=np.ones((ROWS, 1)), site=site)
    stratify = None if by == "site" else "site"
    with pytest.raises(DataError) as refused:
        ooc.split(lacking, by=by, stratify=stratify)
    assert str(refused.value) == (
        f"array site of {lacking.path}, which decides on a row's side, has no value in row "
        f"{where[0]}; {len(set(where))} of the 203 rows lack one: leave such rows out with "
        "missing_values=drop, or split by another array"
    )
    for rule in ("drop", "fill:3", "keep"):
        sides = ooc.split(lacking, 0.3, by=by, stratify=stratify, missing_values=rule)
        assert sum(side.rows for side in sides) == ROWS


@pytest.mark.parametrize("how", [{"by": "X"}, {"stratify": "X"}])
def test_an_array_that_decides_has_one_number_a_row(tmp_path: Path, how: dict[str, str]) -> None:
    data = write_dataset(tmp_path / "a.zarr", X=np.arange(60.0).reshape(20, 3))
    with pytest.raises(InputError) as refused:
        ooc.split(data, 0.5, **how)  # type: ignore[arg-type]
    assert str(refused.value) == (
        f"array X of {data.path} has shape (20, 3); it needs one number a row"
    )


def test_a_side_of_other_rows_than_there_were_is_refused(data: Dataset) -> None:
    side = ooc.split(data, 0.25)[1]
    changed = replace(side, selection=replace(side.selection, rows=44))  # type: ignore[type-var]
    with pytest.raises(InputError) as refused:
        make_subset(changed, 10)
    assert str(refused.value) == (
        f"{data.path} has 51 rows on this side of its split, not the 44 that there were; it has "
        "changed since: split it again"
    )
