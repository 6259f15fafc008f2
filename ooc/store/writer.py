"""Write datasets: Zarr v3, sharded, whole or not at all.

A writer holds one chunk of each array in memory and never a shard.
"""

import itertools
import os
import shutil
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import crc32c
import numpy as np
import zarr
from numcodecs import VLenBytes, VLenUTF8
from numcodecs.blosc import Blosc
from zarr.codecs import BloscCodec, Crc32cCodec

from ooc.core.destination import (
    blamed,
    claimed,
    clear_leftovers,
    hidden_beside,
    local_path,
    name_whole,
)
from ooc.core.errors import InputError
from ooc.store.members import quiet, settle

CHUNK_BYTES = 512 * 2**10
SHARD_BYTES = 128 * 2**20
COMPRESSION_LEVEL = 5
NUMBER_KINDS = "biufcMm"
_MISSING = 2**64 - 1

Columns = Mapping[str, np.ndarray]
# One chunk of each array, encoded.
Encoded = Mapping[str, bytes]
AppendChunk = Callable[[Encoded, int], None]


# Values without a fixed size, by Zarr's names: as they are in memory, what fills up, their codec.
VARIABLE: dict[str, tuple[Any, str | bytes, Any]] = {
    "string": (np.dtypes.StringDType(), "", VLenUTF8()),
    "variable_length_bytes": (np.dtype(object), b"", VLenBytes()),
}


class Field(NamedTuple):
    """One array to write: its dtype, the shape of one row, and what is noted of it.

    The dtype is NumPy's, or "string" or "variable_length_bytes": a value of those is taken to have
    `value_bytes`, by which chunks are cut.
    """

    dtype: str | np.dtype
    shape: tuple[int, ...] = ()
    attributes: Mapping[str, Any] = {}
    dimensions: tuple[str | None, ...] | None = None
    fill_value: Any = None
    value_bytes: int = 16

    @property
    def variable(self) -> bool:
        """Whether values have no fixed size."""
        return isinstance(self.dtype, str) and self.dtype in VARIABLE

    @property
    def in_memory(self) -> np.dtype:
        """The dtype in memory."""
        return VARIABLE[str(self.dtype)][0] if self.variable else np.dtype(self.dtype)

    @property
    def sharded(self) -> bool:
        """Whether chunks share files; zarr-python cannot read structures from such ones."""
        return self.in_memory.kind != "V"

    @property
    def row_bytes(self) -> int:
        """Decoded bytes of one row."""
        size = self.value_bytes if self.variable else self.in_memory.itemsize
        return size * int(np.prod(self.shape, dtype=np.int64))


@contextmanager
def create(
    path: str | Path,
    fields: Mapping[str, Field | tuple[str, tuple[int, ...]]],
    attributes: Mapping[str, Any] | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    shard_bytes: int = SHARD_BYTES,
    resume: bool = False,
    check: Callable[[Path], None] | None = None,
    beside_bytes: int = 0,
) -> Iterator["Writer"]:
    """Create a dataset; use the result as a context manager and append rows to it.

    The dataset appears under `path` when the context ends well, and all of it is on the disk.
    Until then it grows in a hidden folder beside it, which is removed if the context ends with an
    error; one that a killed process left is replaced. One writer at a time can write to a path.

    Parameters
    ----------
    fields
        For each array its dtype and the shape of one row, or a `Field`.
    chunk_bytes, shard_bytes
        Decoded bytes of one chunk and of one shard of the largest array. All arrays have the
        same rows in a chunk, so that one block is one chunk of each.
    resume
        Keep the hidden folder after an error, and go on with the one that is there: whoever
        writes shards tells by `Writer.keep_shard` which of them need not be written again, and
        has `path` to itself, see `ooc.core.destination.claimed`.
    check
        Called with the whole dataset's hidden folder before it gets its name; if it raises,
        there is no dataset.
    beside_bytes
        Bytes of a row of the largest array that the caller writes, such as sparse rows: chunks
        are cut by it, too, and fields may then be none.

    Raises
    ------
    InputError
        If `path` exists, is a URL, cannot be written to, another writer is at work on it, or
        there are no fields.

    Examples
    --------
    >>> with create(folder / "new.zarr", {"X": ("float32", (3,)), "y": ("int64", ())}) as writer:
    ...     for part in range(4):
    ...         writer.append({"X": np.ones((10, 3)), "y": np.full(10, part)})
    >>> zarr.open_group(folder / "new.zarr", mode="r")["y"][8:12]
    array([0, 0, 1, 1])
    """
    if not fields and not beside_bytes:
        raise InputError(f"{path} needs at least one array; give fields such as X and y")
    described = {name: Field(*value) for name, value in fields.items()}
    place = check_new(path)
    writer = Writer(
        place, described, dict(attributes or {}), chunk_bytes, shard_bytes, beside_bytes
    )
    with nullcontext() if resume else claimed(place):
        # It may have come while the path was not claimed yet.
        check_new(place)
        with _growing(writer, resume, check):
            yield writer


