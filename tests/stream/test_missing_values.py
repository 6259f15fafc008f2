"""Rules for rows that lack a value: read from text, applied to a window, told in words."""

from typing import Any

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.store.conventions import read_conventions
from ooc.store.dataset import ArraySpec
from ooc.stream.missing_values import (
    MissingRule,
    complete,
    missing_error,
    rows_that_lack,
    rule_of,
    void_rows,
    with_void,
)

LACKING = read_conventions({"_FillValue": -9.0}, np.dtype("f4"))


def spec(name: str, dtype: str = "f4", lacks: bool = False) -> ArraySpec:
    return ArraySpec(name, (9, 2), np.dtype(dtype), (3, 2), None, LACKING if lacks else None)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("raise", MissingRule("raise")),
        ("drop", MissingRule("drop")),
        ("keep", MissingRule("keep")),
        ("fill", MissingRule("fill", 0.0)),
        ("fill:-2.5", MissingRule("fill", -2.5)),
        ("fill:0", MissingRule("fill", 0.0)),
    ],
)
def test_a_rule_is_read_from_text(text: str, rule: MissingRule) -> None:
    assert rule_of(text) == rule


@pytest.mark.parametrize(
    "text", ["", "Fill", "fill:", "fill:x", "fill:nan", "fill:inf", "drop:1", "keep:0", "raise:"]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        rule_of(text)
    assert str(refused.value) == (
        f"missing_values is one of raise, drop, fill (with 0), fill:NUMBER, keep, not {text!r}"
    )


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ("raise", ("a",)),
        ("drop", ("a", "b")),
        ("fill", ("a", "b")),
        ("fill:3", ("a", "b")),
        ("keep", ()),
    ],
)
def test_errors_are_for_what_declares_missing_values(rule: str, names: tuple[str, ...]) -> None:
    specs = [spec("a", lacks=True), spec("b"), spec("c", "i4")]
    assert rule_of(rule).arrays(specs) == names


@pytest.mark.parametrize("piece", [1, 7, 2**16])
@pytest.mark.parametrize("shape", [(23,), (23, 3), (23, 2, 2), (23, 0)])
def test_rows_that_lack_a_value_are_found_piece_by_piece(
    monkeypatch: pytest.MonkeyPatch, piece: int, shape: tuple[int, ...]
) -> None:
    monkeypatch.setattr("ooc.stream.missing_values.PIECE_VALUES", piece)
    rng = np.random.default_rng(4)
    values = (rng.standard_normal(shape) * 1e30).astype(np.float32)
    values[rng.random(shape) < 0.05] = np.inf
    values[rng.random(shape) < 0.05] = -np.inf
    assert rows_that_lack(values) is None
    values[rng.random(shape) < 0.1] = np.nan
    lacks = np.isnan(values).reshape(23, -1).any(axis=1)
    found = rows_that_lack(values)
    assert lacks.any() == (found is not None)
    assert found is None or found.tolist() == lacks.tolist()


@pytest.mark.parametrize("piece", [5, 2**16])
@pytest.mark.parametrize("rule", ["raise", "drop", "fill", "fill:7", "keep"])
def test_a_rule_is_applied_to_the_rows_that_are_used(
    monkeypatch: pytest.MonkeyPatch, rule: str, piece: int
) -> None:
    """Counted are those of them that lacked a value before, by array; a whole array may be full."""
    monkeypatch.setattr("ooc.stream.missing_values.PIECE_VALUES", piece)
    rng = np.random.default_rng(5)
    arrays = {name: rng.standard_normal((40, 3)) for name in "abcd"}
    for name in "abc":
        arrays[name][rng.random((40, 3)) < 0.1] = np.nan
    order = rng.permutation(40)[:25].astype(np.int32)
    arrays["c"][order] = 1.0  # only rows that are not used lack a value
    before = {name: values.copy() for name, values in arrays.items()}
    lacks = {name: np.isnan(values).any(axis=1)[order] for name, values in before.items()}
    looked_at = () if rule == "keep" else ("a", "b", "c", "d")
    left, counts = complete(rule_of(rule), looked_at, arrays, order)
    found = {name: int(lacks[name].sum()) for name in ("a", "b")}
    assert counts == (found if looked_at else {})
    kept = ~(lacks["a"] | lacks["b"]) if rule == "drop" else np.ones(25, bool)
    assert left.tolist() == order[kept].tolist()
    number = {"fill": 0.0, "fill:7": 7.0}.get(rule, np.nan)
    for name, values in before.items():
        np.testing.assert_array_equal(arrays[name], np.where(np.isnan(values), number, values))


@pytest.mark.parametrize(
    ("values", "columns"),
    [
        ([1.0, np.nan], "column 1"),
        ([np.nan, np.nan], "column 0 and 1 more of its columns"),
        ([[0, np.nan], [np.nan, np.nan]], "column 1 and 2 more of its columns"),
    ],
)
def test_the_first_row_that_lacks_a_value_is_named(values: Any, columns: str) -> None:
    error = missing_error(spec("a", "f8"), "b.zarr", 1234, np.array(values), 5678, 91011)
    assert str(error) == (
        f"array a of b.zarr has a missing value in row 1234, {columns} (float64); 5,678 of the "
        "91,011 rows of this window lack one: leave such rows out with missing_values=drop, or "
        "replace what is missing with missing_values=fill:NUMBER"
    )
    assert LACKING is not None
    told = missing_error(spec("a", lacks=True), "b.zarr", 0, np.array(values), 1, 1)
    assert f"({LACKING.describe()})" in str(told)


def test_rows_of_a_batch_that_lack_values_are_void_and_counted() -> None:
    arrays: dict[str, Any] = {
        "a": np.array([[1, np.nan], [2, 3], [np.nan, np.nan]], np.float32),
        "b": np.array([5.0, np.nan, 6]),
        "c": np.arange(3),
        "d": np.ones(3),
    }
    counts = {"a": 10}
    found = void_rows(arrays, counts)
    assert found is not None
    assert found.tolist() == [True, True, True]
    assert counts == {"a": 12, "b": 1}
    assert arrays["a"].tolist() == [[1, 0], [2, 3], [0, 0]]
    assert arrays["b"].tolist() == [5, 0, 6]
    assert void_rows(arrays, counts) is None
    assert counts == {"a": 12, "b": 1}
    alone = {"b": np.array([1.0, 2, np.nan])}
    assert void_rows(alone, counts).tolist() == [False, False, True]  # type: ignore[union-attr]


def test_void_answers_are_nan_or_minus_one_in_a_copy() -> None:
    rows = np.array([True, False, True])
    numbers, whole = np.array([[1.0, 2], [3, 4], [5, 6]], np.float32), np.array([7, 8, 9])
    np.testing.assert_array_equal(with_void(numbers, rows), [[np.nan] * 2, [3, 4], [np.nan] * 2])
    assert with_void(whole, rows).tolist() == [-1, 8, -1]
    assert whole.tolist() == [7, 8, 9]
    assert not np.isnan(numbers).any()
