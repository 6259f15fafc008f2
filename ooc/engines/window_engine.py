"""The engine of models with a kernel: one compiled call a window, Python enters for no batch."""

import os
import time
from contextlib import nullcontext
from dataclasses import replace

import numpy as np

from ooc.core.blas import one_thread
from ooc.core.compiler import part
from ooc.core.errors import DataError, DivergedError
from ooc.core.random_keys import Purpose, prefix
from ooc.engines.parallel_choice import ParallelChoice
from ooc.engines.train_state import Descents, start, update_addresses
from ooc.kernels.counters import NEVER, OK
from ooc.kernels.gradient_sums import note_gradient
from ooc.models.bad_rows import explain, place_of
from ooc.models.contract import Model
from ooc.models.declarations import arrays_of, kernel_of, types_of
from ooc.models.loop import PIECE, Rows, Vectors, WindowLoop, columns_of, parallel_threads
from ooc.optim import sgd
from ooc.optim.settings import rate_at
from ooc.optim.step import real_of, update_of
from ooc.store.dataset import Dataset
from ooc.stream.loader import Loader
from ooc.stream.reader import Window

SPIN_COUNT = "3000"  # some tens of microseconds


class WindowEngine:
    """Takes the steps of a window in one compiled call; see `ooc.engines.engine.Engine`."""

    ended = False

    def __init__(
        self, model: Model, loader: Loader, descents: Descents, loop: WindowLoop | None = None
    ) -> None:
        self.descents, self._model, plan = descents, model, loader.plan
        if loop is None:
            updates = update_addresses(model, descents)
            vectors = descents.vectors(model.layout(loader.dataset.row_shape))
            loop = make_loop(
                model, loader.dataset, vectors, updates, plan.batch_size, plan.largest_batch
            )
        self._loop = loop
        self._loop.begin(loader.step, prefix(loader.plan.order.seed, Purpose.BATCH))
        possible = self._loop.goes_parallel
        self.choice = ParallelChoice(possible, possible and self._loop.kernel.eager)
        self._window: Window | None = None

    @property
    def batch_size(self) -> int:
        """B of the batches that have not begun yet."""
        return self._loop.batch_size

    @batch_size.setter
    def batch_size(self, rows: int) -> None:
        self._loop.batch_size = rows

    @property
    def step(self) -> int:
        """Steps taken since the run began."""
        return self._loop.step

    @property
    def rows(self) -> int:
        """Rows used by the steps of this engine."""
        return self._loop.rows

    @property
    def gradient(self) -> np.ndarray:
        """Mean gradient of the step taken last, (P,) float64: scratch."""
        return self._loop.gradient

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Take the steps that a window completes, up to a given one; tell if it is used up.

        Raises
        ------
        DataError, DivergedError
            If a row cannot be used; the parameters are those before its batch.
        """
        is_new, self._window = window is not self._window, window
        first, begun = window.start if is_new else self._loop.place, time.perf_counter()
        self._loop.parallel = self.choice.parallel
        rows = Rows(window.arrays, window.order, window.block_starts, window.block_rows)
        with one_thread() if self._loop.kernel.uses_blas else nullcontext():
            status = self._loop.run(rows, window.last, last_step, first if is_new else None)
        if status != OK:
            raise self._explain(status, window)
        used_up = self._loop.place == len(window.order)
        self.choice.note(self._loop.place - first, time.perf_counter() - begun)
        if used_up:
            self.choice.end_window()
        return used_up

    def _explain(self, status: int, window: Window) -> DataError | DivergedError:
        """Say why a row cannot be used; it may have been carried over from the window before."""
        row, loop = self._loop.bad_row, self._loop
        rate = rate_at(self.descents.settings[0], self.step)
        place = loop.place
        batch = window.rows(window.order[place : place + self.batch_size].astype(np.int64))
        where = place_of(self.step, rate, batch if len(batch) else loop.waiting)
        if row < 0:
            return DivergedError(
                f"the loss is not finite{where}, whose data are finite: the steps are too long; "
                "lower the learning rate, or standardise the features"
            )
        inside = row - window.block_starts
        blocks = np.flatnonzero((inside >= 0) & (inside < window.block_rows))
        if len(blocks):
            at = int(blocks[0]) * window.block_rows + int(inside[blocks[0]])
            values, target = window.features[at], _entry(window.target, at)
            weight = _entry(window.weight, at)
        else:
            at = int(np.flatnonzero(loop.scratch["ids"] == row)[0])
            values = loop.scratch["features"][0, at]
            target, weight = (
                float(array[0, at, 0]) if array.shape[2] else None
                for array in (loop.scratch["targets"], loop.scratch["weights"])
            )
        return explain(self._model, status, row, values, target, weight, where)


def _entry(array: np.ndarray | None, place: int) -> float | None:
    return None if array is None else float(np.ravel(array[place])[0])


class NotingEngine(WindowEngine):
    """Tells `ooc.kernels.gradient_sums` the gradient of each batch, where else it would step.

    Parameters
    ----------
    parameters
        (P,), where gradients are taken; they stay.
    state, settings
        What `ooc.kernels.gradient_sums.note_gradient` takes.
    """

    def __init__(
        self,
        model: Model,
        loader: Loader,
        parameters: np.ndarray,
        state: np.ndarray,
        settings: np.ndarray,
    ) -> None:
        descents = replace(
            start([sgd(1.0)], parameters, model), state=state[None], settings=settings[None]
        )
        note = part(note_gradient, update_of(real_of(parameters.dtype)), _nrt=True).address
        loop = make_loop(
            model,
            loader.dataset,
            descents.vectors(model.layout(loader.dataset.row_shape)),
            np.full((1, 1), note, np.int64),
            loader.plan.batch_size,
            piece=parameters.size,
        )
        super().__init__(model, loader, descents, loop)
        loop.begin(loader.step, prefix(loader.plan.order.seed, Purpose.BATCH), mean=False)


def make_loop(
    model: Model,
    dataset: Dataset,
    vectors: Vectors,
    updates: np.ndarray,
    batch_size: int,
    largest_batch: int = 0,
    piece: int = PIECE,
) -> WindowLoop:
    """Bind a model's kernel, and the updates of its descents, to the window loop."""
    layout = model.layout(dataset.row_shape)
    kernel = kernel_of(model, layout, vectors.parameters[0])
    assert kernel is not None, f"{model.name} has a kernel"
    columns = columns_of(model, types_of(dataset, arrays_of(model, dataset)), dataset.roles)
    # A thread that has no share left is to sleep, not to spin for milliseconds: readers, and
    # others on this machine, need its core. OpenMP reads it as it is loaded, at the first step.
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    threads = parallel_threads(len(os.sched_getaffinity(0)))
    return WindowLoop(
        model,
        layout,
        kernel,
        columns,
        vectors,
        updates,
        batch_size,
        largest_batch,
        threads,
        piece,
    )
