"""NPY and NPZ, of which rows are read by their place in the file; pickles never are."""

import os
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from ooc.conversion.arrays import ArraySource, array_column, as_column, sorted_columns
from ooc.conversion.formats import Opening
from ooc.conversion.source import Column, Entries, Piece
from ooc.core.errors import DataError, InputError

FEATURES_NAME = "X"
_HEADERS = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
# A header longer than this is none that NumPy writes.
_MOST_HEADER = 64 * 2**10
_LOCAL_HEADER = 30


@dataclass(frozen=True)
class _Member:
    """An array in a file: where its values begin; None where they are packed."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    by_columns: bool
    offset: int | None


def open_npy(path: Path, opening: Opening) -> "NumpySource":
    """Open an array, which is the features; of a structured one, fields are columns."""
    with path.open("rb") as stream:
        member = _header(path, path.name, FEATURES_NAME, stream)
        offset = stream.tell()
    needed = offset + member.dtype.itemsize * int(np.prod(member.shape, dtype=np.int64))
    if path.stat().st_size < needed:
        raise InputError(
            f"{path} has {path.stat().st_size:,} bytes, but its header tells of {needed:,}: it was "
            "cut off; write it again"
        )
    return NumpySource(path, [_Member(*_described(member), offset)])


def open_npz(path: Path, opening: Opening) -> "NumpySource":
    """Open the arrays of an archive."""
    members, skipped = [], {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name == info.filename:
                    skipped[name] = "it is no .npy file"
                    continue
                with archive.open(info) as stream:
                    try:
                        found = _header(path, info.filename, name, stream)
                    except InputError as error:
                        skipped[name] = str(error)
                        continue
                    header = stream.tell()
                packed = info.compress_type != zipfile.ZIP_STORED
                start = None if packed else _data_offset(path, info) + header
                members.append(_Member(*_described(found), start))
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is no whole NPZ archive ({error}); write it again") from None
    return NumpySource(path, members, skipped)


def _described(member: _Member) -> tuple[str, np.dtype, tuple[int, ...], bool]:
    return member.name, member.dtype, member.shape, member.by_columns


def _header(path: Path, where: str, name: str, stream: Any) -> _Member:
    inside = f"{path}" if where == path.name else f"{where} of {path}"
    try:
        version, _ = np.lib.format.read_magic(stream)
        read = _HEADERS.get(version, _HEADERS[2])
        shape, by_columns, dtype = read(stream, max_header_size=_MOST_HEADER)
    except ValueError as error:
        raise InputError(f"{inside} is no NPY file: {error}; write it with numpy.save") from None
    if dtype.hasobject:
        raise InputError(
            f"{inside} holds Python objects as a pickle, which runs code of whoever wrote it and "
            "is never read; save it with a dtype of numbers or of texts (astype(str))"
        )
    return _Member(name, dtype, shape, by_columns and len(shape) > 1, None)


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where the bytes of a stored member begin."""
    with path.open("rb") as stream:
        stream.seek(info.header_offset)
        header = stream.read(_LOCAL_HEADER)
    names, extra = struct.unpack("<HH", header[26:30])
    return int(info.header_offset) + _LOCAL_HEADER + int(names) + int(extra)


