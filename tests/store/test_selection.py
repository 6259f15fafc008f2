"""A side of a split is decided row by row: by its own key, its block's, or that of a value."""

from typing import Any

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.core.hashing import keys_of
from ooc.store.selection import NO_LABEL, Selection, as_labels

KEY, ROWS = 12345, 200
HALF = 2**63
LABELS = np.random.default_rng(0).integers(0, 3, ROWS)
VALUES = np.random.default_rng(1).integers(0, 40, ROWS)


def side(by: str, limits: tuple[int, ...] = (HALF,), below: bool = True, **more: Any) -> Selection:
    between = ((), limits) if below else (limits, ())
    return Selection(by, KEY, *between, 1, **more)


def keys(by: str, block_rows: int = 1) -> np.ndarray:
    rows = np.arange(ROWS)
    return keys_of({"row": rows, "block": rows // block_rows, "y": VALUES}[by], KEY)


@pytest.mark.parametrize(("by", "block_rows"), [("row", 1), ("block", 7), ("block", 1), ("y", 1)])
@pytest.mark.parametrize("below", [True, False])
def test_rows_are_on_a_side_by_their_keys_wherever_a_piece_begins(
    by: str, block_rows: int, below: bool
) -> None:
    chosen = side(by, below=below, block_rows=block_rows)
    wanted = (keys(by, block_rows) < np.uint64(HALF)) == below
    assert 0 < wanted.sum() < ROWS
    for first, stop in ((0, ROWS), (0, 7), (13, 14), (20, 57), (6, 22)):
        found = chosen.contains(first, stop, {"y": VALUES[first:stop, None]})
        assert found.dtype == bool and found.tolist() == wanted[first:stop].tolist()


@pytest.mark.parametrize("by", ["row", "block"])
def test_each_class_has_a_limit_of_its_own(by: str) -> None:
    limits = (2**62, 3 * 2**62, 0)
    for below in (True, False):
        chosen = side(by, limits, below, stratify="kind", classes=(0, 1, 2), block_rows=3)
        wanted = (keys(by, 3) < np.array(limits, np.uint64)[LABELS]) == below
        found = chosen.contains(0, ROWS, {"kind": LABELS})
        assert found.tolist() == wanted.tolist()
        part = chosen.contains(50, 70, {"kind": LABELS[50:70]})
        assert part.tolist() == wanted[50:70].tolist()


def test_a_key_at_its_limit_is_not_below() -> None:
    row = int(keys("row")[5])
    assert not side("row", (row,)).contains(5, 6, {})[0]
    assert side("row", (row + 1,)).contains(5, 6, {})[0]


def test_a_selection_says_what_decides_it() -> None:
    assert side("row").arrays == side("block").arrays == ()
    assert side("y").arrays == ("y",)
    assert side("row", stratify="kind").arrays == ("kind",)
    assert side("y", (1, 2), False, stratify="kind", classes=(4, 5), others=True).to_json() == {
        "by": "y", "key": KEY, "lower": [1, 2], "upper": [], "rows": 1, "stratify": "kind",
        "block_rows": 1, "classes": [4, 5], "groups": [], "others": True, "within": None,
    }  # fmt: skip
    within = Selection("day", None, (), (), 1, within=side("row", stratify="kind"))
    assert within.arrays == ("kind", "day")


def test_equal_values_are_one_label_whatever_their_type() -> None:
    for dtype in ("i1", "u2", "i8", "f4", "f8"):
        assert as_labels(np.array([3, 0, 7], dtype)).tolist() == [3, 0, 7]
    assert as_labels(np.array([True, False])).tolist() == [1, 0]
    assert as_labels(np.array([[-2.0], [-0.0]])).tolist() == [-2, 0]
    # Of the many that are not numbers each is the one label.
    strange = np.array([0x7FF8000000000001, 0xFFF8000000000000], np.uint64).view("f8")
    assert as_labels(np.append(strange, np.nan)).tolist() == [NO_LABEL] * 3
    parts = np.array([0.5, 1.5, -0.5, 0.25])
    found = as_labels(parts)
    assert found.tolist() == parts.view("i8").tolist()
    assert as_labels(parts.astype("f4")).tolist() == found.tolist()
    with pytest.raises(InputError) as caught:
        as_labels(np.ones((4, 2, 3)))
    assert str(caught.value) == "one number a row is needed, not 6; name another array"
