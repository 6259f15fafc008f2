"""Loss and gradient of any model, summed over the rows of a window: a part of one exact gradient.

A model with a kernel is summed by the window loop in float64, shares and all: its gradient must be
exact to far more digits than a mini-batch's. Any other model is handed rows as batches: its scores
and gradients are its own, and only their sums are float64.
"""

from dataclasses import replace
from typing import Protocol, TypeAlias

import numpy as np

from ooc.core.errors import DivergedError
from ooc.core.random_keys import Purpose, key
from ooc.engines.batch_engine import part_rows
from ooc.engines.window_engine import row_in
from ooc.kernels.counters import LOSS_SUM, OK, TOTALS
from ooc.models.bad_rows import explain
from ooc.models.contract import Model
from ooc.models.declarations import dtype_of, kernel_of
from ooc.models.loop import Rows, make_loop
from ooc.models.scratch import dataset_columns, loop_bytes
from ooc.models.train_state import at_rest
from ooc.store.dataset import Dataset
from ooc.stream.loader import BatchAssembler, Loader
from ooc.stream.reader import Window

# More rows than any window has: the loop's scratch is as large as it gets.
MANY_ROWS = 2**40


Summed: TypeAlias = tuple[int, float, np.ndarray]


class Sums(Protocol):
    """Adds up loss and gradient over the rows of windows."""

    def add(self, window: Window, point: np.ndarray, total: np.ndarray) -> Summed:
        """Add the gradients of a window's rows at `point` to `total`, both (P,) float64.

        Returns
        -------
        rows, loss, terms
            Rows of the window, their summed loss, and its named terms: empty where unknown.

        Raises
        ------
        DataError, DivergedError
            If a row cannot be used, or the loss is not finite.
        """


def make_sums(model: Model, loader: Loader, parameters: np.ndarray) -> Sums:
    """Choose how a model's sums are made; `parameters` (P,) hold what training leaves alone."""
    if kernel_of(model, model.layout(loader.dataset.row_shape)) is not None:
        return WindowSums(model, loader, parameters)
    return BatchSums(model, loader)


def sums_bytes(model: Model, dataset: Dataset) -> int:
    """Return the bytes of the sums' scratch, without what a model itself holds for a batch."""
    layout = model.layout(dataset.row_shape)
    kernel = kernel_of(model, layout)
    if kernel is None:
        return 12 * layout.size
    columns = dataset_columns(model, dataset)
    return loop_bytes(model, layout, kernel, columns, MANY_ROWS, dtype=np.float64)


class WindowSums:
    """A compiled model's, on as many threads as there are cores; see `Sums`.

    A model that samples draws the same at each pass: a window's seed is a function of its place.
    """

    def __init__(self, model: Model, loader: Loader, parameters: np.ndarray) -> None:
        self._model, self._seed = model, loader.plan.order.seed
        self._state = at_rest(model, parameters.astype(np.float64))
        rows = loader.plan.order.window_rows
        self._loop = make_loop(model, loader.dataset, self._state, rows)
        self._loop.parallel = True

    def add(self, window: Window, point: np.ndarray, total: np.ndarray) -> Summed:
        """Add the gradients of a window's rows."""
        # Rows in the order in which they are stored are read much faster.
        order = np.sort(window.order[window.start :])
        if len(order) == 0:
            return 0, 0.0, np.empty(0)
        self._state.parameters[0], loop = point, self._loop
        loop.batch_size = len(order)
        loop.begin(seed=key(self._seed, Purpose.BATCH, index=window.index), mean=False)
        totals = self._state.totals[0]
        totals[:] = 0.0
        rows = Rows(window.arrays, order, window.block_starts, window.block_rows)
        status = loop.run(rows, flush=True, place=0)
        if status != OK:
            found = row_in(window, loop.bad_row)
            if found is None:
                raise DivergedError(
                    "the gradient over all rows is not finite; begin with mini-batches (hybrid)"
                )
            raise explain(self._model, status, loop.bad_row, *found, roles=window.roles)
        total += loop.gradient
        return len(order), float(totals[LOSS_SUM]), totals[TOTALS:]


class BatchSums:
    """Any model's, asked for the gradients of batches; see `Sums`.

    A model that samples draws the same at each pass: a batch's seed is a function of its place.
    """

    def __init__(self, model: Model, loader: Loader) -> None:
        self._model, self._loader = model, loader
        self._part = part_rows(loader.plan.order.epoch_rows)
        self._parts = -(-loader.plan.order.window_rows // self._part)
        self._gradient = np.zeros(0)

    def add(self, window: Window, point: np.ndarray, total: np.ndarray) -> Summed:
        """Add the gradients of a window's rows."""
        if self._gradient.size != total.size:
            self._gradient = np.zeros(total.size)
        parameters, rows, loss = point.astype(dtype_of(self._model)), 0, 0.0
        whole = replace(window, last=True)
        assembler = BatchAssembler(self._loader, self._part, window.index * self._parts)
        for batch in assembler.add(whole):
            value = self._model.loss_and_grad(parameters, batch, self._gradient)
            if not np.isfinite(value):
                raise DivergedError(
                    f"the loss is {value} for rows {batch.rows.min()} to {batch.rows.max()}; "
                    "begin with mini-batches (hybrid), or look for rows that are not finite"
                )
            count = len(batch.rows)
            self._gradient *= count
            total += self._gradient
            rows, loss = rows + count, loss + count * value
        return rows, loss, np.empty(0)
