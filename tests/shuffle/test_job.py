"""The plan of an exact shuffle against a naive twin, and its numbers by hand."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset

from ooc.core.errors import InputError
from ooc.shuffle.job import Job, _fit, plan_job, too_small
from ooc.shuffle.records import RecordLayout
from ooc.store.chunks import scratch_bytes
from ooc.store.chunks.codecs import most_stored_bytes
from ooc.store.chunks.files import BATCH_BYTES
from ooc.store.dataset import ArraySpec, Dataset
from ooc.store.fields import CHUNK_BYTES, SHARD_BYTES

MIB = 2**20


def data_of(rows: int, widths: dict[str, int], chunks: dict[str, int]) -> Dataset:
    """Return arrays of bytes, so many a row."""
    specs = {
        name: ArraySpec(name, (rows, width), np.dtype("u1"), (chunks[name], width), None)
        for name, width in widths.items()
    }
    return Dataset("data.zarr", specs, next(iter(widths)), None, None)


def twin(
    data: Dataset, budget: int, threads: int, objects: dict[str, int], held: int
) -> dict[str, Any] | None:
    """Use as many threads as fit, 4 at most; of several each sorts a whole shard at once."""
    specs, rows = list(data.arrays.values()), data.stored_rows
    row, widest = sum(spec.row_bytes for spec in specs), max(spec.row_bytes for spec in specs)
    record = -(-(8 + row) // 8) * 8
    chunk = max(1, CHUNK_BYTES // widest)
    chunks_in_shard = max(1, SHARD_BYTES // (chunk * widest))
    shard = chunks_in_shard * chunk
    # Requests, and either a chunk that is read or one that is written; objects of either.
    per_thread = 2 * BATCH_BYTES + max(
        max(scratch_bytes(spec, spec.chunks[0]) for spec in specs),
        chunk * row + 2 * most_stored_bytes(chunk * widest),
    )
    read = max([data.arrays[name].chunks[0] * size for name, size in objects.items()], default=0)
    per_thread += max(read, chunk * sum(objects.values()))
    fixed = {"reserved": 288 * MIB + held, "key counts": 16 * MIB}
    for used in range(min(threads, 4), 0, -1):
        room = (budget - sum(fixed.values())) // used - per_thread
        # Beside a record a row has its key, its place and what the sort holds.
        in_unit, in_piece = record + 24, record + 24 + row
        if room < max(chunk, min(shard, rows) if used > 1 else 0) * in_unit:
            continue
        if room < chunk * in_piece:
            return None
        parts = next(
            n for n in range(1, 10**6) if -(-chunks_in_shard // n) * chunk * in_unit <= room
        )
        unit = -(-chunks_in_shard // parts) * chunk
        units = -(-rows // unit)
        most = room // in_piece
        wanted = min(max(32 * MIB, 256 * 1024 * units) // record, most)
        lengths = [spec.chunks[0] for spec in specs]
        step = next(n for n in (math.lcm(*lengths), max(lengths), 1) if n <= most)
        piece = min(max(step, wanted - wanted % step), rows)
        terms = {
            **fixed,
            "rows in memory": used * max(piece * in_piece, min(unit, rows) * in_unit),
            "requests and chunks": used * per_thread,
            "table of segments": 8 * (units + rows // shard + 2) * -(-rows // piece),
        }
        if sum(terms.values()) <= budget:
            shape = (piece, chunk, unit, shard)
            return {"shape": shape, "threads": used, "terms": terms, "record": record}
    return None


def of_job(job: Job) -> dict[str, Any]:
    shape = (job.piece_rows, job.chunk_rows, job.unit_rows, job.shard_rows)
    record = job.layout.record_bytes
    return {"shape": shape, "threads": job.threads, "terms": job.terms, "record": record}


@pytest.mark.parametrize("seed", range(4))
def test_a_job_is_that_of_trying_threads_and_pieces(seed: int) -> None:
    rng, planned = np.random.default_rng(seed), 0
    for _ in range(40):
        names = [f"{number:02d}" for number in range(int(rng.choice([1, 2, 3, 30])))]
        rows = int(2 ** rng.uniform(0, 31))
        wide = 6 if len(names) > 3 else 18
        widths = {name: int(2 ** rng.uniform(0, wide)) for name in names}
        chunks = {name: min(rows, int(2 ** rng.uniform(0, 12))) for name in names}
        if rng.random() < 0.5:
            chunks = dict.fromkeys(names, min(rows, 100))
        data = data_of(rows, widths, chunks)
        threads, held = int(rng.integers(1, 7)), int(rng.integers(2)) * 40 * MIB
        objects = {name: int(rng.integers(1, 300)) for name in names if rng.random() < 0.3}
        budget = int(2 ** rng.uniform(28.5, 34))
        expected = twin(data, budget, threads, objects, held)
        if expected is None:
            assert _fit(data, budget, 5, threads, objects, held) is None
            continue
        job, planned = plan_job(data, budget, 5, threads, objects, held), planned + 1
        assert of_job(job) == expected
        assert (job.rows, job.seed, job.budget) == (rows, 5, budget)
        assert job.layout.names == tuple(sorted(names))
        assert job.projected == sum(expected["terms"].values())
    assert planned > 15


@pytest.mark.parametrize(("cores", "threads"), [(None, 2), (1, 2), (2, 3), (3, 4), (64, 4)])
def test_threads_are_one_more_than_cores_and_4_at_most(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, threads: int
) -> None:
    monkeypatch.setattr("ooc.shuffle.job.os.cpu_count", lambda: cores)
    data = data_of(100, {"a": 4}, {"a": 10})
    assert plan_job(data, 2**32, 0).threads == threads
    assert plan_job(data, 2**32, 0, threads=1).threads == 1
    with pytest.raises(InputError, match="threads must be a whole number of at least 1, not 0"):
        plan_job(data, 2**32, 0, threads=0)


def test_a_refusal_names_both_numbers_in_whole_mebibytes() -> None:
    error = too_small(100 * MIB, 350 * MIB, "a.zarr")
    assert error.needed == 350 * MIB
    assert str(error) == (
        "the budget of 100 MiB is below the 350 MiB that an exact shuffle of a.zarr needs; raise "
        "the memory to 350MiB"
    )


def job_of(rows: int, piece: int, unit: int, shard: int) -> Job:
    layout = RecordLayout(("X", "y"), (8, 20), (12, 3), 24)
    return Job(rows, 7, layout, piece, 5, unit, shard, 2, {"a": 3, "b": 4}, 99)


def test_a_job_knows_its_pieces_and_units() -> None:
    """The last unit of a shard may be shorter, and so may the last shard."""
    job = job_of(93, 40, 15, 40)
    assert job.pieces == 3
    assert job.unit_starts == [0, 15, 30, 40, 55, 70, 80, 93]
    assert (job.row_bytes, job.projected) == (15, 7)
    assert job.scratch_bytes == 93 * 24 + 3 * (8 * 8 + 4096)
    whole = job_of(80, 40, 20, 40)
    assert (whole.pieces, whole.unit_starts) == (2, [0, 20, 40, 60, 80])


def test_a_job_is_gone_on_with_if_its_source_and_pieces_are_the_same(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "a.zarr", X=np.ones((20, 1)))
    files = [file for file in Path(data.path).rglob("*") if file.is_file()]
    told = job_of(20, 10, 5, 10).identity(data)
    assert told == {
        "source": str(Path(data.path).resolve()),
        "source_bytes": sum(file.stat().st_size for file in files),
        "source_changed": max(file.stat().st_mtime_ns for file in files),
        "rows": 20,
        "seed": 7,
        "layout": {
            "names": ("X", "y"),
            "offsets": (8, 20),
            "widths": (12, 3),
            "record_bytes": 24,
        },
        "piece_rows": 10,
        "unit_rows": 5,
        "compression": "fast-write",
    }
    os.utime(files[0], ns=(1, told["source_changed"] + 1))
    assert job_of(20, 10, 5, 10).identity(data) != told
    assert job_of(20, 10, 5, 20).identity(data) == told | {
        "source_changed": told["source_changed"] + 1
    }
