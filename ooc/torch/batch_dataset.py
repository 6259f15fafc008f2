"""Whole batches as tensors, in one process or shared out among a data loader's workers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from ooc.core.errors import InputError
from ooc.store.dataset import Dataset
from ooc.stream.batch import BatchAssembler
from ooc.stream.loader import Loader, names_of
from ooc.stream.options import AUTO, StreamOptions, make_stream

# Workers count the epochs that they have begun in memory that all processes share.
MOST_WORKERS = 256
_STREAM, _PLACE = "stream", "place"


class BatchDataset(IterableDataset[dict[str, torch.Tensor]]):
    """Mini-batches of a dataset larger than memory, blockwise shuffled, as dicts of tensors.

    Each loop over it is one epoch: every row once, in batches of full size but the last, and
    its length is the number of batches. Give it to `torch.utils.data.DataLoader` with
    ``batch_size=None``, or loop over it itself. With W workers each has one W-th of the same
    batches, so that no row is repeated or lost; a window in which the share of one ends and that
    of another begins is read by both. Readers are threads and need no workers: those pay where
    what comes after them, such as augmentation, is slow Python.

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
        If an array is missing or nothing fits the budget.

    Examples
    --------
    >>> import ooc
    >>> batches = BatchDataset(ooc.open(example_dataset), 300, memory="2GiB")
    >>> len(batches), [tuple(batch["X"].shape) for batch in batches]
    (4, [(300, 3), (300, 3), (300, 3), (100, 3)])
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
        for spec in dataset.specs(names_of(dataset, arrays, make_stream(stream, options))):
            if spec.is_sparse:
                raise InputError(
                    f"{spec.name} of {dataset.path} is sparse, and tensors here are dense; loop "
                    "over ooc.Loader, whose batches are SciPy's, and make of them what you need"
                )
        loader = Loader(dataset, batch_size, arrays=arrays, stream=make_stream(stream, options))
        # Each worker plans for itself; it need not look again at how the rows are mixed.
        order, mixes = loader.plan.order, loader.stream.shuffle != "none"
        self._stream = replace(loader.stream, window=order.blocks_per_window if mixes else AUTO)
        self._dataset, self._batch_size, self._arrays = dataset, batch_size, arrays
        self._batches = -(-order.epoch_rows // batch_size)
        self._begun = torch.zeros(MOST_WORKERS, dtype=torch.int64).share_memory_()
        # (epoch, window, first unused row): where this loop is, and where the next goes on.
        self._place: tuple[int, int, int] | None = None
        self._restored: tuple[int, int, int] | None = None
        self._loader: Loader | None = loader

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes to a worker: it plans for itself, in its own memory."""
        return {**self.__dict__, "_loader": None}

    def __len__(self) -> int:
        """Return the batches of an epoch; there are fewer where rows are left out."""
        return self._batches

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the batches of the next epoch, or of the rest of the one that was restored."""
        worker, workers = _share()
        if self._loader is None or workers > 1:
            self._loader = self._new_loader()
        loader, restored = self._loader, self._restored
        self._restored = self._place = None
        epoch = restored[0] if restored else int(self._begun[worker])
        self._begun[worker] = epoch + 1
        bounds = [self._batches * share // workers for share in (worker, worker + 1)]
        first, end = (self._locate(loader, epoch, batch) for batch in bounds)
        first = restored[1:] if restored else first
        last = end[0] if end[1] else end[0] - 1
        places = (
            (epoch, window, first[1] if window == first[0] else 0)
            for window in range(first[0], last + 1 if first < end else first[0])
        )
        assembler = BatchAssembler(loader.dataset, loader.plan.order, self._batch_size, loader.step)
        delivered = given = 0
        for window in loader.windows(epoch + 1, places):
            if window.index == last:
                order = window.order[: end[1]] if end[1] else window.order
                window = replace(window, order=order, last=True)
            for batch in assembler.add(window):
                given += len(batch.rows)
                at = window.index, window.start + given - delivered
                self._place = None if batch.ends_epoch else (epoch, *at)
                yield {name: torch.from_numpy(batch[name]) for name in loader.names}
            delivered += len(window.order) - window.start
        self._place = None

    def state_dict(self) -> dict[str, Any]:
        """Return where this process is: a few integers, and what they are a position of."""
        worker, _ = _share()
        place = self._place or self._restored or (int(self._begun[worker]),)
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
        worker, _ = _share()
        epoch, *place = map(int, state[_PLACE])
        self._begun[worker] = epoch
        self._place, self._restored = None, (epoch, place[0], place[1]) if place else None

    @staticmethod
    def _locate(loader: Loader, epoch: int, batch: int) -> tuple[int, int]:
        """Return the window and the row in it at which a batch of an epoch begins, or it ends."""
        order, row = loader.plan.order, batch * loader.plan.batch_size
        return order.locate(epoch, row) if row < order.epoch_rows else (order.windows, 0)

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
