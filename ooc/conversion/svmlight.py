"""svmlight (libsvm) text by scikit-learn: labels, and sparse rows.

One pass over the text finds how many rows and columns there are; then blocks of lines are parsed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ooc.conversion.formats import Opening, importing
from ooc.conversion.source import NUMBER, PIECE_BYTES, Column, Entries, Piece, Values, stamp_of
from ooc.conversion.sparse import SparseValues
from ooc.core.errors import DataError, InputError
from ooc.store.sparse import INDEX_DTYPE

SCAN_BYTES = 2**20
# In any lines: a label that is a whole number; and the last index of a line, which is the largest
# where they ascend, as they have to.
_WHOLE = re.compile(rb"(?:^|\n)[ \t]*[+-]?\d+(?=[\s#]|$)")
_COMMENT = re.compile(rb"#[^\n]*")
_LAST = re.compile(rb"(\d+):[^\s:#]+[ \t\r]*(?:\n|$)")


_NEWLINE, _SPACE, _COLON, _ZERO, _TEN = (np.uint8(each) for each in (10, 32, 58, 48, 10))
_MOST_DIGITS = 18
# Of a text's values: those of a line have four letters each at least, as in "1:2 "; the parser
# holds them twice while its lists grow, as 16 bytes, and then there are 12.
_SHORTEST, _PARSED_BYTES = 4, 2 * 16 + 12


@dataclass(frozen=True)
class Scan:
    """What is in lines: rows, values, rows whose label is whole, and the largest index and line."""

    rows: int = 0
    stored: int = 0
    whole: int = 0
    largest: int = 0
    longest: int = 0

    def __add__(self, other: "Scan") -> "Scan":
        return Scan(
            self.rows + other.rows,
            self.stored + other.stored,
            self.whole + other.whole,
            max(self.largest, other.largest),
            max(self.longest, other.longest),
        )


def open_svmlight(path: Path, opening: Opening) -> "SvmlightSource":
    """Open a file of lines like '1 3:0.5 7:2'."""
    found = Scan()
    with path.open("rb") as stream:
        for block in _blocks(stream, 0, SCAN_BYTES):
            found += scan(block)
    if not found.rows or not found.stored:
        raise InputError(f"{path} has no line like '1 3:0.5 7:2'; there is nothing to convert")
    return SvmlightSource(path, found, opening)


def scan(block: bytes) -> Scan:
    r"""Return what is in whole lines.

    Examples
    --------
    >>> scan(b"1 3:0.5 7:2\n-1 2:1\n")
    Scan(rows=2, stored=3, whole=2, largest=7, longest=12)
    """
    text = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(text == _NEWLINE)
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(text))
    starts = np.concatenate(([0], ends[:-1] + 1))
    longest = int((ends - starts).max()) + 1
    if b"#" in block:
        # What a comment says is no value, nor an index.
        return replace(scan(_COMMENT.sub(b"", block)), longest=longest)
    plain = (ends > starts).all() and (text[starts] > _SPACE).all()
    if not plain:
        largest = max([0, *map(int, _LAST.findall(block))])
        whole = len(_WHOLE.findall(block))
        return Scan(_rows_in(block), block.count(b":"), whole, largest, longest)
    colons = np.flatnonzero(text == _COLON)
    whole = int(np.count_nonzero(_are_whole(text, starts)))
    return Scan(len(starts), len(colons), whole, _largest(text, starts, ends, colons), longest)


def _are_whole(text: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Tell of each line whether its label is a whole number."""
    at = starts + np.isin(text[starts], (ord("+"), ord("-")))
    begin, padded = at.copy(), np.append(text, np.uint8(_NEWLINE))
    while (more := padded[at] - _ZERO < _TEN).any():
        at += more
    return (at > begin) & (padded[at] <= _SPACE)


