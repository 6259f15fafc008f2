"""Parquet by pyarrow: a file, a folder of files, or one that is partitioned (year=2024/...).

Batches of a row group are read one after the other, and pyarrow's own threads decode their columns,
while the kernel reads the next group ahead.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ooc.conversion.arrow_values import ArrowValues, PlainColumns, column_of
from ooc.conversion.formats import FORMATS, Opening, files_of, importing
from ooc.conversion.source import (
    NUMBER,
    PIECE_BYTES,
    TEXT,
    Column,
    Entries,
    Piece,
    Texts,
    Values,
    check_no_duplicates,
    stamp_of,
)
from ooc.core.errors import DataError, InputError

# Bytes of a column that are read at once; its pages are decoded from there.
BUFFER_BYTES = 2**20
FEWEST_ROWS = 1024
# A row group that the kernel reads ahead is no larger; what it holds can be taken back from it.
MOST_AHEAD = 2**27
# Texts of so few bytes are read as codes of them, as they are stored.
MOST_DICTIONARY = 2**16
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
        self._as_codes: list[str] = []
        self._plain = PlainColumns()
        for place, arrow_field in enumerate(schema):
            lacks = _may_lack(metadata, schema.names, place)
            found = column_of(arrow_field.name, arrow_field.type, lacks)
            if isinstance(found, str):
                self.skipped[arrow_field.name] = found
            else:
                self.columns[arrow_field.name] = found
                if found.kind == TEXT:
                    self._text_bytes[found.name] = _value_bytes(metadata, schema.names, place)
                    if _has_few_texts(metadata, schema.names, place):
                        self._as_codes.append(found.name)
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
            with parquet.ParquetFile(file, read_dictionary=self._as_codes, **how) as opened:
                first = self._starts[number]
                for group in range(opened.num_row_groups):
                    rows = opened.metadata.row_group(group).num_rows
                    if (number, group) < (begin_file, begin_group):
                        first += rows
                        continue
                    for coming in range(group, min(group + 2, opened.num_row_groups)):
                        _read_ahead(file, opened.metadata.row_group(coming), stored)
                    done, begin = (
                        0,
                        begin_row if (number, group) == (begin_file, begin_group) else 0,
                    )
                    for batch in self._batches(opened, file, group, names, stored):
                        if done >= begin:
                            read = partial(self._read, batch, keys)
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

    def _read(self, batch: Any, keys: Mapping[str, Any]) -> Values:
        others = self._constants(keys, batch.num_rows)
        return ArrowValues(self.columns, batch, self._plain, others)

    def _constants(self, keys: Mapping[str, Any], rows: int) -> Values:
        """Return the values that folders' names have for all of their files."""
        found: dict[str, Entries] = {}
        for name, value in keys.items():
            if (column := self.columns[name]).kind == TEXT:
                found[name] = Texts(np.zeros(rows, np.int32), [str(value)])
            else:
                found[name] = np.full(rows, value, column.dtype)
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
    ranges: list[list[int]] = []
    for each in columns:
        if each.path_in_schema.partition(".")[0] in chosen:
            begin = each.dictionary_page_offset or each.data_page_offset
            end = begin + each.total_compressed_size
            if ranges and ranges[-1][1] == begin:
                ranges[-1][1] = end
            else:
                ranges.append([begin, end])
    if sum(end - begin for begin, end in ranges) > MOST_AHEAD:
        return
    with file.open("rb", buffering=0) as stream:
        for begin, end in ranges:
            os.posix_fadvise(stream.fileno(), begin, end - begin, os.POSIX_FADV_WILLNEED)


def _value_bytes(metadata: Sequence[Any], names: Sequence[str], place: int) -> int:
    """Return the bytes of a flat column's values as they are stored, unpacked, on average."""
    found = 0
    for told in metadata:
        if told.num_columns == len(names):
            for number in range(told.num_row_groups):
                column = told.row_group(number).column(place)
                found = max(found, column.total_uncompressed_size // max(1, column.num_values))
    return found


def _has_few_texts(metadata: Sequence[Any], names: Sequence[str], place: int) -> bool:
    """Tell whether a flat column's chunks each have a small dictionary, and nothing beside it."""
    for told in metadata:
        if told.num_columns != len(names):
            return False
        for group in range(told.num_row_groups):
            column = told.row_group(group).column(place)
            begin = column.dictionary_page_offset
            # A writer gives a dictionary up that has grown large, and keeps what it has until then.
            if begin is None or column.data_page_offset - begin > MOST_DICTIONARY:
                return False
    return True


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
