"""A uniformly random permutation of a whole dataset, out of core, in two passes.

The new order is that of random keys (Rao, 1961; Sandelius, 1962). Pieces sorted by key become
scratch files; then ranges of keys of all pieces are sorted into shards (Knuth, vol. 3, 5.4).
"""

import errno
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ooc.core.compile_child import load_kernels
from ooc.core.destination import blamed
from ooc.core.errors import DataError, InputError, TooSmallError
from ooc.core.hashing import fill_row_keys, keys_at_ranks, keys_of_rows
from ooc.core.process import memory_numbers
from ooc.core.progress import Progress, Report, silent
from ooc.core.random_keys import Purpose, key
from ooc.shuffle.job import RESERVED_BYTES, Job, plan_job, too_small
from ooc.shuffle.records import checksum
from ooc.shuffle.scratch import Scratch
from ooc.shuffle.workspace import check_destination, file_bytes, folders_beside, workspace
from ooc.store.addresses import StorageOptions
from ooc.store.beside import copy_beside
from ooc.store.chunks import reading_kernels
from ooc.store.compression import FAST_WRITE, compression_of
from ooc.store.copies import Copy, plan_copy
from ooc.store.dataset import Dataset
from ooc.store.dataset import open as open_dataset
from ooc.store.destinations import Destination, UnfinishedError
from ooc.store.remote import connections_bytes
from ooc.store.transforms import changes_features
from ooc.store.writer import Writer, create, new_destination
from ooc.stream.plan import MIB, budget_of, held_bytes

PROOF_BYTES = 8 * MIB
# Everything is read once, and the proof is to be of what the disk holds, not the page cache.
IO = "direct"

Arrays = dict[str, np.ndarray]
Result = TypeVar("Result")


def exact(
    source: Dataset,
    destination: str | Path | Destination,
    memory: str | int = "1GiB",
    seed: int = 0,
    threads: int | None = None,
    report: Report = silent,
    storage_options: StorageOptions | None = None,
    compression: str = FAST_WRITE,
) -> dict[str, Any]:
    """Write all arrays of a dataset to a new store, their rows in one uniformly random order.

    They are all that share axis 0, of whatever dtype and in groups, too, as they are stored, with
    their attributes, dimension names and fill values. Other arrays and groups come along as they
    are. What cannot, such as sparse matrices and arrays whose codec is not installed, is left out,
    and reported before the work begins.
    The same seed gives the same bits, whatever the budget or the number of threads. A call that
    was killed leaves hidden folders beside `destination`; the same call again goes on from there.
    At the end the new store is read back, and the sum over its rows compared with the source's.

    Parameters
    ----------
    destination
        A local folder that does not exist yet, outside the source, or a URL at which there is
        nothing yet.
    memory
        Bytes that the whole process may use.
    seed
        What the order is a function of, with the number of rows.
    threads
        Pieces that are worked on at once, at most 4; by default one more than cores.
    storage_options
        Of a URL, as `ooc.open` takes them.
    compression
        Of the new store: "fast-write" or "fast-read", see `ooc.create`.

    Returns
    -------
    dict
        "rows", "seconds", "rows_per_second", "bytes_per_second" (decoded), "checksum",
        "bytes_read" and "bytes_written" (of files), "left_out" (why, by name), and the memory
        keys.

    Raises
    ------
    InputError
        Before any work: if the source is opened with a transform, the destination exists,
        lies inside the source or cannot be written to, the disk is too small, the budget is, or
        another process writes to the same place.
    DataError
        If the rows that were written are not those that were read.

    Examples
    --------
    >>> import ooc
    >>> result = exact(ooc.open(example_dataset), folder / "shuffled.zarr", "512MiB", seed=1)
    >>> result["rows"], ooc.open(folder / "shuffled.zarr").arrays["X"].shape
    (1000, (1000, 3))
    """
    compression_of(compression)  # refuses what there is not
    place = new_destination(destination, storage_options)
    check_destination(source, place)
    if source.transform and not changes_features(source.transform):
        raise InputError(
            f"a shuffled copy has no order of times, and rows of {source.path} are sequences of "
            f"them (transform={source.transform!r}); they are mixed as they are read"
        )
    if source.transform:
        raise InputError(
            f"a shuffled copy keeps rows as they are stored, and {source.path} is opened with "
            f"transform={source.transform!r}; leave it out, and give it when you open the copy"
        )
    # Attributes come along, and with them what values mean.
    source = source.undecoded()
    copy, job = _planned(source, budget_of(memory), seed, threads, place.buffer_bytes)
    job = replace(job, compression=compression)
    begun = time.perf_counter()
    taken = workspace(copy, place, job)
    with place.claim(), blamed(place.beside), taken as folder:
        if copy.left_out:
            said = "; ".join(f"{name}, as {why}" for name, why in copy.left_out.items())
            report(Progress(0, job.rows, 0, 0.0, text=f"leaves out {said}"))
        if kernels := reading_kernels(copy.dataset):
            load_kernels(kernels, report)
        try:
            result = _Run(copy, place, folder, job, report).all()
        except UnfinishedError as error:
            raise UnfinishedError(
                f"{error}; what is written stays, and the same command goes on from there"
            ) from None
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            scratch, partial = folders_beside(place)
            raise InputError(
                f"the disk of {place.beside} filled up; free some space and give the same command "
                f"again to go on, or remove {scratch} and {partial}"
            ) from None
    seconds = time.perf_counter() - begun
    return {
        "rows": job.rows,
        "seconds": seconds,
        "rows_per_second": job.rows / seconds,
        "bytes_per_second": job.rows * job.row_bytes / seconds,
        **result,
        "left_out": dict(copy.left_out),
        "seed": seed,
        **memory_numbers(job.budget, job.projected),
    }


