"""Datasets: generated chunk by chunk, and used again where they are there already."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ooc
from ooc.core.errors import InputError
from ooc.core.progress import Report, silent
from ooc.core.progress_bar import ProgressDisplay
from ooc.store.dataset import Dataset
from ooc.store.writer import CHUNK_BYTES, SHARD_BYTES, Columns
from ooc.synthetic.fill import Draw, fill

__all__ = [
    "SHARD_BYTES",
    "Columns",
    "Dataset",
    "Draw",
    "Fields",
    "decoded_bytes",
    "open_or_make",
    "progress",
    "write",
]

# For each array its dtype and the shape of one row.
Fields = Mapping[str, tuple[str, tuple[int, ...]]]


def open_or_make(
    path: Path, expected: Mapping[str, Any], make: Callable[[Report], None]
) -> Dataset:
    """Open a dataset, made first if it is not there.

    Parameters
    ----------
    expected
        What it must be: attributes by name, and "rows".
    make
        Makes it, and reports how far it is.

    Raises
    ------
    InputError
        If what is there is another one.
    """
    if not path.exists():
        with progress(f"make {path.name}") as report:
            make(report)
    dataset = ooc.open(path)
    found = {**dataset.attributes, "rows": dataset.rows}
    for name, value in expected.items():
        if found.get(name) != value:
            raise InputError(
                f"{path} was made with {name} {found.get(name)}, not {value}; remove it, or choose "
                "another folder with --folder"
            )
    return dataset


def write(
    path: Path,
    fields: Fields,
    attributes: Mapping[str, Any],
    rows: int,
    draw: Draw,
    threads: int | None = None,
    report: Report = silent,
    chunk_bytes: int = CHUNK_BYTES,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a dataset chunk by chunk, the same bits on any number of threads.

    Parameters
    ----------
    draw
        Called with a chunk's number, first row and count of rows, in any order; returns its
        values, which are a function of these numbers.
    threads
        By default one a core; a thread holds one chunk.

    Raises
    ------
    InputError
        If the path exists or cannot be written to, or the disk is too small: before any work.
    """
    with ooc.create(path, fields, attributes, chunk_bytes, shard_bytes) as writer:
        fill(writer, rows, draw, threads, report)


def decoded_bytes(dataset: Dataset) -> int:
    """Return the bytes of all rows, decoded."""
    return sum(array.row_bytes for array in dataset.arrays.values()) * dataset.rows


def progress(title: str) -> ProgressDisplay:
    """Return what shows on standard error how far long work is; a context manager."""
    return ProgressDisplay(title)
