"""Poisson's equation on an L: -u_xx - u_yy = 1, zero on the boundary, with a corner that sticks in.

The reference is a sum of functions that obey the equation and both sides of that corner, with
factors that make it zero on the other sides, by least squares (Fox, Henrici and Moler 1967), which
knows that the slope at the corner is infinite.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np

from pipelines.pinn.case import Case, grid, judge_outputs
from pipelines.pinn.geometry import Geometry, box
from pipelines.pinn.problem import Problem

BOUND = 5e-3
NEAR = 0.03
TERMS, ON_SIDE = 160, 800
REACH = np.sqrt(2.0)  # of the furthest corner, by which radii are divided


def poisson(u_xx, u_yy, x, y):
    """Bend down under a load of 1; within a few hundredths of the corner the residual fades."""
    square = x * x + y * y
    return (u_xx + u_yy + 1.0) * square / (square + NEAR**2)


def fixed(u: float) -> float:
    """Stay at zero."""
    return u


def ell() -> Geometry:
    """Return the square from -1 to 1 without its quarter of positive x and negative y."""
    square = box(x=(-1.0, 1.0), y=(-1.0, 1.0))
    surfaces = {**square.surfaces, "corner": lambda x, y: np.minimum(x, -y)}
    return Geometry("xy", square.bounds, surfaces)


def _basis(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a solution that is zero at the corner's sides, and harmonic functions that are."""
    x, y = points.T
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    # From the positive x axis, over the top, to the negative y axis.
    angle = np.where(angle < -np.pi / 2 - 1e-9, angle + 2 * np.pi, angle)
    angle = np.where(angle < -1e-9, angle + 2 * np.pi, angle)
    logarithm = np.log(np.maximum(r, 1e-300))
    resonant = logarithm * np.sin(2 * angle) + angle * np.cos(2 * angle)
    own = r**2 * (np.cos(2 * angle) / 4 - 0.25 - resonant / (3 * np.pi))
    # Every second one is odd about the diagonal, which the solution is not.
    orders = 2 * np.arange(1, 2 * TERMS, 2) / 3
    return own, (r[:, None] / REACH) ** orders * np.sin(angle[:, None] * orders)


@cache
def _factors() -> np.ndarray:
    line = np.cos(np.pi * (np.arange(ON_SIDE) + 0.5) / ON_SIDE)
    one = np.ones(ON_SIDE)
    up, down = (line + 1) / 2, (line - 1) / 2
    sides = [(one, up), (line, one), (-one, line), (down, -one)]
    points = np.concatenate([np.stack(side, axis=1) for side in sides])
    own, functions = _basis(points)
    found: np.ndarray = np.linalg.lstsq(functions, -own, rcond=None)[0]
    return found


def reference(points: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return u at points, (rows, 2)."""
    own, functions = _basis(points)
    return {"u": own + functions @ _factors()}


PROBLEM = Problem(
    "poisson-ell", ell(), ("u",), (poisson,),
    dict.fromkeys(ell().surfaces, (fixed,)), reference, hidden=(20, 20, 20), points=6000,
    edge_points=300,
)  # fmt: skip
JUDGED = grid(PROBLEM, 101)
CASES = (Case(PROBLEM, judge_outputs(JUDGED, {"u": BOUND}), 6, 1000, ("u",)),)
