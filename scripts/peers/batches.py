"""One way to get batches as PyTorch's tensors: reads them all, and writes rows and seconds.

Usage: batches.py STORE BATCH_SIZE MEMORY WAY OUTPUT. Zarr-python is so slow that the first rows
must do.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers.store import arrays_of
from torch.utils.data import DataLoader, Dataset, IterableDataset

import ooc
from ooc.torch import BatchDataset

FIRST_ROWS, FIRST_BATCHES = 4_000, 2_000


class Rows(Dataset):
    """The rows of a store, one by one, as PyTorch's documentation shows it."""

    def __init__(self, store: Path) -> None:
        self._features, self._targets = arrays_of(store)

    def __len__(self) -> int:
        """Return how many rows are read."""
        return min(FIRST_ROWS, self._features.shape[0])

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one row."""
        features = torch.from_numpy(np.asarray(self._features[row]))
        return features, torch.as_tensor(np.asarray(self._targets[row]))


class Batches(Dataset):
    """Slices of a store in order, a batch each."""

    def __init__(self, store: Path, batch_size: int) -> None:
        self._features, self._targets = arrays_of(store)
        self._batch_size = batch_size

    def __len__(self) -> int:
        """Return how many batches are read."""
        return min(FIRST_BATCHES, -(-self._features.shape[0] // self._batch_size))

    def __getitem__(self, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one batch."""
        rows = slice(batch * self._batch_size, (batch + 1) * self._batch_size)
        features = torch.from_numpy(np.asarray(self._features[rows]))
        return features, torch.from_numpy(np.asarray(self._targets[rows]))


class Zeros(IterableDataset):
    """Batches that nobody reads, as many and as large as those of a store: what a loader costs."""

    def __init__(self, store: Path, batch_size: int) -> None:
        self._features, self._targets = arrays_of(store)
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield them."""
        rows, features = self._features.shape
        for _ in range(min(FIRST_BATCHES, rows // self._batch_size)):
            shape = (self._batch_size, features)
            values = {"X": np.empty(shape, np.float32), "y": np.empty(self._batch_size, np.int64)}
            yield {name: torch.from_numpy(array) for name, array in values.items()}


Make = Callable[[Path, int, str], Iterable[Any]]


def _ours(store: Path, batch_size: int, memory: str) -> BatchDataset:
    return BatchDataset(ooc.open(store), batch_size, memory=memory)


WAYS: dict[str, Make] = {
    "ooc.Loader": lambda store, size, memory: ooc.Loader(ooc.open(store), size, memory=memory),
    "BatchDataset": _ours,
    "BatchDataset, 0 workers": lambda *given: DataLoader(_ours(*given), batch_size=None),
    "BatchDataset, 2 workers": lambda *given: DataLoader(
        _ours(*given), batch_size=None, num_workers=2
    ),
    "DataLoader alone, 0 workers": lambda store, size, _: DataLoader(
        Zeros(store, size), batch_size=None
    ),
    "DataLoader alone, 2 workers": lambda store, size, _: DataLoader(
        Zeros(store, size), batch_size=None, num_workers=2
    ),
    "zarr-python, batches in order": lambda store, size, _: DataLoader(
        Batches(store, size), batch_size=None
    ),
    "zarr-python, rows in order": lambda store, size, _: DataLoader(Rows(store), batch_size=size),
}


def main() -> None:
    """Time one epoch, from the first batch asked for to the last."""
    store, batch_size, memory, way, output = sys.argv[1:]
    torch.set_num_threads(1)
    batches = WAYS[way](Path(store), int(batch_size), memory)
    rows, begun = 0, time.perf_counter()
    for batch in batches:
        rows += len(batch[1] if isinstance(batch, list | tuple) else batch["y"])
    seconds = time.perf_counter() - begun
    Path(output).write_text(json.dumps({"rows": rows, "seconds": seconds}))


if __name__ == "__main__":
    main()
