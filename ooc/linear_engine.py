"""The linear family's engine: one compiled call a window, Python is not entered for a batch."""

import os
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from ooc.counted import Counted
from ooc.errors import DataError, DivergedError
from ooc.kernels import linear as kernels
from ooc.kernels.rows import as_rows, tile_rows
from ooc.loader import Loader
from ooc.models.linear import LinearFamily, as_float32
from ooc.optim import Optimizer
from ooc.reader import Window

MOST_THREADS = 8
TILES_PER_THREAD = 4
MOST_PARALLEL_SCRATCH = 16 * 2**20
# What compiling the parallel loop takes beyond the serial one, with its threads.
COMPILER_BYTES = 64 * 2**20


def scratch_bytes(model: LinearFamily, features: int) -> int:
    """Return the bytes of the serial loop's scratch."""
    return tile_rows(features) * (4 * features + 4 * model.outputs + 16) + 4 * features


def parallel_bytes(model: LinearFamily, features: int, parameters: int, batch_size: int) -> int:
    """Return what the parallel loop adds, its compilation included; 0 where it cannot be used.

    It needs batches of several tiles, and models of moderate size. It is counted for the most
    threads, so that the plan does not depend on how many there are.
    """
    tiles = MOST_THREADS * scratch_bytes(model, features)
    scratch = tiles + MOST_THREADS * TILES_PER_THREAD * (8 * parameters + 24)
    if batch_size < 2 * tile_rows(features) or scratch > MOST_PARALLEL_SCRATCH:
        return 0
    return scratch + COMPILER_BYTES


class ParallelChoice:
    """Chooses the serial or the parallel loop by measurement, one window after the other.

    The first windows run serial, the next ones parallel; of each kind the first warms up and the
    second is measured. Both loops give the same bits, so that the choice is only one of speed.

    Parameters
    ----------
    possible
        Whether there is a choice at all: cores to share, and batches of several tiles.

    Examples
    --------
    >>> choice = ParallelChoice(possible=True)
    >>> for seconds in (9.0, 2.0, 9.0, 1.0):
    ...     choice.note(rows=100, seconds=seconds)
    >>> choice.parallel
    True
    """

    def __init__(self, possible: bool) -> None:
        self._rates: list[float] = []
        self._possible = possible

    @property
    def parallel(self) -> bool:
        """Whether the next window is to run parallel."""
        tried = len(self._rates)
        if not self._possible or tried < 2:
            return False
        return tried < 4 or self._rates[3] > self._rates[1]

    def note(self, rows: int, seconds: float) -> None:
        """Note how fast a window went."""
        if len(self._rates) < 4:
            self._rates.append(rows / max(seconds, 1e-9))


class LinearEngine(Counted):
    """Takes the steps of a window in one compiled call; see `ooc.engines.Engine`."""

    def __init__(
        self,
        model: LinearFamily,
        optimizer: Optimizer,
        loader: Loader,
        parameters: np.ndarray,
        state: np.ndarray,
    ) -> None:
        super().__init__(loader.step)
        self.parameters, self.state = parameters, state
        self._model, self._optimizer, self._dataset = model, optimizer, loader.dataset
        self._batch_size = loader.plan.batch_size
        shape = loader.dataset.arrays[loader.dataset.features].shape[1:]
        features = int(np.prod(shape, dtype=np.int64))
        rows, cores = tile_rows(features), len(os.sched_getaffinity(0))
        possible = cores > 1 and "parallel" in loader.plan.terms
        self.choice = ParallelChoice(possible)
        self._threads = min(cores, MOST_THREADS, numba.get_num_threads()) if possible else 1
        weighted = rows if loader.dataset.weight else 0
        self._tiles = np.empty((self._threads, rows, features), np.float32)
        self._targets = np.empty((self._threads, rows), np.float32)
        self._weights = np.empty((self._threads, weighted), np.float32)
        self._ids = np.empty(rows, np.int64)
        self._scores = np.empty((self._threads, rows, model.outputs), np.float32)
        self._partials = np.empty((self._threads, features), np.float32)
        group = self._threads * TILES_PER_THREAD if possible else 0
        self._gradients = np.empty((group, parameters.size))
        self._losses = np.empty(group)
        self._failures = np.empty((group, 2), np.int64)
        self._gradient = np.zeros(parameters.size)
        self._settings = optimizer.settings()
        self._penalised = model.layout(shape).penalised()

    def advance(self, window: Window) -> None:
        """Take the steps that a window completes.

        Raises
        ------
        DataError, DivergedError
            If a row cannot be used; the parameters are those before its batch.
        """
        begun = time.perf_counter()
        status = self._run(window, self.choice.parallel)
        self.choice.note(len(window.order), time.perf_counter() - begun)
        if status != kernels.OK:
            raise self._explain(status, window)

    def _run(self, window: Window, parallel: bool) -> int:
        dataset, model = self._dataset, self._model
        features, half = as_rows(window.arrays[dataset.features])
        loop: Callable[..., int] = kernels.train_window
        scratch: tuple[Any, ...] = (
            self._tiles[0],
            self._targets[0],
            self._weights[0],
            self._ids,
            self._scores[0],
            self._partials[0],
        )
        more: tuple[Any, ...] = ()
        if parallel:
            # Compiled only where it is used.
            from ooc.kernels.linear_parallel import train_window_parallel

            numba.set_num_threads(self._threads)
            loop = train_window_parallel
            scratch = (
                self._tiles,
                self._targets,
                self._weights,
                self._ids,
                self._scores,
                self._partials,
            )
            more = (self._gradients, self._losses, self._failures)
        return loop(
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
            self._settings,
            self._penalised,
            self.state,
            *scratch,
            self._gradient,
            self._counters,
            self._totals,
            *more,
        )

    def _explain(self, status: int, window: Window) -> DataError | DivergedError:
        """Say why a row cannot be used; it may have been carried over from the window before."""
        row = int(self._counters[kernels.BAD_ROW])
        inside = row - window.block_starts
        blocks = np.flatnonzero((inside >= 0) & (inside < window.block_rows))
        dataset = self._dataset
        if len(blocks):
            place = int(blocks[0]) * window.block_rows + int(inside[blocks[0]])
            values = window.arrays[dataset.features][place]
            target = float(window.arrays[dataset.target][place]) if dataset.target else None
        else:
            place = int(np.flatnonzero(self._ids == row)[0])
            values, target = self._tiles[0, place], float(self._targets[0, place])
        return self._model.explain(status, row, values, target)
