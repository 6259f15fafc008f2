"""Learning-rate schedules: functions of the step, compiled, with their constants in two numbers.

A new schedule is one constructor, one entry of `SCHEDULES` and one branch of `rate_factor`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ooc.compiled import exact_kernel

CONSTANT = 0


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes with the step.

    Attributes
    ----------
    name
        Its entry in `SCHEDULES`.
    code
        What the compiled `rate_factor` chooses by.
    constants
        Two numbers that it calls its own.
    warmup
        Steps in which the rate first grows, linearly, to its full length.
    """

    name: str
    code: int
    constants: tuple[float, float] = (0.0, 0.0)
    warmup: int = 0


def constant(warmup: int = 0) -> Schedule:
    """Keep the learning rate."""
    return Schedule("constant", CONSTANT, warmup=warmup)


UNCHANGED = constant()

SCHEDULES: dict[str, Callable[..., Schedule]] = {"constant": constant}


@exact_kernel
def rate_factor(code: int, warmup: int, first: float, second: float, step: int) -> float:
    """Return what the learning rate is multiplied with at a step, counted from 0."""
    factor = 1.0
    if step < warmup:
        factor *= (step + 1.0) / warmup
    return factor
