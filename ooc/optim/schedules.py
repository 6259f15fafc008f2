"""Learning-rate schedules: functions of the step, compiled, with their constants in two numbers.

A new schedule is one rule (first constant, second constant, step) -> factor, one constructor, and
one entry of `SCHEDULES`. Its own clock starts where the warm-up ends.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numba import types

from ooc.core.compiler import by_address, part, small_kernel
from ooc.core.errors import InputError
from ooc.core.numbers import entry_of, positive, whole

RULE = types.float64(types.float64, types.float64, types.float64)
Rule = Callable[[float, float, float], float]
call_rule = by_address(lambda given: RULE)


def _lowering(name: str, value: float) -> float:
    if not 0 < value < 1:
        raise InputError(f"{name} must be above 0 and below 1, not {value}; try {name}=0.5")
    return float(value)


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes with the step.

    Attributes
    ----------
    name
        Its entry in `SCHEDULES`.
    rule
        Function of the constants and the step; None where the factor is always 1.
    constants
        What it calls its own, in the order in which its constructor takes them: none or two.
    warmup
        Steps in which the rate first grows, linearly, to its full length.
    spans_run
        Whether the first constant is to become the steps of the run that come after the warm-up.
    """

    name: str
    rule: Rule | None = field(default=None, repr=False, compare=False)
    constants: tuple[float, ...] = ()
    warmup: int = 0
    spans_run: bool = False

    def __post_init__(self) -> None:
        whole("warmup", self.warmup, 0)

    def for_steps(self, total: int) -> "Schedule":
        """Return the schedule for a run of this many steps, where it was to span the run."""
        if not self.spans_run:
            return self
        steps = float(max(total - self.warmup, 1))
        return replace(self, constants=(steps, *self.constants[1:]), spans_run=False)

    def address(self) -> int:
        """Return the address of the compiled rule; 0 where there is none."""
        return 0 if self.rule is None else int(part(self.rule, RULE).address)

    def to_config(self) -> dict[str, Any]:
        """Return what `schedule_from_config` makes it from again, JSON-ready."""
        return {"name": self.name, "constants": list(self.constants), "warmup": self.warmup}


def constant(*, warmup: int = 0) -> Schedule:
    """Keep the learning rate."""
    return Schedule("constant", warmup=warmup)


def inverse_scaling_rule(decay_steps: float, power: float, step: float) -> float:
    """Return ``(1 + step / decay_steps) ** -power``."""
    return (1.0 + step / decay_steps) ** -power


def inverse_scaling(decay_steps: float, power: float = 0.5, *, warmup: int = 0) -> Schedule:
    """Multiply by ``(1 + step / decay_steps) ** -power`` (Robbins and Monro 1951: power 1)."""
    constants = (positive("decay_steps", decay_steps), positive("power", power))
    return Schedule("inverse_scaling", inverse_scaling_rule, constants, warmup)


def step_rule(every: float, factor: float, step: float) -> float:
    """Return ``factor ** floor(step / every)``."""
    return factor ** math.floor(step / every)


def staircase(every: int, factor: float = 0.1, *, warmup: int = 0) -> Schedule:
    """Multiply by `factor` once more after `every` steps; "step" in the table."""
    constants = (float(whole("every", every, 1)), _lowering("factor", factor))
    return Schedule("step", step_rule, constants, warmup)


def cosine_rule(steps: float, floor: float, step: float) -> float:
    """Return a half cosine from 1 to `floor`, which is kept after so many steps."""
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(step / steps, 1.0)))


def cosine(steps: int | None = None, floor: float = 0.0, *, warmup: int = 0) -> Schedule:
    """Fall from 1 to `floor` along half a cosine (Loshchilov and Hutter 2017, equation 5).

    Parameters
    ----------
    steps
        After so many, warm-up not counted, the floor is kept. None: what is left of the run.
    floor
        Lowest factor, between 0 and 1.
    """
    if not 0 <= floor <= 1:
        raise InputError(f"floor must be between 0 and 1, not {floor}; try floor=0")
    # 0 stands for None in a saved description.
    own = float(whole("steps", steps, 1)) if steps else 0.0
    return Schedule("cosine", cosine_rule, (own, float(floor)), warmup, spans_run=not steps)


def plateau(factor: float = 0.5, patience: int = 2, *, warmup: int = 0) -> Schedule:
    """Multiply by `factor` each time `patience` evaluations in a row brought no new best loss."""
    constants = (_lowering("factor", factor), float(whole("patience", patience, 1)))
    return Schedule("plateau", None, constants, warmup)


UNCHANGED = constant()

SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "inverse_scaling": inverse_scaling,
    "step": staircase,
    "cosine": cosine,
    "plateau": plateau,
}


@small_kernel
def rate_factor(
    rule: int | np.int64, warmup: int | np.int64, first: float, second: float, step: int
) -> float:
    """Return what the learning rate is multiplied with at a step, counted from 0.

    `rule` is an address, or 0 for a factor of 1.
    """
    if step < warmup:
        return (step + 1.0) / warmup
    if rule == 0:
        return 1.0
    return call_rule(rule, (first, second, np.float64(step - warmup)))


def plateau_factor(schedule: Schedule, losses: Sequence[float]) -> float:
    """Return what the learning rate is multiplied with after these losses on validation rows.

    A function of the list alone, so that a resumed run finds the same rate. NaN is no new best.
    For any schedule but "plateau" it is 1.
    """
    if schedule.name != "plateau":
        return 1.0
    lowering, patience = schedule.constants
    factor, best, without = 1.0, math.inf, 0
    for loss in losses:
        without = 0 if loss < best else without + 1
        best = loss if loss < best else best
        if without == patience:
            factor, without = factor * lowering, 0
    return factor


def schedule_from_config(config: Mapping[str, Any]) -> Schedule:
    """Make a schedule from what its `to_config` returned, also after a way through JSON.

    Raises
    ------
    InputError
        If there is no such schedule, or it does not take what is said of it.
    """
    name = config.get("name") if isinstance(config, Mapping) else config
    make = entry_of("schedule", SCHEDULES, name)
    try:
        return make(*config["constants"], warmup=config["warmup"])
    except (KeyError, TypeError) as error:
        raise InputError(f"schedule {name} cannot be made from {config}: {error}") from None
