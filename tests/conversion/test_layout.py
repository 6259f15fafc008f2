"""Which columns become which arrays: by their kinds, by names that are usual, and as was asked."""

import base64
import struct
from typing import Any

import numpy as np
import pytest
from conversions import number, source_of, text

from ooc.conversion.choice import Choice
from ooc.conversion.layout import lay_out
from ooc.conversion.outputs import Layout
from ooc.conversion.source import CATEGORY, OTHER, TEXT, Column, time_column
from ooc.core.errors import InputError
from ooc.store.conventions import read_conventions
from ooc.store.fields import Field
from ooc.stream.missing_values import rule_of

KIND = Column("kind", CATEGORY, np.dtype(np.int8), categories=["b", "a"])
DAY = time_column("day", "D")
PACKING = {"scale_factor": 0.5, "add_offset": 1.0, "_FillValue": -9, "units": "K"}


def packed(name: str, *shape: int, **more: Any) -> Column:
    known = read_conventions(dict(PACKING), np.dtype(np.int16))
    return number(name, "int16", *shape, attributes=PACKING, conventions=known, **more)


def roles(layout: Layout) -> dict[str, tuple[str, list[str]]]:
    """Return by array its role and the columns that it is made of."""
    return {
        output.name: (output.role, [part.column.name for part in output.parts])
        for output in layout.outputs
    }


