"""What features are made of, as text and back; and which columns are meant, or why none is."""

from typing import Any

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.store.column_choice import places_of
from ooc.store.feature_choice import ArrayChoice, read_choices, text_of

NAMES = ("age", "income, gross", "3", "size", "sex")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("X", [ArrayChoice("X")]),
        ("t2m,msl", [ArrayChoice("t2m"), ArrayChoice("msl")]),
        (" t2m , obs/score ", [ArrayChoice("t2m"), ArrayChoice("obs/score")]),
        (["obsm/X_pca[0:2]", "y"], [ArrayChoice("obsm/X_pca", (range(2),)), ArrayChoice("y")]),
        ('X[age, 3,"3","a,\\"b"]', [ArrayChoice("X", ("age", 3, "3", 'a,"b'))]),
        ('"a,b",c', [ArrayChoice("a,b"), ArrayChoice("c")]),
        ("X[two words]", [ArrayChoice("X", ("two words",))]),
        ("7,8[7]", [ArrayChoice("7"), ArrayChoice("8", (7,))]),
    ],
)
def test_texts_are_read_and_written_as_what_they_mean(
    given: Any, expected: list[ArrayChoice]
) -> None:
    found = read_choices(given)
    assert list(found) == expected
    assert read_choices(text_of(found)) == found
    assert text_of(read_choices(text_of(found))) == text_of(found)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("age,3,10:12", ("age", 3, range(10, 12))),
        (["age", "3", "10:12", 4], ("age", "3", "10:12", 4)),
        (np.arange(2), (0, 1)),
        (range(3), (range(3),)),
        (5, (5,)),
        ('"3"', ("3",)),
    ],
)
def test_columns_are_names_and_places(columns: Any, expected: tuple[Any, ...]) -> None:
    found = read_choices("X", columns)
    assert found == (ArrayChoice("X", expected),)
    assert read_choices(text_of(found)) == found


@pytest.mark.parametrize(
    ("features", "columns", "message"),
    [
        ("a,", None, "cannot be read from their end on"),
        ("a[", None, "cannot be read from their end on"),
        ("a[]", None, r"from '\]' on"),
        ("a[1", None, "from their end on"),
        ("a[1]b", None, "from 'b' on"),
        (",a", None, "from ',a' on"),
        ("a[3:1]", None, "3:1 is no run of columns"),
        ("a[-1:3]", None, "no run of columns"),
        ("a,b,a", None, r"array a is named twice.*a\[0,3\]"),
        (["a", 3], None, "names of arrays, not"),
        ([], None, "names of arrays, not"),
        (3, None, "names of arrays, not 3"),
        ({"a"}, None, "names of arrays, not"),
        ("a", 1.5, "a name or a place, not 1.5"),
        ("a", {"b"}, "a name or a place, not {'b'}"),
        ('"\\x"', None, "no text in quotes"),
        ("a,b", "0", "columns are of one array, and features are a,b"),
        ("a[0]", "0", r"features are a\[0\]"),
        ("a", "0]", r"columns '0\]' cannot be read from '\]' on"),
        ("a", "", "columns '' cannot be read from their end on"),
        ("a", [], "columns are none"),
        ("a", [1.5], "a name or a place, not 1.5"),
        ("a", [True], "a name or a place, not True"),
        ("a", [range(0, 4, 2)], "a step of 2"),
    ],
)
def test_what_cannot_be_read_is_refused(features: Any, columns: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_choices(features, columns)


def test_columns_are_found_by_name_and_by_place() -> None:
    assert places_of("X", ["size", 0, '"', range(4, 5)][:2], 5, NAMES) == (3, 0)
    assert places_of("X", ["3", "income, gross", range(4, 5)], 5, NAMES) == (2, 1, 4)
    assert places_of("X", [np.int64(1).item(), 0], 2, ()) == (1, 0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([5], "no column 5; its 5 columns have the places 0 to 4"),
        ([-1], "no column -1"),
        ([range(3, 9)], "no column 5"),
        ([10**30], "no column 1000000"),
        (["agee"], "no column 'agee'; it has 5: age, income, gross, .*did you mean age?"),
        ([0, "age"], r"column 0 \(age\) of X is named twice, by 0 and by age"),
        (["sex", "sex"], r"column 4 \(sex\) of X is named twice, by sex"),
        ([range(3), 1], "column 1 .*named twice, by 0:3 and by 1"),
        ([3], "column 3 of X is called 'size', and column 2 is called '3'.*size or \"3\""),
    ],
)
def test_what_is_no_column_or_two_is_refused(columns: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        places_of("X", columns, 5, NAMES)


def test_one_number_a_row_is_one_column() -> None:
    assert places_of("X", [0], 1, ()) == (0,)
    with pytest.raises(InputError, match="no column 1; it has one, at place 0"):
        places_of("X", [1], 1, ())


def test_names_that_a_store_lacks_are_refused_with_the_places() -> None:
    with pytest.raises(InputError, match=r"have no names in the store.*places, 0 to 2"):
        places_of("array X", ["age"], 3, ())
