"""Loss and gradient of any model, summed over the rows of a window: a part of one exact gradient.

A model that samples draws the same at each pass: its seeds are functions of a window's place.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from ooc.core.errors import DivergedError
from ooc.core.random_keys import Purpose, key
from ooc.engines.batch_engine import part_rows
from ooc.engines.window_engine import row_in
from ooc.kernels.counters import LOSS_SUM, OK, TOTALS
from ooc.models.bad_rows import explain
from ooc.models.contract import Model
from ooc.models.declarations import dtype_of, kernel_for_data
from ooc.models.loop import Rows, make_loop
from ooc.models.scratch import dataset_columns, loop_bytes
from ooc.models.train_state import at_rest
from ooc.store.dataset import Dataset
from ooc.store.stores import told_row
from ooc.stream.batch import BatchAssembler
from ooc.stream.loader import Loader
from ooc.stream.window import Window

# More rows than any window has: the loop's scratch is as large as it gets.
MANY_ROWS = 2**40

Summed: TypeAlias = tuple[int, float, np.ndarray]
Sums: TypeAlias = Callable[[Window, np.ndarray, np.ndarray], Summed]


def make_sums(model: Model, loader: Loader, parameters: np.ndarray) -> Sums:
    """Return a function that adds up loss and gradient over the rows of a window.

    It takes the window, a point, and the total to which the rows' gradients there are added, both
    (P,) float64. It returns the window's rows, their summed loss, and its named terms, empty where
    unknown. `parameters` (P,) hold what training leaves alone.

    Raises
    ------
    DataError, DivergedError
        By that function, if a row cannot be used, or the loss is not finite.
    """
    if kernel_for_data(model, loader.dataset) is not None:
        return _window_sums(model, loader, parameters)
    return _batch_sums(model, loader)


def sums_bytes(model: Model, dataset: Dataset) -> int:
    """Return the bytes of the sums' scratch, without what a model itself holds for a batch."""
    layout = model.layout(dataset.row_shape)
    kernel = kernel_for_data(model, dataset)
    if kernel is None:
        return 12 * layout.size
    columns = dataset_columns(model, dataset)
    return loop_bytes(model, layout, kernel, columns, MANY_ROWS, dtype=np.float64)


def _window_sums(model: Model, loader: Loader, parameters: np.ndarray) -> Sums:
    """Let the window loop add up, in float64 and parallel: mini-batches need far fewer digits."""
    order, state = loader.plan.order, at_rest(model, parameters.astype(np.float64))
    loop = make_loop(model, loader.dataset, state, order.window_rows)
    loop.parallel = True

    def add(window: Window, point: np.ndarray, total: np.ndarray) -> Summed:
        # Rows in the order in which they are stored are read much faster.
        places = np.sort(window.order[window.start :])
        if len(places) == 0:
            return 0, 0.0, np.empty(0)
        state.parameters[0], totals = point, state.totals[0]
        loop.batch_size = len(places)
        loop.begin(seed=key(order.seed, Purpose.BATCH, index=window.index), mean=False)
        totals[:] = 0.0
        rows = Rows(window.arrays, places, window.block_starts, window.block_rows)
        status = loop.run(rows, flush=True, place=0)
        if status != OK:
            found = row_in(window, loop.bad_row)
            if found is None:
                raise DivergedError(
                    "the gradient over all rows is not finite; begin with mini-batches (hybrid)"
                )
            row = told_row(window, loop.bad_row)
            raise explain(model, status, row, *found, roles=window.roles, holder=window)
        total += loop.gradient
        return len(places), float(totals[LOSS_SUM]), totals[TOTALS:]

    return add


def _batch_sums(model: Model, loader: Loader) -> Sums:
    """Hand rows as batches to a model: scores and gradients are its own, only sums are float64."""
    part = part_rows(loader.plan.order.epoch_rows)
    parts = -(-loader.plan.order.window_rows // part)
    gradient = np.zeros(model.layout(loader.dataset.row_shape).size)

    def add(window: Window, point: np.ndarray, total: np.ndarray) -> Summed:
        parameters, rows, loss = point.astype(dtype_of(model)), 0, 0.0
        assembler = BatchAssembler(loader.dataset, loader.plan.order, part, window.index * parts)
        for batch in assembler.add(replace(window, last=True)):
            value = model.loss_and_grad(parameters, batch, gradient)
            if not np.isfinite(value):
                raise DivergedError(
                    f"the loss is {value} for rows {batch.rows.min()} to {batch.rows.max()}; "
                    "begin with mini-batches (hybrid), or look for rows that are not finite"
                )
            count = len(batch.rows)
            total += np.multiply(gradient, count, out=gradient)
            rows, loss = rows + count, loss + count * value
        return rows, loss, np.empty(0)

    return add
