"""The engine of models with a kernel: one compiled call a window, Python enters for no batch."""

import time
from dataclasses import replace

import numpy as np

from ooc.core.compiler import part
from ooc.core.errors import DataError, DivergedError
from ooc.core.random_keys import Purpose, prefix
from ooc.engines.forwarding import forwarded
from ooc.engines.parallel_choice import ParallelChoice
from ooc.kernels.counters import BAD_INTEGER, NEVER, OK
from ooc.kernels.gradient_sums import note_gradient
from ooc.models.bad_rows import explain, explain_integers, place_of
from ooc.models.contract import Model
from ooc.models.declarations import needs_of
from ooc.models.loop import Rows, WindowLoop, make_loop
from ooc.models.train_state import TrainState, at_rest, rate_of_step
from ooc.optim.step import real_of, update_of
from ooc.store.stores import told_row
from ooc.stream.loader import Loader
from ooc.stream.window import Window


class WindowEngine:
    """Takes the steps of a window in one compiled call; see `ooc.engines.engine.Engine`.

    ``gradient`` is the mean gradient of the step taken last, (P,) float64: scratch.
    """

    ended = False
    batch_size, step = forwarded("_loop.batch_size"), forwarded("_loop.step")
    rows, gradient = forwarded("_loop.rows"), forwarded("_loop.gradient")

    def __init__(
        self, model: Model, loader: Loader, train_state: TrainState, loop: WindowLoop | None = None
    ) -> None:
        self.train_state, self._model, plan = train_state, model, loader.plan
        self._loop = loop or make_loop(
            model, loader.dataset, train_state, plan.batch_size, plan.largest_batch,
            lanes=plan.order.lanes,
        )  # fmt: skip
        self._loop.begin(loader.step, prefix(plan.order.seed, Purpose.BATCH))
        self.choice = ParallelChoice(self._loop.goes_parallel, self._loop.is_for_threads)
        self._window: Window | None = None

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Take the steps that a window completes; see `ooc.engines.engine.Engine`."""
        is_new, self._window = window is not self._window, window
        first, begun = window.start if is_new else self._loop.place, time.perf_counter()
        self._loop.parallel = self.choice.parallel
        rows = Rows(
            window.arrays, window.order, window.block_starts, window.block_rows, window.block_lanes
        )
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
        rate = rate_of_step(self._model, self.train_state.settings[0], self.step)
        place = loop.place
        batch = window.rows(window.order[place : place + self.batch_size].astype(np.int64))
        where = place_of(self.step, rate, batch if len(batch) else loop.waiting, window)
        if row < 0:
            return DivergedError(
                f"the loss is not finite{where}, whose data are finite: the steps are too long; "
                "lower the learning rate, or standardise the features"
            )
        if status == BAD_INTEGER:
            return explain_integers(self._model, told_row(window, row), self._integers(window, row))
        found = row_in(window, row)
        if found is None:
            held, at = loop.scratch, int(np.flatnonzero(loop.scratch["ids"] == row)[0])
            target, weight = (
                float(array[0, at, 0]) if array.shape[2] else None
                for array in (held["targets"], held["weights"])
            )
            carried = loop.carried
            values = held["features"][0, at] if carried is None else carried[at]
            found = values, target, weight
        told = told_row(window, row)
        return explain(self._model, status, told, *found, where, window.roles, window)

    def _integers(self, window: Window, row: int) -> np.ndarray:
        """Return the integers that came of a row, which may have been carried over."""
        place = place_in(window, row)
        if place is None:
            held = self._loop.scratch
            found: np.ndarray = held["numbers"][0, int(np.flatnonzero(held["ids"] == row)[0])]
            return found
        names = needs_of(self._model).integers or window.roles[:1]
        return np.concatenate([np.ravel(window.arrays[str(name)][place]) for name in names])


def place_in(window: Window, row: int) -> int | None:
    """Return the place in a window of a row of the dataset; None if the window lacks it."""
    inside = row - window.block_starts
    blocks = np.flatnonzero((inside >= 0) & (inside < window.block_rows - window.overlap))
    return int(blocks[0]) * window.block_rows + int(inside[blocks[0]]) if len(blocks) else None


def row_in(window: Window, row: int) -> tuple[np.ndarray, float | None, float | None] | None:
    """Return features, target and weight of a row of the dataset; None if a window lacks it."""
    place = place_in(window, row)
    if place is None:
        return None
    target, weight = (
        None if array is None else float(np.ravel(array[place])[0])
        for array in (window.target, window.weight)
    )
    return window.features[place], target, weight


def noting_engine(
    model: Model, loader: Loader, parameters: np.ndarray, state: np.ndarray, settings: np.ndarray
) -> WindowEngine:
    """Return an engine that notes the gradient of each batch, where else it would step.

    Parameters
    ----------
    parameters
        (P,), where gradients are taken; they stay.
    state, settings
        What `ooc.kernels.gradient_sums.note_gradient` takes.
    """
    train_state = replace(at_rest(model, parameters), state=state[None], settings=settings[None])
    note = part(note_gradient, update_of(real_of(parameters.dtype)), _nrt=True).address
    updates, rows = np.full((1, 1), note, np.int64), loader.plan.batch_size
    loop = make_loop(
        model, loader.dataset, train_state, rows, piece=parameters.size, updates=updates
    )
    engine = WindowEngine(model, loader, train_state, loop)
    loop.begin(loader.step, prefix(loader.plan.order.seed, Purpose.BATCH), mean=False)
    return engine
