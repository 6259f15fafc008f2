"""Batches, and what cuts windows into them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.core.random_keys import Purpose, key
from ooc.core.sliding import rows_at
from ooc.store.dataset import Dataset
from ooc.store.joined import joined_features
from ooc.store.sparse_rows import (
    SparseRows,
    as_matrix,
    copied,
    is_matrix,
    rows_apart,
    rows_in_place,
    stacked,
)
from ooc.store.spec import ArraySpec
from ooc.store.stores import Stores
from ooc.stream.order import Order
from ooc.stream.window import ByRole, Window

# Beside the arrays of a batch: no array's name begins with a slash.
_ROWS, _IMPORTANCE = "/rows", "/importance"


@dataclass(frozen=True)
class Batch(ByRole):
    """The rows of one step.

    Attributes
    ----------
    arrays
        For each array (rows, ...), in its own dtype; ``batch["X"]`` is short for it. Sparse rows
        are a ``scipy.sparse.csr_array``; in place they are `SparseRows`, of which ``batch["X"]``
        makes one.
    rows
        (rows,) int64, the rows' places in the dataset.
    step, seed
        The step's number in the run, and a seed that is a function of it and the run's seed.
    ends_epoch
        Whether the epoch ends with it.
    importance
        (rows,) float64 where rows are drawn by weight: what makes a mean over the batch an
        unbiased estimate of the mean over all rows. None where each row is visited once.
    stores
        Of which store a row is, where there are several: `Stores.locate`.
    joined
        What the features are made of, where that is several arrays, or columns of one.
    """

    arrays: dict[str, Any]
    rows: np.ndarray
    step: int
    seed: int
    roles: tuple[str, str | None, str | None]
    ends_epoch: bool = False
    importance: np.ndarray | None = None
    stores: Stores | None = None
    joined: ArraySpec | None = None

    @property
    def features(self) -> Any:
        """The rows of the features array."""
        return self[self.roles[0]]

    def __getitem__(self, name: str) -> Any:
        """Return the rows of one array."""
        return as_matrix(self.arrays[name])


class BatchAssembler:
    """Cuts windows into batches; a batch may begin in one window and end in the next.

    Parameters
    ----------
    dataset, order
        Whose rows they are, and in which order windows have them.
    batch_size, step
        Of the first batch.
    in_place
        Whether arrays of a batch that lies in one window may be that window's own memory: then a
        batch is valid until the next one is asked for, and its sparse rows are `SparseRows`.

    Attributes
    ----------
    batch_size
        B of the batches that have not begun yet.
    used_up
        Whether every row of the window that was added last is in a batch, or waits for the next.
    """

    def __init__(
        self, dataset: Dataset, order: Order, batch_size: int, step: int, in_place: bool = False
    ) -> None:
        self._order, self._roles = order, dataset.roles
        self._holders = dataset.stores, joined_features(dataset)
        self.batch_size, self.used_up = batch_size, True
        self._step, self._in_place = step, in_place
        self._parts: list[dict[str, Any]] = []
        self._have = 0

    def add(self, window: Window) -> Iterator[Batch]:
        """Yield the batches that the rows of a window complete."""
        place = window.start
        while place < len(window.order):
            taken = window.order[place : place + self.batch_size - self._have]
            # What waits for the next window outlives this one.
            waits = self._have + len(taken) < self.batch_size and not window.last
            pick = rows_at if not self._in_place else rows_apart if waits else rows_in_place
            picked: dict[str, Any] = {
                name: pick(array, taken) for name, array in window.arrays.items()
            }
            picked[_ROWS] = window.rows(taken)
            if self._order.draws is not None and window.weights is not None:
                picked[_IMPORTANCE] = self._order.draws.importance(window.weights[taken])
            self._parts.append(picked)
            place += len(taken)
            self._have += len(taken)
            self.used_up = place == len(window.order)
            ends_epoch = window.last and self.used_up
            if self._have == self.batch_size or ends_epoch:
                yield self._finish(ends_epoch)
        if window.last and self._have:
            # Nothing of the last window could be read.
            yield self._finish(ends_epoch=True)

    def _finish(self, ends_epoch: bool) -> Batch:
        arrays = {name: _joined([part[name] for part in self._parts]) for name in self._parts[0]}
        rows, importance = arrays.pop(_ROWS), arrays.pop(_IMPORTANCE, None)
        seed = key(self._order.seed, Purpose.BATCH, index=self._step)
        told = (self._roles, ends_epoch, importance, *self._holders)
        batch = Batch(arrays, rows, self._step, seed, *told)
        self._parts, self._have = [], 0
        self._step += 1
        return batch


def _joined(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], SparseRows):
        return copied(np.concatenate([part.extents for part in parts]), parts[0])
    return stacked(parts) if is_matrix(parts[0]) else np.concatenate(parts)
