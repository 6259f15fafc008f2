"""Whole batches as tensors, in one process or shared out among a data loader's workers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from ooc.core.errors import InputError
from ooc.store.dataset import Dataset
from ooc.stream.loader import BatchAssembler, Loader
from ooc.stream.options import StreamOptions, make_stream

# Workers count the epochs that they have begun in memory that all processes share.
MOST_WORKERS = 256
_STREAM, _PLACE = "stream", "place"


class BatchDataset(IterableDataset[dict[str, torch.Tensor]]):
    """Mini-batches of a dataset larger than memory, blockwise shuffled, as dicts of tensors.

    Each loop over it is one epoch: every row once, in batches of full size but the last. Give it
    to `torch.utils.data.DataLoader` with ``batch_size=None``, or loop over it itself. With W
    workers each reads every W-th window, so that nothing is read twice and no row is repeated or
    lost; each has a last batch of its own that may be smaller. Readers are threads and need no
    workers: those pay where what comes after them, such as augmentation, is slow Python.

    Tensors share memory with arrays that nobody else keeps: they may be kept and written to.

    Parameters
    ----------
    dataset
        What `ooc.open` returned.
    batch_size
        B, rows of a batch.
    arrays
        Names of the arrays that travel; by default features, target and weight.
    stream, options
        See `ooc.StreamOptions`; `memory` is of each process that reads, with PyTorch in it.

    Raises
    ------
    InputError
        If an array is missing or nothing fits the budget; in a worker, as it begins.

    Examples
    --------
    >>> import ooc
    >>> batches = BatchDataset(ooc.open(example_dataset), 300, memory="2GiB")
    >>> [tuple(batch["X"].shape) for batch in batches]
    [(300, 3), (300, 3), (300, 3), (100, 3)]
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        arrays: Sequence[str] | None = None,
        stream: StreamOptions | None = None,
        **options: Any,
    ) -> None:
        self._dataset, self._batch_size, self._arrays = dataset, batch_size, arrays
        self._stream = make_stream(stream, options)
        self._begun = torch.zeros(MOST_WORKERS, dtype=torch.int64).share_memory_()
        self._place: tuple[int, int, int] | None = None
        self._loader: Loader | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes to a worker: it plans for itself, in its own memory."""
        return {**self.__dict__, "_loader": None}

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the batches of the next epoch, or of the rest of the one that was restored."""
        worker, workers = _share()
        if self._loader is None or workers > 1:
            self._loader = self._new_loader()
        loader, order = self._loader, self._loader.plan.order
        own = range(worker, order.windows, workers)
        epoch, first, start = self._place or (int(self._begun[worker]), worker, 0)
        self._begun[worker] = epoch + 1
        assembler, delivered, given = BatchAssembler(loader, self._batch_size), 0, 0
        left = range(first, order.windows, workers)
        places = ((epoch, index, start if index == first else 0) for index in left)
        for window in loader.windows(epoch + 1, places):
            window = replace(window, last=window.index == own[-1])
            for batch in assembler.add(window):
                given += len(batch.rows)
                if batch.ends_epoch:
                    self._place = None
                else:
                    self._place = epoch, window.index, window.start + given - delivered
                yield {name: torch.from_numpy(batch[name]) for name in loader.names}
            delivered += len(window.order) - window.start
        self._place = None

    def state_dict(self) -> dict[str, Any]:
        """Return where this process is: a few integers, and what they are a position of."""
        worker, _ = _share()
        place = self._place or (int(self._begun[worker]), worker, 0)
        return {_PLACE: list(place), _STREAM: self._of_stream()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at a saved position; that of another stream, or of other workers, is refused."""
        if {_PLACE, _STREAM} - state.keys():
            raise InputError("the saved position is none of a BatchDataset")
        for name, value in self._of_stream().items():
            if state[_STREAM].get(name) != value:
                raise InputError(
                    f"the saved position is of another stream: {name} was "
                    f"{state[_STREAM].get(name)}, here it is {value}; use the same data, batch "
                    "size, memory, seed and workers"
                )
        epoch, window, start = map(int, state[_PLACE])
        self._place = epoch, window, start

    def _new_loader(self) -> Loader:
        return Loader(self._dataset, self._batch_size, arrays=self._arrays, stream=self._stream)

    def _of_stream(self) -> dict[str, Any]:
        """Return what a position depends on."""
        if self._loader is None:
            self._loader = self._new_loader()
        state = self._loader.state_dict()
        worker, workers = _share()
        left_out = ("epoch", "row", "step", "skipped", "left_out")
        of_stream = {name: value for name, value in state.items() if name not in left_out}
        return of_stream | {"worker": worker, "workers": workers}


def _share() -> tuple[int, int]:
    """Return the number of this worker, and how many there are; (0, 1) without workers."""
    info = get_worker_info()
    if info is None:
        return 0, 1
    if info.num_workers > MOST_WORKERS:
        raise InputError(f"at most {MOST_WORKERS} workers share a dataset, not {info.num_workers}")
    return info.id, info.num_workers
