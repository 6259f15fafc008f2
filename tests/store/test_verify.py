"""A dataset is read in whole, piece by piece, and every chunk that cannot be read is listed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import zarr
from datasets import foreign
from sparse_rows import write_csr

import ooc
from ooc.store import verify as verify_module
from ooc.store.verify import verify

ROWS = 95


@pytest.fixture
def path(tmp_path: Path) -> Path:
    numbers = np.arange(1, ROWS + 1)
    arrays: dict[str, Any] = {
        "X": {"data": np.stack([numbers] * 3, axis=1).astype("f4"), "chunks": (10, 2)},
        "y": {"data": numbers.astype("i2"), "chunks": (25,)},
    }  # fmt: skip
    return foreign(tmp_path / "a.zarr", 3, **arrays)


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("piece", [1, 3 * 4 * 20, 2**23])
@pytest.mark.parametrize("threads", [1, 3])
def test_chunks_that_cannot_be_read_are_listed_in_order(
    path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, threads: int
) -> None:
    monkeypatch.setattr("ooc.store.verify.PIECE_BYTES", piece)
    assert verify(ooc.open(path), threads=threads) == []
    for chunk in ("X/c/9/1", "X/c/2/0", "X/c/3/0", "y/c/1"):
        (path / chunk).write_bytes(b"")
    found = verify(ooc.open(path), threads=threads)
    assert [(bad.array, bad.cell, bad.rows) for bad in found] == [
        ("X", (2, 0), (20, 29)), ("X", (3, 0), (30, 39)), ("X", (9, 1), (90, 94)),
        ("y", (1,), (25, 49)),
    ]  # fmt: skip


def test_how_far_it_is_is_told_in_rows_and_bytes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.store.verify.PIECE_BYTES", 3 * 4 * 40)
    told: list[Any] = []
    verify(ooc.open(path), threads=1, report=told.append)
    sizes = [12 * 40, 12 * 80, 12 * 95]
    # All rows of two bytes are one piece.
    sizes += [12 * 95 + 2 * 95]
    assert [each.bytes for each in told] == sizes
    assert [each.rows for each in told] == [size * 95 // (14 * 95) for size in sizes]
    assert {each.total_rows for each in told} == {95}
    assert told[-1].rows == 95 and 0 <= told[0].seconds <= told[-1].seconds


def test_what_attributes_declare_does_not_matter(path: Path) -> None:
    zarr.open_group(path, mode="r+")["y"].attrs["scale_factor"] = 0
    assert verify(ooc.open(path, target=False), threads=1) == []
    (path / "y" / "c" / "3").unlink()
    (bad,) = verify(ooc.open(path, target=False), threads=1)
    assert (bad.array, bad.rows) == ("y", (75, 94))


def test_each_part_of_a_sparse_matrix_is_read(tmp_path: Path) -> None:
    matrix = scipy.sparse.csr_array(np.ones((30, 4), "f4"))
    write_csr(zarr.create_group(tmp_path / "a.zarr"), "X", matrix, 25, {})
    dataset = ooc.open(tmp_path / "a.zarr")
    assert verify(dataset, threads=2) == []
    for part, chunk in (("indptr", 1), ("data", 4), ("indices", 0)):
        (tmp_path / "a.zarr" / "X" / part / "c" / str(chunk)).unlink()
    assert [(bad.array, bad.cell) for bad in verify(dataset, threads=2)] == [
        ("X/data", (4,)), ("X/indices", (0,)), ("X/indptr", (1,)),
    ]  # fmt: skip


def test_threads_are_one_a_core_and_the_way_of_reading_is_passed_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[Any] = []
    ways: list[str] = []
    pool, opened = verify_module.ThreadPoolExecutor, verify_module.open_reader
    monkeypatch.setattr(verify_module.os, "cpu_count", lambda: 3)
    monkeypatch.setattr(
        verify_module, "ThreadPoolExecutor", lambda count: (threads.append(count), pool(count))[1]
    )
    monkeypatch.setattr(
        verify_module,
        "open_reader",
        lambda data, name, io: (ways.append(io), opened(data, name, io))[1],
    )
    assert verify(ooc.open(path)) == verify(ooc.open(path), "buffered", 2) == []
    assert threads == [3, 2] and ways == ["auto", "auto", "buffered", "buffered"]
