"""CSV by pyarrow: a file, also a gzipped one, or a folder of files with the same header.

The text is cut where lines end, and blocks are parsed by several threads. What a column holds is
found in the first block, and held against all others.
"""

import csv
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from ooc.conversion.arrow_values import ArrowValues, PlainColumns, column_of
from ooc.conversion.formats import FORMATS, Opening, files_of, importing
from ooc.conversion.source import Column, Piece, Values, check_no_duplicates, stamp_of
from ooc.core.errors import DataError, InputError

# What is read at once: a line is to be shorter than the longest.
BLOCK_BYTES, LONGEST_LINE = 4 * 2**20, 64 * 2**20
DELIMITERS = (",", "\t", ";", "|")
# What stands for no value, beside nothing.
NO_VALUES = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "?"]
# A number, and the share of a column's first values that are, where the others are errors.
_NUMBER, _MOSTLY = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$", 0.9
_BOM = b"\xef\xbb\xbf"


def open_csv(path: Path, opening: Opening) -> "CsvSource":
    """Open a file, or all files of a folder as one table."""
    files = files_of(path, FORMATS["csv"].suffixes)
    if not files:
        raise InputError(f"{path} holds no .csv file; name the file or the folder of them")
    first = _first_block(files[0])
    line = first.split(b"\n", 1)[0].rstrip(b"\r").decode("utf-8", "replace")
    delimiter = max(DELIMITERS, key=line.count)
    names, has_header = _names(files[0], first, delimiter)
    for file in files[1:]:
        others, _ = _names(file, _first_block(file), delimiter)
        if has_header and others != names:
            raise InputError(
                f"the header of {file} is {others}, that of {files[0]} {names}; give them the same "
                "columns, or convert them apart"
            )
    return CsvSource(path, files, names, has_header, delimiter)


def _opened(file: Path) -> IO[bytes]:
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def _first_block(file: Path) -> bytes:
    with _opened(file) as stream:
        found = stream.read(BLOCK_BYTES).removeprefix(_BOM)
    if not found.strip():
        raise InputError(f"{file} is empty; there is nothing to convert")
    return found


