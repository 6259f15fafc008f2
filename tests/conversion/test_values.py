"""A piece's values as arrays: put together, cast where a type holds them, missing ones told."""

from typing import Any

import numpy as np
import pytest
from conversions import number, source_of, text
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from ooc.conversion.choice import Choice
from ooc.conversion.layout import lay_out
from ooc.conversion.source import CATEGORY, NO_TIME, OTHER, Column, Texts, texts_of, time_column
from ooc.conversion.values import Assembled, Categories, assemble
from ooc.core.errors import DataError
from ooc.store.conventions import read_conventions
from ooc.stream.missing_values import rule_of

NAN = np.nan


def assembled(
    known: list[Column], values: dict[str, Any], rule: str = "raise", skip: int = 0, **asked: Any
) -> Assembled:
    is_table = asked.pop("is_table", True)
    choice = Choice(missing=rule_of(rule), **asked)
    layout = lay_out(source_of(*known, is_table=is_table), choice)
    arrays = {
        name: each if isinstance(each, Texts) else np.asarray(each) for name, each in values.items()
    }
    return assemble(layout, arrays, 100, skip, rule_of(rule), lambda row: f"place {row}")


@pytest.mark.parametrize("shapes", [((), (), ()), ((), (2,), (3,)), ((3,),)])
def test_columns_stand_beside_each_other(
    rng: np.random.Generator,
    shapes: tuple[tuple[int, ...], ...],
) -> None:
    columns = [number(f"c{i}", "int16", *shape) for i, shape in enumerate(shapes)]
    values = {
        column.name: rng.integers(-99, 99, (10, *column.shape)).astype(np.int16)
        for column in columns
    }
    piece = assembled(columns, values, dtype="float32")
    expected = np.column_stack([each.reshape(10, -1) for each in values.values()])
    assert_array_equal(piece.arrays["X"], expected)
    assert piece.arrays["X"].dtype == np.float32  # type: ignore[union-attr]
    assert (piece.first, piece.read, piece.left, piece.rows) == (100, 10, 10, None)


def test_some_entries_of_a_matrix_are_those_that_were_named() -> None:
    genes = number("m", "f4", 3, names=["a", "b", "c"])
    piece = assembled([genes], {"m": np.arange(6.0).reshape(2, 3)}, columns=["c", "a"])
    assert_array_equal(piece.arrays["X"], [[2, 0], [5, 3]])


def test_times_are_floats_among_features_and_whole_beside_them() -> None:
    day = time_column("day", "D")
    values = {"a": [1.0, 2.0], "day": [7, NO_TIME]}
    piece = assembled([number("a"), day], values, "keep", columns=["a", "day"])
    assert_array_equal(piece.arrays["X"], [[1, 7], [2, NAN]])
    assert_array_equal(piece.lacking["day"], [False, True])
    piece = assembled([number("a"), day], values, "raise")
    assert_array_equal(piece.arrays["day"], [7, NO_TIME])
    assert piece.arrays["day"].dtype == np.int64  # type: ignore[union-attr]
    assert_array_equal(piece.lacking["day"], [False, True])


def test_packed_numbers_are_decoded_where_they_are_features_beside_others() -> None:
    noted = {"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": -9}
    known = read_conventions(dict(noted), np.dtype(np.int16))
    column = number("p", "int16", attributes=noted, conventions=known, may_lack=True)
    values = {"p": np.array([4, -9], np.int16), "a": [1.0, 2.0]}
    piece = assembled([column, number("a")], values, "keep")
    assert_array_equal(piece.arrays["X"], [[12, 1], [NAN, 2]])
    alone = {"p": np.array([[4], [-9]], np.int16)}
    wide = number("p", "int16", 1, attributes=noted, conventions=known, may_lack=True)
    piece = assembled([wide], alone, "keep", is_table=False)
    assert_array_equal(piece.arrays["X"], [[4], [-9]])
    assert_array_equal(piece.lacking["p"], [False, True])
    piece = assembled([wide], alone, "fill:3", is_table=False)
    assert_array_equal(piece.arrays["X"], [[12], [3]])


COLUMNS = [number("a", may_lack=True), number("b", may_lack=True), text("c"), number("y")]
GAPS = {
    "a": [1.0, NAN, 3.0, 4.0, NAN],
    "b": [1.0, 2.0, 3.0, NAN, NAN],
    "c": Texts(np.array([0, 1, -1, 0, 1], np.int32), ["u", "v"]),
    "y": [1.0, 2.0, 3.0, 4.0, 5.0],
}


