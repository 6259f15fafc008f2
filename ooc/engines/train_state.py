"""What descends: parameters, optimizer state and settings of every model on the same batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ooc.kernels.counters import TOTALS
from ooc.models.contract import Layout, Model
from ooc.models.declarations import dtype_of, phases_of, terms_of
from ooc.models.loop import Vectors
from ooc.optim import Method, Optimizer, as_method


@dataclass(frozen=True)
class Descents:
    """M descents of one model, which differ in their methods; usually there is but one.

    Attributes
    ----------
    methods
        M of them; of several, all take steps on mini-batches.
    parameters
        (M, P) float32; an engine updates them in place.
    state
        (M, slots, P) float64, with the slots of the method that has most.
    settings
        (M, settings) float64, what compiled updates read.
    active
        (M,) bool; a descent that is not active is left alone.
    totals
        (M, TOTALS) float64, loss and noise so far, see `ooc.kernels.counters`.

    Examples
    --------
    >>> from ooc.optim import adam, sgd
    >>> start((sgd(0.1), adam(0.1)), np.zeros(3, np.float32)).state.shape
    (2, 2, 3)
    """

    methods: tuple[Method, ...]
    parameters: np.ndarray
    state: np.ndarray
    settings: np.ndarray
    active: np.ndarray
    totals: np.ndarray

    def __len__(self) -> int:
        return len(self.methods)

    @property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """Those that take steps on mini-batches."""
        return tuple(each.optimizer for each in self.methods if each.optimizer is not None)

    def vectors(self, layout: Layout) -> Vectors:
        """Return what the window loop updates in place."""
        return Vectors(
            self.parameters,
            self.state,
            self.settings,
            layout.penalised(),
            self.active,
            self.totals,
        )

    def alone(self, number: int) -> "Descents":
        """Return one of them, as views of the same memory."""
        only = slice(number, number + 1)
        method, size = self.methods[number], self.parameters.shape[1]
        slots = len(self.state[number]) if len(self) == 1 else method.state_rows(size)
        return Descents(
            self.methods[only],
            self.parameters[only],
            self.state[only, :slots],
            self.settings[only],
            self.active[only],
            self.totals[only],
        )

    def solution(self, number: int = 0) -> np.ndarray:
        """Return what a run keeps of a descent: its parameters, or their average."""
        one = self.alone(number)
        return one.methods[0].solution(one.parameters[0], one.state[0])


def start(
    methods: Sequence[Method | Optimizer], parameters: np.ndarray, model: Model | None = None
) -> Descents:
    """Begin every descent of a model at the same parameters, (P,).

    A model whose parts take turns has settings for each phase, one after the other.
    """
    count = len(methods)
    slots = max(state_rows(method, parameters.size, model) for method in methods)
    terms = 1 if model is None else len(terms_of(model))
    return Descents(
        tuple(as_method(method) for method in methods),
        np.tile(parameters, (count, 1)),
        np.zeros((count, slots, parameters.size)),
        np.stack([_settings_of(method, model) for method in methods]),
        np.ones(count, np.bool_),
        np.zeros((count, TOTALS + terms)),
    )


def state_rows(method: Method | Optimizer, parameters: int, model: Model | None = None) -> int:
    """Return the vectors of state that a method, or a phase's own optimizer, needs."""
    phases = () if model is None else phases_of(model)
    own = [phase.optimizer.slots for phase in phases if phase.optimizer is not None]
    return max([method.state_rows(parameters), *own])


def update_addresses(model: Model, descents: Descents) -> np.ndarray:
    """Return the addresses of the updates, (M, phases) int64; 0 where a method has no steps."""
    dtype = descents.parameters.dtype
    table = [
        [
            0 if (chosen := phase.optimizer or method.optimizer) is None else chosen.address(dtype)
            for phase in phases_of(model)
        ]
        for method in descents.methods
    ]
    return np.array(table, np.int64)


def descent_bytes(model: Model, layout: Layout, methods: Sequence[Method | Optimizer]) -> int:
    """Return the bytes of parameters and states."""
    item, rows = (
        dtype_of(model).itemsize,
        [state_rows(each, layout.size, model) for each in methods],
    )
    return len(methods) * layout.size * (item + 8 * max(rows))


def _settings_of(method: Method | Optimizer, model: Model | None) -> np.ndarray:
    if model is None:
        return method.settings()
    return np.concatenate(
        [
            method.settings() if phase.optimizer is None else phase.optimizer.settings()
            for phase in phases_of(model)
        ]
    )
