"""What descends: parameters, optimizer state and settings of every model on the same batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ooc.kernels.counters import TOTALS
from ooc.optim import Optimizer


@dataclass(frozen=True)
class Descents:
    """M descents of one model, which differ in their optimizers; usually there is but one.

    Attributes
    ----------
    optimizers
        M of them.
    parameters
        (M, P) float32; an engine updates them in place.
    state
        (M, slots, P) float64, with the slots of the optimizer that has most.
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

    optimizers: tuple[Optimizer, ...]
    parameters: np.ndarray
    state: np.ndarray
    settings: np.ndarray
    active: np.ndarray
    totals: np.ndarray

    def __len__(self) -> int:
        return len(self.optimizers)

    def alone(self, number: int) -> "Descents":
        """Return one of them, as views of the same memory."""
        only = slice(number, number + 1)
        slots = self.optimizers[number].state_rows(self.parameters.shape[1])
        return Descents(
            self.optimizers[only],
            self.parameters[only],
            self.state[only, :slots],
            self.settings[only],
            self.active[only],
            self.totals[only],
        )

    def solution(self, number: int = 0) -> np.ndarray:
        """Return what a run keeps of a descent: its parameters, or their average."""
        one = self.alone(number)
        return one.optimizers[0].solution(one.parameters[0], one.state[0])


def start(optimizers: Sequence[Optimizer], parameters: np.ndarray) -> Descents:
    """Begin every descent at the same parameters, (P,) float32."""
    count = len(optimizers)
    slots = max(optimizer.state_rows(parameters.size) for optimizer in optimizers)
    return Descents(
        tuple(optimizers),
        np.tile(parameters, (count, 1)),
        np.zeros((count, slots, parameters.size)),
        np.stack([optimizer.settings() for optimizer in optimizers]),
        np.ones(count, np.bool_),
        np.zeros((count, TOTALS)),
    )


def descent_bytes(optimizers: Sequence[Optimizer], parameters: int) -> int:
    """Return the bytes of parameters and optimizer states."""
    state = max(optimizer.state_bytes(parameters) for optimizer in optimizers)
    return len(optimizers) * (4 * parameters + state)