TABLE = (number("a"), number("b", "int8"), text("c"), DAY, KIND)
ARRAYS = (number("X", "f4", 3, rows=9), number("id", "i8", rows=9), text("c", rows=9))
CASES: dict[str, tuple[Any, dict[str, Any], dict[str, tuple[str, list[str]]]]] = {
    "numbers of a table are its features": (
        source_of(*TABLE), {},
        {"X": ("features", ["a", "b"]), "c": ("", ["c"]), "day": ("", ["day"]),
         "kind": ("", ["kind"])},
    ),
    "y is the target, and weight of a table a feature": (
        source_of(number("a"), number("y"), number("weight")), {},
        {"X": ("features", ["a", "weight"]), "y": ("target", ["y"])},
    ),
    "weight of arrays is one": (
        source_of(*ARRAYS, number("y", rows=9), number("weight", rows=9), is_table=False), {},
        {"X": ("features", ["X"]), "y": ("target", ["y"]), "weight": ("weight", ["weight"]),
         "id": ("", ["id"]), "c": ("", ["c"])},
    ),
    "names that are given win over usual ones": (
        source_of(number("a"), number("t"), number("w")), {"target": "t", "weight": "w"},
        {"X": ("features", ["a"]), "y": ("target", ["t"]), "weight": ("weight", ["w"])},
    ),
    "False is none": (
        source_of(number("X", "f4", 3, rows=9), number("y", rows=9), is_table=False),
        {"target": False}, {"X": ("features", ["X"])} | {"y": ("", ["y"])},
    ),
    "columns that are named, in their order, and nothing beside them": (
        source_of(*TABLE, number("d")), {"columns": ["d", "a"]}, {"X": ("features", ["d", "a"])},
    ),
    "a usual name among the columns is a feature": (
        source_of(number("a"), number("y")), {"columns": ["y", "a"]},
        {"X": ("features", ["y", "a"])},
    ),
    "given as both, it is both": (
        source_of(number("a"), number("y")), {"columns": ["y", "a"], "target": "y"},
        {"X": ("features", ["y", "a"]), "y": ("target", ["y"])},
    ),
    "times may be features where they are named": (
        source_of(*TABLE), {"columns": ["day", "a"]}, {"X": ("features", ["day", "a"])},
    ),
    "what is left out is in no array": (
        source_of(*TABLE), {"without": ["b", "c", "kind"]},
        {"X": ("features", ["a"]), "day": ("", ["day"])},
    ),
    "of arrays, the only one with axes": (
        source_of(number("m", "f4", 3, rows=9), number("id", rows=9), is_table=False), {},
        {"X": ("features", ["m"]), "id": ("", ["id"])},
    ),
    "of arrays, the only one of numbers": (
        source_of(number("id", rows=9), text("c", rows=9), is_table=False), {},
        {"X": ("features", ["id"]), "c": ("", ["c"])},
    ),
    "of several, none": (
        source_of(number("m", "f4", 3, rows=9), number("n", "f4", 3, rows=9), is_table=False), {},
        {"m": ("", ["m"]), "n": ("", ["n"])},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_columns_have_the_roles_that_they_are_to_have(case: str) -> None:
    source, asked, expected = CASES[case]
    assert roles(lay_out(source, Choice(**asked))) == expected


def test_what_is_not_converted_is_told_with_why() -> None:
    source = source_of(
        number("X", "f4", 3, rows=9), number("short", rows=4), number("id", rows=9),
        is_table=False, skipped={"odd": "it is odd"},
    )  # fmt: skip
    assert lay_out(source, Choice(without=["id"])).skipped == {
        "odd": "it is odd",
        "id": "left out, as was asked for",
        "short": "it has 4 rows, not 9",
    }
    assert lay_out(source, Choice(columns=["X"])).skipped == {
        "odd": "it is odd",
        "id": "not among the columns that were named",
        "short": "not among the columns that were named",
    }


def test_rows_are_those_of_the_roles_or_else_of_the_array_of_most_bytes() -> None:
    small, large = number("m", "f8", 4, rows=5), number("n", "f4", 3, rows=50)
    layout = lay_out(source_of(small, large, is_table=False))
    assert roles(layout) == {"n": ("", ["n"])}
    assert layout.features is None
    layout = lay_out(source_of(small, large, is_table=False), Choice(columns=["m"]))
    assert layout.features is layout.outputs[0]
    layout = lay_out(source_of(small, large, number("y", rows=5), is_table=False))
    assert roles(layout) == {"y": ("target", ["y"]), "m": ("", ["m"])}


def test_features_have_the_smallest_type_that_holds_all_of_them() -> None:
    cases: dict[str, tuple[list[Column], str]] = {
        "small and smaller": ([number("a", "int8"), number("b", "uint8")], "int16"),
        "whole and real": ([number("a", "int16"), number("b", "float32")], "float32"),
        "truths": ([number("a", "bool"), number("b", "bool")], "uint8"),
        "a time": ([number("a", "float32"), DAY], "float64"),
        "packed, as xarray decodes it": ([number("a", "int8"), packed("b")], "float64"),
    }
    for columns, expected in cases.values():
        layout = lay_out(source_of(*columns), Choice(columns=[column.name for column in columns]))
        (output,) = layout.outputs
        assert (output.dtype, output.shape) == (np.dtype(expected), (2,))
        assert output.stacked and not output.stored
        (output,) = lay_out(
            source_of(*columns), Choice([column.name for column in columns], dtype="uint16")
        ).outputs
        assert output.dtype == np.uint16


def test_columns_of_several_entries_have_names_for_each_of_them() -> None:
    genes = number("X", "f4", 3, names=["g0", "g1", "g2"])
    size = number("size", attributes={"units": "um"})
    table = source_of(genes, number("m", "f4", 2), size)
    layout = lay_out(table)
    (output,) = layout.outputs
    assert output.shape == (6,)
    assert output.attributes == {
        "feature_names": ["g0", "g1", "g2", "m[0]", "m[1]", "size"],
        "feature_units": {"size": "um"},
    }
    assert (layout.names, layout.row_bytes) == (["X", "m", "size"], 6 * 8)
    (output,) = lay_out(
        source_of(genes, size, is_table=False), Choice(["g2", "size", "g0"])
    ).outputs
    assert [part.entries for part in output.parts] == [(2,), None, (0,)]
    assert [part.width for part in output.parts] == [1, 1, 1]
    assert output.attributes["feature_names"] == ["g2", "size", "g0"]


def test_an_array_that_is_the_features_alone_keeps_its_shape_and_what_is_noted() -> None:
    noted = {"attributes": {"units": "m", "scale_factor": 2.0}, "dimensions": ("t", "x")}
    (output,) = lay_out(
        source_of(number("m", "f4", 3, names=["a", "b", "c"], **noted), is_table=False)
    ).outputs
    assert (output.name, output.shape, output.stacked) == ("X", (3,), False)
    # It is not packed: what would say so goes.
    assert output.attributes == {"units": "m", "feature_names": ["a", "b", "c"], "long_name": "m"}
    assert output.field().dimensions == ("t", "x")
    named = number("X", "f4", 3, attributes={"long_name": "heights"})
    (output,) = lay_out(source_of(named, is_table=False)).outputs
    assert output.attributes == {"long_name": "heights"}


@pytest.mark.parametrize(
    ("asked", "dtype", "stored"),
    [
        ({}, "int16", True),
        ({"missing": rule_of("fill")}, "float64", False),
        ({"dtype": "f8"}, "f8", False),
    ],
)
def test_packed_features_stay_packed_unless_their_values_are_to_change(
    asked: dict[str, Any], dtype: str, stored: bool
) -> None:
    (output,) = lay_out(source_of(packed("X", 2), is_table=False), Choice(**asked)).outputs
    assert (output.dtype, output.stored) == (np.dtype(dtype), stored)
    assert output.attributes == (PACKING if stored else {"units": "K"})


def test_what_decodes_goes_with_what_was_packed() -> None:
    """The eight attributes of CF and of NUG, chapter 8.1 and appendix A."""
    packing = ["scale_factor", "add_offset", "_FillValue", "missing_value", "valid_min",
               "valid_max", "valid_range", "_Unsigned"]  # fmt: skip
    noted = {**dict.fromkeys(packing, 1), "units": "K", "standard_name": "x"}
    column = number("X", "f4", 2, attributes=noted)
    (output,) = lay_out(source_of(column, is_table=False)).outputs
    assert output.attributes == {"units": "K", "standard_name": "x"}


def test_what_lies_alone_has_a_type_and_attributes_of_its_own() -> None:
    columns = (
        number("y", whole=True), number("flag", "bool"), KIND, packed("t"),
        number("a/b", attributes={"units": "s"}), number("X", "f4", 2),
    )  # fmt: skip
    arrays = lay_out(source_of(*columns, is_table=False))
    told = {
        each.name: (str(each.dtype), each.attributes, each.stored)
        for each in arrays.outputs
        if each.role != "features"
    }
    assert told == {
        # Whole numbers of a target are labels.
        "y": ("int64", {}, False),
        "flag": ("uint8", {}, False),
        "kind": ("int8", {"categories": ["b", "a"]}, False),
        "t": ("int16", PACKING, True),
        "a/b": ("float64", {"units": "s"}, False),
    }
    table = lay_out(
        source_of(text("a/b"), number("w", whole=True), number("c")), Choice(weight="w")
    )
    assert [each.name for each in table.outputs] == ["X", "weight", "a_b"]
    weight, beside = table.outputs[1:]
    assert (weight.dtype, weight.attributes) == (np.float64, {"long_name": "w"})
    assert beside.attributes == {"categories": [], "long_name": "a/b"}


def test_a_fill_value_is_written_as_xarray_does() -> None:
    (output,) = lay_out(
        source_of(number("X", "f4", 2, attributes={"_FillValue": 1.5}), is_table=False),
        Choice(dtype=None),
    ).outputs
    assert "_FillValue" not in output.attributes
    known = read_conventions({"_FillValue": 1.5}, np.dtype("f4"))
    column = number("X", "f4", 2, attributes={"_FillValue": 1.5}, conventions=known)
    (output,) = lay_out(source_of(column, is_table=False)).outputs
    for _ in range(2):
        text_of = output.field().attributes["_FillValue"]
        assert struct.unpack("<d", base64.b64decode(text_of)) == (1.5,)
    written = Field("string", (), {}, None)
    other = Column("words", OTHER, np.dtype(np.uint8), written=written)
    outputs = lay_out(source_of(number("a"), other)).outputs
    assert outputs[1].field() is written


MANY = source_of(*(number(f"c{i}") for i in range(20)))
WIDE = number("m", "f4", 2, 3, rows=9)
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "nothing near": (
        MANY, {"target": "zzz"},
        "there.x has no column 'zzz'; it has, among others: "
        "c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, ...",
    ),
    "something near": (
        source_of(number("age"), number("height"), number("width")), {"without": ["hieght"]},
        "there.x has no column 'hieght'; it has, among others: height",
    ),
    "few": (
        source_of(number("age")), {"columns": ["q"]}, "there.x has no column 'q'; it has: age",
    ),
    "skipped": (
        source_of(number("a"), skipped={"b": "it is odd"}), {"weight": "b"},
        "b of there.x cannot be converted: it is odd; leave it out",
    ),
    "twice": (
        source_of(number("a"), number("b")), {"columns": ["a", "b", "a"]},
        "columns= (--columns) names 'a' twice; name it once",
    ),
    "lengths": (
        source_of(number("a", rows=5), number("t", rows=4), is_table=False),
        {"columns": ["a"], "target": "t"},
        "arrays of there.x differ along axis 0: a has 5 rows, t has 4; name others with columns= "
        "and target=",
    ),
    "no features for a dtype": (
        source_of(number("m", rows=9), number("n", rows=9), is_table=False), {"dtype": "f4"},
        "no array of there.x is the features, whose dtype is to be f4; name them with columns= "
        "(--columns)",
    ),
    "no dtype": (
        source_of(number("a")), {"dtype": "colour"},
        "dtype (--dtype) is a type of real numbers such as float32 or uint8, not 'colour'",
    ),
    "no real dtype": (
        source_of(number("a")), {"dtype": "complex64"},
        "dtype (--dtype) is a type of real numbers such as float32 or uint8, not 'complex64'",
    ),
    "matrices beside columns": (
        source_of(WIDE, number("a", rows=9), is_table=False), {"columns": ["a", "m"]},
        "m of there.x has rows of shape (2, 3), which other columns cannot be put beside; name it "
        "alone in columns= (--columns)",
    ),
    "a weight of texts": (
        source_of(number("a"), text("t")), {"weight": "t"},
        "column t of there.x is not one number a row, which a weight is; name another one, or none "
        "with weight=False (--no-weight)",
    ),
    "a weight of several": (
        source_of(number("a"), number("t", "f4", 2)), {"weight": "t"},
        "column t of there.x is not one number a row, which a weight is; name another one, or none "
        "with weight=False (--no-weight)",
    ),
    "a name that means something": (
        source_of(number("a"), text("weight")), {},
        "column weight of there.x would be taken for what weight is to a dataset; leave it out "
        "with without= (--without weight), or rename it",
    ),
    "a name that means something, of arrays": (
        source_of(number("y", rows=9), number("t", rows=9), number("X", "f4", 2, rows=9),
                  is_table=False), {"target": "t"},
        "column y of there.x would be taken for what y is to a dataset; leave it out with "
        "without= (--without y), or rename it",
    ),
    "nothing left": (
        source_of(number("a"), skipped={"b": "it is odd"}), {"without": ["a"]},
        "nothing of there.x can be converted: b: it is odd; a: left out, as was asked for",
    ),
    "nothing at all": (
        source_of(), {}, "nothing of there.x can be converted: it has no columns",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_laid_out_is_refused_in_a_line(case: str) -> None:
    source, asked, message = REFUSED[case]
    with pytest.raises(InputError) as caught:
        lay_out(source, Choice(**asked))
    assert str(caught.value) == message


@pytest.mark.parametrize("column", [text("t"), KIND, Column("t", OTHER, np.dtype("u1"))])
def test_what_is_no_number_is_no_feature(column: Column) -> None:
    with pytest.raises(InputError) as caught:
        lay_out(source_of(number("a"), column), Choice(columns=["a", column.name]))
    hashes = "; hash_text= (--hash-text) makes one of it" if column.kind == TEXT else ""
    assert str(caught.value) == (
        f"column {column.name} of there.x holds text, which is no feature; leave it out of "
        "columns= (--columns), make it the target, or convert without columns=, which keeps its "
        f"categories as codes beside the features{hashes}"
    )
