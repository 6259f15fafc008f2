"""The exact shuffle: uniform, the same bits always, whole or absent, and able to go on."""

import hashlib
import itertools
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import zarr
from chi_square import chi_square_p
from datasets import foreign, write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

import ooc
from ooc.core.errors import DataError, InputError
from ooc.core.progress import Progress
from ooc.shuffle import exact, exact_order
from ooc.shuffle.job import RESERVED_BYTES, plan_job
from ooc.shuffle.records import RecordLayout, checksum
from ooc.store.dataset import ArraySpec, Dataset
from ooc.stream.plan import MIB

MEMORY = "512MiB"


def content(path: Path) -> str:
    """Hash every file of a store, with its name."""
    found = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            found.update(str(file.relative_to(path)).encode() + file.read_bytes())
    return found.hexdigest()


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep pieces, chunks and shards so small that a small dataset needs many of each."""
    monkeypatch.setattr("ooc.shuffle.job.SMALLEST_PIECE", 4 * 2**10)
    monkeypatch.setattr("ooc.shuffle.job.SEGMENT_BYTES", 256)
    monkeypatch.setattr("ooc.shuffle.job.CHUNK_BYTES", 2**10)
    monkeypatch.setattr("ooc.shuffle.job.SHARD_BYTES", 4 * 2**10)


@pytest.fixture
def sorted_rows(tmp_path: Path) -> Dataset:
    """3001 rows of three arrays of different kinds; feature 0 is the row's number."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3001, 5)).astype(np.float32)
    x[:, 0] = np.arange(3001)
    return write_dataset(
        tmp_path / "sorted.zarr",
        chunk_rows=64,
        X=x,
        y=(np.arange(3001) // 100).astype(np.uint8),
        pose=np.arange(3001 * 3, dtype=np.int16).reshape(3001, 3),
    )


@pytest.mark.parametrize("size", [3, 4, 5])
def test_every_permutation_is_equally_likely(size: int) -> None:
    counts = Counter(tuple(exact_order(size, seed).tolist()) for seed in range(12_000))
    cells = len(list(itertools.permutations(range(size))))
    assert chi_square_p(list(counts.values()), cells) > 1e-4


def test_every_pair_of_places_is_equally_likely() -> None:
    """Where two neighbouring rows go, of 12 and of 1000 rows."""
    counts: Counter[tuple[int, int]] = Counter()
    cells: Counter[tuple[int, int]] = Counter()
    for seed in range(8000):
        order = exact_order(12, seed)
        place = np.argsort(order)
        counts[int(place[4]), int(place[5])] += 1
        places = np.argsort(exact_order(1000, seed))[[500, 501]] // 100
        cells[int(places[0]), int(places[1])] += 1
    assert chi_square_p(list(counts.values()), 12 * 11) > 1e-4
    # Cells on the diagonal are a little less likely: 99/999 instead of 100/999.
    expected = {
        (i, j): 8000 * 0.1 * (99 if i == j else 100) / 999 for i in range(10) for j in range(10)
    }
    statistic = sum((cells[cell] - e) ** 2 / e for cell, e in expected.items())
    assert statistic < 99 + 4 * np.sqrt(2 * 99)


@pytest.mark.usefixtures("small_units")
def test_all_arrays_move_together_in_the_order_of_the_keys(
    sorted_rows: Dataset, tmp_path: Path
) -> None:
    job = plan_job(sorted_rows, 512 * MIB, seed=5)
    assert job.pieces > 5
    assert -(-job.rows // job.shard_rows) > 5
    result = exact(sorted_rows, tmp_path / "new.zarr", MEMORY, seed=5)
    group, order = zarr.open_group(tmp_path / "new.zarr", mode="r"), exact_order(3001, 5)
    assert result["rows"] == 3001
    assert np.array_equal(group["X"][:, 0], order)
    assert np.array_equal(group["y"][:], order // 100)
    assert np.array_equal(group["pose"][:, 2], 3 * order + 2)
    old = zarr.open_group(sorted_rows.path, mode="r")
    assert np.array_equal(group["X"][...], old["X"][...][order])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.zarr", "sorted.zarr"]


@pytest.mark.slow
@pytest.mark.usefixtures("small_units")
def test_same_seed_same_bits_whatever_budget_threads_and_pieces(
    sorted_rows: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for number, (memory, threads, piece) in enumerate(
        [("512MiB", 1, 4 * 2**10), ("1GiB", 4, 4 * 2**10), ("512MiB", 3, 2**14), ("2GiB", 2, 999)]
    ):
        monkeypatch.setattr("ooc.shuffle.job.SMALLEST_PIECE", piece)
        exact(sorted_rows, tmp_path / f"{number}.zarr", memory, seed=1, threads=threads)
        found.add(content(tmp_path / f"{number}.zarr"))
    assert len(found) == 1
    exact(sorted_rows, tmp_path / "other.zarr", MEMORY, seed=2)
    assert content(tmp_path / "other.zarr") not in found


@pytest.mark.slow
def test_units_smaller_than_shards_give_the_same_bits(tmp_path: Path) -> None:
    """A budget in which no shard fits sorts a part of it at a time."""
    rows = 300_000
    x = np.arange(rows * 60, dtype=np.float32).reshape(rows, 60)
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=4000, X=x)
    tight = RESERVED_BYTES + 64 * MIB
    small, large = (plan_job(dataset, size, 0, threads=1) for size in (tight, 2**30))
    assert small.unit_rows < small.shard_rows == large.unit_rows
    assert small.projected <= tight
    exact(dataset, tmp_path / "small.zarr", tight, threads=1)
    exact(dataset, tmp_path / "large.zarr", "1GiB")
    assert content(tmp_path / "small.zarr") == content(tmp_path / "large.zarr")


@pytest.mark.slow
@settings(max_examples=8)
@given(
    rows=st.integers(1, 200),
    width=st.integers(1, 5),
    chunk=st.integers(1, 60),
    dtype=st.sampled_from(["f4", "f8", "u1", "i2", "f2", "?"]),
)
def test_any_layout_is_shuffled(
    tmp_path_factory: pytest.TempPathFactory, rows: int, width: int, chunk: int, dtype: str
) -> None:
    folder = tmp_path_factory.mktemp("layout")
    x = np.random.default_rng(0).integers(0, 2, (rows, width)).astype(dtype)
    path = foreign(folder / "a.zarr", 2, X={"data": x, "chunks": (chunk, 1)})
    exact(ooc.open(path, missing="fill"), folder / "b.zarr", MEMORY, seed=8)
    found = zarr.open_group(folder / "b.zarr", mode="r")["X"][...]
    assert np.array_equal(found, x[exact_order(rows, 8)])
    assert found.dtype == x.dtype


@given(st.integers(1, 50), st.integers(0, 2**30))
def test_the_checksum_is_of_the_multiset(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 3, (rows, 4)).astype(np.uint64)
    total = checksum(records)
    assert checksum(records[rng.permutation(rows)]) == total
    keyed = records.copy()
    keyed[:, 0] += np.uint64(1)
    assert checksum(keyed) == total, "keys are no data"
    row, column = rng.integers(0, rows), rng.integers(1, 4)
    records[row, column] ^= np.uint64(1) << np.uint64(rng.integers(0, 64))
    assert checksum(records) != total


def test_the_checksum_sees_rows_that_trade_a_value() -> None:
    a = np.array([[0, 1, 2], [0, 3, 4]], np.uint64)
    b = np.array([[0, 1, 4], [0, 3, 2]], np.uint64)
    assert checksum(a) != checksum(b)
    assert checksum(a) != checksum(a[:, [0, 2, 1]])


def test_packing_and_unpacking_are_inverse() -> None:
    specs = [
        ArraySpec("X", (7, 3), np.dtype("f4"), (7, 3), None),
        ArraySpec("y", (7,), np.dtype("u1"), (7,), None),
    ]
    layout = RecordLayout.of(specs)
    arrays = {"X": np.arange(21, dtype=np.float32).reshape(7, 3), "y": np.arange(7, dtype=np.uint8)}
    order = np.array([3, 1, 6, 0, 2, 5, 4])
    memory = np.full(8 * layout.record_bytes, 255, np.uint8)
    records = layout.pack(arrays, np.arange(7, dtype=np.uint64), order, memory)
    assert np.array_equal(records.view(np.uint64)[:, 0], order)
    out = {name: np.zeros_like(values) for name, values in arrays.items()}
    layout.unpack(records, np.argsort(order), out)
    assert all(np.array_equal(out[name], arrays[name]) for name in arrays)


KILLED = """
import os, sys
import ooc.shuffle.external_sort as sort
import ooc.shuffle.job as job
from ooc.store.dataset import open
job.SMALLEST_PIECE, job.SEGMENT_BYTES = 4 * 2**10, 256
job.CHUNK_BYTES, job.SHARD_BYTES = 2**10, 4 * 2**10
source, destination, moment = sys.argv[1:]
def die(progress):
    if progress.rows >= float(moment) * progress.total_rows:
        os.kill(os.getpid(), 9)
sort.exact(open(source), destination, "512MiB", seed=3, report=die)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize("moments", [(0.25, 0.9), (0.1, 0.25, 0.5, 0.62, 0.9)], ids=["two", "five"])
def test_killed_at_any_instant_it_goes_on_to_the_same_bits(
    sorted_rows: Dataset, tmp_path: Path, moments: tuple[float, ...]
) -> None:
    """Kills in the first pass, in the second and in the proof, one after the other."""
    exact(sorted_rows, tmp_path / "whole.zarr", MEMORY, seed=3)
    destination, pieces = tmp_path / "new.zarr", []
    for moment in moments:
        done = subprocess.run(
            [sys.executable, "-c", KILLED, sorted_rows.path, str(destination), str(moment)]
        )
        assert done.returncode == -signal.SIGKILL
        assert not destination.exists()
        pieces.append(len(list((tmp_path / ".new.zarr.shuffle").glob("piece-??????"))))
    # The proof needs none of them any more.
    assert pieces[:-1] == sorted(pieces[:-1])
    assert pieces[0] >= 1
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / ".new.zarr.partial").rglob("c/*/*")}
    assert kept
    exact(sorted_rows, destination, MEMORY, seed=3)
    assert content(destination) == content(tmp_path / "whole.zarr")
    # Every file is replaced by a rename, so that one that was written again is a new one.
    for path, changed in kept.items():
        now = destination / path.relative_to(tmp_path / ".new.zarr.partial")
        assert now.stat().st_mtime_ns == changed, "a shard that was whole is written once"
    assert not list(tmp_path.glob(".new*"))


@pytest.fixture(scope="module")
def two_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150,000 rows of 1.3 KB."""
    path = tmp_path_factory.mktemp("large") / "big.zarr"
    rng = np.random.default_rng(0)
    with ooc.create(path, {"X": ("float32", (320,)), "y": ("int64", ())}) as writer:
        for first in range(0, 150_000, 15_000):
            part = np.repeat(rng.standard_normal((15_000, 1), np.float32), 320, axis=1)
            writer.append({"X": part, "y": first + np.arange(15_000)})
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("small_units")
def test_another_job_does_not_go_on_with_what_is_there(
    sorted_rows: Dataset, tmp_path: Path
) -> None:
    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    destination = tmp_path / "new.zarr"
    with pytest.raises(KeyboardInterrupt):
        exact(sorted_rows, destination, MEMORY, seed=1, report=stop)
    assert (tmp_path / ".new.zarr.shuffle").exists()

    def stop_later(progress: Progress) -> None:
        if progress.rows > 0.6 * progress.total_rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exact(sorted_rows, destination, MEMORY, seed=3, threads=1, report=stop_later)
    assert list((tmp_path / ".new.zarr.partial").rglob("c/*"))
    exact(sorted_rows, destination, MEMORY, seed=2)
    found = zarr.open_group(destination, mode="r")["X"][:, 0]
    assert np.array_equal(found, exact_order(3001, 2))


@pytest.mark.usefixtures("small_units")
def test_pieces_of_a_source_that_was_written_again_are_not_gone_on_with(tmp_path: Path) -> None:
    """Its files have the names and the sizes that they had."""
    values = np.arange(2000, dtype=np.int64)
    path = foreign(tmp_path / "a.zarr", 2, X={"data": values, "chunks": (50,), "compressors": None})

    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exact(ooc.open(path), tmp_path / "new.zarr", MEMORY, seed=1, report=stop)
    assert any((tmp_path / ".new.zarr.shuffle").glob("piece-*"))
    zarr.open_group(path, mode="r+")["X"][...] = values + 10_000
    exact(ooc.open(path), tmp_path / "new.zarr", MEMORY, seed=1)
    found = zarr.open_group(tmp_path / "new.zarr", mode="r")["X"][...]
    assert np.array_equal(found, exact_order(2000, 1) + 10_000)


@pytest.mark.slow
@pytest.mark.usefixtures("small_units")
def test_one_that_was_broken_off_goes_on_to_the_same_bits(
    sorted_rows: Dataset, tmp_path: Path
) -> None:
    """In the first pass, then in the second; whole pieces and shards are written once."""
    exact(sorted_rows, tmp_path / "whole.zarr", MEMORY, seed=3)
    scratch, partial = (tmp_path / f".new.zarr.{each}" for each in ("shuffle", "partial"))
    kept = dict[Path, int]()
    for moment in (0.2, 0.6):

        def stop(progress: Progress, moment: float = moment) -> None:
            if progress.rows >= moment * progress.total_rows:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            exact(sorted_rows, tmp_path / "new.zarr", MEMORY, seed=3, threads=1, report=stop)
        files = [*scratch.glob("piece-??????"), *partial.rglob("c/*")]
        for file in files:
            assert kept.setdefault(file, file.stat().st_mtime_ns) == file.stat().st_mtime_ns
    assert {file.parts[-2] for file in kept} >= {".new.zarr.shuffle", "c"}
    progress = list[Progress]()
    result = exact(sorted_rows, tmp_path / "new.zarr", MEMORY, seed=3, report=progress.append)
    assert content(tmp_path / "new.zarr") == content(tmp_path / "whole.zarr")
    done = [each for each in progress if each.rows]
    assert done[-1].rows == result["rows"] == 3001
    assert done[-1].bytes == result["rows"] * (20 + 1 + 6)
    note = zarr.open_group(tmp_path / "new.zarr", mode="r").attrs["shuffled"]
    assert note == {"seed": 3, "checksum": result["checksum"]}


@pytest.mark.usefixtures("small_units")
def test_what_was_read_and_written_is_counted(sorted_rows: Dataset, tmp_path: Path) -> None:
    """Files of the source and of the new store, and the scratch once each way."""

    def size(path: Path) -> int:
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

    told = exact(sorted_rows, tmp_path / "new.zarr", MEMORY)
    scratch = 3001 * plan_job(sorted_rows, 512 * MIB, 0).layout.record_bytes
    written = scratch + size(tmp_path / "new.zarr")
    assert told["bytes_written"] == written
    assert told["bytes_read"] == size(Path(sorted_rows.path)) + written
    assert told["rows_per_second"] == pytest.approx(3001 / told["seconds"])
    assert told["bytes_per_second"] == pytest.approx(27 * 3001 / told["seconds"])


@pytest.mark.slow
@pytest.mark.usefixtures("small_units")
def test_rows_that_are_not_those_that_were_read_are_found(
    sorted_rows: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack = RecordLayout.unpack

    def damaged(self: RecordLayout, records: np.ndarray, order: np.ndarray, out: dict) -> None:
        unpack(self, records, order, out)
        out["X"][0, 1] += 1.0

    with monkeypatch.context() as patch:
        patch.setattr(RecordLayout, "unpack", damaged)
        with pytest.raises(DataError, match="are not those of"):
            exact(sorted_rows, tmp_path / "new.zarr", MEMORY)
    assert not (tmp_path / "new.zarr").exists()
    exact(sorted_rows, tmp_path / "new.zarr", MEMORY)
    found = zarr.open_group(tmp_path / "new.zarr", mode="r")["X"][...]
    assert np.array_equal(found[:, 0], exact_order(3001, 0))


@pytest.mark.slow
def test_memory_stays_inside_the_budget(two_shards: Path, tmp_path: Path) -> None:
    code = (
        "import sys, ooc; from ooc.shuffle import exact\n"
        f"budget = {RESERVED_BYTES + 160 * MIB}\n"
        "r = exact(ooc.open(sys.argv[1]), sys.argv[2], budget)\n"
        "assert r['memory_peak_bytes'] <= r['memory_projected_bytes'] <= budget, r"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cold")}
    arguments = [sys.executable, "-c", code, str(two_shards), str(tmp_path / "new.zarr")]
    subprocess.run(arguments, check=True, env=environment)


def test_a_second_process_is_refused(sorted_rows: Dataset, tmp_path: Path) -> None:
    def again(progress: object) -> None:
        exact(sorted_rows, tmp_path / "new.zarr", MEMORY)

    with pytest.raises(InputError, match=r"process \d+ is writing .*new\.zarr"):
        exact(sorted_rows, tmp_path / "new.zarr", MEMORY, report=again)


def test_a_disk_that_is_too_small_is_refused(
    sorted_rows: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr("ooc.shuffle.workspace.shutil.disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"of scratch and .* to stay, but .* has 1000 B free"):
        exact(sorted_rows, tmp_path / "new.zarr", MEMORY)
    assert [path.name for path in tmp_path.iterdir()] == ["sorted.zarr"]


@pytest.mark.parametrize("threads", [None, 4])
@pytest.mark.parametrize(
    ("rows", "width", "chunk"),
    [(50, 3, 10), (10**9, 4, 10**6), (10**6, 50_000, 1), (3 * 10**8, 1, 7), (40_000, 10**5, 100)],
)
def test_the_memory_that_a_refusal_names_is_enough_and_no_more_than_that(
    tmp_path: Path, rows: int, width: int, chunk: int, threads: int | None
) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("X", shape=(rows, width), chunks=(chunk, width), dtype="f4")
    dataset = ooc.open(tmp_path / "a.zarr")
    with pytest.raises(InputError, match=r"raise the memory to \d+MiB") as caught:
        plan_job(dataset, 300 * MIB, 0, threads)
    named = int(str(caught.value).split("raise the memory to ")[1].removesuffix("MiB"))
    assert plan_job(dataset, named * MIB, 0, threads).projected <= named * MIB
    # It is the least, in steps of a mebibyte.
    for less in {named - 1, *np.random.default_rng(width).integers(300, named, 5).tolist()}:
        with pytest.raises(InputError, match="is below the"):
            plan_job(dataset, less * MIB, 0, threads)


def test_destinations_that_cannot_be(sorted_rows: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="already exists"):
        exact(sorted_rows, sorted_rows.path, MEMORY)
    with pytest.raises(InputError, match="lies inside the source"):
        exact(sorted_rows, Path(sorted_rows.path) / "new.zarr", MEMORY)
    with pytest.raises(InputError, match=r"is below the .* raise the memory to \d+MiB"):
        exact(sorted_rows, tmp_path / "new.zarr", "64MiB")
    with pytest.raises(InputError, match="one side of a split"):
        exact(ooc.split(sorted_rows)[0], tmp_path / "new.zarr", MEMORY)
    assert [path.name for path in tmp_path.iterdir()] == ["sorted.zarr"]