def _names(file: Path, block: bytes, delimiter: str) -> tuple[list[str], bool]:
    """Return the names of the header; of a line of numbers x0, x1 and so on."""
    text = io.StringIO(block.decode("utf-8", "replace"), newline="")
    names = [name.strip() for name in next(csv.reader(text, delimiter=delimiter))]
    if all(_is_number(name) for name in names):
        return [f"x{number}" for number in range(len(names))], False
    unnamed = [number + 1 for number, name in enumerate(names) if not name]
    if len(unnamed) == 1 and unnamed[0] == 1:
        names[0], unnamed = "index", []  # as pandas writes its index
    if unnamed:
        raise InputError(f"column {unnamed[0]} of {file} has no name in line 1; give it one")
    check_no_duplicates(file, names)
    return names, True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class CsvSource:
    """Lines of files, in the order of the files' paths."""

    is_table = True
    rows: int | None = None
    held_bytes = 0

    def __init__(
        self, path: Path, files: Sequence[Path], names: list[str], has_header: bool, delimiter: str
    ) -> None:
        self.path, self._files, self._delimiter = path, files, delimiter
        self._names, self._has_header = names, has_header
        self.attributes: dict[str, Any] = {}
        self.skipped: dict[str, str] = {}
        self.columns: dict[str, Column] = {}
        self._types: dict[str, Any] = {}
        self._plain = PlainColumns()
        self._find_columns()

    def _find_columns(self) -> None:
        """Find the types in the first block."""
        types, arrow = importing("pyarrow.types"), importing("pyarrow")
        first = next(self._blocks_from(0, 0), None)
        if first is None:
            raise InputError(
                f"{self._files[0]} has a header and no rows; there is nothing to convert"
            )
        block = first[2]
        table = self._parse(block, self._names, self._files[0], 1 + self._has_header)
        self._line_bytes = len(block) / max(1, table.num_rows)
        for arrow_field in table.schema:
            name, kind = arrow_field.name, arrow_field.type
            whole = bool(types.is_integer(kind))
            if whole or types.is_null(kind) or _are_numbers(table.column(name)):
                # Later lines may have a point, or a value; and a few texts are errors.
                kind = arrow.float64()
            self._types[name] = kind
            if types.is_binary(kind):
                where = 1 + self._has_header + _first_undecoded(block)
                raise InputError(
                    f"line {where} of {self._files[0]}, column {name}: it is not UTF-8; save the "
                    "file as UTF-8"
                )
            found = column_of(name, kind, may_lack=True)
            if isinstance(found, str):
                self.skipped[name] = found
            else:
                self.columns[name] = replace(found, whole=whole)

    def stamp(self) -> Any:
        """Return names, sizes and times of the files."""
        return stamp_of(self._files, self.path)

    def piece_bytes(self, names: Sequence[str]) -> int:
        """Return the bytes of a block of text, and of what twice as many rows as at first are."""
        row_bytes = sum(self.columns[name].row_bytes for name in names)
        fewest = max(2 * len(self._names), self._line_bytes / 2)
        return int(BLOCK_BYTES * 2 + BLOCK_BYTES / fewest * row_bytes)

    def pieces(self, names: Sequence[str], position: Any) -> Iterator[Piece]:
        """Yield blocks of whole lines; a position is (file, byte, line) of its beginning."""
        number, byte, line = position or (0, 0, 1)
        for index in range(number, len(self._files)):
            file = self._files[index]
            if index > number or not position:
                byte, line = 0, 1
            for begin, skipped, block in self._blocks_from(index, byte):
                line += skipped
                read = partial(self._read, block, tuple(names), file, line)
                yield Piece([index, begin, line], 0, read, partial(self._place, block, file, line))
                line += block.count(b"\n")

    def _blocks_from(self, index: int, byte: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield (first byte, lines of the header before it, whole lines)."""
        file = self._files[index]
        with _opened(file) as stream:
            skipped = 0
            if byte == 0:
                byte, skipped = self._after_header(stream)
            stream.seek(byte)
            left = b""
            while more := stream.read(BLOCK_BYTES):
                text = left + more if left else more
                end = _last_line_end(text)
                if end == 0:
                    if len(text) > LONGEST_LINE:
                        raise DataError(
                            f"{file} has no end of a line in {len(text):,} bytes from byte {byte:,}"
                            " on: a quote may not be closed; close it"
                        )
                    left = text
                    continue
                yield byte, skipped, text[:end]
                byte, skipped, left = byte + end, 0, text[end:]
            if left.count(b'"') % 2 and _ends_in_quotes(left, self._delimiter):
                raise DataError(
                    f"{file} ends inside of a quote, which begins after byte {byte:,}; close it"
                )
            if left.strip():
                yield byte, skipped, left

    def _after_header(self, stream: IO[bytes]) -> tuple[int, int]:
        """Return the bytes and lines before the first row."""
        start = len(_BOM) if stream.read(len(_BOM)) == _BOM else 0
        stream.seek(start)
        if not self._has_header:
            return start, 0
        return start + len(stream.readline()), 1

    def _parse(self, block: bytes, names: Sequence[str], file: Path, line: int) -> Any:
        """Return a block's columns as a table of Arrow's; refuse it by the line that is wrong."""
        arrow, parser = importing("pyarrow"), importing("pyarrow.csv")
        try:
            return parser.read_csv(
                arrow.BufferReader(block),
                parser.ReadOptions(
                    use_threads=False, block_size=len(block) + 1, column_names=self._names
                ),
                parser.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
                parser.ConvertOptions(
                    include_columns=list(names),
                    column_types={name: self._types[name] for name in names if name in self._types},
                    null_values=NO_VALUES,
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                ),
                memory_pool=arrow.system_memory_pool(),
            )
        except arrow.ArrowInvalid as error:
            raise DataError(self._explained(str(error), block, names, file, line)) from None

    def _explained(
        self, said: str, block: bytes, names: Sequence[str], file: Path, line: int
    ) -> str:
        """Say where and what is wrong in a block."""
        row = re.search(r"Row #(\d+)", said)
        where = line + _lines_before(block, int(row[1]) - 1, self._delimiter) if row else line
        if ragged := re.search(r"Expected (\d+) columns, got (\d+)", said):
            return (
                f"line {where} of {file} has {ragged[2]} fields, but there are {ragged[1]} "
                "columns; correct the line, or quote a field that holds the delimiter"
            )
        name = re.search(r"In CSV column #(\d+)", said)
        told = f"column {self._names[int(name[1])]}" if name else "a column"
        if "UTF8" in said:
            return f"line {where} of {file}, {told}: it is not UTF-8; save the file as UTF-8"
        value = re.search(r"invalid value '(.*)'", said)
        shown = value[1][:40] if value else said
        kind = self._types.get(self._names[int(name[1])]) if name else None
        what = "number" if "double" in str(kind) else str(kind)
        return (
            f"line {where} of {file}, {told}: {shown!r} is no {what}, as the values before; "
            "correct it, or leave the column out with --without"
        )

    def _read(self, block: bytes, names: Sequence[str], file: Path, line: int) -> Values:
        table = self._parse(block, names, file, line)
        batch = importing("pyarrow").RecordBatch.from_struct_array(
            table.to_struct_array().combine_chunks()
        )
        return ArrowValues(self.columns, batch, self._plain)

    def _place(self, block: bytes, file: Path, line: int, row: int) -> str:
        return f"line {line + _lines_before(block, row, self._delimiter)} of {file}"

    def finish(self, folder: Path) -> None:
        """Add nothing."""


def _are_numbers(column: Any) -> bool:
    """Tell whether texts are numbers but for a few."""
    arrow, compute = importing("pyarrow"), importing("pyarrow.compute")
    known = column.drop_null()
    if not arrow.types.is_string(column.type) or not len(known):
        return False
    matches = compute.match_substring_regex(known, _NUMBER)
    return bool(compute.sum(matches).as_py() >= _MOSTLY * len(known))


def _last_line_end(text: bytes) -> int:
    """Return the bytes of whole lines, whose last end is in no quotes; 0 if there is none."""
    end, quotes = len(text), text.count(b'"')
    while (cut := text.rfind(b"\n", 0, end)) >= 0:
        if quotes:
            quotes -= text.count(b'"', cut, end)
        if quotes % 2 == 0:
            return cut + 1
        end = cut
    return 0


def _ends_in_quotes(text: bytes, delimiter: str) -> bool:
    """Tell whether a field is never closed; quotes in the midst of one, as in 5", need not be."""
    lines = io.StringIO(text.decode("utf-8", "replace"), newline="")
    try:
        for _ in csv.reader(lines, delimiter=delimiter, strict=True):
            pass
    except csv.Error as error:
        return "unexpected end of data" in str(error) or "field larger than" in str(error)
    return False


def _first_undecoded(block: bytes) -> int:
    """Return how many lines are before the first that is not UTF-8."""
    try:
        block.decode()
    except UnicodeDecodeError as error:
        return block.count(b"\n", 0, error.start)
    return 0


def _lines_before(block: bytes, row: int, delimiter: str) -> int:
    """Return the lines of a block before one of its rows: a row may have several, and none."""
    text = io.StringIO(block.decode("utf-8", "replace"), newline="")
    reader, rows = csv.reader(text, delimiter=delimiter), 0
    while True:
        before, fields = reader.line_num, next(reader, None)
        if fields is None or (fields and rows == row):
            return before
        rows += bool(fields)