class NumpySource(ArraySource):
    """Arrays in files of NumPy's."""

    def __init__(
        self, path: Path, members: Sequence[_Member], skipped: Mapping[str, str] | None = None
    ) -> None:
        self._members = {member.name: member for member in members}
        found: dict[str, Column | str] = {}
        self._fields: dict[str, str] = {}
        for member in members:
            fields: Mapping[str, Any] = member.dtype.fields or {}
            for name, (dtype, *_) in fields.items():
                base, inner = dtype.subdtype or (dtype, ())
                found[name] = array_column(name, base, (*member.shape, *inner))
                self._fields[name] = member.name
            if not fields:
                found[member.name] = array_column(member.name, member.dtype, member.shape)
            if member.by_columns and len(member.shape) > 2:
                found[member.name] = (
                    f"its shape {member.shape} is stored by columns (Fortran's order); save it "
                    "with numpy.ascontiguousarray"
                )
        columns, left_out = sorted_columns(found)
        super().__init__(path, columns, {**(skipped or {}), **left_out})
        self.is_table = bool(self._fields)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def __del__(self) -> None:
        """Close the file."""
        if (descriptor := getattr(self, "_descriptor", None)) is not None:
            os.close(descriptor)

    def piece_bytes(self, names: Sequence[str]) -> int:
        """Return the most bytes that reading a piece takes; of a structure all fields are read."""
        whole = {self._member(name).name: self._member(name) for name in names}
        rows = self.piece_rows(names)
        return 2 * rows * sum(_row_bytes(member) for member in whole.values())

    def piece_rows(self, names: Sequence[str]) -> int:
        """Return the rows of a piece."""
        rows = super().piece_rows(names)
        if self._fields:
            read = sum(self.columns[name].row_bytes for name in names)
            rows = max(1, rows * read // max(read, _row_bytes(self._member(names[0]))))
        return rows

    def pieces(self, names: Sequence[str], position: Any) -> Iterator[Piece]:
        """Yield spans of rows; packed arrays are read as their turn comes, which is by their ends.

        One after the other, as there is no other way into them.
        """
        packed = [name for name in names if self._member(name).offset is None]
        if not packed:
            yield from super().pieces(names, position)
            return
        with zipfile.ZipFile(self.path) as archive:
            streams = {}
            for name in packed:
                member = self._member(name)
                streams[name] = archive.open(f"{member.name}.npy")
                _header(self.path, member.name, name, streams[name])
                _skip(streams[name], (position or 0) * _row_bytes(member))
            for piece in super().pieces(names, position):
                stop = min(piece.first + self.piece_rows(names), self.columns[names[0]].rows or 0)
                here = {
                    name: self._unpacked(name, stream, stop - piece.first)
                    for name, stream in streams.items()
                }
                rest = [name for name in names if name not in here]
                read = partial(self._read_rest, here, rest, piece.first, stop)
                yield Piece(piece.position, piece.first, read, piece.place)

    def _unpacked(self, name: str, stream: IO[bytes], rows: int) -> Entries:
        member = self._member(name)
        try:
            raw = stream.read(rows * _row_bytes(member))
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise DataError(f"{name} of {self.path} cannot be unpacked: {error}") from None
        shape = (rows, *member.shape[1:])
        return self._column_of(name, np.frombuffer(raw, member.dtype).reshape(shape))

    def _read_rest(
        self, here: dict[str, Entries], rest: Sequence[str], first: int, stop: int
    ) -> Mapping[str, Entries]:
        return {**here, **self._read_all(rest, first, stop)}

    def _read_all(self, names: Sequence[str], first: int, stop: int) -> dict[str, Entries]:
        rows: dict[str, np.ndarray] = {}
        for name in names:
            member = self._member(name)
            if member.name not in rows:
                rows[member.name] = self._rows_of(member, first, stop)
        return {name: self._column_of(name, rows[self._member(name).name]) for name in names}

    def read(self, name: str, first: int, stop: int) -> Entries:
        """Return rows of an array."""
        return self._read_all([name], first, stop)[name]

    def _member(self, name: str) -> _Member:
        return self._members[self._fields.get(name, name)]

    def _column_of(self, name: str, rows: np.ndarray) -> Entries:
        return as_column(self.columns[name], rows[name] if name in self._fields else rows)

    def _rows_of(self, member: _Member, first: int, stop: int) -> np.ndarray:
        """Read rows from their place in the file."""
        assert member.offset is not None
        size, out = member.dtype.itemsize, np.empty((stop - first, *member.shape[1:]), member.dtype)
        if not member.by_columns:
            row_bytes = _row_bytes(member)
            self._fill(out, member.offset + first * row_bytes)
            return out
        column = np.empty(stop - first, member.dtype)
        for entry in range(member.shape[1]):
            self._fill(column, member.offset + (entry * member.shape[0] + first) * size)
            out[:, entry] = column
        return out

    def _fill(self, out: np.ndarray, offset: int) -> None:
        memory = memoryview(out.reshape(-1).view(np.uint8).data)
        done = 0
        while done < len(memory):
            count = os.preadv(self._descriptor, [memory[done:]], offset + done)
            if count == 0:
                raise DataError(f"{self.path} ends at byte {offset + done:,}: it was cut off")
            done += count


def _row_bytes(member: _Member) -> int:
    return member.dtype.itemsize * int(np.prod(member.shape[1:], dtype=np.int64))


def _skip(stream: Any, count: int) -> None:
    while count > 0:
        count -= len(stream.read(min(count, 2**20))) or count
