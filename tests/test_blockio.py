"""Rows into memory that the caller owns; damage is named, never served."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.blockio import RowReader
from ooc.errors import DataError


@settings(max_examples=30, deadline=None)
@given(
    start=st.integers(0, 202),
    length=st.integers(1, 203),
    chunks=st.tuples(st.integers(1, 60), st.integers(1, 5)),
    zarr_format=st.sampled_from([2, 3]),
)
def test_every_run_of_rows_is_that_of_zarr_python(
    tmp_path_factory: pytest.TempPathFactory,
    start: int,
    length: int,
    chunks: tuple[int, int],
    zarr_format: int,
) -> None:
    path = tmp_path_factory.mktemp("read")
    data = np.random.default_rng(0).standard_normal((203, 5))
    group = zarr.create_group(path, overwrite=True, zarr_format=zarr_format)
    group.create_array("X", shape=data.shape, dtype=data.dtype, chunks=chunks)[...] = data
    stop = min(start + length, 203)
    out = np.full((stop - start, 5), np.nan)
    RowReader(str(path), "X").read_into(start, stop, out)
    assert np.array_equal(out, data[start:stop])


def shard_file(path: Path, name: str) -> Path:
    return sorted(file for file in (path / name / "c").rglob("*") if file.is_file())[0]


def test_a_missing_file_is_not_zeros(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a.zarr", X=np.ones((100, 3), np.float32))
    file = shard_file(tmp_path / "a.zarr", "X")
    file.unlink()
    reader = RowReader(str(tmp_path / "a.zarr"), "X")
    with pytest.raises(DataError, match=r"array X of .* has no chunk c/0/0, .* rows from 0 on"):
        reader.read_into(0, 10, np.empty((10, 3), np.float32))
    reader.read_into(40, 50, np.empty((10, 3), np.float32))


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    values = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    write_dataset(tmp_path / "a.zarr", X=values)
    file = shard_file(tmp_path / "a.zarr", "X")
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[40] ^= 1
    file.write_bytes({"flip": content, "truncate": content[:60], "empty": b""}[damage])
    with pytest.raises(DataError, match=r"array X of .*, rows 0 to 9, cannot be read: .+"):
        RowReader(str(tmp_path / "a.zarr"), "X").read_into(0, 10, np.empty((10, 3), np.float32))
