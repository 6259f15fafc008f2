"""Parameters, optimizer state and settings: all that training changes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ooc.core.compiler import part
from ooc.core.errors import InputError
from ooc.kernels.counters import TOTALS
from ooc.models.contract import Layout, Model
from ooc.models.declarations import Phase, dtype_of, phase_at, phases_of, terms_of
from ooc.optim import Method, Optimizer, as_method
from ooc.optim.settings import SETTINGS, Piece, rate_at
from ooc.optim.step import real_of, update_of


@dataclass(frozen=True)
class TrainState:
    """What M descents of one model are made of; they differ in their methods, and M is mostly 1.

    Attributes
    ----------
    methods
        M of them; of several, all take steps on mini-batches.
    parameters
        (M, P); an engine updates them, and all arrays here, in place.
    state
        (M, slots, P) float64, with the slots of the method that has most.
    settings
        (M, phases * settings) float64, what compiled updates read, see `ooc.optim.settings`.
    active
        (M,) bool; a descent that is not active is left alone.
    totals
        (M, TOTALS + terms) float64, loss and noise so far, see `ooc.kernels.counters`.

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
        return len(self.active)

    @property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """Those that take steps on mini-batches."""
        return tuple(each.optimizer for each in self.methods if each.optimizer is not None)

    def alone(self, number: int) -> "TrainState":
        """Return that of one descent, as views of the same memory."""
        only = slice(number, number + 1)
        method, size = self.methods[number], self.parameters.shape[1]
        slots = len(self.state[number]) if len(self) == 1 else method.state_rows(size)
        arrays = (self.settings[only], self.active[only], self.totals[only])
        state = self.state[only, :slots]
        return TrainState(self.methods[only], self.parameters[only], state, *arrays)

    def iterate(self, number: int = 0) -> np.ndarray:
        """Return the parameters that a descent trains; a read-only copy if penalties come late."""
        optimizer = self.methods[number].optimizer
        if optimizer is None or not optimizer.is_lazy:
            return self.parameters[number]
        found = self.solution(number).view()
        found.flags.writeable = False
        return found

    def solution(self, number: int = 0) -> np.ndarray:
        """Return what a run keeps of a descent: its parameters, or their average."""
        one = self.alone(number)
        return one.methods[0].solution(one.parameters[0], one.state[0])


def start(
    methods: Sequence[Method | Optimizer], parameters: np.ndarray, model: Model | None = None
) -> TrainState:
    """Begin every descent of a model at the same parameters, (P,).

    A model whose parts take turns has settings for each phase, one after the other.

    Raises
    ------
    InputError
        If a phase's own optimizer keeps something else where the average of another one is.
    """
    for method in methods:
        _check_averages(as_method(method), () if model is None else phases_of(model))
    count = len(methods)
    slots = max(state_rows(method, parameters.size, model) for method in methods)
    terms = 1 if model is None else len(terms_of(model))
    return TrainState(
        tuple(as_method(method) for method in methods),
        np.tile(parameters, (count, 1)),
        np.zeros((count, slots, parameters.size)),
        np.stack([_settings_of(method, model) for method in methods]),
        np.ones(count, np.bool_),
        np.zeros((count, TOTALS + terms)),
    )


def at_rest(model: Model, parameters: np.ndarray) -> TrainState:
    """Return that of a model whose parameters, (P,), stay: what is wanted is their gradient."""
    return TrainState(
        (),
        np.ascontiguousarray(parameters).reshape(1, -1),
        np.zeros((1, 0, parameters.size)),
        np.zeros((1, len(phases_of(model)) * SETTINGS)),
        np.ones(1, np.bool_),
        np.zeros((1, TOTALS + len(terms_of(model)))),
    )


def update_nothing(piece: Piece, settings: np.ndarray, rate: float, step: int) -> int:
    """Leave the parameters as they are."""
    return 0


def update_addresses(model: Model, train_state: TrainState) -> np.ndarray:
    """Return the addresses of the updates, (M, phases) int64; 0 where a method has no steps."""
    dtype, phases = train_state.parameters.dtype, phases_of(model)
    if not train_state.methods:
        nothing = part(update_nothing, update_of(real_of(dtype))).address
        return np.full((1, len(phases)), nothing, np.int64)
    chosen = [
        [phase.optimizer or method.optimizer for phase in phases] for method in train_state.methods
    ]
    return np.array(
        [[0 if one is None else one.address(dtype) for one in row] for row in chosen], np.int64
    )


def state_rows(method: Method | Optimizer, parameters: int, model: Model | None = None) -> int:
    """Return the vectors of state that a method, or a phase's own optimizer, needs."""
    phases = () if model is None else phases_of(model)
    own = [each.optimizer.state_rows(parameters) for each in phases if each.optimizer is not None]
    return max([method.state_rows(parameters), *own])


def rate_of_step(model: Model, settings: np.ndarray, step: int) -> float:
    """Return the learning rate of a run's step, which its phase's optimizer has; counted from 0."""
    phase, own_step = phase_at(phases_of(model), step)
    return float(rate_at(settings.reshape(-1, SETTINGS)[phase], own_step))


def train_state_bytes(model: Model, layout: Layout, methods: Sequence[Method | Optimizer]) -> int:
    """Return the bytes of parameters and optimizer states."""
    slots = max(state_rows(method, layout.size, model) for method in methods)
    return len(methods) * layout.size * (dtype_of(model).itemsize + 8 * slots)


def _check_averages(method: Method, phases: Sequence[Phase]) -> None:
    """Refuse a phase whose state would be taken for an average, or whose average for none."""
    given = method.optimizer
    for phase in phases:
        own = phase.optimizer
        if own is None or given is None or not (own.averages or given.averages):
            continue
        if own.averages and not given.averages:
            raise InputError(
                f"phase {phase.name} keeps an average of its iterates, but the trainer's "
                f"{given.name} keeps none; give it average={own.average:g}, too"
            )
        apart = own.ahead != given.ahead if own.averages else own.slots > given.ahead
        if apart:
            raise InputError(
                f"{given.name} keeps its average where {own.name} of phase {phase.name} keeps "
                f"other state; give the trainer {own.name} with average="
            )


def _settings_of(method: Method | Optimizer, model: Model | None) -> np.ndarray:
    if model is None:
        return method.settings()
    return np.concatenate([(phase.optimizer or method).settings() for phase in phases_of(model)])
