"""What an optimizer is: its constants, its state, what a run keeps of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import numpy as np

from ooc.core.compiler import part
from ooc.core.errors import InputError
from ooc.core.numbers import fraction, not_negative, positive
from ooc.optim import lazy
from ooc.optim.penalties import clip_scale
from ooc.optim.schedules import UNCHANGED, Schedule, cosine
from ooc.optim.settings import SETTINGS, rate_at
from ooc.optim.step import real_of, step_piece, update_of


class Common(TypedDict, total=False):
    """What every optimizer takes beside its own constants.

    Attributes
    ----------
    l2, l1
        Penalties ``l2/2 |w|^2`` and ``l1 |w|_1`` of the coefficients; both make an elastic net.
        The loss that a run reports is that of the data, without them.
    clip_norm
        Largest norm of a gradient, without penalties; a longer one is scaled down to it.
    schedule
        How the learning rate changes with the step; by default it stays where it was given, and
        falls along a cosine where a run finds it.
    average
        What an exponential average of the iterates keeps of itself in a step, below 1, such as
        0.999; a run keeps that average. In the first steps it keeps (1 + step)/(10 + step), if that
        is less, so that the start is forgotten. 0: no average.
    """

    l2: float
    l1: float
    clip_norm: float | None
    schedule: Schedule | None
    average: float


@dataclass(frozen=True)
class Optimizer:
    """One optimizer with its constants.

    Attributes
    ----------
    name
        Its entry in `ooc.optim.OPTIMIZERS`.
    rule
        Its update, see `ooc.optim.optimizers`.
    rate
        The learning rate; None where a run is to find it.
    constants
        What the optimizer calls its own, in the order in which its constructor takes them, at
        most 4.
    slots
        Vectors of state for each parameter.
    l2, l1, clip_norm, schedule, average
        See `Common`.
    decay
        Decoupled weight decay: penalised parameters are multiplied with 1 - rate * decay.
    reach
        How many times the rate a long run walks for a constant gradient of 1; 0 where each
        parameter has a rate of its own, so that steps are of one size whatever the gradient is.
    keeps_average
        Whether the optimizer's own update keeps an average, as the iterate plus its first vector
        of state.
    waits
        Whether an entry whose gradient is zero stays as it is, its state included, where it is not
        penalised: then steps may leave out all such entries.
    is_linear
        Whether a step is the rate times the gradient, without a state: then gradients of rows may
        be subtracted one after the other.
    is_lazy
        Whether such steps take of an entry what its penalties do when it is met again, with vectors
        of state for that, see `ooc.optim.lazy`; what a run keeps is up to date.

    Raises
    ------
    InputError
        If a penalty, a norm or the schedule cannot be used.

    Examples
    --------
    >>> from ooc.optim import momentum
    >>> optimizer, w = momentum(0.5), np.array([1.0], np.float32)
    >>> state = optimizer.init(w.size)
    >>> for step in range(2):
    ...     optimizer.update(w, np.array([1.0]), state, step)
    >>> w, state
    (array([-0.45], dtype=float32), array([[1.9]]))
    """

    name: str
    rule: Callable[..., int] = field(repr=False, compare=False)
    rate: float | None = None
    constants: tuple[float, ...] = ()
    slots: int = 0
    l2: float = 0.0
    l1: float = 0.0
    clip_norm: float | None = None
    schedule: Schedule | None = None
    decay: float = 0.0
    reach: float = 0.0
    keeps_average: bool = False
    waits: bool = False
    is_linear: bool = False
    is_lazy: bool = False
    average: float = 0.0

    def __post_init__(self) -> None:
        if self.rate is not None:
            object.__setattr__(self, "rate", positive("lr", self.rate))
        for name in ("l2", "l1", "decay"):
            not_negative(name, getattr(self, name))
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise InputError(
                f"clip_norm must be a positive finite number, not {self.clip_norm}; "
                "clip_norm=None does not clip"
            )
        object.__setattr__(self, "average", fraction("average", self.average))
        if self.keeps_average and self.average > 0:
            raise InputError(
                f"{self.name} keeps an average of all iterates; leave out average={self.average}, "
                "or choose sgd"
            )
        if self.schedule is None:
            # A rate that is found is found for the start of a run.
            object.__setattr__(self, "schedule", cosine() if self.rate is None else UNCHANGED)
        if not isinstance(self.schedule, Schedule):
            raise InputError(
                f"schedule must be made by ooc.schedules, not {self.schedule!r}; "
                "try schedule=ooc.schedules.cosine()"
            )

    @property
    def rates(self) -> Schedule:
        """The schedule of the learning rate, never None."""
        assert self.schedule is not None, "it has one from the start"
        return self.schedule

    @property
    def averages(self) -> bool:
        """Whether what a run keeps is an average of the iterates."""
        return self.keeps_average or self.average > 0

    @property
    def ahead(self) -> int:
        """The vector of state that says how far the average is ahead of the iterate."""
        return 0 if self.keeps_average else self.slots

    @property
    def leaves_out(self) -> bool:
        """Whether steps may leave out entries whose gradient is zero, with these penalties."""
        penalties = () if self.is_lazy else (self.l1, self.l2)
        others = self.decay, self.clip_norm or 0.0, self.average
        return self.waits and not any((*penalties, *others))

    @property
    def can_be_lazy(self) -> bool:
        """Whether its penalties may be taken of entries when they are met again."""
        others = self.decay > 0 or self.clip_norm is not None or self.average > 0
        return self.is_linear and not others and (self.l1 > 0 or self.l2 > 0)

    def init(self, parameters: int) -> np.ndarray:
        """Return the zeroed float64 state, shape (state rows, parameters)."""
        return np.zeros((self.state_rows(parameters), parameters))

    def state_rows(self, parameters: int) -> int:
        """Return how many vectors of state there are for this many parameters."""
        return self.slots + (self.average > 0)

    def settings(self) -> np.ndarray:
        """Return the vector that the compiled update reads, float64 (SETTINGS,).

        Raises
        ------
        InputError
            If the learning rate, or the steps of its schedule, are not known yet.
        """
        if self.rate is None:
            raise InputError(f"{self.name} has no learning rate yet; give one with lr=")
        schedule = self.rates
        if schedule.spans_run:
            raise InputError(
                f"{schedule.name} is to span the run, but the run's steps are not known; "
                f"give them with {schedule.name}(steps=...)"
            )
        first, second = schedule.constants or (0.0, 0.0)
        # In the order in which `ooc.optim.settings` names them.
        scales = (self.rate, 1.0, 1.0)
        shape = (schedule.address(), schedule.warmup, first, second)
        penalties = (self.l2, self.l1, self.clip_norm or 0.0, self.decay)
        average = (self.average, self.ahead)
        known = (*scales, *shape, *penalties, self.reach, *average, *self.constants)
        settings = np.zeros(SETTINGS)
        settings[: len(known)] = known
        return settings

    def address(self, dtype: Any = np.float32) -> int:
        """Return the address of the compiled update for parameters of this dtype."""
        return int(part(self.rule, update_of(real_of(dtype))).address)

    def with_rate(self, rate: float) -> "Optimizer":
        """Return the same optimizer with another learning rate."""
        return replace(self, rate=rate)

    def update(
        self,
        parameters: np.ndarray,
        gradient: np.ndarray,
        state: np.ndarray,
        step: int,
        penalised: np.ndarray | None = None,
    ) -> None:
        """Take one step in place; `step` counts from 0, and by default all is penalised."""
        if penalised is None:
            penalised = np.ones(parameters.size, np.bool_)
        address, settings = self.address(parameters.dtype), self.settings()
        rate, scale = rate_at(settings, step), clip_scale(gradient, settings)
        step_piece(address, parameters, gradient, state, settings, rate, step, penalised, 0, scale)

    def solution(self, parameters: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Return what a run keeps: the average of iterates where the optimizer has one.

        Where penalties are taken late it is a copy from which they are taken; for all other
        optimizers it is `parameters` itself, no copy.
        """
        if self.is_lazy:
            if state[lazy.SCALARS, lazy.SCALE] == 0.0:  # no step was taken yet
                return parameters
            found = np.empty_like(parameters)
            lazy.write_settled(parameters, state, found)
            return found
        if not self.averages:
            return parameters
        average: np.ndarray = (parameters + state[self.ahead]).astype(parameters.dtype)
        return average

    def to_config(self) -> dict[str, object]:
        """Return what `ooc.optim.optimizer_from_config` makes it from again, JSON-ready."""
        names = ("name", "rate", "constants", "l2", "l1", "clip_norm", "average")
        given = {name: getattr(self, name) for name in names}
        return given | {"constants": list(self.constants), "schedule": self.rates.to_config()}
