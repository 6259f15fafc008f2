"""The engine of dense networks: one compiled call a window, its threads and BLAS' in step."""

import os

import numba
import numpy as np

from ooc.blas import one_thread
from ooc.counted import Counted
from ooc.kernels import linear as progress
from ooc.kernels.network_memory import MOST_SHARES, make_scratch, scratch_bytes
from ooc.kernels.network_window import train_window
from ooc.kernels.rows import as_rows
from ooc.loader import Loader
from ooc.models.base import Layout
from ooc.models.linear import as_float32
from ooc.models.network import DenseNetwork
from ooc.optim import Optimizer
from ooc.reader import Window
from ooc.rng import Purpose, prefix

# SciPy's BLAS with its buffers, and compiling the network's kernels, as measured in a fresh
# process by tests/test_network_engine.py.
LIBRARY_BYTES = 128 * 2**20

SPIN_COUNT = "3000"  # some tens of microseconds


def network_bytes(model: DenseNetwork, layout: Layout, batch_size: int) -> int:
    """Return the bytes of the engine's scratch, and of the libraries that it brings."""
    features = layout.shapes["layer1.weights"][1]
    network = model.network(features)
    return LIBRARY_BYTES + scratch_bytes(network, batch_size, model.target_width)


class NetworkEngine(Counted):
    """Takes the steps of a window in one compiled call; see `ooc.engines.Engine`.

    Shares of a batch go to at most `MOST_SHARES` threads, as many as there
    are cores; BLAS has one thread meanwhile. Readers wait in the kernel for the disk, or decode.
    """

    def __init__(
        self,
        model: DenseNetwork,
        optimizer: Optimizer,
        loader: Loader,
        parameters: np.ndarray,
        state: np.ndarray,
    ) -> None:
        super().__init__(loader.step)
        self.parameters, self.state = parameters, state
        self._model, self._optimizer, self._dataset = model, optimizer, loader.dataset
        shape = loader.dataset.arrays[loader.dataset.features].shape[1:]
        self._network = model.network(int(np.prod(shape, dtype=np.int64)))
        self._scratch = make_scratch(
            self._network,
            loader.plan.batch_size,
            model.target_width,
            weighted=loader.dataset.weight is not None,
        )
        cores = len(os.sched_getaffinity(0))
        # A thread that has no share left is to sleep, not to spin for milliseconds: readers, and
        # others on this machine, need its core. OpenMP reads it as it is loaded, at the first step.
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
        self._threads = min(cores, MOST_SHARES, numba.get_num_threads())
        self._gradient = np.zeros(parameters.size)
        self._settings = optimizer.settings()
        self._penalised = model.layout(shape).penalised()
        self._run_key = np.uint64(prefix(loader.plan.order.seed, Purpose.BATCH))

    def advance(self, window: Window) -> None:
        """Take the steps that a window completes.

        Raises
        ------
        DataError, DivergedError
            If a row cannot be used; the parameters are those before its batch.
        """
        dataset, model = self._dataset, self._model
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
                window.start,
                window.block_starts,
                window.block_rows,
                window.last,
                self._run_key,
                self.parameters,
                self._gradient,
                self._settings,
                self._penalised,
                self.state,
                self._counters,
                self._totals,
            )
        if status != progress.OK:
            place = int(self._counters[progress.BAD_ROW])
            raise model.explain(status, int(self._scratch.ids[place]), self._scratch, place)
