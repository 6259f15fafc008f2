"""How windows become steps: in one compiled call a window, or batch by batch in Python.

Both take the same steps; a model that declares a kernel gets the first.
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np

from ooc.core.errors import DivergedError, InputError
from ooc.engines.batch_engine import BatchEngine, FullEngine, part_rows
from ooc.engines.forwarding import forwarded
from ooc.engines.full_gradient_engine import FullGradientEngine, full_gradient_bytes
from ooc.engines.hybrid_engine import HybridEngine
from ooc.engines.window_engine import WindowEngine
from ooc.kernels.counters import NEVER
from ooc.models.contract import Layout, Model
from ooc.models.declarations import (
    Kernel,
    arrays_of,
    dtype_of,
    kernel_for_data,
    kernel_of,
    phases_of,
    scratch_bytes_of,
)
from ooc.models.scratch import dataset_columns, loop_bytes
from ooc.models.step_kernels import kernel_for_steps, with_lazy_penalties
from ooc.models.train_state import TrainState, train_state_bytes
from ooc.optim import Method, Optimizer, as_method
from ooc.store.dataset import Dataset
from ooc.store.sparse import SparseSpec
from ooc.stream.loader import Loader
from ooc.stream.plan import Demand
from ooc.stream.window import Window

# SciPy's BLAS with its buffers, as measured in a fresh process by tests/engines/test_memory.py.
BLAS_BYTES = 40 * 2**20
# Rows that a model is asked to score at a time, at most, beside those that a batch holds.
SCORED_ROWS = 128


class Engine(Protocol):
    """Takes the steps that a window completes.

    Attributes
    ----------
    train_state
        What it updates in place: parameters, optimizer states, and totals of loss and noise.
    batch_size
        B of the batches that have not begun yet; it may be changed between calls.
    """

    train_state: TrainState
    batch_size: int

    @property
    def step(self) -> int:
        """Steps taken since the run began."""

    @property
    def rows(self) -> int:
        """Rows used by the steps of this engine."""

    @property
    def ended(self) -> bool:
        """Whether it has come to its end by itself; most engines go on for as long as they may."""

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Take the steps that a window completes, up to a given one; tell if it is used up.

        The same window is given again until it is; then the next one comes. A batch may begin in
        one window and end in the next.

        Raises
        ------
        DataError, DivergedError
            If a row cannot be used or a loss is not finite; parameters are those before its batch.
        """


@runtime_checkable
class Dropping(Protocol):
    """An engine that may leave rows of the stream out.

    Attributes
    ----------
    dropped_rows
        How many of its complete batches no step has used.
    """

    dropped_rows: int


def passed_rows(engine: Engine) -> int:
    """Return the rows of the stream whose batches are over."""
    return engine.rows + (engine.dropped_rows if isinstance(engine, Dropping) else 0)


def engine_bytes(
    model: Model,
    dataset: Dataset,
    methods: Sequence[Method | Optimizer],
    batch_size: int,
    full: bool,
    lanes: int = 1,
) -> int:
    """Return the bytes of parameters, states, gradients and scratch, and of batches held.

    `full` where a batch is all rows.

    Raises
    ------
    InputError
        If the method does not go with the model.
    """
    layout, names = model.layout(dataset.row_shape), arrays_of(model, dataset)
    methods = with_lazy_penalties([as_method(each) for each in methods], model, dataset, batch_size)
    optimizers = [method.optimizer for method in methods]
    kernel = kernel_for_steps(model, dataset, optimizers, batch_size)
    minimiser = methods[0].full
    check_method(model, layout, minimiser is not None or full)
    held = train_state_bytes(model, layout, methods)
    if minimiser is not None:
        held += full_gradient_bytes(model, dataset, minimiser)
    if kernel is not None:
        columns = dataset_columns(model, dataset)
        held += loop_bytes(model, layout, kernel, columns, batch_size, len(methods), lanes=lanes)
        held += carried_bytes(dataset, kernel, batch_size)
        # A model's own numbers may be as many as its parameters.
        held += kernel.reals.nbytes + kernel.integers.nbytes
        # What is up to date is a copy where penalties are taken late.
        held += dtype_of(model).itemsize * layout.size * kernel.is_lazy
        return held + (BLAS_BYTES if kernel.uses_blas else 0)
    rows = part_rows(batch_size) if full or minimiser is not None else batch_size
    row_bytes = sum(spec.row_bytes for spec in dataset.specs(names))
    each = 8 * layout.size * (2 if full else 1) + scratch_bytes_of(model, layout, rows)
    return held + len(methods) * each + 2 * rows * row_bytes


