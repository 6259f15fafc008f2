"""The problems of `pipelines.pinn` as DeepXDE takes them: residuals of PyTorch's tensors.

A residual is a function of ``d``, ``x`` and ``y``: ``d(output, *by)`` is a partial derivative of an
output by inputs, all by their numbers; ``x`` and ``y`` are the inputs and the outputs, (rows, ...).
A term of the loss is a tuple of residuals that have one weight, as in ooc.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Residual = Callable[[Any, Any, Any], Any]
Term = tuple[Residual, ...]


@dataclass(frozen=True)
class Stated:
    """A problem: terms inside, and of each piece of the boundary in the order of ooc's tags."""

    outputs: int
    inside: tuple[Term, ...]
    edges: tuple[tuple[Term, ...], ...]


def slope(output: int, *by: int) -> Residual:
    """Return the residual that makes a derivative zero, or an output."""
    if not by:
        return lambda d, x, y: y[:, output : output + 1]
    return lambda d, x, y: d(output, *by)


def laplacian(d: Any, output: int) -> Any:
    """Return the sum of both second derivatives."""
    return d(output, 0, 0) + d(output, 1, 1)


def column(values: Any, number: int) -> Any:
    """Return a column, (rows, 1)."""
    return values[:, number : number + 1]


HELD: Term = (slope(0),)


def beam() -> Stated:
    """Return the cantilever under a load."""
    return Stated(
        1,
        ((lambda d, x, y: d(0, 0, 0, 0, 0) - 1.0,),),
        ((HELD, (slope(0, 0),)), ((slope(0, 0, 0),), (slope(0, 0, 0, 0),))),
    )


def poisson() -> Stated:
    """Return Poisson's equation on an L, whose residual fades at the corner."""

    def equation(d: Any, x: Any, y: Any) -> Any:
        square = (x**2).sum(dim=1, keepdim=True)
        return (laplacian(d, 0) + 1.0) * square / (square + 0.03**2)

    return Stated(1, ((equation,),), ((HELD,),) * 5)


def plasma() -> Stated:
    """Return the Grad-Shafranov equation."""

    def equation(d: Any, x: Any, y: Any) -> Any:
        radius = column(x, 0)
        return laplacian(d, 0) - d(0, 0) / radius - (1.0 + 1.0 / 1.7**2) * radius**2

    return Stated(1, ((equation,),), ((HELD,),))


def burgers() -> Stated:
    """Return Burgers' equation, with a sine to begin with."""
    import torch

    def equation(d: Any, x: Any, y: Any) -> Any:
        return d(0, 1) + y * d(0, 0) - 0.01 / math.pi * d(0, 0, 0)

    def begin(d: Any, x: Any, y: Any) -> Any:
        return y + torch.sin(math.pi * column(x, 0))

    return Stated(1, ((equation,),), ((HELD,), (HELD,), ((begin,),)))


def cavity() -> Stated:
    """Return the flow under a lid: residuals of momentum fade at the lid's corners."""

    def fade(x: Any) -> Any:
        across, down = column(x, 0), 1 - column(x, 1)
        left, right = across**2 + down**2, (1 - across) ** 2 + down**2
        return left / (left + 0.05**2) * (right / (right + 0.05**2))

    def momentum(of: int) -> Residual:
        def residual(d: Any, x: Any, y: Any) -> Any:
            carried = column(y, 0) * d(of, 0) + column(y, 1) * d(of, 1)
            return fade(x) * (carried + d(2, of) - laplacian(d, of) / 100.0)

        return residual

    wall = ((slope(0), slope(1)),)
    lid = ((lambda d, x, y: fade(x) * (column(y, 0) - 1.0), slope(1)),)
    return Stated(
        3,
        ((momentum(0),), (momentum(1),), (lambda d, x, y: d(0, 0) + d(1, 1),)),
        (wall, wall, wall, lid),
    )


def plate() -> Stated:
    """Return the plate with a hole: outputs u, v and the stresses p, q, s."""
    plane, shear, poisson = 1 / (1 - 0.3**2), 1 / 2.6, 0.3
    u, v, p, q, s = range(5)

    def far(x: Any) -> tuple[Any, Any, Any]:
        square = (x**2).sum(dim=1, keepdim=True)
        cos2 = (column(x, 0) ** 2 - column(x, 1) ** 2) / square
        sin2 = 2 * column(x, 0) * column(x, 1) / square
        cos4, sin4, near = cos2**2 - sin2**2, 2 * sin2 * cos2, 1 / square
        return (
            1 - near * (1.5 * cos2 + cos4) + 1.5 * near**2 * cos4,
            -near * (0.5 * cos2 - cos4) - 1.5 * near**2 * cos4,
            -near * (0.5 * sin2 + sin4) + 1.5 * near**2 * sin4,
        )

    def borne(output: int, which: int) -> Residual:
        return lambda d, x, y: column(y, output) - far(x)[which]

    def hole(first: int, second: int) -> Residual:
        def traction(d: Any, x: Any, y: Any) -> Any:
            # The normal of a circle about the origin.
            return column(y, first) * column(x, 0) + column(y, second) * column(x, 1)

        return traction

    return Stated(
        5,
        (
            (lambda d, x, y: d(p, 0) + d(s, 1),),
            (lambda d, x, y: d(s, 0) + d(q, 1),),
            (lambda d, x, y: column(y, p) - plane * (d(u, 0) + poisson * d(v, 1)),),
            (lambda d, x, y: column(y, q) - plane * (d(v, 1) + poisson * d(u, 0)),),
            (lambda d, x, y: column(y, s) - shear * (d(u, 1) + d(v, 0)),),
        ),
        (
            ((slope(u), slope(s)),),
            ((borne(p, 0), borne(s, 2)),),
            ((slope(v), slope(s)),),
            ((borne(q, 1), borne(s, 2)),),
            ((hole(p, s), hole(s, q)),),
        ),
    )


PROBLEMS: dict[str, Callable[[], Stated]] = {
    "cantilever-load": beam,
    "plate": plate,
    "poisson-ell": poisson,
    "burgers": burgers,
    "cavity": cavity,
    "plasma": plasma,
}
