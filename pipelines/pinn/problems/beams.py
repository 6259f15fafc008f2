"""Euler-Bernoulli beams of length, stiffness and load 1: w'''' = q, and closed forms of w.

A load at a point is a jump of the shear force: a beam that carries one in its middle is solved as
half of one, with the shear force of half of the load at its end.
"""

from collections.abc import Callable, Mapping

import numpy as np

from pipelines.pinn.case import Case, judge_outputs
from pipelines.pinn.geometry import box
from pipelines.pinn.problem import Law, Problem

BOUND = 1e-5


def loaded(w_xxxx: float) -> float:
    """Carry a load of 1 along the beam."""
    return w_xxxx - 1.0


def unloaded(w_xxxx: float) -> float:
    """Carry nothing between the ends."""
    return w_xxxx


def held(w: float) -> float:
    """Stay in place."""
    return w


def level(w_x: float) -> float:
    """Have no slope."""
    return w_x


def no_moment(w_xx: float) -> float:
    """Bear no bending moment."""
    return w_xx


def no_shear(w_xxx: float) -> float:
    """Bear no shear force."""
    return w_xxx


def unit_shear(w_xxx: float) -> float:
    """Bear a load of 1 at the end."""
    return w_xxx + 1.0


def half_shear(w_xxx: float) -> float:
    """Bear half of a load of 1, the other half of the beam the rest."""
    return w_xxx + 0.5


def beam(
    name: str,
    equation: Law,
    ends: tuple[tuple[Law, ...], tuple[Law, ...]],
    deflection: Callable[[np.ndarray], np.ndarray],
    length: float = 1.0,
) -> Case:
    """Return a beam with conditions at both ends and a known deflection."""
    left, right = "x=0", f"x={length:g}"

    def reference(points: np.ndarray) -> Mapping[str, np.ndarray]:
        return {"w": deflection(points[:, 0])}

    problem = Problem(
        name, box(x=(0.0, length)), ("w",), (equation,),
        {left: ends[0], right: ends[1]}, reference, hidden=(20, 20), points=256, edge_points=16,
    )  # fmt: skip
    points = np.linspace(0, length, 501)[:, None]
    return Case(problem, judge_outputs(points, {"w": BOUND}), rounds=2, passes=500, shown=("w",))


CLAMPED, HINGED = (held, level), (held, no_moment)
CASES = (
    beam(
        "cantilever-load", loaded, (CLAMPED, (no_moment, no_shear)),
        lambda x: x**2 * (6 - 4 * x + x**2) / 24,
    ),
    beam(
        "cantilever-point", unloaded, (CLAMPED, (no_moment, unit_shear)),
        lambda x: x**2 * (3 - x) / 6,
    ),
    beam("hinged-load", loaded, (HINGED, HINGED), lambda x: x * (1 - 2 * x**2 + x**3) / 24),
    beam(
        "hinged-point", unloaded, (HINGED, (level, half_shear)),
        lambda x: x * (3 - 4 * x**2) / 48, length=0.5,
    ),
)  # fmt: skip
