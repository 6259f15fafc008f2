"""The engine of dense networks: one compiled call a window, its threads and BLAS' in step."""

import os

import numba
import numpy as np

from ooc.core.blas import one_thread
from ooc.core.random_keys import Purpose, prefix
from ooc.engines.train_state import Descents
from ooc.kernels import counters
from ooc.kernels.counters import NEVER
from ooc.kernels.network_memory import MOST_SHARES, make_scratch, scratch_bytes
from ooc.kernels.network_window import train_window
from ooc.kernels.rows import as_rows
from ooc.models.bad_rows import place_of
from ooc.models.contract import Layout
from ooc.models.linear import as_float32
from ooc.models.network import DenseNetwork
from ooc.optim import rate_at
from ooc.stream.loader import Loader
from ooc.stream.reader import Window

# SciPy's BLAS with its buffers, and compiling the network's kernels, as measured in a fresh
# process by tests/test_network_engine.py.
LIBRARY_BYTES = 64 * 2**20

SPIN_COUNT = "3000"  # some tens of microseconds


def network_bytes(model: DenseNetwork, layout: Layout, batch_size: int) -> int:
    """Return the bytes of the engine's scratch, and of the libraries that it brings."""
    features = layout.shapes["layer1.weights"][1]
    network = model.network(features)
    return LIBRARY_BYTES + scratch_bytes(network, batch_size, model.target_width)


class NetworkEngine:
    """Takes the steps of a window in one compiled call; see `ooc.engines.engine.Engine`.

    Shares of a batch go to at most `MOST_SHARES` threads, as many as there
    are cores; BLAS has one thread meanwhile. Readers wait in the kernel for the disk, or decode.
    """

    ended = False

    def __init__(
        self,
        model: DenseNetwork,
        loader: Loader,
        descents: Descents,
    ) -> None:
        self.descents, self.batch_size = descents, loader.plan.batch_size
        self._model, self._dataset = model, loader.dataset
        shape = loader.dataset.row_shape
        self._network = model.network(int(np.prod(shape, dtype=np.int64)))
        self._scratch = make_scratch(
            self._network,
            loader.plan.largest_batch,
            model.target_width,
            weighted=loader.dataset.weight is not None,
        )
        cores = len(os.sched_getaffinity(0))
        # A thread that has no share left is to sleep, not to spin for milliseconds: readers, and
        # others on this machine, need its core. OpenMP reads it as it is loaded, at the first step.
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
        self._threads = min(cores, MOST_SHARES, numba.get_num_threads())
        self._gradient = np.zeros(descents.parameters.shape[1])
        self._counters = np.zeros(counters.COUNTERS, np.int64)
        self._counters[counters.STEP] = loader.step
        self._window: Window | None = None
        self._penalised = model.layout(shape).penalised()
        self._run_key = np.uint64(prefix(loader.plan.order.seed, Purpose.BATCH))

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
        return self._gradient

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Take the steps that a window completes, up to a given one; tell if it is used up.

        Raises
        ------
        DataError, DivergedError
            If a row cannot be used; the parameters are those before its batch.
        """
        dataset, model, descents = self._dataset, self._model, self.descents
        if window is not self._window:
            self._window, self._counters[counters.PLACE] = window, window.start
        features, half = as_rows(window.arrays[dataset.features])
        numba.set_num_threads(self._threads)
        with one_thread():
            status = train_window(
                self._network,
                self._scratch,
                features,
                half,
                model.target_rows(window.arrays.get(dataset.target or ""), len(features)),
                as_float32(window.arrays.get(dataset.weight or "")),
                window.order,
                int(self._counters[counters.PLACE]),
                window.block_starts,
                window.block_rows,
                window.last,
                self.batch_size,
                last_step,
                self._run_key,
                descents.parameters[0],
                self._gradient,
                descents.settings[0],
                self._penalised,
                descents.state[0],
                self._counters,
                descents.totals[0],
            )
        if status != counters.OK:
            place, ids = int(self._counters[counters.BAD_ROW]), self._scratch.ids
            batch = ids[: int(self._counters[counters.IN_BATCH])]
            where = place_of(self.step, rate_at(descents.settings[0], self.step), batch)
            raise model.explain(status, int(ids[place]), self._scratch, place, where)
        return int(self._counters[counters.PLACE]) == len(window.order)
