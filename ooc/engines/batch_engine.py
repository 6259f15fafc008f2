"""Any model: batches are cut in Python and handed to ``model.loss_and_grad``."""

from collections.abc import Iterator

import numpy as np

from ooc.core.errors import DivergedError
from ooc.engines.forwarding import forwarded
from ooc.kernels.counters import LOSS_SUM, NEVER
from ooc.models.bad_rows import place_of
from ooc.models.contract import Model
from ooc.models.declarations import phase_at, phases_of
from ooc.models.scratch import pieces_of
from ooc.models.train_state import TrainState, rate_of_step, update_addresses
from ooc.optim.penalties import clip_scale
from ooc.optim.settings import SETTINGS, rate_at
from ooc.optim.step import step_piece
from ooc.stream.batch import Batch, BatchAssembler
from ooc.stream.loader import Loader
from ooc.stream.window import Window

# Rows that are handed to a model at a time where a batch is all rows.
MOST_PART_ROWS = 1024


def part_rows(rows: int) -> int:
    """Return how many rows of a whole dataset are handed to a model at a time."""
    return min(rows, MOST_PART_ROWS)


class BatchEngine:
    """Takes the steps of a window one by one; see `ooc.engines.engine.Engine`.

    ``gradient`` is the mean gradient of the step taken last, (P,) float64: scratch.
    """

    ended = False
    batch_size = forwarded("_assembler.batch_size")

    def __init__(self, model: Model, loader: Loader, train_state: TrainState) -> None:
        self.train_state = train_state
        self.rows, self.step = 0, loader.step
        self._model = model
        self._assembler = BatchAssembler(
            loader.dataset, loader.plan.order, loader.plan.batch_size, loader.step
        )
        self.gradient = np.zeros(train_state.parameters.shape[1])
        layout, phases = model.layout(loader.dataset.row_shape), phases_of(model)
        self._penalised, self._phases = layout.penalised(), phases
        self._touched_place = layout.touched_place
        self._pieces, _ = pieces_of(layout, [phase.name for phase in phases], {})
        self._updates = update_addresses(model, train_state)[0]
        self._window: Window | None = None
        self._batches: Iterator[Batch] = iter(())

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Take the steps that a window completes; see `ooc.engines.engine.Engine`."""
        if window is not self._window:
            self._window, self._batches = window, self._assembler.add(window)
        while self.step < last_step:
            batch = next(self._batches, None)
            if batch is None:
                return True
            self._learn(batch)
        return self._assembler.used_up

    def _learn(self, batch: Batch) -> None:
        loss = self._take_gradient(batch)
        self._take_step(len(batch.rows))
        self.train_state.totals[0, LOSS_SUM] += loss * len(batch.rows)

    def _take_step(self, rows: int) -> None:
        one, (phase, step) = self.train_state, phase_at(self._phases, self.step)
        settings = one.settings[0][phase * SETTINGS : (phase + 1) * SETTINGS]
        rate, scale = rate_at(settings, step), clip_scale(self.gradient, settings)
        for first, stop, of_phase in [*self._pieces.tolist(), *self._touched_rows(phase)]:
            if of_phase == phase:
                step_piece(
                    self._updates[phase], one.parameters[0][first:stop],
                    self.gradient[first:stop], one.state[0], settings, rate, step,
                    self._penalised, first, scale,
                )  # fmt: skip
        self.step += 1
        self.rows += rows

    def _touched_rows(self, phase: int) -> list[tuple[int, int, int]]:
        """Return the pieces of the touched part: its rows that have a gradient."""
        start, rows, width = self._touched_place
        if width == 0:
            return []
        table = self.gradient[start:].reshape(rows, width)
        touched = np.flatnonzero(table.any(axis=1)).tolist()
        return [(start + row * width, start + (row + 1) * width, phase) for row in touched]

    def _take_gradient(self, batch: Batch) -> float:
        loss = self._model.loss_and_grad(self.train_state.parameters[0], batch, self.gradient)
        if not np.isfinite(loss):
            rate = rate_of_step(self._model, self.train_state.settings[0], self.step)
            raise DivergedError(
                f"the loss is {loss}{place_of(self.step, rate, batch.rows, batch)}; lower the "
                "learning rate, or look for rows that are not finite"
            )
        return loss


class FullEngine(BatchEngine):
    """Takes one step an epoch, with the exact gradient over all rows, added up in parts."""

    def __init__(self, model: Model, loader: Loader, train_state: TrainState) -> None:
        super().__init__(model, loader, train_state)
        parts = part_rows(loader.plan.batch_size)
        # Each part has a seed of its own, a function of its number in the whole run.
        first = loader.step * -(-loader.plan.batch_size // parts)
        self._assembler = BatchAssembler(loader.dataset, loader.plan.order, parts, first)
        self._sum, self._sum_rows, self._loss = np.zeros_like(self.gradient), 0, 0.0

    def _learn(self, batch: Batch) -> None:
        loss, rows = self._take_gradient(batch), len(batch.rows)
        self._sum += rows * self.gradient
        self._sum_rows, self._loss = self._sum_rows + rows, self._loss + rows * loss
        if batch.ends_epoch:
            np.divide(self._sum, self._sum_rows, out=self.gradient)
            self._take_step(self._sum_rows)
            self.train_state.totals[0, LOSS_SUM] += self._loss
            self._sum[:], self._sum_rows, self._loss = 0.0, 0, 0.0
