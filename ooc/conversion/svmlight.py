"""svmlight (libsvm) text by scikit-learn: labels, and sparse rows, which become dense ones.

One pass over the text finds how many features there are; then blocks of lines are parsed.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ooc.conversion.formats import Opening, importing
from ooc.conversion.source import NUMBER, PIECE_BYTES, Column, Piece, Values, stamp_of
from ooc.conversion.sparse import SparseRows, check_dense
from ooc.core.errors import DataError, InputError

SCAN_BYTES = 2**20
# A label that is a whole number; and the last index of a line, which is the largest where they
# ascend, as they have to.
_WHOLE = re.compile(rb"(?:^|\n)[ \t]*[+-]?\d+(?=[\s#]|$)")
_LAST = re.compile(rb"(\d+):[^\s:#]+[ \t\r]*(?:#[^\n]*)?(?:\n|$)")


def open_svmlight(path: Path, opening: Opening) -> "SvmlightSource":
    """Open a file of lines like '1 3:0.5 7:2'."""
    rows = stored = largest = whole = 0
    with path.open("rb") as stream:
        for block in _blocks(stream, 0, SCAN_BYTES):
            rows += _rows_in(block)
            stored += block.count(b":")
            whole += len(_WHOLE.findall(block))
            largest = max(largest, *map(int, _LAST.findall(block)), 0)
    if not rows or not stored:
        raise InputError(f"{path} has no line like '1 3:0.5 7:2'; there is nothing to convert")
    width = largest + opening.zero_based
    check_dense(path, "X", SparseRows(rows, width, stored, 8), opening.dense, "")
    return SvmlightSource(path, rows, width, opening.zero_based, whole == rows)


def _blocks(stream: Any, start: int, size: int) -> Iterator[bytes]:
    """Yield whole lines, about so many bytes at a time."""
    stream.seek(start)
    while block := stream.read(size):
        yield block + stream.readline()


def _rows_in(block: bytes) -> int:
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    if b"#" not in block and b"\n\n" not in block and not block.startswith(b"\n"):
        return lines
    return sum(bool(line.split(b"#")[0].strip()) for line in block.split(b"\n"))


class SvmlightSource:
    """Lines of a file."""

    is_table = False
    held_bytes = 0

    def __init__(self, path: Path, rows: int, width: int, zero_based: bool, whole: bool) -> None:
        self.path, self._zero_based = path, zero_based
        self.rows: int | None = rows
        self.attributes: dict[str, Any] = {}
        self.skipped: dict[str, str] = {}
        number = np.dtype(np.float64)
        x = Column("X", NUMBER, number, (width,), rows, was="sparse rows", may_lack=True)
        y = Column("y", NUMBER, number, rows=rows, may_lack=True, whole=whole)
        self.columns = {"X": x, "y": y}
        with path.open("rb") as stream:
            self._has_query = b"qid:" in stream.read(SCAN_BYTES)
        if self._has_query:
            self.columns["qid"] = Column("qid", NUMBER, np.dtype(np.int64), rows=rows)
        # Dense rows are many times as large as their text.
        self._block_bytes = self._bytes_of_blocks(rows, width)

    def _bytes_of_blocks(self, rows: int, width: int) -> int:
        line_bytes = max(1, self.path.stat().st_size // rows)
        return max(line_bytes, min(SCAN_BYTES, PIECE_BYTES // (8 * width) * line_bytes))

    def stamp(self) -> Any:
        """Return name, size and time of the file."""
        return stamp_of([self.path], self.path)

    def piece_bytes(self, names: Sequence[str]) -> int:
        """Return the bytes of the dense rows of a block, whose lines may be short, and of text."""
        dense = PIECE_BYTES + self.columns["X"].row_bytes
        return 4 * dense + 8 * self._block_bytes

    def pieces(self, names: Sequence[str], position: Any) -> Iterator[Piece]:
        """Yield blocks of lines; a position is (byte, line, row) of its beginning."""
        byte, line, row = position or (0, 1, 0)
        with self.path.open("rb") as stream:
            for block in _blocks(stream, byte, self._block_bytes):
                # In short lines there are more dense rows than were hoped for.
                for part in _split(block, PIECE_BYTES // self.columns["X"].row_bytes or 1):
                    read = partial(self._read, part, tuple(names), line)
                    place = partial(self._place, part, line)
                    rows = _rows_in(part)
                    yield Piece([byte, line, row], row, read, place)
                    byte, row, line = byte + len(part), row + rows, line + part.count(b"\n")

    def _read(self, block: bytes, names: Sequence[str], line: int) -> Values:
        load = importing("sklearn.datasets").load_svmlight_file
        width = self.columns["X"].shape[0]
        try:
            x, y, *more = load(
                BytesIO(block), n_features=width, zero_based=self._zero_based,
                query_id=self._has_query,
            )  # fmt: skip
        except ValueError as error:
            raise DataError(self._explained(block, line, str(error))) from None
        found = {"X": x.toarray() if "X" in names else np.empty(0), "y": y}
        if self._has_query:
            found["qid"] = more[0]
        return {name: found[name] for name in names}

    def _explained(self, block: bytes, line: int, said: str) -> str:
        """Name the first line that is wrong."""
        least = 0 if self._zero_based else 1
        for number, text in enumerate(block.split(b"\n"), line):
            where = f"line {number} of {self.path}"
            label, *pairs = text.split(b"#")[0].split() or [b"0"]
            try:
                float(label)
                known = [pair.split(b":") for pair in pairs if not pair.startswith(b"qid:")]
                indices = [int(index) for index, _ in known]
                _ = [float(value) for _, value in known]
            except ValueError:
                shown = text.decode("utf-8", "replace").strip()[:60]
                return (
                    f"{where} is no label and pairs like '1 3:0.5 7:2', but {shown!r}; correct it"
                )
            if indices and indices[0] < least:
                todo = "correct it"
                if not self._zero_based:
                    todo = (
                        "if they begin at 0, as scikit-learn writes them by default, give "
                        "--zero-based"
                    )
                return f"{where} has the index {indices[0]}, but indices begin at {least}; {todo}"
            for before, index in pairwise(indices):
                if index <= before:
                    return (
                        f"{where} has the index {index} after {before}; indices of a line are to "
                        "ascend: sort them"
                    )
        return f"a line of {self.path} from {line} on cannot be read: {said}"

    def _place(self, block: bytes, line: int, row: int) -> str:
        lines = enumerate(block.split(b"\n"), line)
        full = [number for number, text in lines if text.split(b"#")[0].strip()]
        return f"line {full[row]} of {self.path}"

    def finish(self, folder: Path) -> None:
        """Add nothing."""


def _split(block: bytes, most_rows: int) -> Iterator[bytes]:
    """Yield parts of a block with so many lines at most."""
    if block.count(b"\n") <= most_rows:
        yield block
        return
    lines = block.splitlines(keepends=True)
    for first in range(0, len(lines), most_rows):
        yield b"".join(lines[first : first + most_rows])
