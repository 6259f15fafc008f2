"""Partial derivatives by their names, as sums of derivatives along straight lines.

Jets carry derivatives along directions. A pure derivative, u_xx, is one of them; a mixed one, u_xy,
is a sum of some: along (1, 1), x and y. (Griewank, Utke and Walther 2000.)
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np

from ooc.core.errors import InputError
from ooc.kernels.jets import HIGHEST

Direction: TypeAlias = tuple[int, ...]
_ORDINALS = ("no", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_MOST_MIXED = 4  # directions beside the axes that a mixed derivative is made of


@dataclass(frozen=True)
class Partial:
    """What a parameter of an equation names.

    Attributes
    ----------
    output
        Number of the network's output, or -1 for a coordinate or a normal's part.
    orders
        Of the derivative by each coordinate.
    given
        Place among coordinates and parts of the normal, where it is one of those.
    """

    output: int
    orders: tuple[int, ...] = ()
    given: int = -1


def partial_of(
    name: str, function: str, coordinates: Sequence[str], outputs: Sequence[str]
) -> Partial:
    """Return what a parameter of a function names.

    Raises
    ------
    InputError
        If there is no such thing, or a derivative is of a higher order than jets carry.

    Examples
    --------
    >>> partial_of("u_xxt", "wave", "xt", ["u"])
    Partial(output=0, orders=(2, 1), given=-1)
    """
    if name in coordinates:
        return Partial(-1, given=list(coordinates).index(name))
    known = list(coordinates)
    if name.startswith("n_") and name[2:] in known:
        return Partial(-1, given=len(known) + known.index(name[2:]))
    output, _, by = name.partition("_")
    if output not in outputs or (by == "") != (name == output) or set(by) - set(known):
        raise InputError(
            f"the equation {function} asks for {name}; there are the outputs {', '.join(outputs)}, "
            f"the coordinates {', '.join(known)}, derivatives such as "
            f"{outputs[0]}_{known[0]}{known[-1]}, and parts of the boundary's normal such as "
            f"n_{known[0]}"
        )
    if len(by) > HIGHEST:
        order = _ORDINALS[len(by)] if len(by) < len(_ORDINALS) else f"{len(by)}th"
        raise InputError(
            f"the equation {function} asks for {name}, a {order} derivative, and jets carry "
            f"derivatives up to the fourth (order {HIGHEST}, not {len(by)}); make a lower "
            f"derivative an output of the network, with an equation that defines it"
        )
    return Partial(list(outputs).index(output), tuple(by.count(each) for each in known))


@cache
def directions_of(orders: tuple[int, ...]) -> tuple[tuple[Direction, float], ...]:
    """Return directions, and the factors with which derivatives along them add up to a partial one.

    Examples
    --------
    >>> directions_of((0, 3))
    (((0, 1), 1.0),)
    >>> dict(directions_of((1, 1)))
    {(1, 0): -0.5, (0, 1): -0.5, (1, 1): 0.5}
    """
    involved = [place for place, order in enumerate(orders) if order]
    order, own = sum(orders), tuple(orders[place] for place in involved)
    count = len(involved)
    axes = [tuple(int(i == k) for i in range(count)) for k in range(count)]
    every = itertools.product(range(order + 1), repeat=count)
    powers = [each for each in every if sum(each) == order]
    wanted = np.array([float(each == own) for each in powers])
    values = (0, 1, -1, 2, -2)
    mixed = [
        each
        for each in itertools.product(values, repeat=count)
        if sum(map(bool, each)) > 1 and next(filter(None, each)) > 0 and math.gcd(*each) == 1
    ]
    mixed.sort(key=lambda each: (max(map(abs, each)), sum(map(abs, each))))
    for number in range(_MOST_MIXED + 1):
        for chosen in itertools.combinations(mixed, number):
            lines = [*axes, *chosen]
            matrix = np.array([[_term(line, power) for line in lines] for power in powers])
            factors: np.ndarray = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
            if np.abs(matrix @ factors - wanted).max() < 1e-12:
                whole = [_within(line, involved, len(orders)) for line in lines]
                pairs = zip(whole, [float(each) for each in np.round(factors, 14)], strict=True)
                return tuple((line, factor) for line, factor in pairs if factor)
    raise InputError(f"no directions were found for derivatives of orders {orders}")


def _term(line: Direction, power: tuple[int, ...]) -> float:
    """Return the factor of a partial derivative in the one along a line."""
    ways = math.factorial(sum(power)) // math.prod(map(math.factorial, power))
    return float(ways * math.prod(v**p for v, p in zip(line, power, strict=True)))


def _within(line: Direction, involved: Sequence[int], dimensions: int) -> Direction:
    whole = [0] * dimensions
    for place, value in zip(involved, line, strict=True):
        whole[place] = value
    return tuple(whole)
