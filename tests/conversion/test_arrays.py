"""Sources of arrays: pieces end where chunks do, and arrays are described or said why not."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import number, text
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from ooc.conversion.arrays import ArraySource, array_column, as_column, sorted_columns
from ooc.conversion.source import Column, Texts


class Counted(ArraySource):
    """Arrays whose values are the numbers of their rows."""

    def __init__(self, units: dict[str, int], *columns: Column) -> None:
        super().__init__(Path("there.x"), {column.name: column for column in columns}, {})
        self._units = units

    def unit_rows(self, name: str) -> int:
        return self._units.get(name, 1)

    def read(self, name: str, first: int, stop: int) -> np.ndarray | Texts:
        return np.arange(first, stop)


UNITS = st.integers(1, 12)


@settings(max_examples=60)
@given(UNITS, UNITS, st.integers(1, 400), st.integers(1, 500), st.integers(0, 99))
def test_pieces_hold_whole_chunks_and_every_row_once(
    first: int, second: int, wanted: int, rows: int, at: int
) -> None:
    columns = (number("a", "f8", rows=rows), number("b", "f4", 4, rows=rows))
    source = Counted({"a": first, "b": second}, *columns)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("ooc.conversion.arrays.PIECE_BYTES", 24 * wanted + 23)
        cut = source.piece_rows(["a", "b"])
        pieces = list(source.pieces(["a", "b"], None))
        begun = pieces[at % len(pieces)].position
        rest = list(source.pieces(["a", "b"], begun))
        assert source.piece_bytes(["a", "b"]) == 2 * 24 * cut
    both = math.lcm(first, second)
    assert cut % (both if both <= 8 * max(wanted, first, second) else max(first, second)) == 0
    # As large as wanted, less what is left of the last chunks; or one of the chunks.
    assert cut <= max(wanted, both)
    assert cut > wanted - both or cut == both
    found = np.concatenate([piece.read()["b"] for piece in pieces])
    assert_array_equal(found, np.arange(rows))
    assert [piece.first for piece in pieces] == list(range(0, rows, cut))
    assert all(set(piece.read()) == {"a", "b"} for piece in pieces)
    assert [piece.position for piece in rest] == [
        piece.position for piece in pieces if piece.position >= begun
    ]
    assert rest[0].place(3) == f"row {begun + 3} of there.x"


def test_rows_are_known_where_all_arrays_have_as_many() -> None:
    assert Counted({}, number("a", rows=7), number("b", rows=7)).rows == 7
    assert Counted({}, number("a", rows=7), number("b", rows=8)).rows is None


@pytest.mark.parametrize(
    ("dtype", "shape", "told"),
    [
        ("f8", (), "it has no axes: it is one number, and no rows"),
        ("c8", (3,), "its dtype complex64 is no real number, text or time"),
        ("O", (3,), "it holds Python objects, which only pickle could read, and that runs code"),
        ("f8", (3, 0), "it is empty: its shape is (3, 0)"),
        ("U3", (3, 2), "it holds texts in rows of shape (2,); one text a row becomes a category"),
        ("M8[s]", (3, 2), "it holds times in rows of shape (2,); one time a row becomes a number"),
    ],
)
def test_why_an_array_cannot_be(dtype: str, shape: tuple[int, ...], told: str) -> None:
    assert array_column("a", np.dtype(dtype), shape) == told
    columns, skipped = sorted_columns({"a": told, "b": number("b")})
    assert (list(columns), skipped) == (["b"], {"a": told})


def test_why_attributes_cannot_be_honoured() -> None:
    told = array_column("a", np.dtype("i2"), (3,), {"scale_factor": "much"})
    assert isinstance(told, str)
    assert told.startswith("what its attributes declare cannot be honoured: ")
    assert "scale_factor" in told


def test_what_is_known_of_an_array() -> None:
    def known(dtype: str, *shape: int, **more: Any) -> Column:
        column = array_column("a", np.dtype(dtype), (9, *shape), dimensions=("t",), **more)
        assert isinstance(column, Column) and column.rows == 9 and column.dimensions == ("t",)
        return column

    big = known(">f4", 2)
    assert (big.kind, big.dtype, big.shape, big.may_lack) == ("number", np.float32, (2,), True)
    assert big.dtype.isnative and big.row_bytes == 8
    assert not known("i2").may_lack
    packed = known("i2", attributes={"_FillValue": -9, "units": "K"})
    assert packed.may_lack and packed.attributes == {"_FillValue": -9, "units": "K"}
    assert not known("i2", attributes={"scale_factor": 0.5}).may_lack
    words = known("U5")
    assert (words.kind, words.dtype, words.was, words.may_lack) == ("text", np.int32, "<U5", True)
    assert words.row_bytes == 24
    day = known("M8[M]")
    assert (day.kind, day.attributes["units"]) == ("time", "seconds since 1970-01-01")
    assert (day.was, day.dtype, day.may_lack) == ("datetime64[M]", np.int64, True)


@pytest.mark.parametrize("unit", ["D", "h", "m", "s", "ms", "us", "ns"])
def test_times_keep_their_unit(unit: str) -> None:
    column = array_column("a", np.dtype(f"M8[{unit}]"), (2,))
    assert isinstance(column, Column)
    values = np.array([5, "NaT"], f"M8[{unit}]")
    assert_array_equal(as_column(column, values), [5, np.iinfo(np.int64).min])
    count, word = np.timedelta64(1, unit), column.attributes["units"].split()[0]
    seconds = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
    small = {"milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
    assert count / np.timedelta64(1, "s") == pytest.approx((seconds | small)[word])
    assert column.attributes["calendar"] == "proleptic_gregorian"


def test_months_and_years_become_seconds() -> None:
    column = array_column("a", np.dtype("M8[Y]"), (1,))
    assert isinstance(column, Column)
    assert_array_equal(as_column(column, np.array(["1971"], "M8[Y]")), [365 * 86400])


def test_values_come_in_the_machines_own_order_and_in_one_piece() -> None:
    values = np.arange(6, dtype=">i2").reshape(2, 3)[:, ::-1]
    found = as_column(number("a", "i2", 3), values)
    assert isinstance(found, np.ndarray)
    assert_array_equal(found, values)
    assert found.dtype.isnative and found.flags.c_contiguous
    words = as_column(text("t"), np.array(["b", "a", "b"]))
    assert isinstance(words, Texts)
    assert (words.codes.tolist(), words.values) == ([0, 1, 0], ["b", "a"])
