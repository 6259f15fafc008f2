"""The linear family's engine: one compiled call a window, Python is not entered for a batch."""

import os
import time
from typing import TYPE_CHECKING

import numba
import numpy as np

from ooc.core.errors import DataError, DivergedError
from ooc.engines.parallel_choice import ParallelChoice
from ooc.engines.train_state import Descents
from ooc.kernels import counters
from ooc.kernels.counters import NEVER
from ooc.kernels.linear import OWN
from ooc.kernels.linear_window import Candidates, Rows, Tile, train_window
from ooc.kernels.rows import as_rows, tile_rows
from ooc.models.bad_rows import place_of
from ooc.models.linear import LinearFamily, as_float32
from ooc.optim import rate_at
from ooc.stream.loader import Loader
from ooc.stream.reader import Window

if TYPE_CHECKING:
    from ooc.kernels.linear_parallel import SharedTiles

MOST_THREADS = 8
TILES_PER_THREAD = 4
MOST_PARALLEL_SCRATCH = 16 * 2**20
# What compiling the parallel loop takes beyond the serial one, with its threads.
COMPILER_BYTES = 64 * 2**20


def scratch_bytes(model: LinearFamily, features: int, parameters: int, models: int) -> int:
    """Return the bytes of the serial loop's scratch, gradients included."""
    tile = tile_rows(features) * (4 * features + 4 * model.outputs + 16) + 8 * features
    return tile + 8 * parameters * (2 * models + 1)


def parallel_bytes(model: LinearFamily, features: int, parameters: int, batch_size: int) -> int:
    """Return what the parallel loop adds, its compilation included; 0 where it cannot be used.

    It needs batches of several tiles, and models of moderate size. It is counted for the most
    threads, so that the plan does not depend on how many there are.
    """
    tiles = MOST_THREADS * scratch_bytes(model, features, 0, 0)
    scratch = tiles + MOST_THREADS * TILES_PER_THREAD * (16 * parameters + 24)
    if batch_size < 2 * tile_rows(features) or scratch > MOST_PARALLEL_SCRATCH:
        return 0
    return scratch + COMPILER_BYTES


class LinearEngine:
    """Takes the steps of a window in one compiled call; see `ooc.engines.engine.Engine`."""

    ended = False

    def __init__(self, model: LinearFamily, loader: Loader, descents: Descents) -> None:
        self.descents, self.batch_size = descents, loader.plan.batch_size
        self._model, self._dataset = model, loader.dataset
        shape = loader.dataset.row_shape
        features = int(np.prod(shape, dtype=np.int64))
        layout, cores = model.layout(shape), len(os.sched_getaffinity(0))
        several = cores > 1 and "parallel" in loader.plan.terms
        possible = several and len(descents) == 1 and model.loss_code != OWN
        self.choice = ParallelChoice(possible)
        self._threads = min(cores, MOST_THREADS, numba.get_num_threads()) if possible else 1
        self._problem = model.problem(layout, descents.parameters[0])
        self._own_loss = model.own_loss
        rows, weighted = tile_rows(features), loader.dataset.weight is not None
        self._tile = Tile(
            np.empty((rows, features), np.float32),
            np.empty(rows, np.float32),
            np.empty(rows if weighted else 0, np.float32),
            np.empty(rows, np.int64),
            np.empty((rows, model.outputs), np.float32),
            np.empty((2, features), np.float32),
            np.empty(3),
        )
        self._candidates = Candidates(
            descents.parameters,
            descents.state,
            descents.settings,
            layout.penalised(),
            descents.active,
            np.zeros((len(descents), 2, layout.size)),
            np.empty(layout.size),
            descents.totals,
        )
        self._counters = np.zeros(counters.COUNTERS, np.int64)
        self._counters[counters.STEP] = loader.step
        self._window: Window | None = None
        self._rows: Rows | None = None
        self._shared: SharedTiles | None = None

    @property
    def step(self) -> int:
        """Steps taken since the run began."""
        return int(self._counters[counters.STEP])

    @property
    def rows(self) -> int:
        """Rows used by the steps of this engine."""
        return int(self._counters[counters.ROWS])

    @property
    def gradient(self) -> np.ndarray:
        """Mean gradient of the step taken last, (P,) float64: scratch."""
        return self._candidates.gradient

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Take the steps that a window completes, up to a given one; tell if it is used up.

        Raises
        ------
        DataError, DivergedError
            If a row cannot be used; the parameters are those before its batch.
        """
        if window is not self._window:
            self._begin(window)
        begun, first = time.perf_counter(), int(self._counters[counters.PLACE])
        status = self._run(window, first, last_step)
        if status != counters.OK:
            raise self._explain(status, window)
        last = int(self._counters[counters.PLACE])
        self.choice.note(last - first, time.perf_counter() - begun)
        if last == len(window.order):
            self.choice.end_window()
        return last == len(window.order)

    def _begin(self, window: Window) -> None:
        dataset, self._window = self._dataset, window
        features, half = as_rows(window.arrays[dataset.features])
        self._rows = Rows(
            features,
            half,
            as_float32(window.arrays.get(dataset.target or "")),
            as_float32(window.arrays.get(dataset.weight or "")),
            window.order,
            window.block_starts,
            window.block_rows,
        )
        self._counters[counters.PLACE] = window.start

    def _run(self, window: Window, start: int, last_step: int) -> int:
        assert self._rows is not None, "a window has begun"
        arguments = (
            self._rows,
            start,
            len(window.order),
            window.last,
            self.batch_size,
            last_step,
            self._problem,
            self._own_loss,
            self._candidates,
            self._tile,
            self._counters,
        )
        if not self.choice.parallel:
            return int(train_window(*arguments))
        # Compiled only where it is used.
        from ooc.kernels.linear_parallel import make_shared, train_window_parallel

        numba.set_num_threads(self._threads)
        if self._shared is None:
            size = self.descents.parameters.shape[1]
            group = self._threads * TILES_PER_THREAD
            self._shared = make_shared(self._tile, self._threads, group, size)
        return int(train_window_parallel(*arguments, self._shared))

    def _explain(self, status: int, window: Window) -> DataError | DivergedError:
        """Say why a row cannot be used; it may have been carried over from the window before."""
        row = int(self._counters[counters.BAD_ROW])
        inside = row - window.block_starts
        blocks = np.flatnonzero((inside >= 0) & (inside < window.block_rows))
        dataset, tile = self._dataset, self._tile
        if len(blocks):
            place = int(blocks[0]) * window.block_rows + int(inside[blocks[0]])
            values = window.arrays[dataset.features][place]
            target = float(window.arrays[dataset.target][place]) if dataset.target else None
        else:
            place = int(np.flatnonzero(tile.ids == row)[0])
            values, target = tile.values[place], float(tile.targets[place])
        count = int(self._counters[counters.IN_TILE])
        if count:
            batch = tile.ids[:count]
        else:
            first = int(self._counters[counters.PLACE])
            batch = window.rows(window.order[first : first + self.batch_size].astype(np.int64))
        where = place_of(self.step, rate_at(self.descents.settings[0], self.step), batch)
        return self._model.explain(status, row, values, target, where)
