"""A uniformly random permutation of a whole dataset, out of core, in two passes.

Every row has a 64-bit key that looks random and that no other row has; the new order is that of
the keys. It is an external sort: pieces are read in order, sorted by key and written as scratch
files; then the records of one range of keys after the other are read from all pieces, sorted and
written as shards. The ranges end exactly where shards do. What comes out is a function of the
rows, their number and the seed, and never of pieces, threads or budget.

(Rao, 1961, and Sandelius, 1962, shuffle by random keys; Knuth, vol. 3, section 5.4, sorts so.)
"""

import errno
import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.errors import DataError, InputError
from ooc.core.hashing import fill_row_keys, keys_at_ranks, keys_of_rows
from ooc.core.process import peak_bytes
from ooc.core.random_keys import Purpose, key
from ooc.core.sizes import format_size
from ooc.metrics import Progress, Report, silent
from ooc.shuffle.job import Job, plan_job
from ooc.shuffle.records import RecordLayout, checksum
from ooc.shuffle.scratch import Scratch
from ooc.store.chunks import RowReader, open_reader
from ooc.store.dataset import Dataset
from ooc.store.dataset import open as open_dataset
from ooc.store.writer import Field, Writer, create, encode_chunk
from ooc.stream.plan import MIB, budget_of

SAMPLED_BLOCKS = 16
PROOF_BYTES = 8 * MIB
# Everything is read once, and the proof is to be of what the disk holds, not the page cache.
IO = "direct"


