"""What the writer writes is what zarr-python reads, whole or not at all."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import ooc
from ooc.core.errors import InputError
from ooc.store.fields import CHUNK_BYTES, SHARD_BYTES, Field


@pytest.mark.slow
@settings(max_examples=16, deadline=None)
@given(
    rows=st.integers(1, 200),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    dtype=st.sampled_from(["uint8", "int16", "float16", "float32", "float64", "int64", "bool"]),
    shape=st.sampled_from([(), (3,), (2, 2)]),
    chunk_bytes=st.integers(1, 300),
    chunks_per_shard=st.integers(1, 5),
)
def test_rows_read_back_as_they_were_appended(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    cuts: list[int],
    dtype: str,
    shape: tuple[int, ...],
    chunk_bytes: int,
    chunks_per_shard: int,
) -> None:
    path = tmp_path_factory.mktemp("written") / "a.zarr"
    rng = np.random.default_rng(rows)
    x = (rng.standard_normal((rows, *shape)) * 50).astype(dtype)
    y = np.arange(rows)
    fields = {"X": (dtype, shape), "y": ("int64", ())}
    edges = sorted({0, rows, *(cut for cut in cuts if cut < rows)})
    with ooc.create(
        path, fields, chunk_bytes=chunk_bytes, shard_bytes=chunk_bytes * chunks_per_shard
    ) as writer:
        for start, stop in itertools.pairwise(edges):
            writer.append({"X": x[start:stop], "y": y[start:stop]})
    group = zarr.open_group(path, mode="r")
    assert np.array_equal(group["X"][...], x)
    assert np.array_equal(group["y"][...], y)


def test_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    with ooc.create(tmp_path / "a.zarr", {"X": ("float32", (128,)), "y": ("int64", ())}) as writer:
        writer.append({"X": np.zeros((10, 128)), "y": np.zeros(10)})
    spec = ooc.open(tmp_path / "a.zarr").arrays["X"]
    assert spec.chunk_bytes == CHUNK_BYTES == 512 * 2**10
    assert spec.shards is not None
    assert spec.shards[0] * spec.row_bytes == SHARD_BYTES == 128 * 2**20
    array = zarr.open_array(tmp_path / "a.zarr" / "X", mode="r")
    assert array.metadata.zarr_format == 3
    assert any(type(codec).__name__ == "Crc32cCodec" for codec in array.compressors)


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="half way"),
        ooc.create(tmp_path / "a.zarr", {"X": ("float32", (2,))}) as writer,
    ):
        writer.append({"X": np.zeros((300_000, 2))})
        raise RuntimeError("half way")
    assert list(tmp_path.iterdir()) == []


def test_no_rows_leave_nothing_behind(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="no rows"),
        ooc.create(tmp_path / "a.zarr", {"X": ("float32", (2,))}),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".a.zarr.partial").mkdir()
    (tmp_path / ".a.zarr.partial" / "rubbish").write_text("old")
    with ooc.create(tmp_path / "a.zarr", {"X": ("float32", ())}) as writer:
        writer.append({"X": np.arange(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    assert not (tmp_path / "a.zarr" / "rubbish").exists()


def test_an_existing_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with (
        pytest.raises(InputError, match="already exists"),
        ooc.create(tmp_path / "a.zarr", {"X": ("float32", ())}),
    ):
        pass


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"X": np.zeros((3, 2))}, "no array 'y'"),
        ({"X": np.zeros((3, 2)), "y": np.zeros(4)}, "differ in rows"),
        ({"X": np.zeros((3, 5)), "y": np.zeros(3)}, r"has shape \(2,\), not \(5,\)"),
    ],
)
def test_rows_that_do_not_match_are_refused(
    tmp_path: Path, columns: dict[str, np.ndarray], message: str
) -> None:
    with (
        pytest.raises(InputError, match=message),
        ooc.create(tmp_path / "a.zarr", {"X": ("float32", (2,)), "y": ("int64", ())}) as writer,
    ):
        writer.append(columns)


WITHOUT_PERMISSION = """
import os, sys
from ooc.store.writer import create
folder, other = sys.argv[1:]
# Whatever is imported on the way is imported before, for it may lie where nobody else may read.
with create(f"{other}/a.zarr", {"X": ("f4", ())}) as writer:
    writer.append({"X": [1.0]})
if os.geteuid() == 0:
    # Root may write anywhere, so that this goes on as somebody else, where there is one.
    try:
        os.seteuid(65534)
    except OSError as error:
        sys.exit(f"skip: root cannot become another user here: {error}")
if not os.path.isdir(folder):
    sys.exit("skip: no other user than root may look into the folder of tests")
if os.access(folder, os.W_OK, effective_ids=True):
    sys.exit("skip: this file system lets everybody write")
with create(f"{folder}/a.zarr", {"X": ("f4", ())}) as writer:
    writer.append({"X": [1.0]})
"""


@pytest.mark.slow
def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    for parent in folder.parents:
        if os.geteuid() == 0 and parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)
    command = [sys.executable, "-c", WITHOUT_PERMISSION, str(folder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.stderr.startswith("skip: "):
        pytest.skip(done.stderr.removeprefix("skip: ").strip())
    assert re.search(r"cannot write to .*locked: Permission denied", done.stderr), done.stderr
    assert list(folder.iterdir()) == []


def test_a_shard_is_kept_where_all_of_its_files_are_there(tmp_path: Path) -> None:
    """Arrays of structures have a file a chunk: one that is gone is written again."""
    fields = {"X": ("float32", ()), "s": Field(np.dtype([("a", "f4"), ("b", "i4")]))}
    rows = {name: np.zeros(4, Field(*field).in_memory) for name, field in fields.items()}
    with ooc.create(tmp_path / "a.zarr", fields, chunk_bytes=32, shard_bytes=64, resume=True) as it:
        assert (it.chunk_rows, it.shard_rows) == (4, 8)
        it.write_shard(0, [rows, rows])
        assert it.keep_shard(0, 8)
        max((it.partial / "s").rglob("c/*")).unlink()
        assert not it.keep_shard(0, 8)
        assert not it.keep_shard(1, 8)
