"""Arrow's columns as NumPy's: where their values lie, and which have to be made."""

import numpy as np
import pyarrow as pa
import pytest

from ooc.conversion.arrow_memory import batch_addresses
from ooc.conversion.arrow_values import ArrowValues, PlainColumns, column_of
from ooc.conversion.source import Column


def batch_of(**columns: pa.Array) -> pa.RecordBatch:
    return pa.record_batch(list(columns.values()), names=list(columns))


def values_of(batch: pa.RecordBatch) -> ArrowValues:
    columns = {}
    for each in batch.schema:
        column = column_of(each.name, each.type, may_lack=False)
        assert isinstance(column, Column)
        columns[each.name] = column
    return ArrowValues(columns, batch, PlainColumns())


@pytest.mark.parametrize("offset", [0, 3])
def test_an_address_is_that_of_the_first_value(offset: int) -> None:
    batch = batch_of(a=pa.array(np.arange(9.0)), b=pa.array(np.arange(9.0) + 100))
    batch = batch.slice(offset)
    found = batch_addresses(batch, np.array([1, -1, 0]), 8)
    for address, name in ((found[0], "b"), (found[2], "a")):
        assert address == batch.column(name).to_numpy().ctypes.data
    assert found[1] == 0


def test_only_columns_of_the_type_without_nulls_are_taken_as_they_are() -> None:
    batch = batch_of(
        plain=pa.array([1.0, 2.0]),
        null=pa.array([1.0, None]),
        single=pa.array([1, 2], pa.float32()),
        whole=pa.array([1, 2]),
        text=pa.array(["a", "b"]),
        time=pa.array([1, 2], pa.timestamp("us")),
    )
    values, names = values_of(batch), [*batch.schema.names, "nowhere"]
    assert (values.addresses(names, np.dtype("f8")) > 0).tolist() == [True] + [False] * 6
    assert np.flatnonzero(values.addresses(names, np.dtype("i8"))).tolist() == [3]
    assert values.addresses(names[::-1], np.dtype("f8"))[-1] > 0


def test_a_slice_without_its_null_is_plain_again() -> None:
    batch = batch_of(a=pa.array([None, 1.0, 2.0])).slice(1)
    np.testing.assert_array_equal(values_of(batch)["a"], [1, 2])  # type: ignore[arg-type]


def test_no_rows_have_no_address() -> None:
    batch = batch_of(a=pa.array([], pa.float64()))
    assert values_of(batch).addresses(["a"], np.dtype("f8")).tolist() == [0]


def test_names_are_those_of_the_batch_and_of_what_is_beside() -> None:
    batch = batch_of(a=pa.array([1.0, 2.0]))
    column = column_of("a", pa.float64(), may_lack=False)
    assert isinstance(column, Column)
    values = ArrowValues({"a": column}, batch, PlainColumns(), {"year": np.array([2020, 2020])})
    assert list(values) == ["a", "year"] and len(values) == 2
    np.testing.assert_array_equal(values["year"], [2020, 2020])  # type: ignore[arg-type]
    assert values.addresses(["year", "a"], np.dtype("f8"))[0] == 0
