"""The hybrid's engine: mini-batches while they tell where to go, then the full gradient.

Once the signal |G|^2 lies under the noise of a batch, tr(S)/B, a step is more noise than descent.
The epoch is finished, for its rows are on their way; meanwhile iterates are averaged, the later the
more (Shamir and Zhang 2013), and L-BFGS goes on from there. Near the minimum of a likelihood the
covariance S of rows' gradients is the curvature (Fisher's information), so that L-BFGS sees
parameters in units in which S is the identity. S is estimated by differences between gradients of
neighbouring batches; of many parameters, or few batches, its diagonal by Adam's second moments.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ooc.core.blas import one_thread
from ooc.engines.forwarding import forwarded
from ooc.engines.full_gradient_engine import FullGradientEngine, minimiser_of, record_of
from ooc.kernels.counters import HALVED, NEVER, SIGNAL_NOISE
from ooc.models.contract import Model
from ooc.models.train_state import TrainState
from ooc.optim import as_method
from ooc.optim.full_gradient import (
    AVERAGED_ITERATES,
    BEGUN,
    DECIDED_STEP,
    DIFFERENCES,
    WINDOW_TOTALS,
)
from ooc.optim.settings import OWN
from ooc.stream.loader import Loader
from ooc.stream.window import Window

# Steps of a window of the rule; iterates that are averaged in an epoch, for each parameter, and
# steps between them at most.
WINDOW_STEPS = 64
SAMPLES = 16
MOST_STEPS = 16
ETA = 3.0
# Differences of gradients for each parameter, at least, for all of S; and what is added to S, as a
# share of its diagonal: directions in which nothing varies have no unit.
LEAST_DIFFERENCES = 2
RIDGE = 1e-6
# Of the normal distribution: 95 percent lie below so many standard deviations.
Z = 1.6448536269514722
# A parameter's unit is at most so many times the smallest.
MOST_UNITS = 1e4
_OF_RULE = slice(HALVED, SIGNAL_NOISE + 1)


def signal_is_lost(since: np.ndarray, batch_size: int) -> bool:
    """Tell whether the gradient's signal lies under the noise of a batch.

    Parameters
    ----------
    since
        (6,) float64: batches that were halved, and the sums over them of G1 G2 and its square, of
        the estimates of tr(S) and their squares, and of their product, see
        `ooc.kernels.counters`.
    batch_size
        B.

    Examples
    --------
    >>> since = np.array([100, 50.0, 25.25, 400.0, 1616.0, 200.0])
    >>> signal_is_lost(since, 4), signal_is_lost(since, 16)
    (True, False)
    """
    if since[0] < 2:
        return False
    count, share = float(since[0]), 1.0 / batch_size
    signal, of_signal, noise, of_noise, of_both = (since[1:] / count).tolist()
    excess = signal - share * noise
    squares = of_signal - 2 * share * of_both + share**2 * of_noise
    error = math.sqrt(max(squares - excess**2, 0.0) / (count - 1))
    return excess + Z * error < 0


class HybridEngine:
    """Takes Adam's steps, then L-BFGS's; see `ooc.engines.engine.Engine`.

    `train_state` holds that of both parts; `make_first` makes the first part's engine from its own.
    """

    step, ended = forwarded("_part.step"), forwarded("_part.ended")

    def __init__(
        self,
        model: Model,
        loader: Loader,
        train_state: TrainState,
        make_first: Callable[[TrainState], Any],
    ) -> None:
        self.train_state = train_state
        self._model, self._loader = model, loader
        self._record = record_of(train_state)
        (optimizer,) = train_state.optimizers
        slots = optimizer.state_rows(train_state.parameters.shape[1])
        state = train_state.state[:, :slots]
        steps = replace(train_state, methods=(as_method(optimizer),), state=state)
        self._first = make_first(steps)
        self._full: FullGradientEngine | None = None
        layout = model.layout(loader.dataset.row_shape)
        self._l2, self._trained = minimiser_of(train_state).l2 * layout.penalised(), layout.trained
        self._every = min(max(loader.plan.steps // (SAMPLES * layout.trained), 2), MOST_STEPS)
        if self._record.head[BEGUN]:
            self._go_over()

    @property
    def batch_size(self) -> int:
        """B of the batches that have not begun yet; all rows in the second part."""
        return int(self._part.batch_size)

    @batch_size.setter
    def batch_size(self, rows: int) -> None:
        self._first.batch_size = rows

    @property
    def rows(self) -> int:
        """Rows used by the steps of this engine."""
        return self._first.rows + (0 if self._full is None else self._full.rows)

    @property
    def _part(self) -> Any:
        return self._first if self._full is None else self._full

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Take the steps that a window completes; see `ooc.engines.engine.Engine`."""
        if self._full is not None:
            return self._full.advance(window, last_step)
        used = False
        while not used and self._first.step < last_step:
            before = self._first.step
            due = self._next(before)
            used = self._first.advance(window, min(last_step, due))
            if before < due == self._first.step:
                self._watch(due)
        if used and window.last and self._is_over():
            self._finish_first()
            self._go_over()
        return used

    def _next(self, step: int) -> int:
        """Return the next step that is watched: a window's end, or a pair of samples."""
        if not self._record.head[DECIDED_STEP]:
            return (step // WINDOW_STEPS + 1) * WINDOW_STEPS
        return step + 1 if step % self._every == 0 else (step // self._every + 1) * self._every

    def _watch(self, step: int) -> None:
        """Apply the rule; once it has decided, take samples of iterates and gradients."""
        head, record = self._record.head, self._record
        if not head[DECIDED_STEP]:
            now = self.train_state.totals[0][_OF_RULE]
            before = head[WINDOW_TOTALS : WINDOW_TOTALS + 6]
            if signal_is_lost(now - before, self._first.batch_size):
                head[DECIDED_STEP] = step
            before[:] = now
        elif step % self._every == 0:
            record.total[:] = self._first.gradient
            head[AVERAGED_ITERATES] += 1
            share = (ETA + 1) / (head[AVERAGED_ITERATES] + ETA)
            record.start[:] += share * (self.train_state.parameters[0] - record.start)
        elif head[AVERAGED_ITERATES] > 0 and record.units is not None and record.units.ndim == 2:
            difference = self._first.gradient - record.total
            difference *= math.sqrt(self._first.batch_size)
            record.units[:] += np.multiply.outer(difference, difference)
            head[DIFFERENCES] += 1

    def _is_over(self) -> bool:
        """Tell whether the first part ends with this epoch: the first, where nothing is halved."""
        return bool(self._record.head[DECIDED_STEP]) or not self.train_state.totals[0, HALVED]

    def _finish_first(self) -> None:
        """Leave to L-BFGS where it is to begin, and what parameters are measured in."""
        record, one = self._record, self.train_state
        assert record.units is not None, "a hybrid has units"
        if record.head[AVERAGED_ITERATES] == 0:
            record.start[:] = one.parameters[0]
        one.parameters[0] = record.start
        record.head[BEGUN], record.total[:] = 1.0, 0.0
        count, rows = record.head[DIFFERENCES], self._first.batch_size
        if record.units.ndim == 2 and count >= LEAST_DIFFERENCES * self._trained:
            record.units[:] = whitening(record.units / (2.0 * count), self._l2)
            return
        share = 1.0 - one.settings[0, OWN + 1] ** self._first.step
        scales = 1.0 / np.sqrt(_floored(rows / share * one.state[0, 1] + self._l2))
        record.units[:] = np.diag(scales) if record.units.ndim == 2 else scales

    def _go_over(self) -> None:
        self._full = FullGradientEngine(self._model, self._loader, self.train_state)
        self._full.step = self._first.step


def whitening(covariance: np.ndarray, l2: np.ndarray) -> np.ndarray:
    """Return C (P, P) float64 with C C^T the inverse of a covariance and an L2 penalty's curvature.

    The covariance, (P, P) float64, is that of gradients; `l2` (P,) is each parameter's penalty.

    Examples
    --------
    >>> units = whitening(np.array([[2.0, 1.0], [1.0, 2.0]]), np.zeros(2))
    >>> np.round(np.linalg.inv(units @ units.T), 3).tolist()
    [[2.0, 1.0], [1.0, 2.0]]
    """
    from scipy.linalg import solve_triangular

    diagonal = np.diagonal(covariance)
    added = _floored(diagonal + l2) - diagonal + RIDGE * diagonal
    with one_thread():
        factor = np.linalg.cholesky(covariance + np.diag(added))
        inverse: np.ndarray = solve_triangular(factor, np.eye(len(l2)), lower=True)
    return np.ascontiguousarray(inverse.T)


def _floored(curvature: np.ndarray) -> np.ndarray:
    """Return curvatures of which none is too small: a parameter that nothing moves has a unit."""
    least = curvature.max() / MOST_UNITS**2
    return np.maximum(curvature, least) if least > 0 else np.ones_like(curvature)
