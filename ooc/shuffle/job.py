"""What an exact shuffle will do and hold: pure arithmetic, and checks before any work."""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ooc.core.errors import TooSmallError
from ooc.core.numbers import check_counts
from ooc.core.sizes import format_size
from ooc.shuffle.records import RecordLayout
from ooc.store.chunks import scratch_bytes
from ooc.store.chunks.codecs import most_stored_bytes
from ooc.store.chunks.files import BATCH_BYTES
from ooc.store.compression import FAST_WRITE
from ooc.store.dataset import ArraySpec, Dataset
from ooc.store.fields import CHUNK_BYTES, SHARD_BYTES
from ooc.stream.plan import MIB

# Segments of this size are read at random as fast as in order.
SEGMENT_BYTES = 256 * 2**10
SMALLEST_PIECE = 32 * MIB
MOST_THREADS = 4
# The budget that a refusal names is the least that is enough to 1 MiB, above 8 GiB to a share.
STEPS = 2**13
# A row's key, its place in the order, and what the sort holds.
SORT_BYTES = 24
NO_OBJECTS: Mapping[str, int] = MappingProxyType({})
# The imports and the compiler at work on the few kernels of a shuffle.
RESERVED_BYTES = 288 * MIB


def too_small(budget: int, needed: int, path: str) -> TooSmallError:
    """Return the error of a budget, with another that is enough, in whole MiB."""
    return TooSmallError(
        f"the budget of {format_size(budget)} is below the {format_size(needed)} that an exact "
        f"shuffle of {path} needs; raise the memory to {needed // MIB}MiB",
        needed,
    )


