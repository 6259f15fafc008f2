"""Rows whose moments are exact, and rows with labels: what the laws are measured on."""

from pathlib import Path

import numpy as np

import ooc
from ooc.core.random_keys import Purpose, generator
from pipelines.common.dataset import Columns, Dataset

FEATURES = 32  # of rows with labels


def columns(rows: int, walkers: int, seed: int) -> np.ndarray:
    """Draw (rows, walkers) float32 whose columns have mean 0, variance 1 and no correlation.

    All three hold for the rows at hand, up to rounding, so that closed forms for a finite
    population hold as they are. Walkers must be fewer than rows.
    """
    drawn = generator(seed, Purpose.DATA).standard_normal((rows, walkers))
    drawn -= drawn.mean(axis=0)
    # Cholesky's factor takes the correlations out; it costs a product, where QR costs many.
    factor = np.linalg.cholesky(drawn.T @ drawn / rows)
    return np.linalg.solve(factor, drawn.T).T.astype(np.float32)


def write_rows(path: Path, arrays: Columns, block_rows: int | None = None) -> Dataset:
    """Write arrays as a dataset of blocks, by default of a single one, and open it."""
    fields = {name: (values.dtype.name, values.shape[1:]) for name, values in arrays.items()}
    rows = len(next(iter(arrays.values())))
    widest = max(values[:1].nbytes for values in arrays.values())
    chunk_bytes = (block_rows or rows) * widest
    with ooc.create(path, fields, chunk_bytes=chunk_bytes, shard_bytes=chunk_bytes) as writer:
        writer.append(arrays)
    return ooc.open(path)


def labelled_rows(rows: int, seed: int, narrowest: float = 1.0) -> dict[str, np.ndarray]:
    """Draw features, whose spread falls from 1 to `narrowest`, and labels of a logistic truth."""
    rng = generator(seed, Purpose.DATA)
    spread = np.geomspace(1, narrowest, FEATURES, dtype=np.float32)
    x = spread * rng.standard_normal((rows, FEATURES), dtype=np.float32)
    odds = x @ rng.standard_normal(FEATURES).astype(np.float32) / 3
    return {"X": x, "y": (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.uint8)}