def _largest(text: np.ndarray, starts: np.ndarray, ends: np.ndarray, colons: np.ndarray) -> int:
    """Return the largest of the lines' last indices; 0 where no line has one."""
    if not len(colons):
        return 0
    places = np.searchsorted(colons, ends) - 1
    last = colons[np.maximum(places, 0)]
    at = last[(places >= 0) & (last > starts)] - 1
    found, scale, going = np.zeros(len(at), np.int64), 1, np.ones(len(at), bool)
    for _ in range(_MOST_DIGITS):
        digits = text[at] - _ZERO
        going &= digits < _TEN
        if not going.any():
            break
        found[going] += scale * digits[going].astype(np.int64)
        scale, at = scale * 10, np.maximum(at - 1, 0)
    return int(found.max(initial=0))


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

    def __init__(self, path: Path, found: Scan, opening: Opening) -> None:
        self.path, self._zero_based = path, opening.zero_based
        self.rows: int | None = found.rows
        self.attributes: dict[str, Any] = {}
        self.skipped: dict[str, str] = {}
        number, shape = np.dtype(np.float64), (found.largest + opening.zero_based,)
        known: dict[str, Any] = {"rows": found.rows, "may_lack": True}
        known_x = {"was": "sparse rows"} if opening.dense else {"nonzeros": found.stored}
        x = Column("X", NUMBER, number, shape, **known, **known_x)
        y = Column("y", NUMBER, number, whole=found.whole == found.rows, **known)
        self.columns = {"X": x, "y": y}
        with path.open("rb") as stream:
            self._has_query = b"qid:" in stream.read(SCAN_BYTES)
        if self._has_query:
            self.columns["qid"] = Column("qid", NUMBER, np.dtype(np.int64), rows=found.rows)
        self._block_bytes, self._longest = self._bytes_of_blocks(found), found.longest
        self._most_rows = self._block_bytes + found.longest
        if opening.dense:
            # In short lines there are more dense rows than were hoped for.
            self._most_rows = PIECE_BYTES // x.row_bytes or 1

    def _bytes_of_blocks(self, found: Scan) -> int:
        """Return the bytes of text that are parsed at once: dense rows are many times as large."""
        x = self.columns["X"]
        if x.is_sparse:
            return SCAN_BYTES
        line_bytes = max(1, self.path.stat().st_size // found.rows)
        wanted = PIECE_BYTES // (8 * x.shape[0]) * line_bytes
        return max(line_bytes, min(SCAN_BYTES, wanted))

    def stamp(self) -> Any:
        """Return name, size and time of the file."""
        return stamp_of([self.path], self.path)

    def piece_bytes(self, names: Sequence[str]) -> int:
        """Return the bytes of a block of text, of what it is parsed to, and of dense rows."""
        text = self._block_bytes + self._longest
        found = text + text // _SHORTEST * _PARSED_BYTES
        x = self.columns["X"]
        return found if x.is_sparse else found + 3 * (PIECE_BYTES + x.row_bytes)

    def pieces(self, names: Sequence[str], position: Any) -> Iterator[Piece]:
        """Yield blocks of lines; a position is (byte, line, row) of its beginning."""
        byte, line, row = position or (0, 1, 0)
        with self.path.open("rb") as stream:
            for block in _blocks(stream, byte, self._block_bytes):
                for part in _split(block, self._most_rows):
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
        found = {"X": self._rows_of(x) if "X" in names else np.empty(0), "y": y}
        if self._has_query:
            found["qid"] = more[0]
        return {name: found[name] for name in names}

    def _rows_of(self, matrix: Any) -> Entries:
        if not self.columns["X"].is_sparse:
            return np.asarray(matrix.toarray())
        counts = np.diff(matrix.indptr).astype(np.int64)
        indices = matrix.indices.astype(INDEX_DTYPE, copy=False)
        return SparseValues(matrix.data, indices, counts, matrix.shape[1])

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
                if index == before:
                    return (
                        f"{where} has the index {index} twice; leave one of the two, or write "
                        "their sum once"
                    )
                if index < before:
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
