"""Small stores of every layout, written by zarr-python, and a run that was trained on them."""

import shutil
from pathlib import Path

import numpy as np
import zarr

from attack.ends import MEMORY, end_of

ROWS = 60
LAYOUTS = {"v2": (2, None), "v3": (3, None), "sharded": (3, 20)}


def values() -> dict[str, np.ndarray]:
    """Return features, targets and a further array."""
    x = np.random.default_rng(3).standard_normal((ROWS, 3)).astype(np.float32)
    return {"X": x, "y": (x[:, 0] > 0).astype(np.int64), "z": np.arange(ROWS, dtype=np.float64)}


def write(path: Path, layout: str) -> Path:
    """Write them in chunks of ten rows."""
    zarr_format, shard = LAYOUTS[layout]
    group = zarr.create_group(path, zarr_format=zarr_format)  # type: ignore[arg-type]
    for name, data in values().items():
        shards = {} if shard is None else {"shards": (shard, *data.shape[1:])}
        array = group.create_array(
            name, shape=data.shape, dtype=data.dtype, chunks=(10, *data.shape[1:]), **shards
        )
        array[...] = data
    return path


def train(data: Path, run: Path) -> list[str]:
    """Return the line that trains a tiny run."""
    brief = ["--lr", "0.1", "--epochs", "1", "--batch-size", "16", "--memory", MEMORY]
    return ["train", str(data), *brief, "--run", str(run)]


def trained(data: Path, run: Path, *more: str) -> Path:
    """Train a run to its end."""
    end = end_of([*train(data, run), *more], 120)
    assert end.status == 0, end.err
    return run


def write_with_runs(folder: Path, layout: str) -> Path:
    """Write a store, `a.zarr`, a run of it, `run`, and one that can be gone on with, `begun`."""
    data = write(folder / "a.zarr", layout)
    run = trained(data, folder / "run", "--save-steps", "2", "--keep", "9")
    shutil.copytree(run, folder / "begun")
    max((folder / "begun" / "checkpoints").iterdir()).unlink()
    return data


def bases(folder: Path) -> dict[str, Path]:
    """Write a store of each layout and a run of it."""
    stores = {layout: write(folder / f"{layout}.zarr", layout) for layout in LAYOUTS}
    for layout, store in stores.items():
        trained(store, folder / f"run-{layout}")
    return stores


def copy_of(store: Path, folder: Path) -> Path:
    """Copy a store, with its files' times, into a folder of a test."""
    return Path(shutil.copytree(store, folder / store.name))
