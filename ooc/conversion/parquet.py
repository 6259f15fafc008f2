"""Parquet by pyarrow: a file, a folder of files, or one that is partitioned (year=2024/...).

Batches of a row group are read one after the other; pyarrow's own threads decode their columns.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ooc.conversion.formats import FORMATS, Opening, files_of, importing
from ooc.conversion.source import (
    NUMBER,
    PIECE_BYTES,
    TEXT,
    Column,
    Piece,
    Texts,
    Values,
    check_no_duplicates,
    stamp_of,
    time_column,
)
from ooc.core.errors import DataError, InputError

# Bytes of a column that are read at once; its pages are decoded from there.
BUFFER_BYTES = 2**20
FEWEST_ROWS = 1024
# A row group that the kernel reads ahead is no larger; what it holds can be taken back from it.
MOST_AHEAD = 2**27
# Batches have many columns, each with its own costs: they are larger than other pieces.
BATCH_BYTES = 2 * PIECE_BYTES


def open_parquet(path: Path, opening: Opening) -> "ParquetSource":
    """Open a file, or all files of a folder as one table."""
    pyarrow = importing("pyarrow")
    parquet, datasets = importing("pyarrow.parquet"), importing("pyarrow.dataset")
    files = files_of(path, FORMATS["parquet"].suffixes)
    if not files:
        raise InputError(f"{path} holds no .parquet file; name the file or the folder of them")
    metadata = []
    for file in files:
        try:
            metadata.append(parquet.read_metadata(file))
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(
                f"{file} cannot be read as Parquet: {_line(error)}; restore it, or leave it out"
            ) from None
    schema = metadata[0].schema.to_arrow_schema()
    check_no_duplicates(files[0], schema.names)
    for file, told in zip(files[1:], metadata[1:], strict=True):
        _check_same(files[0], schema, file, told.schema.to_arrow_schema())
    keys: list[Mapping[str, Any]] = [{} for _ in files]
    if path.is_dir():
        whole = datasets.dataset(
            list(map(str, files)), format="parquet", partitioning="hive",
            partition_base_dir=str(path),
        )  # fmt: skip
        found = {str(Path(each.path)): each.partition_expression for each in whole.get_fragments()}
        keys = [datasets.get_partition_keys(found[str(file)]) for file in files]
    return ParquetSource(path, files, metadata, schema, keys)


def _check_same(first: Path, schema: Any, file: Path, other: Any) -> None:
    for name in schema.names:
        if name not in other.names:
            raise InputError(
                f"{file} has no column {name!r}, which {first} has; give them the same columns, or "
                "convert them apart"
            )
        ours, theirs = schema.field(name).type, other.field(name).type
        if ours != theirs:
            raise InputError(
                f"column {name} is {theirs} in {file}, but {ours} in {first}; write them with one "
                "type, or convert them apart"
            )


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


class ParquetSource:
    """Row groups of files, in the order of the files' paths."""

    is_table = True
    held_bytes = 0

    def __init__(
        self,
        path: Path,
        files: Sequence[Path],
        metadata: Sequence[Any],
        schema: Any,
        keys: Sequence[Mapping[str, Any]],
    ) -> None:
        self.path, self._files, self._keys = path, files, keys
        self._starts = np.cumsum([0, *(each.num_rows for each in metadata)]).tolist()
        self.rows: int | None = self._starts[-1]
        self.attributes: Mapping[str, Any] = {}
        self.columns: dict[str, Column] = {}
        self.skipped: dict[str, str] = {}
        self._text_bytes: dict[str, int] = {}
        for place, arrow_field in enumerate(schema):
            lacks = _may_lack(metadata, schema.names, place)
            found = column_of(arrow_field.name, arrow_field.type, lacks)
            if isinstance(found, str):
                self.skipped[arrow_field.name] = found
            else:
                self.columns[arrow_field.name] = found
                if found.kind == TEXT:
                    self._text_bytes[found.name] = _value_bytes(metadata, schema.names, place)
        for name, value in (keys[0] if keys else {}).items():
            if name not in self.columns:
                kind = TEXT if isinstance(value, str) else NUMBER
                dtype = np.dtype(np.int32 if kind == TEXT else np.result_type(value))
                self.columns[name] = Column(name, kind, dtype, may_lack=True, was="a folder's name")
        if self.rows == 0:
            raise InputError(f"{path} has no rows; there is nothing to convert")

    def stamp(self) -> Any:
        """Return names, sizes and times of the files."""
        return stamp_of(self._files, self.path)

    def _batch_rows(self, names: Sequence[str]) -> int:
        return max(FEWEST_ROWS, BATCH_BYTES // max(1, self._row_bytes(names)))

    def _row_bytes(self, names: Sequence[str]) -> int:
        """Return the bytes of a row, with those of its texts, which may all be different."""
        texts = sum(self._text_bytes.get(name, 0) for name in names)
        return texts + sum(self.columns[name].row_bytes for name in names)

    def piece_bytes(self, names: Sequence[str]) -> int:
        """Return the bytes of a batch, and of what its columns' pages take."""
        return 2 * self._batch_rows(names) * self._row_bytes(names)

    def pieces(self, names: Sequence[str], position: Any) -> Iterator[Piece]:
        """Yield batches; a position is (file, row group, rows of it that are before)."""
        parquet = importing("pyarrow.parquet")
        begin_file, begin_group, begin_row = position or (0, 0, 0)
        for number in range(begin_file, len(self._files)):
            file, keys = self._files[number], self._keys[number]
            stored = [name for name in names if name not in keys]
            how = {"buffer_size": BUFFER_BYTES, "pre_buffer": False}
            with parquet.ParquetFile(file, **how) as opened:
                first = self._starts[number]
                for group in range(opened.num_row_groups):
                    rows = opened.metadata.row_group(group).num_rows
                    if (number, group) < (begin_file, begin_group):
                        first += rows
                        continue
                    _read_ahead(file, opened.metadata.row_group(group), stored)
                    done, begin = (
                        0,
                        begin_row if (number, group) == (begin_file, begin_group) else 0,
                    )
                    for batch in self._batches(opened, file, group, names, stored):
                        if done >= begin:
                            read = partial(self._read, batch, tuple(names), keys)
                            place = partial(self._place, first + done)
                            yield Piece([number, group, done], first + done, read, place)
                        done += batch.num_rows
                    first += rows

    def _batches(
        self, opened: Any, file: Path, group: int, names: Sequence[str], stored: Sequence[str]
    ) -> Iterator[Any]:
        """Yield the batches of a row group."""
        arrow_error = importing("pyarrow").ArrowException
        batches = opened.iter_batches(self._batch_rows(names), [group], columns=list(stored))
        while True:
            try:
                batch = next(batches, None)
            except (OSError, arrow_error) as error:
                raise DataError(
                    f"row group {group} of {file} cannot be read: {_line(error)}; restore the file"
                ) from None
            if batch is None:
                return
            yield batch

    def _read(self, batch: Any, names: Sequence[str], keys: Mapping[str, Any]) -> Values:
        found: dict[str, np.ndarray | Texts] = {}
        stored = dict(zip(batch.schema.names, batch.columns, strict=True))
        for name in names:
            if name not in keys:
                found[name] = values_of(self.columns[name], stored[name])
            elif self.columns[name].kind == TEXT:
                codes = np.zeros(batch.num_rows, np.int32)
                found[name] = Texts(codes, [str(keys[name])])
            else:
                found[name] = np.full(batch.num_rows, keys[name], self.columns[name].dtype)
        return found

    def _place(self, first: int, row: int) -> str:
        row += first
        number = int(np.searchsorted(self._starts, row, "right")) - 1
        return f"row {row - self._starts[number]} of {self._files[number]}"

    def finish(self, folder: Path) -> None:
        """Add nothing."""


def _read_ahead(file: Path, group: Any, names: Sequence[str]) -> None:
    """Have the kernel read columns of a row group as others are decoded, unless they are large."""
    chosen, columns = set(names), (group.column(each) for each in range(group.num_columns))
    read = [each for each in columns if each.path_in_schema.partition(".")[0] in chosen]
    if sum(each.total_compressed_size for each in read) > MOST_AHEAD:
        return
    with file.open("rb", buffering=0) as stream:
        for each in read:
            start = each.dictionary_page_offset or each.data_page_offset
            size = each.total_compressed_size
            os.posix_fadvise(stream.fileno(), start, size, os.POSIX_FADV_WILLNEED)


def _value_bytes(metadata: Sequence[Any], names: Sequence[str], place: int) -> int:
    """Return the bytes of a flat column's values as they are stored, unpacked, on average."""
    found = 0
    for told in metadata:
        if told.num_columns == len(names):
            for number in range(told.num_row_groups):
                column = told.row_group(number).column(place)
                found = max(found, column.total_uncompressed_size // max(1, column.num_values))
    return found


def _may_lack(metadata: Sequence[Any], names: Sequence[str], place: int) -> bool:
    """Tell whether a flat column has nulls, by what the files count; yes where they do not."""
    for told in metadata:
        if told.num_columns != len(names):  # columns of columns, whose places are others
            return True
        for group in range(told.num_row_groups):
            statistics = told.row_group(group).column(place).statistics
            if statistics is None or not statistics.has_null_count or statistics.null_count:
                return True
    return False


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
