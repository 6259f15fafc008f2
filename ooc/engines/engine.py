"""How windows become steps: in one compiled call a window, or batch by batch in Python.

Both take the same steps with the same numbers. A model that comes with kernels gets the first,
any other model the second. Methods on the full gradient have engines of their own.
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import numpy as np

from ooc.core.errors import DivergedError
from ooc.engines.batch_engine import BatchEngine, FullEngine, part_rows
from ooc.engines.full_gradient_engine import FullGradientEngine, full_gradient_bytes
from ooc.engines.hybrid_engine import HybridEngine
from ooc.engines.linear_engine import LinearEngine, parallel_bytes, scratch_bytes
from ooc.engines.network_engine import NetworkEngine, network_bytes
from ooc.engines.train_state import Descents, descent_bytes
from ooc.kernels.counters import NEVER
from ooc.kernels.network_memory import SHARE_ROWS
from ooc.models.contract import Layout, Model
from ooc.models.linear import LinearFamily
from ooc.models.network import DenseNetwork
from ooc.optim import Method, Optimizer, as_method
from ooc.stream.loader import Loader
from ooc.stream.reader import Window


class Engine(Protocol):
    """Takes the steps that a window completes.

    Attributes
    ----------
    descents
        What it updates in place: parameters, optimizer states, and totals of loss and noise.
    batch_size
        B of the batches that have not begun yet; it may be changed between calls.
    step
        Steps taken since the run began.
    rows
        Rows used by the steps of this engine.
    ended
        Whether it has come to its end by itself; most engines go on for as long as they may.
    """

    descents: Descents
    batch_size: int

    @property
    def step(self) -> int: ...  # noqa: D102

    @property
    def rows(self) -> int: ...  # noqa: D102

    @property
    def ended(self) -> bool: ...  # noqa: D102

    def advance(self, window: Window, last_step: int = NEVER) -> bool: ...  # noqa: D102


def engine_bytes(
    model: Model,
    layout: Layout,
    methods: Sequence[Method | Optimizer],
    batch_size: int,
    full: bool,
) -> int:
    """Return the bytes of parameters, gradients, optimizer states and kernel scratch.

    `full` where a batch is all rows.
    """
    vectors = descent_bytes(methods, layout.size)
    minimiser = as_method(methods[0]).full
    if minimiser is not None:
        vectors += full_gradient_bytes(model, layout, minimiser)
    if isinstance(model, LinearFamily):
        features = layout.shapes["coefficients"][1]
        return vectors + scratch_bytes(model, features, layout.size, len(methods))
    gradients = 8 * layout.size * (2 if full else len(methods))
    if isinstance(model, DenseNetwork):
        rows = part_rows(batch_size) if full else batch_size
        return vectors + gradients + len(methods) * network_bytes(model, layout, rows)
    return vectors + gradients


def scoring_bytes(model: Model, layout: Layout) -> int:
    """Return the bytes that evaluation and prediction hold beside batches and parameters."""
    return network_bytes(model, layout, SHARE_ROWS) if isinstance(model, DenseNetwork) else 0


def optional_bytes(model: Model, layout: Layout, batch_size: int, models: int, full: bool) -> int:
    """Return the bytes with which the model's engine could go faster; 0 where it could not."""
    if not isinstance(model, LinearFamily) or models > 1 or full:
        return 0
    return parallel_bytes(model, layout.shapes["coefficients"][1], layout.size, batch_size)


def batch_rows_held(model: Model, batch_size: int, full: bool) -> int:
    """Return the rows of batches that the model's engine holds at once, beside windows."""
    if isinstance(model, LinearFamily) or (isinstance(model, DenseNetwork) and not full):
        return 0
    return 2 * (part_rows(batch_size) if full else batch_size)


def make_engine(model: Model, loader: Loader, descents: Descents, full: bool = False) -> Engine:
    """Choose the engine for a model; `full` where a batch is all rows."""
    method = descents.methods[0]
    if method.full is not None:
        if method.optimizer is None:
            return FullGradientEngine(model, loader, descents)
        return HybridEngine(model, loader, descents, partial(make_engine, model, loader))
    if isinstance(model, LinearFamily):
        return LinearEngine(model, loader, descents)
    if len(descents) > 1:
        each = [
            make_engine(model, loader, descents.alone(number), full)
            for number in range(len(descents))
        ]
        return SideBySide(descents, each)
    if full:
        return FullEngine(model, loader, descents)
    if isinstance(model, DenseNetwork):
        return NetworkEngine(model, loader, descents)
    return BatchEngine(model, loader, descents)


class SideBySide:
    """Several engines on the same windows, each with a descent of its own."""

    ended = False

    def __init__(self, descents: Descents, engines: Sequence[Engine]) -> None:
        self.descents, self._engines = descents, engines

    @property
    def batch_size(self) -> int:
        """B of all of them."""
        return self._engines[0].batch_size

    @batch_size.setter
    def batch_size(self, rows: int) -> None:
        for engine in self._engines:
            engine.batch_size = rows

    @property
    def step(self) -> int:
        """Steps taken since the run began."""
        return max(engine.step for engine in self._engines)

    @property
    def rows(self) -> int:
        """Rows used by the steps of each engine."""
        return max(engine.rows for engine in self._engines)

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Let every engine take the steps; one whose loss is not finite is left behind.

        Raises
        ------
        DivergedError
            If none is left.
        """
        used, failed = False, None
        for number, engine in enumerate(self._engines):
            if self.descents.active[number]:
                try:
                    used = engine.advance(window, last_step)
                except DivergedError as error:
                    self.descents.active[number], failed = False, error
        if failed is not None and not np.any(self.descents.active):
            raise failed
        return used