def exact(
    source: Dataset,
    destination: str | Path,
    memory: str | int = "1GiB",
    seed: int = 0,
    threads: int | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Write all arrays of a dataset to a new store, their rows in one uniformly random order.

    The arrays are the numeric ones that share axis 0; the group's attributes come along.
    The same seed gives the same bits, whatever the budget or the number of threads. A call that
    was killed leaves hidden folders beside `destination`; the same call again goes on from there.
    At the end the new store is read back, and the sum over its rows compared with the source's.

    Parameters
    ----------
    source
        What `ooc.open` returned.
    destination
        A local folder that does not exist yet, outside the source.
    memory
        Bytes that the whole process may use.
    seed
        What the order is a function of, with the number of rows.
    threads
        Pieces that are worked on at once, at most 4; by default one more than cores.
    report
        Called as work goes on.

    Returns
    -------
    dict
        "rows", "seconds", "rows_per_second", "bytes_per_second" (decoded), "checksum",
        "bytes_read" and "bytes_written" (of files), and the memory keys.

    Raises
    ------
    InputError
        Before any work: if the destination exists or lies inside the source, the disk is too
        small, the budget is, or another process shuffles to the same place.
    DataError
        If the rows that were written are not those that were read.

    Examples
    --------
    >>> import ooc
    >>> result = exact(ooc.open(example_dataset), folder / "shuffled.zarr", "512MiB", seed=1)
    >>> result["rows"], ooc.open(folder / "shuffled.zarr").arrays["X"].shape
    (1000, (1000, 3))
    """
    destination = Path(destination)
    check_destination(source, destination)
    job = plan_job(source, budget_of(memory), seed, threads)
    begun = time.perf_counter()
    folder = destination.parent / f".{destination.name}.shuffle"
    sizes = _needed_bytes(source, job)
    _check_free_space(destination, sizes, folder)
    with _locked(folder, destination):
        _go_on_or_start(folder, destination, job.identity(source))
        try:
            result = _Run(source, destination, folder, job, report).all()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise InputError(
                f"the disk of {destination} filled up; free some space and give the same command "
                f"again to go on, or remove {folder} and {folder.with_suffix('.partial')}"
            ) from None
    shutil.rmtree(folder, ignore_errors=True)
    seconds = time.perf_counter() - begun
    decoded = job.rows * sum(job.layout.widths)
    return {
        "rows": job.rows,
        "seconds": seconds,
        "rows_per_second": job.rows / seconds,
        "bytes_per_second": decoded / seconds,
        **result,
        "seed": seed,
        "memory_budget_bytes": job.budget,
        "memory_projected_bytes": job.projected,
        "memory_peak_bytes": peak_bytes(),
    }


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


def check_destination(source: Dataset, destination: Path) -> None:
    """Refuse a destination that exists, or that lies inside the source."""
    if destination.exists():
        raise InputError(f"{destination} already exists; choose another path or remove it first")
    if "://" not in source.path:
        inside = Path(source.path).resolve()
        if inside in destination.resolve().parents:
            raise InputError(
                f"{destination} lies inside the source {source.path}; choose a path outside it"
            )
    if source.selection is not None:
        raise InputError(f"{source.path} is one side of a split; shuffle the whole dataset first")


class _Run:
    """The passes over one job."""

    def __init__(
        self, source: Dataset, destination: Path, folder: Path, job: Job, report: Report
    ) -> None:
        self._source, self._destination, self._job = source, destination, job
        self._report, self._begun, self._done = report, time.perf_counter(), 0
        self._lock = threading.Lock()
        self._starts = job.unit_starts
        self._key = key(job.seed, Purpose.EXACT_ORDER)
        self._scratch = Scratch(folder, job.pieces, len(self._starts) - 1, job.layout.record_bytes)
        self._specs = {name: source.arrays[name] for name in job.layout.names}
        self._row_bytes = sum(spec.row_bytes for spec in self._specs.values())

    def all(self) -> dict[str, Any]:
        """Sort pieces, write shards, prove; return what there is to tell."""
        job = self._job
        ranks = np.array(self._starts[1:-1], np.int64)
        inner = keys_at_ranks(keys_of_rows(job.rows, self._key), [ranks])[0]
        before = self._sort_pieces(inner)
        fields = {
            name: Field(spec.dtype.name, spec.shape[1:]) for name, spec in self._specs.items()
        }
        note = {"seed": job.seed, "checksum": f"{before:016x}"}
        attributes = {**self._source.attributes, "shuffled": note}

        def prove(folder: Path) -> None:
            after = self._sum_up(open_dataset(folder, *self._roles()))
            if after != before:
                raise DataError(
                    f"the rows written to {self._destination} are not those of "
                    f"{self._source.path}: their sum is {after:016x}, not {before:016x}; "
                    "the disk or memory is faulty"
                )
            self._stored = _file_bytes(folder)

        widest = max(job.layout.widths)
        with create(
            self._destination,
            fields,
            attributes,
            chunk_bytes=job.chunk_rows * widest,
            shard_bytes=job.shard_rows * widest,
            resume=True,
            check=prove,
        ) as writer:
            self._write_shards(writer)
        moved = job.rows * job.layout.record_bytes
        return {
            "checksum": note["checksum"],
            "bytes_read": _file_bytes(Path(self._source.path)) + moved + self._stored,
            "bytes_written": moved + self._stored,
        }

    def _roles(self) -> tuple[str, str | None, str | None]:
        return self._source.features, self._source.target, self._source.weight

    def _sort_pieces(self, inner: np.ndarray) -> int:
        """First pass: return the checksum of all rows."""
        job, memory = self._job, threading.local()
        readers = {name: open_reader(self._source, name, IO) for name in self._specs}

        def sort(piece: int) -> int:
            first = piece * job.piece_rows
            rows = min(job.piece_rows, job.rows - first)
            if self._scratch.has(piece):
                self._progress(rows)
                return self._scratch.checksum(piece)
            if not hasattr(memory, "arrays"):
                memory.arrays = self._empty_arrays(job.piece_rows)
                memory.buffer = self._scratch.buffer(job.piece_rows)
                memory.keys = np.empty(job.piece_rows, np.uint64)
            arrays = _read(readers, memory.arrays, first, rows)
            keys = memory.keys[:rows]
            fill_row_keys(first, self._key, keys)
            order = np.argsort(keys)
            records = _records(memory.buffer, rows, job.layout)
            job.layout.pack(arrays, keys, order, records)
            below = np.searchsorted(keys, inner, sorter=order)
            starts = np.concatenate([[0], below, [rows]])
            total = int(checksum(records.view(np.uint64)))
            self._scratch.write(piece, memory.buffer, rows, starts, total)
            self._progress(rows)
            return total

        return sum(_in_threads(job.threads, sort, range(job.pieces))) % 2**64

    def _write_shards(self, writer: Writer) -> None:
        """Second pass: each shard by one thread, its units one after the other."""
        job, memory = self._job, threading.local()
        assert (writer.chunk_rows, writer.shard_rows) == (job.chunk_rows, job.shard_rows)
        largest = max(b - a for a, b in zip(self._starts, self._starts[1:], strict=False))

        def chunks(first: int, stop: int) -> Iterator[Mapping[str, np.ndarray]]:
            for unit in range(np.searchsorted(self._starts, first), len(self._starts) - 1):
                if self._starts[unit] >= stop:
                    return
                rows = self._scratch.read_unit(unit, memory.records)
                records = memory.records[:rows]
                order = np.argsort(records.view(np.uint64)[:, 0].copy())
                for start in range(0, rows, job.chunk_rows):
                    part = order[start : start + job.chunk_rows]
                    job.layout.unpack(records, part, memory.arrays)
                    yield {name: values[: len(part)] for name, values in memory.arrays.items()}
                    self._progress(len(part))

        def write(shard: int) -> None:
            first = shard * job.shard_rows
            stop = min(first + job.shard_rows, job.rows)
            if writer.keep_shard(shard, stop - first):
                self._progress(stop - first)
                return
            if not hasattr(memory, "records"):
                memory.records = np.empty((largest, job.layout.record_bytes), np.uint8)
                memory.arrays = self._empty_arrays(job.chunk_rows)
            writer.write_shard(shard, chunks(first, stop))

        _in_threads(job.threads, write, range(job.shards))

    def _sum_up(self, written: Dataset) -> int:
        """Read what was written, checksums of chunks and all, and sum its rows up."""
        job, memory = self._job, threading.local()
        readers = {name: open_reader(written, name, IO) for name in self._specs}
        step = max(1, PROOF_BYTES // job.layout.record_bytes // job.chunk_rows) * job.chunk_rows

        def add(first: int) -> int:
            rows = min(step, job.rows - first)
            if not hasattr(memory, "arrays"):
                memory.arrays = self._empty_arrays(step)
                memory.records = np.empty(step * job.layout.record_bytes, np.uint8)
                memory.order = np.arange(step)
                memory.keys = np.zeros(step, np.uint64)
            arrays = _read(readers, memory.arrays, first, rows)
            records = _records(memory.records, rows, job.layout)
            job.layout.pack(arrays, memory.keys, memory.order[:rows], records)
            self._progress(rows)
            return int(checksum(records.view(np.uint64)))

        return sum(_in_threads(job.threads, add, range(0, job.rows, step))) % 2**64

    def _empty_arrays(self, rows: int) -> dict[str, np.ndarray]:
        return {
            name: np.empty((rows, *spec.shape[1:]), spec.dtype)
            for name, spec in self._specs.items()
        }

    def _progress(self, rows: int) -> None:
        with self._lock:
            self._done += rows
            done = self._done // 3
        self._report(
            Progress(
                done,
                self._job.rows,
                done * self._row_bytes,
                time.perf_counter() - self._begun,
                memory_budget_bytes=self._job.budget,
            )
        )


def _read(
    readers: Mapping[str, RowReader], memory: Mapping[str, np.ndarray], first: int, rows: int
) -> dict[str, np.ndarray]:
    arrays = {name: values[:rows] for name, values in memory.items()}
    for name, reader in readers.items():
        reader.read_runs([(first, first + rows)], arrays[name])
    return arrays


def _records(memory: np.ndarray, rows: int, layout: RecordLayout) -> np.ndarray:
    return memory[: rows * layout.record_bytes].reshape(rows, layout.record_bytes)


def _in_threads(threads: int, work: Callable[[int], Any], numbers: range) -> list[Any]:
    """Work numbers off; after a failure nothing new is begun."""
    with ThreadPoolExecutor(threads, thread_name_prefix="ooc-shuffle") as pool:
        futures = [pool.submit(work, number) for number in numbers]
        try:
            return [future.result() for future in as_completed(futures)]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _needed_bytes(source: Dataset, job: Job) -> tuple[int, int]:
    """Return the bytes of scratch files, and of the new store as a mixed sample of rows is stored.

    Sorted rows compress better than shuffled ones: the sample is of rows from all over.
    """
    blocks = min(SAMPLED_BLOCKS, -(-job.rows // job.chunk_rows))
    each = max(1, min(job.chunk_rows, job.rows) // blocks)
    spans = [(start, start + each) for start in np.linspace(0, job.rows - each, blocks, dtype=int)]
    order = np.random.Generator(np.random.SFC64(0)).permutation(blocks * each)
    stored = 0
    for name in job.layout.names:
        spec = source.arrays[name]
        values = np.empty((blocks * each, *spec.shape[1:]), spec.dtype)
        open_reader(source, name).read_runs([(int(a), int(b)) for a, b in spans], values)
        stored += len(encode_chunk(np.ascontiguousarray(values[order])))
    return job.scratch_bytes, int(1.05 * stored * job.rows / (blocks * each)) + 2**20


def _check_free_space(destination: Path, sizes: tuple[int, int], folder: Path) -> None:
    parent = next(each for each in destination.resolve().parents if each.exists())
    partial = destination.parent / f".{destination.name}.partial"
    there = _file_bytes(folder) + _file_bytes(partial)
    needed, free = sum(sizes) - there, shutil.disk_usage(parent).free
    if needed > free:
        raise InputError(
            f"shuffling to {destination} will take about {format_size(sizes[0])} of scratch and "
            f"{format_size(sizes[1])} to stay, but {parent} has {format_size(free)} free; "
            "choose another disk"
        )


def _file_bytes(folder: Path) -> int:
    if "://" in str(folder):
        return 0
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@contextmanager
def _locked(folder: Path, destination: Path) -> Iterator[None]:
    """Keep a second process from shuffling to the same place."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(
            f"cannot write to {destination.parent}: {error.strerror}; choose another folder"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise InputError(
            f"another process is shuffling to {destination}; wait for it, or choose another path"
        ) from None
    finally:
        os.close(descriptor)


def _go_on_or_start(folder: Path, destination: Path, identity: dict[str, Any]) -> None:
    """Keep what an earlier call of the very same job left; remove what any other one did."""
    note = folder / "job.json"
    if note.exists() and json.loads(note.read_text()) == identity:
        return
    for file in folder.iterdir():
        if file.name != "lock":
            file.unlink()
    shutil.rmtree(destination.parent / f".{destination.name}.partial", ignore_errors=True)
    aside = note.with_suffix(".part")
    aside.write_text(json.dumps(identity))
    aside.rename(note)
