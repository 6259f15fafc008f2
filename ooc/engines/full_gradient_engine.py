"""The engine of full-gradient methods: a step is one evaluation over all rows, a streamed pass."""

from typing import Any

import numpy as np

from ooc.core.errors import DataError
from ooc.engines.full_sums import make_sums, sums_bytes
from ooc.engines.minimise import Conversation, Request, replay
from ooc.kernels.counters import FULL_LOSS, GRADIENT_NORM, LOSS_SUM, NEVER, TOTALS
from ooc.models.contract import Model
from ooc.models.train_state import TrainState
from ooc.optim.full_gradient import (
    BEGUN,
    COUNT,
    ITERATIONS,
    PASS_LOSS,
    PASS_ROWS,
    FullGradient,
    Record,
)
from ooc.store.dataset import Dataset
from ooc.stream.loader import Loader
from ooc.stream.window import Window

# SciPy's optimisers and what they bring, as measured in a fresh process by
# tests/engines/test_memory.py.
LIBRARY_BYTES = 44 * 2**20


def full_gradient_bytes(model: Model, dataset: Dataset, minimiser: FullGradient) -> int:
    """Return the bytes of sums, of SciPy's work space and of the libraries that it brings."""
    size = model.layout(dataset.row_shape).size
    # SciPy's work space and copies; a hybrid's units are inverted, too.
    vectors = 2 * minimiser.memory + 24 + 4 * minimiser.units_rows(size)
    if minimiser.dense:  # the inverse curvature, and what begins it anew
        vectors += 2 * size
    return LIBRARY_BYTES + sums_bytes(model, dataset) + 8 * vectors * size


class FullGradientEngine:
    """Takes a step at each pass's end; see `ooc.engines.engine.Engine`.

    All that a run needs to go on is in the descent's state: what the minimiser was told, and the
    sums of the pass at hand. ``train_state.parameters`` are those that it accepted last.
    """

    def __init__(self, model: Model, loader: Loader, train_state: TrainState) -> None:
        self.train_state, self.batch_size = train_state, loader.plan.order.epoch_rows
        self.step, self.rows = loader.step, 0
        self._minimiser, self._record = minimiser_of(train_state), record_of(train_state)
        parameters = train_state.parameters[0]
        shape = loader.dataset.row_shape
        self._l2 = self._minimiser.l2 * model.layout(shape).penalised()
        self._path = loader.dataset.path
        self._add = make_sums(model, loader, parameters)
        if not self._record.head[BEGUN]:
            self._record.start[:], self._record.head[BEGUN] = parameters, 1.0
        self._conversation = self._converse()

    @property
    def ended(self) -> bool:
        """Whether the minimiser has nothing more to ask for."""
        return self._request.point is None

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Add a window's rows to the sums; at the pass's end, tell the minimiser."""
        point, head = self._request.point, self._record.head
        if point is None:
            return True
        rows, loss, terms = self._add(window, point, self._record.total)
        head[PASS_ROWS] += rows
        head[PASS_LOSS] += loss
        self.rows += rows
        self.train_state.totals[0, LOSS_SUM] += loss
        self.train_state.totals[0, TOTALS : TOTALS + len(terms)] += terms
        if window.last:
            self._tell(point)
        return True

    def _tell(self, point: np.ndarray) -> None:
        record, head = self._record, self._record.head
        if head[PASS_ROWS] == 0:
            raise DataError(
                f"no row of {self._path} could be used: each lacks a value or cannot be read"
            )
        number = int(head[COUNT])
        penalty = self._l2 * point
        gradient = record.gradients[number]
        np.divide(record.total, head[PASS_ROWS], out=gradient)
        gradient += penalty
        record.losses[number] = head[PASS_LOSS] / head[PASS_ROWS]
        record.values[number] = record.losses[number] + 0.5 * float(penalty @ point)
        self.train_state.totals[0, GRADIENT_NORM] = np.linalg.norm(gradient)
        self.train_state.totals[0, FULL_LOSS] = record.losses[number]
        record.total[:], head[PASS_ROWS], head[PASS_LOSS] = 0.0, 0.0, 0.0
        head[COUNT] += 1
        self.step += 1
        self._conversation.go_on()
        if head[COUNT] == self._minimiser.kept and not self.ended:
            self._begin_round()
        self.train_state.parameters[0] = self._request.iterate

    def _begin_round(self) -> None:
        """Forget all but where the minimiser has come to."""
        record, last = self._record, self._request
        record.start[:] = last.iterate
        record.values[0] = record.values[last.number]
        record.losses[0] = record.losses[last.number]
        record.gradients[0] = record.gradients[last.number]
        record.head[ITERATIONS] += last.iterations
        record.head[COUNT] = 1
        self._conversation = self._converse()

    def _converse(self) -> Conversation:
        """Begin with the minimiser, and tell it what the record knows."""
        record = self._record
        conversation = Conversation(
            self._minimiser, record.start, record.values, record.gradients, record.units
        )
        for _ in range(int(record.head[COUNT])):
            conversation.go_on()
        return conversation

    @property
    def _request(self) -> Request:
        return self._conversation.request


def minimiser_of(train_state: TrainState) -> FullGradient:
    """Return what is told the gradient over all rows."""
    minimiser = train_state.methods[0].full
    assert minimiser is not None, "the run's method takes the gradient over all rows"
    return minimiser


def record_of(train_state: TrainState) -> Record:
    """Return what the minimiser was told, as views of the descent's state."""
    return train_state.methods[0].record(train_state.state[0])


def next_request(train_state: TrainState) -> Request:
    """Return what the minimiser wants next, from what it was told."""
    record = record_of(train_state)
    count = int(record.head[COUNT])
    values, gradients = record.values[:count], record.gradients[:count]
    return replay(minimiser_of(train_state), record.start, values, gradients, record.units)


def full_gradient_results(train_state: TrainState, loss_unit: float = 1.0) -> dict[str, Any]:
    """Return what a run on the full gradient tells of it, beside its usual results.

    "loss", in the targets' unit, is that of the parameters themselves, without penalty.
    "gradient_norm" is that of the objective, penalty included, at the float64 iterate; rounding it
    to float32 parameters moves it by about 1e-7 of their length times the curvature. "iterations"
    are points that the minimiser accepted. "ended" is "tolerance", "precision", or None where it
    could have gone on.
    """
    record, last = record_of(train_state), next_request(train_state)
    if last.number < 0:
        return {"iterations": 0, "gradient_norm": None, "ended": None}
    return {
        "loss": loss_unit * float(record.losses[last.number]),
        "iterations": int(record.head[ITERATIONS]) + last.iterations,
        "gradient_norm": float(np.linalg.norm(record.gradients[last.number])),
        "ended": last.ended or None,
    }
