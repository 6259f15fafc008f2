"""Chunks by both compressions: what other tools read of them, and what they say of themselves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import scipy.sparse
import zarr

import ooc
from ooc.conversion.job import convert
from ooc.core.errors import InputError
from ooc.core.progress import Progress
from ooc.shuffle.external_sort import exact, exact_order
from ooc.shuffle.job import plan_job
from ooc.store.chunks import read_path
from ooc.store.compression import COMPRESSIONS, FAST_READ, FAST_WRITE
from ooc.store.fields import encode_chunk
from ooc.synthetic import Recipe, make

# Of blosc's frames: by bits of the flags, and as Zarr names them.
FLAGS = {FAST_WRITE: 0b100, FAST_READ: 0b001}
NAMES = {FAST_WRITE: ("lz4", "bitshuffle"), FAST_READ: ("lz4hc", "shuffle")}


def names_of(array: Any) -> tuple[str, str]:
    told = array.compressors[0].to_dict()["configuration"]
    return tuple(str(getattr(told[key], "value", told[key])) for key in ("cname", "shuffle"))  # type: ignore[return-value]


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_chunk_is_a_frame_that_any_blosc_decodes(name: str, rng: np.random.Generator) -> None:
    values = rng.integers(0, 50, 20_000).astype("f4")
    stored = encode_chunk(values, name)[:-4]
    assert numcodecs.Blosc().decode(stored) == values.tobytes()
    # Of elements of four bytes, in lz4's format, which that of lz4hc is, too.
    assert stored[2] & 0b101 == FLAGS[name] and stored[3] == 4 and stored[2] >> 5 == 1


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_zarr_python_reads_what_is_created(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    x, y = rng.standard_normal((500, 3)).astype("f4"), rng.integers(0, 5, 500)
    fields = {"X": ("float32", (3,)), "y": ("int64", ())}
    with ooc.create(tmp_path / "a.zarr", fields, chunk_bytes=600, compression=name) as writer:
        writer.append({"X": x, "y": y})
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    for array, values in ((group["X"], x), (group["y"], y)):
        np.testing.assert_array_equal(array[...], values)  # type: ignore[index]
        assert names_of(array) == NAMES[name]
    dataset = ooc.open(tmp_path / "a.zarr")
    assert read_path(dataset, "X", "auto").native
    batches = ooc.Loader(dataset, 100, arrays=("X",), shuffle="none", memory="512MiB")
    np.testing.assert_array_equal(np.concatenate([batch["X"] for batch in batches]), x)


def test_all_that_writes_datasets_can_be_told(tmp_path: Path) -> None:
    make(tmp_path / "made.zarr", Recipe("logistic", 3000, 4), compression=FAST_READ)
    made = zarr.open_group(tmp_path / "made.zarr", mode="r")
    exact(
        ooc.open(tmp_path / "made.zarr"), tmp_path / "mixed.zarr", "512MiB", 5,
        compression=FAST_READ,
    )  # fmt: skip
    np.save(tmp_path / "a.npy", np.arange(600.0).reshape(200, 3))
    convert(tmp_path / "a.npy", tmp_path / "straight.zarr", report=False, compression=FAST_READ)
    convert(
        tmp_path / "a.npy", tmp_path / "both.zarr", report=False, compression=FAST_READ,
        shuffle=True,
    )  # fmt: skip
    mixed, straight, both = (
        zarr.open_group(tmp_path / f"{name}.zarr", mode="r")["X"]
        for name in ("mixed", "straight", "both")
    )
    for array in (made["X"], mixed, straight, both):
        assert names_of(array) == NAMES[FAST_READ]
    np.testing.assert_array_equal(mixed[...], made["X"][...][exact_order(3000, 5)])  # type: ignore[index]
    np.testing.assert_array_equal(straight[...], np.load(tmp_path / "a.npy"))  # type: ignore[index]
    assert sorted(both[:, 0]) == sorted(straight[:, 0])  # type: ignore[index]


def test_sparse_rows_are_compressed_so_too(tmp_path: Path) -> None:
    matrix = scipy.sparse.random(300, 40, 0.2, "csr", np.float32, random_state=0)
    lines = (
        " ".join([str(row % 2), *(f"{j + 1}:{v}" for j, v in zip(m.indices, m.data, strict=True))])
        for row, m in ((row, matrix[row]) for row in range(300))
    )
    (tmp_path / "a.svmlight").write_text("\n".join(lines) + "\n")
    convert(tmp_path / "a.svmlight", tmp_path / "a.zarr", report=False, compression=FAST_READ)
    group: Any = zarr.open_group(tmp_path / "a.zarr", mode="r")["X"]
    found = scipy.sparse.csr_matrix(
        tuple(group[part][...] for part in ("data", "indices", "indptr")), matrix.shape
    )
    np.testing.assert_allclose(found.toarray(), matrix.toarray(), rtol=1e-6)
    assert {names_of(group[part]) for part in ("data", "indices", "indptr")} == {NAMES[FAST_READ]}


def test_what_was_begun_otherwise_is_begun_anew(tmp_path: Path) -> None:
    """A store is of one compression, whenever it was stopped."""
    np.save(tmp_path / "a.npy", np.arange(6e5).reshape(-1, 3))

    def stop(progress: Progress) -> None:
        if progress.rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / "a.npy", tmp_path / "a.zarr", report=stop)
    told = convert(tmp_path / "a.npy", tmp_path / "a.zarr", report=False, compression=FAST_READ)
    assert told["rows_kept_from_before"] == 0 and "anew" in " ".join(told["notes"])
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["X"]
    assert names_of(array) == NAMES[FAST_READ]
    np.testing.assert_array_equal(array[...], np.load(tmp_path / "a.npy"))  # type: ignore[index]


def test_a_shuffle_that_was_begun_otherwise_is_another_job(tmp_path: Path) -> None:
    make(tmp_path / "a.zarr", Recipe("logistic", 3000, 4))
    dataset = ooc.open(tmp_path / "a.zarr")
    job = plan_job(dataset, 2**29, 0)
    assert job.identity(dataset) != replace(job, compression=FAST_READ).identity(dataset)


def test_another_name_is_refused_before_any_work(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((4, 2)))
    make(tmp_path / "a.zarr", Recipe("logistic", 30, 4))
    calls = (
        lambda path: make(path, Recipe("logistic", 30, 4), compression="quick"),
        lambda path: convert(tmp_path / "a.npy", path, compression="quick"),
        lambda path: exact(ooc.open(tmp_path / "a.zarr"), path, compression="quick"),
        lambda path: ooc.create(path, {"X": ("float32", (3,))}, compression="quick").__enter__(),
    )
    for call in calls:
        with pytest.raises(InputError, match="no compression is called 'quick'; choose one of"):
            call(tmp_path / "b.zarr")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.npy", "a.zarr"]
