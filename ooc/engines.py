"""How windows become steps: in one compiled call a window, or batch by batch in Python.

Both take the same steps with the same numbers. A model that comes with kernels gets the first,
any other model the second.
"""

from typing import Protocol

import numpy as np

from ooc.kernels import linear as kernels
from ooc.kernels.rows import as_rows, tile_rows
from ooc.loader import BatchAssembler, Loader
from ooc.models.base import Layout, Model
from ooc.models.linear import LinearFamily, as_float32
from ooc.optim import Optimizer
from ooc.reader import Window


class Engine(Protocol):
    """Takes the steps that a window completes.

    Attributes
    ----------
    parameters, state
        Flat parameters (float32) and optimizer state, both updated in place.
    step
        Steps taken since the run began.
    rows
        Rows used by the steps of this engine.
    loss_sum
        Sum over those rows of the loss, each taken before the row was learned from.
    """

    parameters: np.ndarray
    state: np.ndarray

    @property
    def step(self) -> int: ...  # noqa: D102

    @property
    def rows(self) -> int: ...  # noqa: D102

    @property
    def loss_sum(self) -> float: ...  # noqa: D102

    def advance(self, window: Window) -> None: ...  # noqa: D102


def engine_bytes(model: Model, layout: Layout, optimizer: Optimizer) -> int:
    """Return the bytes of parameters, gradient, optimizer state and kernel scratch."""
    vectors = (4 + 8) * layout.size + optimizer.state_bytes(layout.size)
    if not isinstance(model, LinearFamily):
        return vectors
    features = layout.shapes["coefficients"][1]
    tile = tile_rows(features) * (4 * features + 4 * model.outputs + 16)
    return vectors + tile + 4 * features


def batch_copies(model: Model) -> int:
    """Return how many copies of a batch the model's engine holds at once."""
    return 0 if isinstance(model, LinearFamily) else 2


def make_engine(
    model: Model,
    optimizer: Optimizer,
    loader: Loader,
    parameters: np.ndarray,
    state: np.ndarray,
) -> Engine:
    """Choose the engine for a model."""
    kind = LinearEngine if isinstance(model, LinearFamily) else BatchEngine
    return kind(model, optimizer, loader, parameters, state)  # type: ignore[arg-type]


class LinearEngine:
    """The linear family: one compiled call a window, Python is not entered for a batch."""

    def __init__(
        self,
        model: LinearFamily,
        optimizer: Optimizer,
        loader: Loader,
        parameters: np.ndarray,
        state: np.ndarray,
    ) -> None:
        self.parameters, self.state = parameters, state
        self._model, self._optimizer, self._dataset = model, optimizer, loader.dataset
        self._batch_size = loader.plan.batch_size
        self._first_step = loader.step
        shape = loader.dataset.arrays[loader.dataset.features].shape[1:]
        features = int(np.prod(shape, dtype=np.int64))
        rows = tile_rows(features)
        self._tile = np.empty((rows, features), np.float32)
        self._tile_targets = np.empty(rows, np.float32)
        self._tile_weights = np.empty(rows if loader.dataset.weight else 0, np.float32)
        self._tile_ids = np.empty(rows, np.int64)
        self._scores = np.empty((rows, model.outputs), np.float32)
        self._partial = np.empty(features, np.float32)
        self._gradient = np.zeros(parameters.size)
        self._counters = np.zeros(kernels.COUNTERS, np.int64)
        self._counters[kernels.STEP] = self._first_step
        self._totals = np.zeros(kernels.TOTALS)

    @property
    def step(self) -> int:
        """Steps taken since the run began."""
        return int(self._counters[kernels.STEP])

    @property
    def rows(self) -> int:
        """Rows used by the steps of this engine."""
        return int(self._counters[kernels.ROWS])

    @property
    def loss_sum(self) -> float:
        """Sum of the loss over those rows."""
        return float(self._totals[kernels.LOSS_SUM])

    def advance(self, window: Window) -> None:
        """Take the steps that a window completes.

        Raises
        ------
        DataError, DivergedError
            If a row cannot be used; the parameters are those before its batch.
        """
        dataset, model = self._dataset, self._model
        features, half = as_rows(window.arrays[dataset.features])
        status = kernels.train_window(
            features,
            half,
            as_float32(window.arrays.get(dataset.target or "")),
            as_float32(window.arrays.get(dataset.weight or "")),
            window.order,
            window.start,
            window.block_starts,
            window.block_rows,
            window.last,
            self._batch_size,
            model.scale,
            model.loss_code,
            model.intercept,
            self.parameters,
            self._optimizer.code,
            np.array(self._optimizer.constants),
            self.state,
            self._tile,
            self._tile_targets,
            self._tile_weights,
            self._tile_ids,
            self._scores,
            self._partial,
            self._gradient,
            self._counters,
            self._totals,
        )
        if status != kernels.OK:
            row = int(self._counters[kernels.BAD_ROW])
            place = int(np.flatnonzero(self._tile_ids == row)[0])
            values = self._tile[place]
            raise model.explain(status, row, values, float(self._tile_targets[place]))


class BatchEngine:
    """Any model: batches are cut in Python and handed to ``model.loss_and_grad``."""

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        loader: Loader,
        parameters: np.ndarray,
        state: np.ndarray,
    ) -> None:
        self.parameters, self.state = parameters, state
        self.rows, self.loss_sum = 0, 0.0
        self.step = loader.step
        self._model, self._optimizer = model, optimizer
        self._assembler = BatchAssembler(loader)
        self._gradient = np.zeros(parameters.size)

    def advance(self, window: Window) -> None:
        """Take the steps that a window completes."""
        for batch in self._assembler.add(window):
            loss = self._model.loss_and_grad(self.parameters, batch, self._gradient)
            self._optimizer.update(self.parameters, self._gradient, self.state, self.step)
            self.step += 1
            self.rows += len(batch.rows)
            self.loss_sum += loss * len(batch.rows)
