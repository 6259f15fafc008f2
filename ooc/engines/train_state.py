"""What descends: parameters, optimizer state and settings of every model on the same batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ooc.kernels.counters import TOTALS
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

    def alone(self, number: int) -> "Descents":
        """Return one of them, as views of the same memory."""
        only = slice(number, number + 1)
        slots = self.methods[number].state_rows(self.parameters.shape[1])
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


def start(methods: Sequence[Method | Optimizer], parameters: np.ndarray) -> Descents:
    """Begin every descent at the same parameters, (P,) float32."""
    count = len(methods)
    slots = max(method.state_rows(parameters.size) for method in methods)
    return Descents(
        tuple(as_method(method) for method in methods),
        np.tile(parameters, (count, 1)),
        np.zeros((count, slots, parameters.size)),
        np.stack([method.settings() for method in methods]),
        np.ones(count, np.bool_),
        np.zeros((count, TOTALS)),
    )


def descent_bytes(methods: Sequence[Method | Optimizer], parameters: int) -> int:
    """Return the bytes of parameters and states."""
    state = max(method.state_bytes(parameters) for method in methods)
    return len(methods) * (4 * parameters + state)