def _planned(
    source: Dataset, budget: int, seed: int, threads: int | None, buffer_bytes: int = 0
) -> tuple[Copy, Job]:
    """Plan what is copied, and how; a refusal names a budget that is enough."""
    needed, enough = budget, False
    held = held_bytes() + buffer_bytes + connections_bytes(source.saved_path)
    while True:
        copy = plan_copy(source, needed - RESERVED_BYTES - held)
        try:
            job = plan_job(copy.dataset, needed, seed, threads, copy.object_bytes, held)
        except TooSmallError as error:
            # With more memory more may be copied, which then needs more.
            needed, enough = error.needed, True
            continue
        if enough:
            raise too_small(budget, needed, source.path)
        return copy, job


def exact_order(rows: int, seed: int) -> np.ndarray:
    """Return the row (int64) at each place of the order that `exact` writes; O(N) memory.

    Examples
    --------
    >>> np.sort(exact_order(5, seed=3)).tolist()
    [0, 1, 2, 3, 4]
    """
    keys = np.empty(rows, np.uint64)
    fill_row_keys(0, key(seed, Purpose.EXACT_ORDER), keys)
    return np.argsort(keys)


class _Run:
    """The passes over one job."""

    def __init__(
        self, copy: Copy, destination: Destination, folder: Path, job: Job, report: Report
    ) -> None:
        self._copy, self._source = copy, copy.dataset
        self._destination, self._job, self._report = destination, job, report
        self._begun, self._done, self._lock = time.perf_counter(), 0, threading.Lock()
        self._starts = job.unit_starts
        self._key = key(job.seed, Purpose.EXACT_ORDER)
        self._scratch = Scratch(folder, job.pieces, len(self._starts) - 1, job.layout.record_bytes)
        self._specs = {name: copy.dataset.arrays[name] for name in job.layout.names}

    def all(self) -> dict[str, Any]:
        """Sort pieces, write shards, prove; return what there is to tell."""
        job, source = self._job, self._source
        before = self._sort_pieces()
        note = {"seed": job.seed, "checksum": f"{before:016x}"}

        def prove(folder: Path) -> None:
            copy_beside(source, self._copy.groups, self._copy.beside, folder)
            roles: list[Any] = [name or False for name in source.roles]
            written = open_dataset(self._destination.place(), *roles)
            # A call that is killed now sorts pieces anew, but finds all shards written.
            with ThreadPoolExecutor(1, thread_name_prefix="ooc-shuffle-clear") as beside:
                beside.submit(self._scratch.clear)
                after = self._sum_up(written)
            if after != before:
                raise DataError(
                    f"the rows written to {self._destination.shown} are not those of "
                    f"{source.path}: their sum is {after:016x}, not {before:016x}; "
                    "the disk or memory is faulty"
                )

        widest = max(job.layout.widths)
        with create(
            self._destination,
            self._copy.fields,
            {**source.attributes, "shuffled": note},
            chunk_bytes=job.chunk_rows * widest,
            shard_bytes=job.shard_rows * widest,
            resume=True,
            check=prove,
            compression=job.compression,
        ) as writer:
            self._write_shards(writer)
        written = job.rows * job.layout.record_bytes + file_bytes(self._destination.shown)
        return {
            "checksum": note["checksum"],
            "bytes_read": file_bytes(source.path) + written,
            "bytes_written": written,
        }

    def _sort_pieces(self) -> int:
        """First pass: return the checksum of all rows."""
        job, scratch = self._job, self._scratch
        ranks = np.array(self._starts[1:-1], np.int64)
        inner = keys_at_ranks(keys_of_rows(job.rows, self._key), [ranks])[0]
        read = self._reader(self._source)

        def sort(first: int, arrays: Arrays, buffer: np.ndarray, keys: np.ndarray) -> int:
            rows, piece = min(job.piece_rows, job.rows - first), first // job.piece_rows
            total = scratch.find(piece)
            if total is None:
                arrays, keys = read(arrays, first, rows), keys[:rows]
                fill_row_keys(first, self._key, keys)
                order = np.argsort(keys)
                records = job.layout.pack(arrays, keys, order, buffer)
                below = np.searchsorted(keys, inner, sorter=order)
                total = int(checksum(records.view(np.uint64)))
                scratch.write(piece, buffer, rows, np.concatenate([[0], below, [rows]]), total)
            self._progress(rows)
            return total

        def memory() -> tuple[Arrays, np.ndarray, np.ndarray]:
            keys = np.empty(job.piece_rows, np.uint64)
            return self._arrays(job.piece_rows), scratch.buffer(job.piece_rows), keys

        return sum(self._in_threads(memory, sort, job.piece_rows)) % 2**64

    def _write_shards(self, writer: Writer) -> None:
        """Second pass: each shard by one thread, its units one after the other."""
        job = self._job
        assert (writer.chunk_rows, writer.shard_rows) == (job.chunk_rows, job.shard_rows)
        largest = int(np.diff(self._starts).max())

        def chunks(first: int, stop: int, arrays: Arrays, records: np.ndarray) -> Iterator[Arrays]:
            for unit in range(*np.searchsorted(self._starts, [first, stop]).tolist()):
                rows = self._scratch.read_unit(unit, records)
                order = np.argsort(records[:rows].view(np.uint64)[:, 0].copy())
                for start in range(0, rows, job.chunk_rows):
                    part = order[start : start + job.chunk_rows]
                    job.layout.unpack(records, part, arrays)
                    yield {
                        name: self._copy.for_writer(name, values[: len(part)])
                        for name, values in arrays.items()
                    }
                    self._progress(len(part))

        def write(first: int, arrays: Arrays, records: np.ndarray) -> None:
            shard, stop = first // job.shard_rows, min(first + job.shard_rows, job.rows)
            if writer.keep_shard(shard, stop - first):
                self._progress(stop - first)
            else:
                writer.write_shard(shard, chunks(first, stop, arrays, records))

        def memory() -> tuple[Arrays, np.ndarray]:
            records = np.empty((largest, job.layout.record_bytes), np.uint8)
            return self._arrays(job.chunk_rows), records

        self._in_threads(memory, write, job.shard_rows)

    def _sum_up(self, written: Dataset) -> int:
        """Read what was written, checksums of chunks and all, and sum its rows up."""
        job, read = self._job, self._reader(written)
        step = max(1, PROOF_BYTES // job.layout.record_bytes // job.chunk_rows) * job.chunk_rows
        order, keys = np.arange(step), np.zeros(step, np.uint64)

        def add(first: int, arrays: Arrays, buffer: np.ndarray) -> int:
            rows = min(step, job.rows - first)
            records = job.layout.pack(read(arrays, first, rows), keys, order[:rows], buffer)
            self._progress(rows)
            return int(checksum(records.view(np.uint64)))

        def memory() -> tuple[Arrays, np.ndarray]:
            return self._arrays(step), np.empty(step * job.layout.record_bytes, np.uint8)

        return sum(self._in_threads(memory, add, step)) % 2**64

    def _arrays(self, rows: int) -> Arrays:
        return {
            name: np.empty((rows, *spec.shape[1:]), spec.dtype)
            for name, spec in self._specs.items()
        }

    def _reader(self, dataset: Dataset) -> Callable[[Arrays, int, int], Arrays]:
        """Return what fills the beginning of arrays with some rows, and returns that part."""
        readers = {name: self._copy.reader(dataset, name, IO) for name in self._specs}

        def read(arrays: Arrays, first: int, rows: int) -> Arrays:
            parts = {name: values[:rows] for name, values in arrays.items()}
            for name, read_runs in readers.items():
                read_runs([(first, first + rows)], parts[name])
            return parts

        return read

    def _in_threads(
        self, memory: Callable[[], tuple[Any, ...]], work: Callable[..., Result], step: int
    ) -> list[Result]:
        """Work off each `step` rows, each thread in memory of its own; after a failure no more."""
        own = threading.local()

        def run(first: int) -> Result:
            if not hasattr(own, "memory"):
                own.memory = memory()
            return work(first, *own.memory)

        with ThreadPoolExecutor(self._job.threads, thread_name_prefix="ooc-shuffle") as pool:
            return list(pool.map(run, range(0, self._job.rows, step)))

    def _progress(self, rows: int) -> None:
        with self._lock:
            self._done += rows
            done = self._done // 3
        job, passed = self._job, time.perf_counter() - self._begun
        decoded = done * job.row_bytes
        self._report(Progress(done, job.rows, decoded, passed, memory_budget_bytes=job.budget))
