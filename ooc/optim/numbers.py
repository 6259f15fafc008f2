"""Numbers that a user gives: each check returns the number, or refuses it by its name."""

import math

from ooc.core.errors import InputError


def positive(name: str, value: float) -> float:
    """Return a positive finite number as a float."""
    if not 0 < value < math.inf:
        raise InputError(f"{name} must be a positive finite number, not {value}; try {name}=0.1")
    return float(value)


def not_negative(name: str, value: float) -> float:
    """Return a finite number of at least 0, where 0 means that there is none of it."""
    if not 0 <= value < math.inf:
        raise InputError(
            f"{name} must be a finite number of at least 0, not {value}; {name}=0 is none"
        )
    return value


def fraction(name: str, value: float) -> float:
    """Return a number of at least 0 and below 1 as a float."""
    if not 0 <= value < 1:
        raise InputError(f"{name} must be at least 0 and below 1, not {value}; try {name}=0.9")
    return float(value)


def whole(name: str, value: float, least: int) -> int:
    """Return a whole number, not below the least, as an int."""
    if not (value >= least and float(value).is_integer()):
        raise InputError(f"{name} must be a whole number of at least {least}, not {value}")
    return int(value)
