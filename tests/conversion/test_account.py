"""What became of each column is told in words, and noted where those who read the store look."""

import base64
import math
import struct
from collections import Counter
from typing import Any

import numpy as np
import pytest
from conversions import number, source_of, text

from ooc.conversion.account import described, final_attributes, told_of
from ooc.conversion.choice import Choice
from ooc.conversion.layout import lay_out
from ooc.conversion.notes import Standing
from ooc.conversion.outputs import Layout
from ooc.conversion.source import CATEGORY, Column, time_column
from ooc.store.conventions import read_conventions
from ooc.stream.missing_values import rule_of

NOTED = {"scale_factor": 0.5, "_FillValue": -9, "units": "K"}
PACKED = number(
    "t", "int16", attributes=NOTED, conventions=read_conventions(NOTED, np.dtype("i2")),
    may_lack=True, was="float64",
)  # fmt: skip
COLUMNS = [
    number("a", "f4"), number("m", "f4", 3), number("z", "f4"), text("c"),
    time_column("day", "D", was="date"),
    Column("kind", CATEGORY, np.dtype("i1"), categories=[*"gfedcba"], may_lack=True),
    number("y", "f8", may_lack=True),
]  # fmt: skip
MISSING = Counter({"m": 2, "c": 1234, "kind": 3, "y": 4, "day": 5})
STANDING = Standing(missing=MISSING, categories={"c": ["v", "ü", "a"]})


def finished(layout: Layout, rule: str, standing: Standing = STANDING) -> dict[str, Any]:
    """Add what is known in the end, and return it by array."""
    found = {}
    for output in layout.outputs:
        found[output.name] = final_attributes(output, standing, rule_of(rule))
        output.attributes.update(found[output.name])
    return found


@pytest.mark.parametrize(
    ("rule", "of_roles"),
    [
        ("keep", "kept as missing"), ("drop", "left out"), ("fill:-2.5", "filled with -2.5"),
    ],
)  # fmt: skip
def test_each_column_is_told_in_words(rule: str, of_roles: str) -> None:
    layout = lay_out(source_of(*COLUMNS, skipped={"odd": "it is odd"}))
    finished(layout, rule)
    assert told_of(layout, STANDING, rule_of(rule)) == {
        "a": "X float32, feature 0",
        "m": f"X float32, feature 1 to 3, 2 without a value, {of_roles}",
        "z": "X float32, feature 4",
        "c": "array c, int32, codes of 3 categories: a, v, ü, 1,234 without a value, kept as "
        "missing",
        "day": "array day, int64, days since 1970-01-01, was date, 5 without a value, kept as "
        "missing",
        "kind": "array kind, int8, codes of 7 categories: g, f, e, d, c, ..., 3 without a value, "
        "kept as missing",
        "y": f"array y (target), float64, 4 without a value, {of_roles}",
        "odd": "skipped: it is odd",
    }


def test_a_column_of_two_arrays_is_told_of_both() -> None:
    layout = lay_out(source_of(number("a"), number("y")), Choice(columns=["a", "y"], target="y"))
    told = told_of(layout, Standing(), rule_of("raise"))
    assert told["y"] == "X float64, feature 1; array y (target), float64"
    wide = lay_out(source_of(number("m", "f4", 3, 2), PACKED, is_table=False))
    assert told_of(wide, Standing(), rule_of("raise")) == {
        "m": "array X (features), float32 (3, 2)",
        "t": "array t, int16, int16 times 0.5, missing -9, in K, was float64",
    }


def test_five_categories_are_all_told() -> None:
    layout = lay_out(source_of(number("a"), text("c")))
    standing = Standing(categories={"c": [*"edcba"]})
    finished(layout, "raise", standing)
    told = told_of(layout, standing, rule_of("raise"))
    assert told["c"] == "array c, int32, codes of 5 categories: a, b, c, d, e"


def nan(value: Any) -> bool:
    (found,) = struct.unpack("<d", base64.b64decode(value))
    return math.isnan(found)


def test_what_is_missing_is_declared_where_it_is_kept() -> None:
    layout = lay_out(source_of(*COLUMNS))
    kept = finished(layout, "keep")
    assert nan(kept["X"].pop("_FillValue")) and nan(kept["y"].pop("_FillValue"))
    assert kept == {
        "X": {}, "y": {}, "day": {}, "kind": {"missing_value": -1},
        "c": {"categories": ["a", "v", "ü"], "missing_value": -1},
    }  # fmt: skip
    beside = {"categories": ["a", "v", "ü"], "missing_value": -1}
    assert finished(lay_out(source_of(*COLUMNS)), "drop") == {
        "X": {}, "y": {}, "day": {}, "kind": {"missing_value": -1}, "c": beside,
    }  # fmt: skip
    as_target = lay_out(source_of(number("a"), text("c")), Choice(target="c"))
    assert finished(as_target, "drop")["y"] == {"categories": ["a", "v", "ü"]}
    assert finished(as_target, "keep")["y"] == beside
    nothing = finished(lay_out(source_of(*COLUMNS)), "keep", Standing())
    assert nothing.pop("c") == {"categories": []}
    assert not any(nothing.values())
    # What is packed declares it already.
    packed = lay_out(source_of(number("m", "f4", 2), PACKED, is_table=False))
    assert finished(packed, "keep", Standing(missing=Counter(t=3)))["t"] == {}


def test_what_decides_on_the_bits_is_described() -> None:
    def layout(*changed: Column, **asked: Any) -> list[Any]:
        return described(lay_out(source_of(*(changed or COLUMNS)), Choice(**asked)))

    usual = layout()
    assert usual == layout()
    assert usual[0] == [
        "X",
        "features",
        "float32",
        [5],
        False,
        False,
        [["a", None], ["m", None], ["z", None]],
        [],
    ]
    others = [
        layout(target="a"), layout(dtype="f2"), layout(columns=["m", "a"]), layout(without=["c"]),
        layout(number("a", "f8"), *COLUMNS[1:]), layout(*COLUMNS[:1], number("m", "f4", 2)),
    ]  # fmt: skip
    genes = number("m", "f4", 3, names=["u", "v", "w"])
    others += [layout(genes, columns=["u"]), layout(genes, columns=["v"])]
    assert others[-1][0][-2] == [["m", [1]]]
    told = [str(each) for each in [usual, *others]]
    assert len(set(told)) == len(told)
