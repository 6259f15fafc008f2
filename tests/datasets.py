"""Small datasets for tests, written by this package and by zarr-python."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import ooc
from ooc.store.dataset import Dataset


def write_dataset(path: Path, chunk_rows: int = 10, **columns: np.ndarray) -> Dataset:
    """Write arrays as a dataset in small chunks, four to a shard, and open it."""
    fields = {name: (values.dtype.name, values.shape[1:]) for name, values in columns.items()}
    widest = max(values[:1].nbytes for values in columns.values())
    chunk_bytes = chunk_rows * widest
    with ooc.create(path, fields, chunk_bytes=chunk_bytes, shard_bytes=4 * chunk_bytes) as writer:
        writer.append(columns)
    return ooc.open(path)


def foreign(path: Path, zarr_format: int, **arrays: dict[str, Any]) -> Path:
    """Write a group as somebody else would, with zarr-python's own functions."""
    group = zarr.create_group(path, zarr_format=zarr_format)
    for name, options in arrays.items():
        data = options.pop("data")
        array = group.create_array(name, shape=data.shape, dtype=data.dtype, **options)
        if data.size:
            array[...] = data
    return path


def small_windows(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Keep windows at so many bytes that a small dataset needs several, whatever mixes well."""
    monkeypatch.setattr("ooc.stream.plan.LARGEST_WINDOW", size)
    monkeypatch.setattr(
        "ooc.stream.loader.chosen_blocks", lambda advice, plan: plan.order.blocks_per_window
    )