def local_bytes(
    model: Model,
    dataset: Dataset,
    methods: Sequence[Method | Optimizer],
    batch_size: int,
    lanes: int,
) -> int:
    """Return the bytes that lanes hold which take steps by themselves, beside `engine_bytes`.

    Each has its part of the loop, parameters and an optimizer state, of which a copy is kept, and
    one is on its way; the change from round to round has a velocity.
    """
    layout, optimizers = (
        model.layout(dataset.row_shape),
        [as_method(each).optimizer for each in methods],
    )
    kernel = kernel_for_steps(model, dataset, optimizers, batch_size)
    if kernel is None:
        return 0
    columns = dataset_columns(model, dataset)
    loop = loop_bytes(model, layout, kernel, columns, batch_size, len(methods), lanes=lanes)
    own = train_state_bytes(model, layout, methods)
    return lanes * (loop + 3 * own) + 8 * layout.size * len(methods)


def carried_bytes(dataset: Dataset, kernel: Kernel, batch_size: int) -> int:
    """Return the most bytes of sparse rows that wait for the next window, and of their copy."""
    rows = dataset.arrays[dataset.features]
    if not isinstance(rows, SparseSpec):
        return 0
    waiting = batch_size if kernel.is_by_columns else kernel.share_rows(batch_size)
    return 2 * rows.most_nonzeros(waiting) * rows.value_bytes


def demand_of(
    model: Model,
    dataset: Dataset,
    methods: Sequence[Method | Optimizer],
    batch_size: int,
    full: bool,
    held: int,
    lanes: int = 1,
) -> Demand:
    """Return what training needs beside the stream's windows, as `engine_bytes`.

    `held` is what the process held before, see `ooc.stream.plan.held_bytes`.
    """
    used = engine_bytes(model, dataset, methods, batch_size, full, lanes)
    # Where a run is saved or returned, its parameters are copied, and looked at for what is not
    # finite.
    copied = (dtype_of(model).itemsize * len(methods) + 1) * model.layout(dataset.row_shape).size
    return Demand(used, 0, batch_size, held, copied)


def check_method(model: Model, layout: Layout, is_full: bool) -> None:
    """Refuse a step of all rows, `is_full`, for a model that has none."""
    if not is_full:
        return
    if len(phases_of(model)) > 1:
        raise InputError(
            f"parts of {model.name} take turns, which needs mini-batches: choose an optimizer and "
            "a batch size"
        )
    if layout.touched is not None:
        raise InputError(
            f"{model.name} updates the rows of {layout.touched} that a batch touches, and a full "
            "gradient touches all: choose an optimizer and a batch size"
        )


def scoring_bytes(model: Model, layout: Layout, is_sparse: bool = False) -> int:
    """Return the bytes that evaluation and prediction hold beside batches and parameters."""
    in_place = getattr(model, "scoring_scratch_bytes", None)
    if in_place is not None:
        return int(in_place(layout, is_sparse))
    kernel = kernel_of(model, layout)
    blas = BLAS_BYTES if kernel is not None and kernel.uses_blas else 0
    return blas + scratch_bytes_of(model, layout, SCORED_ROWS)


def make_engine(
    model: Model, loader: Loader, train_state: TrainState, full: bool = False
) -> Engine:
    """Choose the engine for a model; `full` where a batch is all rows."""
    method = train_state.methods[0]
    if method.full is not None:
        if method.optimizer is None:
            return FullGradientEngine(model, loader, train_state)
        return HybridEngine(model, loader, train_state, partial(make_engine, model, loader))
    if kernel_for_data(model, loader.dataset) is not None:
        return WindowEngine(model, loader, train_state)
    if len(train_state) > 1:
        states = map(train_state.alone, range(len(train_state)))
        return SideBySide(train_state, [make_engine(model, loader, one, full) for one in states])
    return (FullEngine if full else BatchEngine)(model, loader, train_state)


class SideBySide:
    """Several engines on the same windows, each with a descent of its own."""

    ended = False
    step, rows = forwarded("_foremost.step"), forwarded("_foremost.rows")

    def __init__(self, train_state: TrainState, engines: Sequence[Engine]) -> None:
        self.train_state, self._engines = train_state, engines

    @property
    def batch_size(self) -> int:
        """B of all of them."""
        return self._engines[0].batch_size

    @batch_size.setter
    def batch_size(self, rows: int) -> None:
        for engine in self._engines:
            engine.batch_size = rows

    @property
    def _foremost(self) -> Engine:
        """An engine that was not left behind."""
        return max(self._engines, key=lambda engine: engine.step)

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Let every engine take the steps; one whose loss is not finite is left behind."""
        used, failed = False, None
        for number, engine in enumerate(self._engines):
            if self.train_state.active[number]:
                try:
                    used = engine.advance(window, last_step)
                except DivergedError as error:
                    self.train_state.active[number], failed = False, error
        if failed is not None and not np.any(self.train_state.active):
            raise failed
        return used