def test_rows_are_left_out_kept_or_filled_and_counted_by_column() -> None:
    counted = {
        "a": [False, True, False, False, True],
        "b": [False, False, False, True, True],
        "c": [False, False, True, False, False],
    }
    x = np.column_stack([GAPS["a"], GAPS["b"]])
    for rule in ("drop", "keep", "fill:-1.5"):
        piece = assembled(COLUMNS, GAPS, rule)
        assert {name: rows.tolist() for name, rows in piece.lacking.items()} == counted
        left = [0, 2] if rule == "drop" else slice(None)
        expected = np.where(np.isnan(x), -1.5, x) if "fill" in rule else x[left]
        assert_array_equal(piece.arrays["X"], expected)
        assert_array_equal(piece.arrays["y"], np.array(GAPS["y"])[left])
        beside = piece.arrays["c"]
        assert isinstance(beside, Texts)
        # Texts beside the rows are no reason to leave them out.
        assert_array_equal(beside.codes, GAPS["c"].codes[left])  # type: ignore[attr-defined]
        assert piece.left == (2 if rule == "drop" else 5)
        assert piece.rows is None if rule != "drop" else piece.rows.tolist() == [0, 2]  # type: ignore[union-attr]


def test_rows_that_were_written_before_are_skipped() -> None:
    piece = assembled(COLUMNS, GAPS, "drop", skip=2)
    assert (piece.first, piece.read, piece.left) == (102, 3, 1)
    assert_array_equal(piece.arrays["X"], [[3, 3]])
    with pytest.raises(DataError, match=r"^place 3: column b has no value; say"):
        assembled(COLUMNS, GAPS, "raise", skip=2)


@pytest.mark.parametrize(
    ("rule", "values", "asked", "message"),
    [
        (
            "raise", GAPS, {},
            "place 1: column a has no value; say what becomes of such rows with --missing-values: "
            "drop leaves them out, keep keeps them as missing, fill:NUMBER puts a number there",
        ),
        (
            "fill", GAPS, {"target": "c"},
            "place 2: column c has no value; a number is put in place of features alone; leave "
            "such rows out with drop",
        ),
        (
            "fill", {**GAPS, "y": [1, NAN, 3, 4, 5]}, {},
            "place 1: column y has no value; a number is put in place of features alone; leave "
            "such rows out with drop",
        ),
        (
            "raise", {**GAPS, "a": [1, 2, 3, 4, 5], "b": [1, 2, 3, 4, 5]}, {"target": "c"},
            "place 2: column c has no value; say what becomes of such rows with --missing-values: "
            "drop leaves them out, keep keeps them as missing, fill:NUMBER puts a number there",
        ),
    ],
)  # fmt: skip
def test_the_first_row_that_lacks_what_it_needs_is_named(
    rule: str, values: dict[str, Any], asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        assembled(COLUMNS, values, rule, **asked)
    assert str(caught.value) == message


def test_codes_of_categories_may_lack_and_other_things_never_do() -> None:
    kind = Column("kind", CATEGORY, np.dtype(np.int8), categories=["u"], may_lack=True)
    other = Column("o", OTHER, np.dtype("f8"))
    values = {"a": [1.0, 2.0], "kind": np.array([0, -1], np.int8), "o": [NAN, NAN]}
    piece = assembled([number("a"), kind, other], values)
    assert {name: rows.tolist() for name, rows in piece.lacking.items()} == {"kind": [False, True]}
    piece = assembled([number("a"), kind, other], values, "drop", target="kind")
    assert_array_equal(piece.arrays["X"], [[1]])
    assert_array_equal(piece.arrays["o"], [NAN])


TYPES = ["int8", "uint8", "int16", "uint16", "int32", "int64", "uint64", "float32", "float64"]
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([2**k + d for k in (7, 8, 15, 16, 24, 31, 53, 63) for d in (-1, 0, 1)]),
    st.floats(allow_nan=False, width=32),
    st.sampled_from([-1, 0, 0.5, 1e39, -1e39, 3.4e38]),
)


