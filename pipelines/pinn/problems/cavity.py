"""Flow in a cavity whose lid moves, at a Reynolds number of 100: velocity u, v and pressure p.

Where the lid meets the walls the flow is not defined: u jumps, and its slopes are infinite. So
residuals of momentum and of the lid's speed fade within a few hundredths of both corners; those of
mass do not, for what leaks there is missed elsewhere. The reference is the table of Ghia, Ghia and
Shin (1982), on the lines through the middle.
"""

from typing import Any

import numpy as np

from pipelines.pinn.case import Case, Judgement, Profile
from pipelines.pinn.geometry import box
from pipelines.pinn.problem import Problem
from pipelines.pinn.training import Solution, relative_error

BOUND, SOURCE = 0.02, "Ghia et al. 1982"
REYNOLDS, NEAR = 100.0, 0.05
# Heights with u at x = 0.5, then places with v at y = 0.5.
GHIA_Y = (1.0, 0.9766, 0.9688, 0.9609, 0.9531, 0.8516, 0.7344, 0.6172, 0.5, 0.4531, 0.2813, 0.1719,
          0.1016, 0.0703, 0.0625, 0.0547, 0.0)  # fmt: skip
GHIA_U = (1.0, 0.84123, 0.78871, 0.73722, 0.68717, 0.23151, 0.00332, -0.13641, -0.20581, -0.21090,
          -0.15662, -0.10150, -0.06434, -0.04775, -0.04192, -0.03717, 0.0)  # fmt: skip
GHIA_X = (1.0, 0.9688, 0.9609, 0.9531, 0.9453, 0.9063, 0.8594, 0.8047, 0.5, 0.2344, 0.2266, 0.1563,
          0.0938, 0.0781, 0.0703, 0.0625, 0.0)  # fmt: skip
GHIA_V = (0.0, -0.05906, -0.07391, -0.08864, -0.10313, -0.16914, -0.22445, -0.24533, 0.05454,
          0.17527, 0.17507, 0.16077, 0.12317, 0.10890, 0.10091, 0.09233, 0.0)  # fmt: skip


def fade(x: Any, y: Any) -> Any:
    """Return 0 at the lid's corners, and nearly 1 beyond `NEAR` of them."""
    left, right = (a * a + (1 - y) * (1 - y) for a in (x, 1 - x))
    return left / (left + NEAR**2) * (right / (right + NEAR**2))


def momentum_x(u, v, u_x, u_y, p_x, u_xx, u_yy, x, y):
    """Keep the momentum along x."""
    return fade(x, y) * (u * u_x + v * u_y + p_x - (u_xx + u_yy) / REYNOLDS)


def momentum_y(u, v, v_x, v_y, p_y, v_xx, v_yy, x, y):
    """Keep the momentum along y."""
    return fade(x, y) * (u * v_x + v * v_y + p_y - (v_xx + v_yy) / REYNOLDS)


def mass(u_x, v_y):
    """Keep the mass."""
    return u_x + v_y


def wall(u, v):
    """Stick to a wall."""
    return u, v


def lid(u, v, x, y):
    """Move with the lid."""
    return fade(x, y) * (u - 1.0), v


PROFILES = (
    Profile("u", np.stack([np.full(17, 0.5), GHIA_Y], axis=1), np.array(GHIA_U), SOURCE),
    Profile("v", np.stack([GHIA_X, np.full(17, 0.5)], axis=1), np.array(GHIA_V), SOURCE),
)


def judge(solution: Solution) -> tuple[Judgement, ...]:
    """Compare with the table, without the lid's corners, where the flow is not defined."""
    found = np.concatenate([solution(each.points)[each.output] for each in PROFILES])
    known = np.concatenate([each.values for each in PROFILES])
    furthest = float(np.abs(found - known).max())
    return (
        Judgement("relative L2 error of Ghia's u and v", relative_error(found, known), BOUND),
        Judgement("furthest from Ghia, of the lid's speed", furthest, BOUND),
    )


PROBLEM = Problem(
    "cavity", box(x=(0.0, 1.0), y=(0.0, 1.0)), ("u", "v", "p"), (momentum_x, momentum_y, mass),
    {"x=0": (wall,), "x=1": (wall,), "y=0": (wall,), "y=1": (lid,)}, hidden=(24, 24, 24),
    points=2500, edge_points=200,
)  # fmt: skip
CASES = (Case(PROBLEM, judge, 4, 1200, ("u", "v"), PROFILES),)
