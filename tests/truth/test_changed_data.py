"""Data that change between a stop and a resume: what is told, and what a user has to confirm.

Stores are written by this package and by zarr-python, and changed by other tools.
"""

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import foreign, small_windows, write_dataset
from labelled import trainer, write_labelled
from pairs import pairs

import ooc
from ooc.cli import main
from ooc.core.errors import InputError
from ooc.store.dataset import Dataset
from ooc.store.fingerprint import check_same_data, fingerprint

MEMORY = "512MiB"


@pytest.fixture
def labelled(tmp_path: Path) -> Dataset:
    return write_labelled(tmp_path / "labelled.zarr")


def ooc_store(path: Path, x: np.ndarray, y: np.ndarray) -> Path:
    write_dataset(path, chunk_rows=50, X=x, y=y)
    return path


def zarr_store(zarr_format: int, **options: Any) -> Callable[[Path, np.ndarray, np.ndarray], Path]:
    def write(path: Path, x: np.ndarray, y: np.ndarray) -> Path:
        chunks = {"X": {"data": x, "chunks": (50, 5)}, "y": {"data": y, "chunks": (50,)}}
        return foreign(path, zarr_format, **{k: {**v, **options} for k, v in chunks.items()})

    return write


STORES = {
    "ooc": ooc_store,
    "zarr 2": zarr_store(2),
    "zarr 3": zarr_store(3),
    "zarr 3, plain": zarr_store(3, compressors=None),
    "zarr 2, plain": zarr_store(2, compressors=None),
}


def nothing(path: Path) -> Path:
    return path


def flip_labels(path: Path) -> Path:
    """Change labels between the sampled rows only: zarr-python writes chunks in place."""
    labels = zarr.open_group(path, mode="r+")["y"]
    labels[345:390] = 1 - labels[345:390]
    return path


def touch_one(path: Path) -> Path:
    file = next(f for f in sorted((path / "X").rglob("*")) if f.is_file() and f.name not in META)
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 1))
    return path


META = ("zarr.json", ".zarray", ".zattrs")


def copy(path: Path) -> Path:
    other = path.with_name("copy.zarr")
    shutil.copytree(path, other, copy_function=shutil.copyfile)
    return other


def copy_with_times(path: Path) -> Path:
    other = path.with_name("copy.zarr")
    shutil.copytree(path, other)
    return other


def move(path: Path) -> Path:
    return path.rename(path.with_name("moved.zarr"))


def grow_file(path: Path) -> Path:
    file = next(f for f in sorted((path / "y").rglob("*")) if f.is_file() and f.name not in META)
    file.write_bytes(file.read_bytes() + b"\0")
    return path


def add_file(path: Path) -> Path:
    (path / "X" / "more").write_bytes(b"")
    return path


def change_attribute(path: Path) -> Path:
    zarr.open_group(path, mode="r+")["X"].attrs["scale_factor"] = 0.1
    return path


def flip_first_rows(path: Path) -> Path:
    labels = zarr.open_group(path, mode="r+")["y"]
    labels[:50] = 1 - labels[:50]
    return path


# What is done to a dataset, and what is said: nothing, that it may be another one, or that it is.
SAME, MAYBE, OTHER = "same", "--same-data", "cannot go on with another dataset: "
CHANGES = {
    nothing: SAME,
    move: SAME,
    copy_with_times: SAME,
    copy: MAYBE,
    touch_one: MAYBE,
    flip_labels: None,
    flip_first_rows: OTHER + ".*sampled_rows_sha256",
    grow_file: OTHER + ".*files of y: bytes was",
    add_file: OTHER + r"files of X: files was \d+, here it is \d+",
    change_attribute: OTHER + r".*attributes\.X was",
}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("store", "change"),
    pairs(STORES, CHANGES, [flip_labels]),
    ids=lambda value: getattr(value, "__name__", value),
)
def test_data_that_changed_are_told(
    tmp_path: Path, rng: np.random.Generator, store: str, change: Callable[[Path], Path]
) -> None:
    x = rng.standard_normal((2000, 5)).astype(np.float32)
    path = STORES[store](tmp_path / "a.zarr", x, (x[:, 0] > 0).astype(np.int64))
    saved = json.loads(json.dumps(fingerprint(ooc.open(path), ["X", "y"])))
    here = fingerprint(ooc.open(change(path)), ["X", "y"])
    expected = CHANGES[change]
    if expected is None:  # a compressed chunk may have another size by it
        plain = "plain" in store
        expected = MAYBE if plain else "cannot go on"
    if expected == SAME:
        check_same_data("run", saved, here)
        return
    with pytest.raises(
        InputError, match=f"^run cannot go on.*{expected.removeprefix('cannot go on')}"
    ):
        check_same_data("run", saved, here)
    if expected == MAYBE:
        check_same_data("run", saved, here, confirmed=True)
    elif expected.startswith(OTHER):
        with pytest.raises(InputError):
            check_same_data("run", saved, here, confirmed=True)


def test_a_run_goes_on_with_a_copy_once_the_user_says_so(
    labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 16 * 2**10)
    whole = trainer().fit(labelled, 2).results
    stop = threading.Event()
    callbacks = ooc.Callbacks(step_end=lambda now: stop.set())
    trainer().fit(labelled, 2, tmp_path / "run", stop=stop, callbacks=callbacks)
    other = ooc.open(copy(Path(labelled.path)))
    with pytest.raises(
        InputError, match=r"512 sampled rows of 1,500; .* is not proven.*--same-data"
    ):
        ooc.resume(tmp_path / "run", other)
    shutil.rmtree(labelled.path)
    shutil.copytree(other.path, labelled.path, copy_function=shutil.copyfile)
    assert main(["resume", str(tmp_path / "run")]) == 2
    assert main(["resume", str(tmp_path / "run"), "--same-data"]) == 0
    resumed = ooc.load(tmp_path / "run").results
    assert resumed["parameters_sha256"] == whole["parameters_sha256"]


def test_objects_of_a_server_are_told_by_their_sizes(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    x = np.arange(2000.0)
    group = zarr.create_group("memory://where-truth.zarr", zarr_format=3, overwrite=True)
    group.create_array("X", shape=x.shape, dtype=x.dtype, chunks=(50,), compressors=None)[...] = x
    saved = json.loads(json.dumps(fingerprint(ooc.open("memory://where-truth.zarr"), ["X"])))
    assert saved["files"]["X"]["files"] == 41
    check_same_data("run", saved, fingerprint(ooc.open("memory://where-truth.zarr"), ["X"]))
    memory.rm("/where-truth.zarr/X/c/3")
    with pytest.raises(InputError, match="files of X: files was 41, here it is 40"):
        check_same_data("run", saved, fingerprint(ooc.open("memory://where-truth.zarr"), ["X"]))
