"""Write datasets: Zarr v3, sharded, whole or not at all.

A writer holds one chunk of each array in memory and never a shard.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ooc.core.destination import blamed
from ooc.core.errors import InputError
from ooc.store.addresses import StorageOptions, written_path
from ooc.store.compression import compression_of
from ooc.store.destinations import (
    Destination,
    LocalDestination,
    UnfinishedError,
    check_new,
)
from ooc.store.fields import (
    CHUNK_BYTES,
    SHARD_BYTES,
    Field,
    create_array,
    encode_chunk,
    padded,
)
from ooc.store.members import quiet
from ooc.store.remote import cancel_requests
from ooc.store.shard_files import chunk_files, shard_file

Columns = Mapping[str, np.ndarray]
# One chunk of each array, encoded.
Encoded = Mapping[str, bytes]
AppendChunk = Callable[[Encoded, int], None]


@contextmanager
def create(
    path: str | Path | Destination,
    fields: Mapping[str, Field | tuple[str, tuple[int, ...]]],
    attributes: Mapping[str, Any] | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    shard_bytes: int = SHARD_BYTES,
    resume: bool = False,
    check: Callable[[Path], None] | None = None,
    beside_bytes: int = 0,
    storage_options: StorageOptions | None = None,
    compression: str | None = None,
) -> Iterator["Writer"]:
    """Create a dataset; use the result as a context manager and append rows to it.

    The dataset appears under `path` when the context ends well, and all of it is on the disk.
    Until then it grows in a hidden folder beside it, which is removed if the context ends with an
    error; one that a killed process left is replaced. One writer at a time can write to a path.

    Behind a URL whole shards become objects at once, and the metadata of the group come last:
    until then there is nothing that can be opened. What is not whole yet grows in a folder of this
    machine, which ``OOC_SCRATCH`` names, or else in the user's cache.

    Parameters
    ----------
    path
        A local path, or a URL, such as ``s3://bucket/new.zarr``.
    fields
        For each array its dtype and the shape of one row, or a `Field`.
    chunk_bytes, shard_bytes
        Decoded bytes of one chunk and of one shard of the largest array. All arrays have the
        same rows in a chunk, so that one block is one chunk of each.
    resume
        Keep the hidden folder after an error, and go on with the one that is there: whoever
        writes shards tells by `Writer.keep_shard` which of them need not be written again, and
        has `path` to itself, see `Destination.claim`.
    check
        Called with the whole dataset's hidden folder before it gets its name; if it raises,
        there is no dataset.
    beside_bytes
        Bytes of a row of the largest array that the caller writes, such as sparse rows: chunks
        are cut by it, too, and fields may then be none.
    storage_options
        Of a URL, as `ooc.open` takes them.
    compression
        "fast-write", or "fast-read": what is read many times is worth encoding some twenty times
        as long, and is decoded half as fast again. By default what each `Field` says.

    Raises
    ------
    InputError
        If `path` exists, cannot be written to, another writer is at work on it, there are no
        fields, or no compression of that name.

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
    if compression is not None:
        described = {
            name: field._replace(compression=compression) for name, field in described.items()
        }
    for field in described.values():
        compression_of(field.compression)  # refuses what there is not
    destination = new_destination(path, storage_options)
    writer = Writer(
        destination, described, dict(attributes or {}), chunk_bytes, shard_bytes, beside_bytes
    )
    with nullcontext() if resume else destination.claim(), _growing(writer, resume, check):
        yield writer


def new_destination(
    path: str | Path | Destination, storage_options: StorageOptions | None = None
) -> Destination:
    """Return where a dataset is to be written; refuse what is there already.

    Parameters
    ----------
    path
        A local path, a URL of s3, gs or another scheme that fsspec writes, or what this returned.
    storage_options
        Of a URL, as for reading.
    """
    if not isinstance(path, str | Path):
        return path
    checked = written_path(path, storage_options)
    if "://" in checked:
        from ooc.store.remote_destination import RemoteDestination

        found: Destination = RemoteDestination(checked, storage_options)
        found.check_new()
        return found
    return LocalDestination(check_new(path))


@contextmanager
def _growing(
    writer: "Writer", resume: bool, check: Callable[[Path], None] | None
) -> Iterator[None]:
    """Let a dataset grow; in the end it gets its name, or goes."""
    destination, stays = writer.destination, resume
    try:
        destination.begin(resume)
        with blamed(destination.beside):
            yield
            stays = False
            writer.finish(check)
    except BaseException as error:
        if not isinstance(error, Exception):  # a signal, which waits for no server
            cancel_requests()
        # What is refused as a whole is not gone on with; what a server did not take may be.
        if not (stays or (resume and isinstance(error, UnfinishedError))):
            with suppress(Exception):
                destination.discard()
        raise


class Writer:
    """Appends rows to a new dataset, which grows in the hidden folder `partial`.

    Made by `create`. Attributes of the group may be added to until the context ends.
    """

    def __init__(
        self,
        destination: Destination,
        fields: Mapping[str, Field],
        attributes: dict[str, Any],
        chunk_bytes: int,
        shard_bytes: int,
        beside_bytes: int = 0,
    ) -> None:
        self.destination, self.path = destination, destination.shown
        self.fields, self.attributes = fields, attributes
        widest = max((field.row_bytes for field in fields.values()), default=0)
        widest = max(widest, beside_bytes)
        self.chunk_rows = max(1, chunk_bytes // widest)
        self.shard_rows = self.chunk_rows * max(1, shard_bytes // (self.chunk_rows * widest))
        self.rows = 0
        self.partial = destination.partial
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
        files = self._files(shard, -(-rows // self.chunk_rows))
        if not all(map(self.destination.holds, files)):
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
            name: encode_chunk(
                padded(columns[name][:rows], self.chunk_rows, field), field.compression
            )
            for name, field in self.fields.items()
        }

    @contextmanager
    def open_shard(self, shard: int) -> Iterator[AppendChunk]:
        """Yield what appends encoded chunks to a shard of each array; whole, they get their names.

        They are on the disk, or where the destination keeps them, when the context ends.
        """
        chunks, count = self.shard_rows // self.chunk_rows, 0
        with ExitStack() as stack:
            files = {
                name: stack.enter_context(shard_file(self._file_path(name, shard, 0), chunks))
                if field.sharded
                else chunk_files(partial(self._file_path, name, shard))
                for name, field in self.fields.items()
            }

            def append_chunk(encoded: Encoded, rows: int) -> None:
                nonlocal count
                for name, append in files.items():
                    append(encoded[name])
                count += 1
                with self._lock:
                    self.rows += rows

            yield append_chunk
        self.destination.keep(self._files(shard, count))

    def _files(self, shard: int, chunks: int) -> list[Path]:
        """Return the files of so many chunks of a shard, of all arrays."""
        return [
            self._file_path(name, shard, chunk)
            for name, field in self.fields.items()
            for chunk in range(1 if field.sharded else chunks)
        ]

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
        self.destination.finish()
