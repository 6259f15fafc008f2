"""Labels become the codes that a table of them gives, and are listed as far as there is room."""

from typing import Any

import numpy as np
import pytest

from ooc.store.labels import Labels, listed, named

# Values in the order of their codes, values to look up, and what is none of them.
TABLES: dict[str, tuple[tuple[Any, ...], str, list[Any]]] = {
    "integers": ((7, -3, 0, 12), "int64", [-4, 1, 13, 8]),
    "small": ((3, 1), "uint8", [0, 2, 255]),
    "floats": ((2.5, -1.0, 0.0), "float64", [np.nan, 2.25, -np.inf, np.inf]),
    "texts": (("b", "a", "é"), "U3", ["", "aa", "z", "A"]),
    "one": ((5,), "int32", [4, 6]),
    "bits": ((True, False), "bool", []),
}


@pytest.mark.parametrize("case", TABLES)
def test_codes_are_places_in_the_list_of_labels(case: str) -> None:
    values, dtype, others = TABLES[case]
    labels = Labels(values, values, np.dtype(dtype))
    asked = [*values, *others, *values[::-1]]
    places = {value: code for code, value in enumerate(values)}
    wanted = [-1 if value in others else places[value] for value in asked]
    found = labels.codes(np.array(asked, dtype))
    assert found.dtype == np.int64 and found.tolist() == wanted
    table = np.array([*asked[:2], *asked[:2]], dtype).reshape(2, -1)
    assert labels.codes(table).tolist() == [wanted[:2], wanted[:2]]


def test_labels_tell_what_they_are() -> None:
    def kind(names: tuple[Any, ...], values: tuple[Any, ...], stored: str) -> tuple[bool, ...]:
        labels = Labels(names, values, np.dtype(stored))
        return labels.is_text, labels.is_named, labels.are_codes

    assert kind(("a", "b"), ("a", "b"), "U1") == (True, True, False)
    assert kind(("a", "b"), (0, 1), "int8") == (False, True, True)
    assert kind((0, 1, 2), (0, 1, 2), "int8") == (False, False, True)
    assert kind((1, 2), (1, 2), "int8") == (False, False, False)
    assert kind((1, 0), (1, 0), "int8") == (False, False, False)
    assert kind((False, True), (False, True), "bool") == (False, False, True)
    assert kind((), (), "int8") == (False, False, False)
    assert Labels((), (), np.dtypes.StringDType()).is_text
    # Floats may lack a value, and codes of them say so.
    for stored, codes in (("f4", "f8"), ("f8", "f8"), ("i1", "i8"), ("u1", "i8"), ("U2", "i8")):
        assert Labels((1,), (1,), np.dtype(stored)).dtype == np.dtype(codes)


def test_names_come_back_in_their_own_type() -> None:
    codes = np.array([2, 0, 1])
    for names in (("x", "yy", "z"), (5, 7, 9), (0.5, 1.5, 2.5), (False, True, False)):
        found = named(codes, names)
        assert found.tolist() == [names[2], names[0], names[1]]
        assert type(found.tolist()[0]) is type(names[0])
    assert named(np.array([-1, 0]), ("x", "yy")).tolist() == ["", "x"]
    assert named(np.array([], np.int64), ("x",)).tolist() == []


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "0"), (9, "0, 1, 2, 3, 4, 5, 6, 7, 8"), (10, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
     (11, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1 more"),
     (30, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 20 more")],
)  # fmt: skip
def test_ten_labels_are_listed_and_the_others_counted(count: int, said: str) -> None:
    assert listed(range(count)) == said  # type: ignore[arg-type]


def test_numbers_that_ascend_have_an_order_and_text_has_none() -> None:
    whole = np.dtype("i8")
    for names, told, expected in (
        ((1, 2, 5), False, True), ((False, True), False, True), ((3, 1, 2), False, False),
        ((3, 1, 2), True, True), (("a", "b"), False, False), (("b", "a"), True, True),
    ):  # fmt: skip
        values = tuple(range(len(names)))
        assert Labels(names, values, whole, is_ordered=told).has_order is expected
