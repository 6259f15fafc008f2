"""Loss and gradient of any model, summed over the rows of a window: a part of one exact gradient.

The linear family has a compiled loop in float64. Any other model is handed rows as batches: its
scores and gradients are its own float32, and only their sums are float64.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import numpy as np

from ooc.core.errors import DivergedError
from ooc.engines.batch_engine import part_rows
from ooc.kernels.counters import OK
from ooc.kernels.linear import OWN
from ooc.kernels.linear_sums import add_window
from ooc.kernels.linear_window import Rows, Tile
from ooc.kernels.rows import as_rows, tile_rows
from ooc.models.contract import Model
from ooc.models.linear import LinearFamily, as_float32
from ooc.stream.loader import BatchAssembler, Loader
from ooc.stream.reader import Window

# Parts of a window whose sums are made on their own.
PARTS = 8


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
    if isinstance(model, LinearFamily) and model.loss_code != OWN:
        return LinearSums(model, loader, parameters)
    return BatchSums(model, loader)


def sums_bytes(model: Model, features: int, parameters: int) -> int:
    """Return the bytes of the sums' scratch, without what a model itself holds for a batch."""
    if isinstance(model, LinearFamily) and model.loss_code != OWN:
        tile = tile_rows(features) * (4 * features + 8 * model.outputs + 16) + 16 * features
        return PARTS * (tile + 8 * parameters)
    return 12 * parameters


class LinearSums:
    """The linear family's, compiled, on as many threads as there are cores; see `Sums`.

    A window is cut into `PARTS`, whose sums are added up in their order: how many threads there
    are makes no difference.
    """

    def __init__(self, model: LinearFamily, loader: Loader, parameters: np.ndarray) -> None:
        self._model, self._dataset = model, loader.dataset
        shape = loader.dataset.row_shape
        features = int(np.prod(shape, dtype=np.int64))
        weighted = loader.dataset.weight is not None
        self._tiles = [_tile(features, model.outputs, weighted) for _ in range(PARTS)]
        self._partials = np.empty((PARTS, features))
        self._totals = np.empty((PARTS, parameters.size))
        self._problem = model.problem(model.layout(shape), parameters)
        self._threads = min(PARTS, len(os.sched_getaffinity(0)))

    def add(self, window: Window, point: np.ndarray, total: np.ndarray) -> tuple[int, float]:
        """Add the gradients of a window's rows."""
        dataset = self._dataset
        features, half = as_rows(window.arrays[dataset.features])
        targets = as_float32(window.arrays.get(dataset.target or ""))
        weights = as_float32(window.arrays.get(dataset.weight or ""))
        # Rows in the order in which they are stored are read much faster.
        order = np.sort(window.order[window.start :])
        blocks = (window.block_starts, window.block_rows)
        parts = [
            Rows(features, half, targets, weights, places, *blocks)
            for places in np.array_split(order, PARTS)
        ]
        self._totals[:] = 0.0

        def work(number: int) -> tuple[int, int, float]:
            scratch = (self._tiles[number], self._partials[number], self._totals[number])
            return add_window(parts[number], self._problem, point, *scratch)

        with ThreadPoolExecutor(self._threads) as pool:
            found = list(pool.map(work, range(PARTS)))
        loss = 0.0
        for number, (status, place, part_loss) in enumerate(found):
            if status != OK:
                row = int(window.rows(np.array([place]))[0])
                target = float(targets[place]) if targets.size else None
                values = window.arrays[dataset.features][place]
                raise self._model.explain(status, row, values, target)
            total += self._totals[number]
            loss += part_loss
        return len(order), float(loss)


def _tile(features: int, outputs: int, weighted: bool) -> Tile:
    rows = tile_rows(features)
    return Tile(
        np.empty((rows, features), np.float32),
        np.empty(rows, np.float32),
        np.empty(rows if weighted else 0, np.float32),
        np.empty(rows, np.int64),
        np.empty((rows, outputs)),
        np.empty((0, 0), np.float32),
        np.empty(0),
    )


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
        parameters, rows, loss = point.astype(np.float32), 0, 0.0
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