@dataclass(frozen=True)
class Job:
    """How rows travel: sorted pieces to scratch files, then key ranges of them to shards.

    Attributes
    ----------
    piece_rows
        Rows that are read, sorted by key and written to one scratch file.
    chunk_rows, unit_rows, shard_rows
        Rows of a chunk of the new store, of what is sorted at once, and of a shard; each is a
        multiple of the one before, the last unit of a shard may be shorter.
    threads
        Pieces, later units, that are in memory at once.
    compression
        Of the new store, see `ooc.store.compression`.
    """

    rows: int
    seed: int
    layout: RecordLayout
    piece_rows: int
    chunk_rows: int
    unit_rows: int
    shard_rows: int
    threads: int
    terms: dict[str, int]
    budget: int
    compression: str = FAST_WRITE

    @property
    def pieces(self) -> int:
        """Scratch files."""
        return -(-self.rows // self.piece_rows)

    @property
    def row_bytes(self) -> int:
        """Decoded bytes of a row."""
        return sum(self.layout.widths)

    @property
    def unit_starts(self) -> list[int]:
        """First row of each unit in the new order, and N."""
        starts: list[int] = []
        for first in range(0, self.rows, self.shard_rows):
            starts += range(first, min(first + self.shard_rows, self.rows), self.unit_rows)
        return [*starts, self.rows]

    @property
    def scratch_bytes(self) -> int:
        """Bytes of all scratch files."""
        table = 8 * len(self.unit_starts) + 4096
        return self.rows * self.layout.record_bytes + self.pieces * table

    @property
    def projected(self) -> int:
        """Bytes that the process will hold at most."""
        return sum(self.terms.values())

    def identity(self, dataset: Dataset) -> dict[str, Any]:
        """Return what must be the same for a job to be gone on with, JSON-ready."""
        source = Path(dataset.path)
        files = [file.stat() for file in (source, *source.rglob("*")) if file.is_file()]
        kept = ("rows", "seed", "layout", "piece_rows", "unit_rows", "compression")
        return {
            "source": str(source.resolve()),
            "source_bytes": sum(file.st_size for file in files),
            "source_changed": max((file.st_mtime_ns for file in files), default=0),
            **{name: value for name, value in asdict(self).items() if name in kept},
        }


def plan_job(
    dataset: Dataset,
    budget: int,
    seed: int,
    threads: int | None = None,
    object_bytes: Mapping[str, int] = NO_OBJECTS,
    held: int = 0,
) -> Job:
    """Fit an exact shuffle into a budget; an `InputError` says that not even a chunk fits.

    `object_bytes` is what a row of an array becomes as Python's objects, by the array's name;
    `held` is what the process holds beside, see `ooc.stream.plan.held_bytes`.
    """
    check_counts(threads=threads)
    how = (seed, threads, object_bytes, held)
    job = _fit(dataset, budget, *how)
    if job is not None:
        return job
    # Of more memory less may fit, where pieces become whole chunks: all are tried, in steps.
    below, fits = budget // MIB, 2 * max(1, budget // MIB)
    while _fit(dataset, fits * MIB, *how) is None:
        fits *= 2
    steps = range(below + 1, fits, max(1, fits // STEPS))
    least = next((each for each in steps if _fit(dataset, each * MIB, *how) is not None), fits)
    raise too_small(budget, least * MIB, dataset.path)


def _fit(
    dataset: Dataset,
    budget: int,
    seed: int,
    threads: int | None,
    object_bytes: Mapping[str, int],
    beside: int,
) -> Job | None:
    """Return the job of a budget, or None where not even a chunk fits."""
    specs = tuple(dataset.arrays[name] for name in sorted(dataset.arrays))
    layout = RecordLayout.of(specs)
    widest = max(spec.row_bytes for spec in specs)
    row_bytes = sum(spec.row_bytes for spec in specs)
    chunk_rows = max(1, CHUNK_BYTES // widest)
    chunks_per_shard = max(1, SHARD_BYTES // (chunk_rows * widest))
    shard_rows = chunks_per_shard * chunk_rows
    record = layout.record_bytes + SORT_BYTES
    reading = max(scratch_bytes(spec, spec.chunks[0]) for spec in specs)
    writing = chunk_rows * row_bytes + 2 * most_stored_bytes(chunk_rows * widest)
    per_thread = 2 * BATCH_BYTES + max(reading, writing)
    objects = [size * dataset.arrays[name].chunks[0] for name, size in object_bytes.items()]
    per_thread += max([*objects, chunk_rows * sum(object_bytes.values())])
    fixed = {"reserved": RESERVED_BYTES + beside, "key counts": 16 * MIB}
    wanted = threads or min(MOST_THREADS, (os.cpu_count() or 1) + 1)
    least = chunk_rows * (record + row_bytes)
    for used in range(min(wanted, MOST_THREADS), 0, -1):
        room = (budget - sum(fixed.values())) // used - per_thread
        most_unit = room // record
        if most_unit >= max(chunk_rows, min(shard_rows, dataset.rows) if used > 1 else 0):
            break
    if most_unit < chunk_rows or room < least:
        return None
    parts = -(-chunks_per_shard // (most_unit // chunk_rows))
    unit_rows = -(-chunks_per_shard // parts) * chunk_rows
    units = -(-dataset.rows // unit_rows)
    wanted_piece = max(SMALLEST_PIECE, SEGMENT_BYTES * units) // layout.record_bytes
    most_piece = room // (record + row_bytes)
    whole = _whole_chunks(min(wanted_piece, most_piece), most_piece, specs)
    piece_rows = min(whole, dataset.rows)
    held = max(piece_rows * (record + row_bytes), min(unit_rows, dataset.rows) * record)
    table = 8 * (units + dataset.rows // shard_rows + 2) * -(-dataset.rows // piece_rows)
    terms = {
        **fixed,
        "rows in memory": used * held,
        "requests and chunks": used * per_thread,
        "table of segments": table,
    }
    shape = (piece_rows, chunk_rows, unit_rows, shard_rows)
    job = Job(dataset.rows, seed, layout, *shape, used, terms, budget)
    if job.projected <= budget:
        return job
    return _fit(dataset, budget, seed, used - 1, object_bytes, beside) if used > 1 else None


def _whole_chunks(rows: int, most: int, specs: tuple[ArraySpec, ...]) -> int:
    """Round to whole chunks of every array where there is room, so that none is decoded twice."""
    lengths = [spec.chunks[0] for spec in specs]
    step = next(each for each in (math.lcm(*lengths), max(lengths), 1) if each <= most)
    return max(step, rows // step * step)
