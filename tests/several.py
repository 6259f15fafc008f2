"""Several stores of other lengths and chunks, and the rows of all of them as NumPy has them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import foreign

import ooc
from ooc.store.dataset import Dataset
from ooc.store.stores import Stores

# Rows, rows of a chunk of X and of y, and the format of each store.
ALIKE = ((60, 20, 20, 3), (40, 20, 20, 3), (80, 20, 20, 3))
RAGGED = ((53, 20, 20, 3), (31, 20, 10, 2), (77, 10, 7, 3), (1, 5, 5, 2))


@dataclass
class Several:
    paths: list[str]
    X: np.ndarray
    y: np.ndarray

    def open(self, **options: object) -> Dataset:
        return ooc.open(self.paths, **options)

    def rows_of(self, stores: Stores | None, rows: np.ndarray) -> np.ndarray:
        """Return the places in `X` and `y` of rows of the stores."""
        assert stores is not None
        lengths = np.array(stores.stops) - np.array(stores.starts)
        firsts = np.concatenate([[0], np.cumsum(lengths)])
        found = [stores.locate(row) for row in rows.tolist()]
        return np.array([firsts[number] + inside for number, inside in found], int)


def write_several(folder: Path, kinds: tuple[tuple[int, int, int, int], ...]) -> Several:
    """Write stores with zarr-python; the targets are a noisy linear function of the features."""
    rng, paths, parts = np.random.default_rng(5), [], []
    for number, (rows, chunk, of_targets, zarr_format) in enumerate(kinds):
        x = rng.standard_normal((rows, 3)).astype(np.float32)
        y = (x @ [1.0, -2.0, 0.5] + 0.1 * rng.standard_normal(rows)).astype(np.float32)
        path = folder / f"20{number:02}.zarr"
        arrays = {"X": {"data": x, "chunks": (chunk, 3)}, "y": {"data": y, "chunks": (of_targets,)}}
        paths.append(str(foreign(path, zarr_format, **arrays)))
        parts.append((x, y))
    xs, ys = zip(*parts, strict=True)
    return Several(paths, np.concatenate(xs), np.concatenate(ys))
