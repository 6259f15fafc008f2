"""Sources for tests, written by the libraries whose formats they are, and what is read back."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

import ooc
from ooc.conversion.source import NUMBER, TEXT, Column

MEMORY = "2GiB"


def people(rows: int = 1000) -> pd.DataFrame:
    """Numbers of several types, texts, times and a target of two texts."""
    rng = np.random.default_rng(3)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows), unit="s")
    return pd.DataFrame(
        {
            "age": rng.integers(0, 90, rows),
            "income": rng.standard_normal(rows),
            "city": rng.choice(["Rome", "Athens", "a, b", "Ōsaka"], rows),
            "when": times.astype("datetime64[us]"),
            "member": rng.random(rows) > 0.5,
            "label": rng.choice(["yes", "no"], rows),
        }
    )


def converted(source: Path, **options: Any) -> tuple[zarr.Group, dict[str, Any]]:
    """Convert beside the source; return the store, by zarr-python, and the result."""
    target = source.with_name(f"{source.name}.out.zarr")
    options = {"memory": MEMORY, "report": False, **options}
    result = ooc.convert(source, target, **options)
    left = [path.name for path in target.parent.iterdir() if path.name.startswith(".")]
    assert left == [], "hidden folders are gone in the end"
    return zarr.open_group(target, mode="r"), result


def texts(array: Any) -> np.ndarray:
    """Return what an array of codes stands for; None where it is missing."""
    names = np.array([*array.attrs["categories"], None], object)
    return names[array[:]]


def content(folder: Path) -> str:
    """Hash every file of a store, with its name."""
    found = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            found.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return found.hexdigest()


def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep pieces, chunks and shards so small that a small source needs many of each."""
    monkeypatch.setattr("ooc.conversion.budget.CHUNK_BYTES", 2**9)
    monkeypatch.setattr("ooc.conversion.budget.SHARD_BYTES", 2**11)
    monkeypatch.setattr("ooc.conversion.parquet.BATCH_BYTES", 2**11)
    for module in ("arrays", "svmlight"):
        monkeypatch.setattr(f"ooc.conversion.{module}.PIECE_BYTES", 2**11)
    monkeypatch.setattr("ooc.conversion.parquet.FEWEST_ROWS", 7)
    monkeypatch.setattr("ooc.conversion.csv_text.BLOCK_BYTES", 2**11)


def source_of(*columns: Column, is_table: bool = True, **more: Any) -> Any:
    """Return a source of columns that are described and never read."""
    known = {"path": Path("there.x"), "skipped": {}, "attributes": {}, "held_bytes": 0}
    named = {column.name: column for column in columns}
    return SimpleNamespace(columns=named, is_table=is_table, rows=None, **known | more)


def number(name: str, dtype: Any = "float64", *shape: int, **more: Any) -> Column:
    return Column(name, NUMBER, np.dtype(dtype), shape, **more)


def text(name: str, **more: Any) -> Column:
    return Column(name, TEXT, np.dtype(np.int32), may_lack=True, **more)
