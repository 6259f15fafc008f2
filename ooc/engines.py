"""How windows become steps: in one compiled call a window, or batch by batch in Python.

Both take the same steps with the same numbers. A model that comes with kernels gets the first,
any other model the second.
"""

from typing import Protocol

import numpy as np

from ooc.kernels.network_memory import SHARE_ROWS
from ooc.linear_engine import LinearEngine, parallel_bytes, scratch_bytes
from ooc.loader import BatchAssembler, Loader
from ooc.models.base import Layout, Model
from ooc.models.linear import LinearFamily
from ooc.models.network import DenseNetwork
from ooc.network_engine import NetworkEngine, network_bytes
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


def engine_bytes(model: Model, layout: Layout, optimizer: Optimizer, batch_size: int) -> int:
    """Return the bytes of parameters, gradient, optimizer state and kernel scratch."""
    vectors = (4 + 8) * layout.size + optimizer.state_bytes(layout.size)
    if isinstance(model, LinearFamily):
        return vectors + scratch_bytes(model, layout.shapes["coefficients"][1])
    if isinstance(model, DenseNetwork):
        return vectors + network_bytes(model, layout, batch_size)
    return vectors


def scoring_bytes(model: Model, layout: Layout) -> int:
    """Return the bytes that evaluation and prediction hold beside batches and parameters."""
    return network_bytes(model, layout, SHARE_ROWS) if isinstance(model, DenseNetwork) else 0


def optional_bytes(model: Model, layout: Layout, batch_size: int) -> int:
    """Return the bytes with which the model's engine could go faster; 0 where it could not."""
    if not isinstance(model, LinearFamily):
        return 0
    return parallel_bytes(model, layout.shapes["coefficients"][1], layout.size, batch_size)


def batch_copies(model: Model) -> int:
    """Return how many copies of a batch the model's engine holds at once."""
    return 0 if isinstance(model, LinearFamily | DenseNetwork) else 2


def make_engine(
    model: Model,
    optimizer: Optimizer,
    loader: Loader,
    parameters: np.ndarray,
    state: np.ndarray,
) -> Engine:
    """Choose the engine for a model."""
    if isinstance(model, LinearFamily):
        return LinearEngine(model, optimizer, loader, parameters, state)
    if isinstance(model, DenseNetwork):
        return NetworkEngine(model, optimizer, loader, parameters, state)
    return BatchEngine(model, optimizer, loader, parameters, state)


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
        features = loader.dataset.arrays[loader.dataset.features]
        self._penalised = model.layout(features.shape[1:]).penalised()

    def advance(self, window: Window) -> None:
        """Take the steps that a window completes."""
        for batch in self._assembler.add(window):
            loss = self._model.loss_and_grad(self.parameters, batch, self._gradient)
            self._optimizer.update(
                self.parameters, self._gradient, self.state, self.step, self._penalised
            )
            self.step += 1
            self.rows += len(batch.rows)
            self.loss_sum += loss * len(batch.rows)
