"""Datasets of generated rows: written chunk by chunk, in memory that does not grow with them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import ooc
from ooc.core.errors import InputError
from ooc.core.progress import Report, silent
from ooc.core.random_keys import Purpose, generator
from pipelines.common.dataset import Columns, Dataset, Fields, open_or_make, write
from pipelines.protein_interfaces.columns import CLASSES, NAMES, STABLE, WIDTH, is_stable
from pipelines.protein_interfaces.complexes import Parameters
from pipelines.protein_interfaces.world import draw_rows

FIELDS: Fields = {"X": ("float32", (WIDTH,)), "y": ("uint8", ())}
SAMPLE = 40_000  # rows that coordinates and plain methods are fitted to
HELD_OUT = "held-out"


def open_rows(folder: Path, name: str, rows: int, seed: int, given: Parameters) -> Dataset:
    """Open rows, made first if they are not there; those "held-out" are other ones."""
    path = folder / f"{name}-{rows}-seed{seed}.zarr"

    def make(report: Report) -> None:
        write_rows(path, rows, seed, given, name == HELD_OUT, report)

    return open_or_make(path, {**notes(seed, given), "rows": rows}, make)


def write_rows(
    path: Path,
    rows: int,
    seed: int,
    given: Parameters,
    held_out: bool = False,
    report: Report = silent,
) -> None:
    """Write rows, the same bits on any number of threads; each thread holds one chunk."""
    purpose = Purpose.HELD_OUT_DATA if held_out else Purpose.DATA

    def draw(number: int, first: int, count: int) -> Columns:
        return draw_rows(generator(seed, purpose, index=number), count, given)

    write(path, FIELDS, notes(seed, given), rows, draw, report=report)


def notes(seed: int, given: Parameters) -> dict[str, Any]:
    """Return the attributes of a dataset: what its rows are a function of, JSON-ready."""
    listed = {name: _listed(value) for name, value in asdict(given).items()}
    return {"seed": seed, "feature_names": list(NAMES), "classes": list(CLASSES), **listed}


def sample_of(dataset: Dataset, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return some rows, (rows, 64) float32, and their classes: the first of a shuffled epoch."""
    rows = min(rows, dataset.rows)
    for batch in ooc.Loader(dataset, rows, seed=seed):
        return np.array(batch["X"]), np.array(batch["y"])
    raise InputError(f"{dataset.path} has no rows")


def conditions_of(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how frequent each class is, and how often stable within it: (9, 2) float64.

    Raises
    ------
    InputError
        If a class is missing.
    """
    counts = np.bincount(labels, minlength=len(CLASSES))
    if not counts.all():
        missing = ", ".join(np.array(CLASSES)[counts == 0])
        raise InputError(
            f"of class {missing} there is no row among {len(rows):,}; take more rows, so that "
            f"there are some (and with dG <= {STABLE:g} and above)"
        )
    stable = np.bincount(labels, is_stable(rows), minlength=len(CLASSES))
    return np.stack([counts / len(rows), stable / counts], axis=1)


def _listed(value: Any) -> Any:
    return [_listed(each) for each in value] if isinstance(value, tuple) else value