@settings(max_examples=50)
@given(st.sampled_from(TYPES), st.sampled_from(TYPES), st.lists(NUMBERS, min_size=1, max_size=4))
def test_a_number_is_written_as_it_is_or_refused(old: str, new: str, drawn: list[Any]) -> None:
    """Floats are rounded, and never to infinity; whole numbers stay what they are."""
    limits = np.iinfo(old) if np.dtype(old).kind in "iu" else None
    if limits is not None:
        drawn = [min(max(int(value), limits.min), limits.max) for value in map(_finite, drawn)]
    with np.errstate(over="ignore"):
        values = np.array(drawn, old).reshape(-1, 1)
    exact = [value.item() for value in values[:, 0]]
    try:
        piece = assembled([number("X", old, 1)], {"X": values}, dtype=new, is_table=False)
    except DataError as error:
        row = int(str(error).split(":")[0].split()[1])
        value = exact[row]
        if np.dtype(new).kind == "f" and isinstance(value, float):
            assert np.isinf(np.float32(value)) and np.isfinite(value)
        elif np.dtype(new).kind == "f":
            assert int(float(np.dtype(new).type(value))) != value
        else:
            limit = np.iinfo(new)
            assert not limit.min <= value <= limit.max or int(value) != value
        assert f"column X holds {values[row, 0]}, which {new} cannot hold" in str(error)
        return
    written = piece.arrays["X"]
    assert isinstance(written, np.ndarray) and written.dtype == new
    for value, found in zip(exact, written[:, 0].tolist(), strict=True):
        if isinstance(value, float) and np.dtype(new).kind == "f":
            assert found == np.dtype(new).type(value)
        else:
            assert found == value


def _finite(value: Any) -> Any:
    return value if np.isfinite(float(value)) else 0


@pytest.mark.parametrize(
    ("old", "new", "value", "fits"),
    [
        ("int32", "float32", 2**24, True), ("int32", "float32", 2**24 + 1, False),
        ("int32", "float32", -(2**24) - 1, False), ("int32", "float32", -(2**24) - 2, True),
        ("int16", "float16", 2**11 + 1, False), ("int64", "float64", 2**53 + 1, False),
        ("uint64", "float64", 2**53 + 1, False), ("int64", "float64", -(2**53) - 2, True),
        ("int64", "uint64", -1, False), ("int8", "uint8", -1, False), ("uint8", "int8", 255, False),
        ("uint64", "int64", 2**63, False), ("uint64", "int64", 2**63 - 1, True),
        ("int64", "int32", 2**32 + 5, False), ("int16", "uint8", 255, True),
        ("float64", "float32", 1e39, False), ("float64", "float32", -1e39, False),
        ("float64", "float32", np.inf, True), ("float64", "float32", 0.1, True),
        ("float64", "float16", 65504.0, True), ("float32", "float16", 65536.0, False),
        ("float64", "int8", -128.0, True), ("float64", "int8", 128.0, False),
        ("float64", "uint8", 0.5, False), ("float64", "int32", 2.0**31 - 1, True),
        ("float64", "int64", 2.0**24 + 1, True), ("float64", "int64", 2.0**53 - 1, True),
        ("float64", "int64", np.inf, False),
    ],
)  # fmt: skip
def test_the_largest_that_a_type_holds(old: str, new: str, value: float, fits: bool) -> None:
    values = np.array([[0], [value]], old)
    column = number("X", old, 1)
    if fits:
        piece = assembled([column], {"X": values}, dtype=new, is_table=False)
        assert_array_equal(piece.arrays["X"], values.astype(new))
        return
    with pytest.raises(DataError, match=rf"^place 1: column X holds .*, which {new} cannot hold;"):
        assembled([column], {"X": values}, dtype=new, is_table=False)


@pytest.mark.parametrize(
    ("name", "place"), [("a", (2,)), ("b", (1, 0)), ("b", (2, 1)), ("c", (1,)), ("c", (0,))]
)
def test_where_values_may_lack_the_same_column_is_named(name: str, place: tuple[int, ...]) -> None:
    columns = [number("a"), number("b", "f8", 2), number("c", may_lack=True), number("d")]
    values = {"a": np.zeros(3), "b": np.zeros((3, 2)), "c": np.zeros(3), "d": np.zeros(3)}
    values[name][place] = 300
    with pytest.raises(DataError, match=rf"^place {place[0]}: column {name} holds 300\.0, which"):
        assembled(columns, values, dtype="uint8")
    values[name][place] = NAN
    piece = assembled(columns, values, "drop", dtype="uint8")
    assert {key: np.flatnonzero(rows).tolist() for key, rows in piece.lacking.items()} == {
        name: [place[0]]
    }
    assert piece.arrays["X"].dtype == np.uint8  # type: ignore[union-attr]


