"""Loss and gradient of any model, summed over the rows of a window: a part of one exact gradient.

A model with a kernel is summed by the window loop in float64, shares and all: its gradient must be
exact to far more digits than a mini-batch's. Any other model is handed rows as batches: its scores
and gradients are its own, and only their sums are float64.
"""

import os
from contextlib import nullcontext
from dataclasses import replace
from typing import Protocol

import numpy as np

from ooc.core.blas import one_thread
from ooc.core.errors import DivergedError
from ooc.core.random_keys import Purpose, key
from ooc.engines.batch_engine import part_rows
from ooc.kernels.counters import LOSS_SUM, OK, TOTALS
from ooc.models.bad_rows import explain
from ooc.models.contract import Model
from ooc.models.declarations import arrays_of, dtype_of, kernel_of, terms_of, types_of
from ooc.models.loop import (
    Rows,
    Vectors,
    WindowLoop,
    columns_of,
    loop_bytes,
    nothing_address,
    parallel_threads,
)
from ooc.optim.settings import SETTINGS
from ooc.store.dataset import Dataset
from ooc.stream.loader import BatchAssembler, Loader
from ooc.stream.reader import Window

# More rows than any window has: the loop's scratch is as large as it gets.
MANY_ROWS = 2**40


class Sums(Protocol):
    """Adds up loss and gradient over the rows of windows."""

    def add(self, window: Window, point: np.ndarray, total: np.ndarray) -> tuple[int, float]:
        """Add the gradients of a window's rows at `point` to `total`, both (P,) float64.

        Returns
        -------
        rows, loss
            Rows of the window, and their summed loss.

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
    columns = columns_of(model, types_of(dataset, arrays_of(model, dataset)), dataset.roles)
    return loop_bytes(model, layout, kernel, columns, MANY_ROWS, dtype=np.float64)


class WindowSums:
    """A compiled model's, on as many threads as there are cores; see `Sums`.

    A model that samples draws the same at each pass: a window's seed is a function of its place.
    """

    def __init__(self, model: Model, loader: Loader, parameters: np.ndarray) -> None:
        self._model, self._seed = model, loader.plan.order.seed
        dataset, exact = loader.dataset, parameters.astype(np.float64)
        layout = model.layout(dataset.row_shape)
        kernel = kernel_of(model, layout, exact)
        assert kernel is not None, f"{model.name} has a kernel"
        self._vectors = Vectors(
            exact[None, :].copy(),
            np.zeros((1, 0, layout.size)),
            np.zeros((1, SETTINGS)),
            layout.penalised(),
            np.ones(1, np.bool_),
            np.zeros((1, TOTALS + len(terms_of(model)))),
        )
        self._loop = WindowLoop(
            model,
            layout,
            kernel,
            columns_of(model, types_of(dataset, arrays_of(model, dataset)), dataset.roles),
            self._vectors,
            np.full((1, 1), nothing_address(np.float64), np.int64),
            batch_size=loader.plan.order.window_rows,
            threads=parallel_threads(len(os.sched_getaffinity(0))),
        )
        self._loop.parallel = True

    def add(self, window: Window, point: np.ndarray, total: np.ndarray) -> tuple[int, float]:
        """Add the gradients of a window's rows."""
        # Rows in the order in which they are stored are read much faster.
        order = np.sort(window.order[window.start :])
        if len(order) == 0:
            return 0, 0.0
        self._vectors.parameters[0], loop = point, self._loop
        loop.batch_size = len(order)
        loop.begin(seed=key(self._seed, Purpose.BATCH, index=window.index), mean=False)
        # Each window's loss by itself: the difference of running sums depends on what came before.
        self._vectors.totals[0] = 0.0
        rows = Rows(window.arrays, order, window.block_starts, window.block_rows)
        with one_thread() if loop.kernel.uses_blas else nullcontext():
            status = loop.run(rows, flush=True, place=0)
        if status != OK:
            raise self._refusal(status, loop.bad_row, window)
        total += loop.gradient
        return len(order), float(self._vectors.totals[0, LOSS_SUM])

    def _refusal(self, status: int, row: int, window: Window) -> Exception:
        if row < 0:
            return DivergedError(
                "the gradient over all rows is not finite; begin with mini-batches (hybrid)"
            )
        inside = row - window.block_starts
        block = int(np.flatnonzero((inside >= 0) & (inside < window.block_rows))[0])
        place = block * window.block_rows + int(inside[block])
        target, weight = (
            None if array is None else float(np.ravel(array[place])[0])
            for array in (window.target, window.weight)
        )
        return explain(self._model, status, row, window.features[place], target, weight)


class BatchSums:
    """Any model's, asked for the gradients of batches; see `Sums`.

    A model that samples draws the same at each pass: a batch's seed is a function of its place.
    """

    def __init__(self, model: Model, loader: Loader) -> None:
        self._model, self._loader = model, loader
        self._part = part_rows(loader.plan.order.epoch_rows)
        self._parts = -(-loader.plan.order.window_rows // self._part)
        self._gradient = np.zeros(0)

    def add(self, window: Window, point: np.ndarray, total: np.ndarray) -> tuple[int, float]:
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
        return rows, loss