def check_new(path: str | Path) -> Path:
    """Return where a dataset is to be written; refuse a URL, and what is there already."""
    place = local_path(path, "datasets that are written")
    if place.exists():
        clear_leftovers(place)
        raise InputError(f"{path} already exists; choose another path or remove it first")
    return place


def make_folder(folder: Path, exist_ok: bool = True) -> None:
    """Make a folder; refuse where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=exist_ok)
    except OSError as error:
        raise InputError(
            f"cannot write to {folder.parent}: {error.strerror}; choose another folder"
        ) from None


@contextmanager
def _growing(
    writer: "Writer", resume: bool, check: Callable[[Path], None] | None
) -> Iterator[None]:
    """Make the folder in which a dataset grows; in the end it gets its name, or goes."""
    if not resume:
        shutil.rmtree(writer.partial, ignore_errors=True)
    try:
        make_folder(writer.partial, resume)
        with blamed(writer.path):
            yield
            resume = False
            writer.finish(check)
    except BaseException:
        if not resume:
            with suppress(Exception):  # the signal may have met what waits for its own loop
                settle()
            shutil.rmtree(writer.partial, ignore_errors=True)
        raise


class Writer:
    """Appends rows to a new dataset, which grows in the hidden folder `partial`.

    Made by `create`. Attributes of the group may be added to until the context ends.
    """

    def __init__(
        self,
        path: Path,
        fields: Mapping[str, Field],
        attributes: dict[str, Any],
        chunk_bytes: int,
        shard_bytes: int,
        beside_bytes: int = 0,
    ) -> None:
        self.path, self.fields, self.attributes = path, fields, attributes
        widest = max((field.row_bytes for field in fields.values()), default=0)
        widest = max(widest, beside_bytes)
        self.chunk_rows = max(1, chunk_bytes // widest)
        self.shard_rows = self.chunk_rows * max(1, shard_bytes // (self.chunk_rows * widest))
        self.rows = 0
        self.partial = hidden_beside(path, "partial")
        self._buffers: dict[str, np.ndarray] = {}
        self._buffered = 0
        self._open_shard = ExitStack()
        self._append_chunk: AppendChunk | None = None
        self._lock = threading.Lock()

    def append(self, columns: Columns) -> None:
        """Append rows: for each array its values, cast to its dtype."""
        count = self._checked_length(columns)
        if not self._buffers:
            self._buffers = {
                name: np.empty((self.chunk_rows, *field.shape), field.in_memory)
                for name, field in self.fields.items()
            }
        done = 0
        while done < count:
            part = min(count - done, self.chunk_rows - self._buffered)
            for name, buffer in self._buffers.items():
                buffer[self._buffered : self._buffered + part] = columns[name][done : done + part]
            done += part
            self._buffered += part
            if self._buffered == self.chunk_rows:
                self._flush_chunk()

    def write_shard(self, shard: int, chunks: Iterable[Columns]) -> None:
        """Write one whole shard of every array, chunk by chunk.

        Threads may write different shards at the same time. Every chunk but the dataset's last
        has `chunk_rows` rows.
        """
        with self.open_shard(shard) as append_chunk:
            for columns in chunks:
                rows = self._checked_length(columns)
                append_chunk(self.encode(columns, rows), rows)

    def keep_shard(self, shard: int, rows: int) -> bool:
        """Tell whether a shard of this many rows is whole already, and count its rows if so."""
        for name, field in self.fields.items():
            chunks = 1 if field.sharded else -(-rows // self.chunk_rows)
            paths = (self._file_path(name, shard, chunk) for chunk in range(chunks))
            if not all(path.exists() for path in paths):
                return False
        with self._lock:
            self.rows += rows
        return True

    def _flush_chunk(self) -> None:
        if self._append_chunk is None:
            shard = self.rows // self.shard_rows
            self._append_chunk = self._open_shard.enter_context(self.open_shard(shard))
        self._append_chunk(self.encode(self._buffers, self._buffered), self._buffered)
        self._buffered = 0
        if self.rows % self.shard_rows == 0:
            self._open_shard.close()
            self._append_chunk = None

    def encode(self, columns: Columns, rows: int) -> Encoded:
        """Encode the first rows of each array as one chunk; threads may do so at the same time."""
        return {
            name: encode_chunk(_padded(columns[name][:rows], self.chunk_rows, field))
            for name, field in self.fields.items()
        }

    @contextmanager
    def open_shard(self, shard: int) -> Iterator[AppendChunk]:
        """Yield what appends encoded chunks to a shard of each array; whole, they get their names.

        They are on the disk when the context ends.
        """
        chunks = self.shard_rows // self.chunk_rows
        with ExitStack() as stack:
            files = {
                name: stack.enter_context(_shard_file(self._file_path(name, shard, 0), chunks))
                if field.sharded
                else _chunk_files(partial(self._file_path, name, shard))
                for name, field in self.fields.items()
            }

            def append_chunk(encoded: Encoded, rows: int) -> None:
                for name, append in files.items():
                    append(encoded[name])
                with self._lock:
                    self.rows += rows

            yield append_chunk

    def _file_path(self, name: str, shard: int, chunk: int) -> Path:
        """Return the file of a shard, or of one chunk of it where each has its own."""
        field = self.fields[name]
        chunks = self.shard_rows // self.chunk_rows
        number = shard if field.sharded else shard * chunks + chunk
        return self.partial.joinpath(name, "c", str(number), *["0"] * len(field.shape))

    def _checked_length(self, columns: Columns) -> int:
        counts = set()
        for name, field in self.fields.items():
            if name not in columns:
                raise InputError(f"the rows for {self.path} have no array {name!r}")
            shape = np.shape(columns[name])
            if shape[1:] != field.shape:
                raise InputError(
                    f"a row of {name} in {self.path} has shape {field.shape}, not {shape[1:]}"
                )
            counts.add(shape[0])
        if len(counts) != 1:
            raise InputError(f"arrays for {self.path} differ in rows: {sorted(counts)}")
        return counts.pop()

    def finish(self, check: Callable[[Path], None] | None) -> None:
        """Write what is left and the metadata; the dataset gets its name if `check` agrees."""
        if self._buffered:
            self._flush_chunk()
        self._open_shard.close()
        if self.rows == 0:
            raise InputError(f"{self.path} got no rows; append some before closing it")
        for left_behind in (self.partial, *(self.partial / name for name in self.fields)):
            (left_behind / "zarr.json").unlink(missing_ok=True)
        with quiet():
            group = zarr.create_group(self.partial, zarr_format=3, attributes=self.attributes)
            for name, field in self.fields.items():
                create_array(group, name, field, self.rows, self.chunk_rows, self.shard_rows)
        if check is not None:
            check(self.partial)
        name_whole(self.partial, self.path)


def create_array(
    group: zarr.Group, name: str, field: Field, rows: int, chunk_rows: int, shard_rows: int
) -> zarr.Array:
    """Create the metadata of an array whose chunks `encode_chunk` makes."""
    kind = field.in_memory.kind
    size = field.in_memory.itemsize if kind in NUMBER_KINDS else 1
    blosc = BloscCodec(typesize=size, cname="lz4", clevel=COMPRESSION_LEVEL, shuffle="bitshuffle")
    return group.create_array(
        name,
        shape=(rows, *field.shape),
        chunks=(chunk_rows, *field.shape),
        shards=(shard_rows, *field.shape) if field.sharded else None,
        dtype=field.dtype,
        compressors=[blosc, Crc32cCodec()],
        attributes=dict(field.attributes),
        dimension_names=field.dimensions,
        **({} if field.fill_value is None else {"fill_value": field.fill_value}),
    )


def encode_chunk(chunk: np.ndarray | bytes) -> bytes:
    """Encode one C-contiguous chunk: blosc (lz4, bit shuffle), then its CRC-32C.

    Chunks of 512 KiB decode while they stay in a core's cache; bit shuffle doubles what lz4
    finds in floats of limited precision.
    """
    if isinstance(chunk, np.ndarray) and chunk.dtype.kind not in NUMBER_KINDS:
        chunk = chunk.tobytes()
    codec = Blosc("lz4", clevel=COMPRESSION_LEVEL, shuffle=Blosc.BITSHUFFLE)
    return checked(bytes(codec.encode(chunk)))


def checked(stored: bytes) -> bytes:
    """Return bytes with their checksum behind them."""
    return stored + struct.pack("<I", crc32c.crc32c(stored))


def _padded(values: np.ndarray, rows: int, field: Field) -> np.ndarray | bytes:
    """Return the values as one contiguous chunk; the last chunk is filled up with zeros."""
    if field.variable:
        _, nothing, codec = VARIABLE[str(field.dtype)]
        objects = np.full((rows, *field.shape), nothing, object)
        objects[: len(values)] = values
        return bytes(codec.encode(objects))
    if len(values) == rows:
        return np.ascontiguousarray(values, field.dtype)
    chunk = np.zeros((rows, *values.shape[1:]), field.dtype)
    chunk[: len(values)] = values
    return chunk


def _chunk_files(path_of: Callable[[int], Path]) -> Callable[[bytes], None]:
    """Return what writes encoded chunks one after another, each to a file of its own."""
    numbers = itertools.count()

    def append(encoded: bytes) -> None:
        path = path_of(next(numbers))
        aside = aside_of(path)
        aside.write_bytes(encoded)
        aside.rename(path)

    return append


def aside_of(path: Path) -> Path:
    """Return where a file grows until it gets its name; its folder is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.part")


@contextmanager
def _shard_file(path: Path, chunks: int) -> Iterator[Callable[[bytes], None]]:
    """Write encoded chunks one after another, then their index; the file gets its name at last."""
    aside, numbers = aside_of(path), itertools.count()
    index = np.full((chunks, 2), _MISSING, "<u8")
    with aside.open("wb") as stream:

        def append(encoded: bytes) -> None:
            index[next(numbers)] = stream.tell(), len(encoded)
            stream.write(encoded)

        yield append
        stream.write(checked(index.tobytes()))
        # A shard that has its name is kept by whoever goes on: it must be there after an outage.
        stream.flush()
        os.fsync(stream.fileno())
    aside.rename(path)