def test_a_row_that_lacks_anything_of_a_role_is_left_out() -> None:
    values = {**GAPS, "y": [NAN, 2.0, 3.0, 4.0, 5.0]}
    piece = assembled(COLUMNS, values, "drop")
    assert_array_equal(piece.arrays["y"], [3])
    assert_array_equal(piece.arrays["X"], [[3, 3]])


def test_what_a_type_cannot_hold_is_named_by_its_row_and_column() -> None:
    columns = [number("a", "int16"), number("b", "int16", 2), number("c", "int16")]
    x = np.zeros((4, 2), np.int16)
    for name, place, message in (
        ("c", (3,), "place 3: column c holds 300, which uint8 cannot hold; give a --dtype that "
         "can, or leave the column out"),
        ("b", (2, 1), "place 2: column b holds 300, which uint8 cannot hold; give a --dtype that "
         "can, or leave the column out"),
    ):  # fmt: skip
        values = {"a": np.zeros(4, np.int16), "b": x.copy(), "c": np.zeros(4, np.int16)}
        values[name][place] = 300
        with pytest.raises(DataError) as caught:
            assembled(columns, values, dtype="uint8")
        assert str(caught.value) == message


def test_rows_that_are_left_out_first_do_not_shift_what_is_named() -> None:
    column = [number("a", may_lack=True)]
    with pytest.raises(DataError) as caught:
        assembled(column, {"a": [NAN, 1.0, NAN, 2.5]}, "drop", dtype="int32")
    assert str(caught.value) == (
        "place 3: column a holds 2.5, which int32 cannot hold; give a --dtype that can, or leave "
        "the column out"
    )
    with pytest.raises(DataError) as caught:
        assembled(column, {"a": [1.0, NAN]}, "keep", dtype="int32")
    assert str(caught.value) == (
        "place 1: column a has no value, which int32 cannot keep; give --missing-values drop"
    )
    labels = [number("a"), number("y", whole=True, may_lack=True)]
    with pytest.raises(DataError) as caught:
        assembled(labels, {"a": [1.0, 2.0, 3.0], "y": [NAN, 1.0, 2.5]}, "drop")
    assert str(caught.value) == (
        "place 2: column y holds 2.5, which int64 cannot hold; its first values are whole, and so "
        "are all of a target's to be: correct it"
    )


@settings(max_examples=40)
@given(st.lists(st.lists(st.sampled_from([None, "b", "a", "ü", "", "c"]), min_size=1), max_size=4))
def test_codes_go_on_over_pieces_and_stand_for_the_texts_when_sorted(
    pieces: list[list[str | None]],
) -> None:
    categories, codes = Categories("t"), list[int]()
    for piece in pieces:
        found = categories.codes(texts_of(np.array(piece, object)))
        assert found.dtype == np.int32
        codes += found.tolist()
    whole = [value for piece in pieces for value in piece]
    assert list(categories.known) == list(dict.fromkeys(v for v in whole if v is not None))
    again = Categories("t", list(categories.known))
    order, words = again.order, sorted(again.known)
    told = [None if code < 0 else words[order[code]] for code in codes]
    assert told == whole


def test_texts_that_no_row_of_a_piece_has_are_no_categories() -> None:
    """A dictionary of Parquet's may hold more than is used."""
    categories = Categories("t", ["z"])
    assert categories.codes(Texts(np.array([2, -1], np.int32), ["a", "b", "c"])).tolist() == [1, -1]
    assert list(categories.known) == ["z", "c"]


def test_columns_of_several_types_and_widths_are_cast_where_they_stand(
    rng: np.random.Generator,
) -> None:
    """More columns of another type than are held at a time, between wide ones."""
    kinds = ["int16", "float64", "float32", "int8"] * 10
    shapes = [(2,) if place % 13 == 5 else () for place in range(40)]
    columns = [
        number(f"c{place}", kind, *shape)
        for place, (kind, shape) in enumerate(zip(kinds, shapes, strict=True))
    ]
    values = {
        column.name: rng.integers(-99, 99, (30, *column.shape)).astype(column.dtype)
        for column in columns
    }
    values["c7"][3] = 5
    piece = assembled(columns, values, dtype="float32")
    expected = np.column_stack([each.reshape(30, -1) for each in values.values()])
    assert_array_equal(piece.arrays["X"], expected)


def test_one_column_that_is_filled_leaves_its_source_alone() -> None:
    values = np.array([1.0, NAN])
    values.flags.writeable = False
    piece = assembled([number("a")], {"a": values}, "fill:5")
    assert_array_equal(piece.arrays["X"], [[1], [5]])
