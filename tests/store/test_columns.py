"""A pass over a few arrays gives each row once, and tells which of them are used."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import foreign

import ooc
from ooc.store.chunks import BadChunkError
from ooc.store.columns import block_sums, count_labels, pieces_of, used_pieces
from ooc.store.dataset import Dataset

ROWS = 103
NUMBERS, CLASSES = np.arange(ROWS), (np.arange(ROWS) * 7) % 5
X = np.stack([NUMBERS, NUMBERS + 0.5], axis=1).astype("f4")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    arrays = {"X": (X, (10, 2)), "y": (CLASSES, (25,)), "number": (NUMBERS, (10,))}
    options: dict[str, Any] = {
        name: {"data": data, "chunks": chunks, "config": {"write_empty_chunks": True}}
        for name, (data, chunks) in arrays.items()
    }
    return ooc.open(foreign(tmp_path / "a.zarr", 3, **options))


# Bytes of a piece, rows of a block, arrays, and where pieces begin.
PIECES = [
    (1, None, ("X", "y"), 10), (1, None, ("y", "X"), 25), (1, 7, ("X",), 7),
    (16 * 30, None, ("X", "y"), 30), (16 * 39, None, ("X", "y"), 30),
    (8 * 20, None, ("X",), 20), (8 * 20, None, (), 20), (10**6, None, ("X",), ROWS),
    (8 * 21, 7, ("number",), 21), (1, 1000, ("X",), ROWS),
]  # fmt: skip


@pytest.mark.parametrize(("size", "block", "names", "step"), PIECES)
def test_pieces_begin_with_blocks_and_hold_every_row_once(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch,
    size: int, block: int | None, names: tuple[str, ...], step: int,
) -> None:  # fmt: skip
    monkeypatch.setattr("ooc.store.columns.PIECE_BYTES", size)
    truth = {"X": X, "y": CLASSES, "number": NUMBERS}
    found = []
    for first, stop, values in pieces_of(dataset, names, block):
        found.append((first, stop))
        assert list(values) == list(names)
        for name in names:
            np.testing.assert_array_equal(values[name], truth[name][first:stop])
    starts = list(range(0, ROWS, step))
    assert found == list(zip(starts, [*starts[1:], ROWS], strict=True))


def test_rows_of_the_other_side_are_not_used(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.store.columns.PIECE_BYTES", 1)
    for by in ("row", "block", "y"):
        held, rest = ooc.split(dataset, 0.4, seed=3, by=by)
        sides = []
        for side in (held, rest):
            parts = list(used_pieces(side, ("number",)))
            assert all(("y" in values) == (by == "y") for _, values, _ in parts)
            sides.append(np.concatenate([used for _, _, used in parts]))
            assert sides[-1].sum() == side.rows
        assert (sides[0] ^ sides[1]).all() and sides[0].any()
        if by == "y":
            assert {*CLASSES[sides[0]]}.isdisjoint(CLASSES[sides[1]])


@pytest.mark.parametrize("block", [None, 7])
def test_rows_of_a_chunk_that_is_gone_are_not_used(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, block: int | None
) -> None:
    monkeypatch.setattr("ooc.store.columns.PIECE_BYTES", 1)
    for chunk in (3, 10):
        Path(dataset.path, "X", "c", str(chunk), "0").unlink()
    with pytest.raises(BadChunkError):
        list(used_pieces(dataset, ("X",), block))
    used = np.concatenate([each for _, _, each in used_pieces(dataset, ("X",), block, True)])
    gone = np.isin(NUMBERS // 10, [3, 10])
    np.testing.assert_array_equal(used, ~gone)
    side = ooc.split(dataset, 0.5, seed=1)[0]
    both = np.concatenate([each for _, _, each in used_pieces(side, ("X",), block, True)])
    whole = np.concatenate([each for _, _, each in used_pieces(side, ("number",), block)])
    np.testing.assert_array_equal(both, whole & ~gone)


@pytest.mark.parametrize("block", [7, 10, 103, 200])
@pytest.mark.parametrize("size", [1, 8 * 40])
def test_blocks_weigh_what_their_used_rows_do(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, block: int, size: int
) -> None:
    monkeypatch.setattr("ooc.store.columns.PIECE_BYTES", size)
    side = ooc.split(dataset, 0.4, seed=3)[1]
    used = np.concatenate([each for _, _, each in used_pieces(side, ("number",))])

    def weigh(first: int, values: dict[str, np.ndarray], used: np.ndarray) -> np.ndarray:
        assert values["number"][0] == first
        return values["number"] + 0.25

    for data, counted in ((dataset, np.ones(ROWS, bool)), (side, used)):
        weights = np.where(counted, NUMBERS + 0.25, 0)
        wanted = [weights[start : start + block].sum() for start in range(0, ROWS, block)]
        assert block_sums(data, ("number",), block, weigh).tolist() == wanted


def test_values_are_those_that_attributes_declare(dataset: Dataset) -> None:
    zarr.open_group(dataset.path, mode="r+")["number"].attrs["scale_factor"] = 0.5
    ((_, _, values),) = pieces_of(ooc.open(dataset.path), ("number",))
    np.testing.assert_array_equal(values["number"], 0.5 * NUMBERS)


def test_labels_are_counted_on() -> None:
    counts = Counter({3: 1})
    count_labels(counts, np.array([3, 1, 1, -2]))
    count_labels(counts, np.array([], np.int64))
    assert counts == {3: 2, 1: 2, -2: 1}


def test_arrays_that_cannot_be_read_are_refused_before(dataset: Dataset) -> None:
    alone = replace(dataset, arrays={"X": dataset.arrays["X"]})
    with pytest.raises(ooc.core.errors.InputError, match="has no array 'y'; it has: X"):
        next(pieces_of(alone, ("X", "y")))
