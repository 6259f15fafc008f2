"""Epochs with PyTorch: an `IterableDataset` over the store, and its `DataLoader`.

Blocks of rows are read in random order and each is shuffled, as is usual. With ``batches=row``
the dataset yields rows and the loader collates them into batches, as PyTorch's documentation
shows it; with ``batches=whole`` the dataset yields whole batches, and the loader passes them on.
"""

from collections.abc import Iterator

import numpy as np
import torch
from peers import harness
from peers.store import arrays_of
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

# Chunks of one block; from 16 to 64 take the same time, and more take longer.
BLOCK_CHUNKS = 64
SEED = 0


class Blocks(IterableDataset):
    """Rows, or whole batches, of blocks in random order, each block shuffled."""

    def __init__(self, job: harness.Job, whole_batches: bool) -> None:
        self._features, self._targets = arrays_of(job.store)
        self._block_rows = BLOCK_CHUNKS * self._features.chunks[0]
        self._job, self._whole_batches = job, whole_batches

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield (features, target) of this worker's share of the blocks."""
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        yield from self.batches(first, step, self._job.batch_size if self._whole_batches else 1)

    def batches(
        self, first: int, step: int, size: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield (features, target) of every so manyth block; rows by themselves for a size of 1."""
        starts = np.arange(0, self._job.rows, self._block_rows)
        np.random.default_rng(SEED).shuffle(starts)
        generator = torch.Generator().manual_seed(SEED + first)
        for start in starts[first::step].tolist():
            rows = slice(start, start + self._block_rows)
            features = torch.from_numpy(np.asarray(self._features[rows]))
            targets = torch.from_numpy(np.asarray(self._targets[rows])).float()
            order = torch.randperm(len(targets), generator=generator)
            if self._whole_batches:
                for batch in order.split(size):
                    yield features[batch], targets[batch]
            else:
                for row in order.tolist():
                    yield features[row], targets[row]


def make_optimizer(job: harness.Job, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer that the settings ask for; by default SGD at the benchmark's rate.

    The settings are ``optimizer``, ``rate``, and ``start``, the step from which ASGD averages.
    """
    rate = float(job.settings.get("rate", job.learning_rate))
    match job.settings.get("optimizer", "sgd"):
        case "adam":
            return torch.optim.Adam(model.parameters(), lr=rate)
        case "asgd":
            start = float(job.settings.get("start", 0))
            return torch.optim.ASGD(model.parameters(), lr=rate, lambd=0.0, t0=start)
        case _:
            return torch.optim.SGD(model.parameters(), lr=rate)


def prepare(job: harness.Job) -> harness.Train:
    """Open the store, and take one step so that nothing is loaded late.

    One thread takes steps this small at least as fast as two.
    """
    torch.set_num_threads(1)
    whole_batches = job.settings["batches"] == "whole"
    loader = DataLoader(
        Blocks(job, whole_batches),
        batch_size=None if whole_batches else job.batch_size,
        num_workers=int(job.settings["workers"]),
    )
    model = torch.nn.Linear(job.features, 1)
    loss = torch.nn.BCEWithLogitsLoss()
    optimizer = make_optimizer(job, model)

    def step(features: torch.Tensor, targets: torch.Tensor) -> int:
        optimizer.zero_grad()
        loss(model(features)[:, 0], targets).backward()
        optimizer.step()
        return len(targets)

    # The optimizer's own state is made anew after the step that only loads things.
    step(torch.zeros(job.batch_size, job.features), torch.zeros(job.batch_size))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    optimizer = make_optimizer(job, model)

    def solution() -> list[float]:
        # ASGD keeps the average of iterates beside them.
        states = [optimizer.state[parameter] for parameter in model.parameters()]
        kept = [state.get("ax", own) for state, own in zip(states, model.parameters(), strict=True)]
        return torch.cat([values.detach().ravel() for values in kept]).tolist()

    def train() -> harness.Trained:
        rows = 0
        while rows < job.rows_to_use:
            for features, targets in loader:
                rows += step(features, targets)
                if job.snapshots.is_due(rows):
                    job.snapshots.note(rows, solution())
                if rows >= job.rows_to_use:
                    break
        *coefficients, intercept = solution()
        return harness.Trained(coefficients, intercept, rows)

    return train


if __name__ == "__main__":
    harness.main(prepare, ["torch", "zarr", "numpy"])
