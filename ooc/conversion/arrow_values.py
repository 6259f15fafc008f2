"""Columns of Arrow's, as Parquet and CSV have them: what they are here, and their values."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from ooc.conversion.arrow_memory import batch_addresses
from ooc.conversion.formats import importing
from ooc.conversion.source import NUMBER, TEXT, Column, Entries, Texts, Values, time_column

NOTHING: Values = MappingProxyType({})


def column_of(name: str, kind: Any, may_lack: bool) -> Column | str:
    """Describe a column of a type of Arrow's, or say why it cannot be converted."""
    types = importing("pyarrow.types")
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Column(name, TEXT, np.dtype(np.int32), may_lack=may_lack, was=str(kind))
    if types.is_timestamp(kind) or types.is_date(kind):
        unit = {"date32[day]": "D", "date64[ms]": "ms"}.get(str(kind)) or kind.unit
        zone = getattr(kind, "tz", None)
        more = {"time_zone": zone} if zone else {}
        return time_column(name, unit, was=str(kind), attributes=more)
    if types.is_time(kind) or types.is_duration(kind):
        return Column(
            name, NUMBER, np.dtype(np.float64 if may_lack else np.int64), may_lack=may_lack,
            attributes={"units": kind.unit}, was=str(kind),
        )  # fmt: skip
    if types.is_decimal(kind):
        return Column(name, NUMBER, np.dtype(np.float64), may_lack=may_lack, was=str(kind))
    shape: tuple[int, ...] = ()
    if types.is_fixed_size_list(kind):
        shape, kind = (kind.list_size,), kind.value_type
    if types.is_null(kind):
        return "it holds no value at all"
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    if not is_number:
        return f"its type {kind} is no number, text or time"
    dtype = np.dtype(kind.to_pandas_dtype())
    if dtype.kind in "biu" and may_lack:
        wide = np.float32 if dtype.itemsize <= 2 else np.float64
        return Column(name, NUMBER, np.dtype(wide), shape, may_lack=True, was=str(kind))
    return Column(name, NUMBER, dtype, shape, may_lack=may_lack or dtype.kind == "f")


def values_of(column: Column, array: Any) -> np.ndarray | Texts:
    """Return an array of Arrow's as a column's pieces hold it."""
    pyarrow, types = importing("pyarrow"), importing("pyarrow.types")
    if isinstance(array, pyarrow.ChunkedArray):
        array = array.combine_chunks()
    if array.type == _arrow_type(column) and not array.null_count:
        return np.asarray(array.to_numpy())  # a view
    if column.kind == TEXT:
        if not types.is_dictionary(array.type):
            array = array.dictionary_encode()
        codes = array.indices
        codes = codes.fill_null(-1) if codes.null_count else codes
        codes = codes.cast(pyarrow.int32()) if codes.type != pyarrow.int32() else codes
        return Texts(codes.to_numpy(zero_copy_only=False), ArrowTexts(array.dictionary))
    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if column.kind == "time":
        if str(array.type) == "date32[day]":
            array = array.cast(pyarrow.int32())
        whole = array.cast(pyarrow.int64())
        if whole.null_count:
            whole = whole.fill_null(int(np.iinfo(np.int64).min))
        return np.asarray(whole.to_numpy(zero_copy_only=False))
    if column.shape:
        if array.null_count:
            return _lists_with_nulls(column, array)
        array = array.flatten()
    if types.is_time(array.type) or types.is_duration(array.type):
        array = array.cast(pyarrow.int32() if array.type.bit_width == 32 else pyarrow.int64())
    if types.is_boolean(array.type):
        array = array.cast(pyarrow.uint8())
    if types.is_decimal(array.type):
        array = array.cast(pyarrow.float64())
    found = array.to_numpy(zero_copy_only=False)
    found = found.astype(column.dtype, copy=False)
    return found.reshape(-1, *column.shape)


class PlainColumns:
    """Which columns of batches of one schema are numbers that can be taken from where they are."""

    def __init__(self) -> None:
        self._known: dict[np.dtype, tuple[Sequence[str], np.ndarray]] = {}

    def places(self, schema: Any, names: Sequence[str], dtype: np.dtype) -> np.ndarray:
        """Return the places of columns of a dtype, (names,) int64, -1 for those of another type."""
        known, places = self._known.get(dtype, ((), np.empty(0, np.int64)))
        if known != names:
            plain = importing("pyarrow").from_numpy_dtype(dtype)
            fields = {each.name: number for number, each in enumerate(schema) if each.type == plain}
            places = np.array([fields.get(name, -1) for name in names], np.int64)
            self._known[dtype] = names, places
        return places


class ArrowValues(Mapping[str, Entries]):
    """A piece's columns, which become NumPy's when they are asked for.

    Parameters
    ----------
    columns
        What they are.
    batch
        Arrow's record batch of them.
    plain
        What is known of batches of this schema.
    others
        Values of columns that are not in the batch.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        batch: Any,
        plain: PlainColumns,
        others: Values = NOTHING,
    ) -> None:
        self._columns, self._batch, self._plain = columns, batch, plain
        self._found = dict(others)

    def __iter__(self) -> Iterator[str]:
        return iter([*self._batch.schema.names, *self._found])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, name: str) -> Entries:
        if name in self._found:
            return self._found[name]
        return values_of(self._columns[name], self._batch.column(name))

    def addresses(self, names: Sequence[str], dtype: np.dtype) -> np.ndarray:
        """Return where values begin, one after the other; 0 for those of another type, or nulls."""
        places = self._plain.places(self._batch.schema, names, dtype)
        return batch_addresses(self._batch, places, dtype.itemsize)


class ArrowTexts(Sequence[str]):
    """Texts of Arrow's, which are Python's when they are asked for."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    @cached_property
    def _texts(self) -> list[str]:
        return list(self._array.to_pylist())

    def __getitem__(self, place: Any) -> Any:
        return self._texts[place]

    def utf8(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all bytes (uint8), and where each text begins and the last one ends (int64)."""
        pyarrow = importing("pyarrow")
        array = self._array.cast(pyarrow.large_string())
        _, places, data = array.buffers()
        bounds = np.frombuffer(places, np.int64)[array.offset : array.offset + len(array) + 1]
        return np.frombuffer(data or b"", np.uint8), bounds


@lru_cache(maxsize=256)
def _plain_type(dtype: np.dtype) -> Any:
    return importing("pyarrow").from_numpy_dtype(dtype)


def _arrow_type(column: Column) -> Any:
    """Return the type of Arrow's whose values are a column's as they are; None where none is."""
    plain = column.kind == NUMBER and not column.shape and column.dtype.kind in "iuf"
    return _plain_type(column.dtype) if plain else None


def _lists_with_nulls(column: Column, array: Any) -> np.ndarray:
    """Return lists of one length, some of which are null: NaN throughout."""
    found = np.full((len(array), *column.shape), np.nan, column.dtype)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    values = array.drop_null().flatten().to_numpy(zero_copy_only=False)
    found[valid] = values.reshape(-1, *column.shape)
    return found
