"""A plate with a hole under tension (Kirsch 1898): plane stress, a quarter of it by symmetry.

Displacements u, v and stresses p (xx), q (yy), s (xy) are outputs of one network, so that all laws
are of first order. The outer edges bear the tractions of the infinite plate.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.pinn.case import Case, Judgement, grid
from pipelines.pinn.geometry import box, disk, without
from pipelines.pinn.problem import Problem
from pipelines.pinn.training import Solution, relative_error

BOUND, PEAK_BOUND = 1e-3, 0.01
SIDE, POISSON = 4.0, 0.3  # of a hole of radius 1; Young's modulus and the tension are 1
PLANE = 1 / (1 - POISSON**2)
SHEAR = 1 / (2 * (1 + POISSON))


def balance_x(p_x: float, s_y: float) -> float:
    """Bear no net force along x."""
    return p_x + s_y


def balance_y(s_x: float, q_y: float) -> float:
    """Bear no net force along y."""
    return s_x + q_y


def hooke_x(p: float, u_x: float, v_y: float) -> float:
    """Stretch along x."""
    return p - PLANE * (u_x + POISSON * v_y)


def hooke_y(q: float, u_x: float, v_y: float) -> float:
    """Stretch along y."""
    return q - PLANE * (v_y + POISSON * u_x)


def hooke_shear(s: float, u_y: float, v_x: float) -> float:
    """Shear."""
    return s - SHEAR * (u_y + v_x)


def stresses(x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Return Kirsch's stresses xx, yy and xy."""
    square = x * x + y * y
    cos2, sin2 = (x * x - y * y) / square, 2 * x * y / square
    cos4, sin4, near = cos2 * cos2 - sin2 * sin2, 2 * sin2 * cos2, 1 / square
    return (
        1 - near * (1.5 * cos2 + cos4) + 1.5 * near * near * cos4,
        -near * (0.5 * cos2 - cos4) - 1.5 * near * near * cos4,
        -near * (0.5 * sin2 + sin4) + 1.5 * near * near * sin4,
    )


def mirror_x(u: float, s: float) -> tuple[float, float]:
    """Be the mirror of the left half."""
    return u, s


def mirror_y(v: float, s: float) -> tuple[float, float]:
    """Be the mirror of the lower half."""
    return v, s


def free(p: float, q: float, s: float, n_x: float, n_y: float) -> tuple[float, float]:
    """Bear nothing at the hole."""
    return p * n_x + s * n_y, s * n_x + q * n_y


def pulled(p: float, s: float, x: float, y: float) -> tuple[float, float]:
    """Bear the tension at the right edge."""
    xx, _, xy = stresses(x, y)
    return p - xx, s - xy


def side(q: float, s: float, x: float, y: float) -> tuple[float, float]:
    """Bear what is left of it at the upper edge."""
    _, yy, xy = stresses(x, y)
    return q - yy, s - xy


def reference(points: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return displacements and stresses at points, (rows, 2)."""
    x, y = points.T
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    kappa = (3 - POISSON) / (1 + POISSON)
    cos, cos3, sin, sin3 = (f(k * angle) for f in (np.cos, np.sin) for k in (1, 3))
    u = r * (kappa + 1) * cos + 2 / r * ((1 + kappa) * cos + cos3) - 2 / r**3 * cos3
    v = r * (kappa - 3) * sin + 2 / r * ((1 - kappa) * sin + sin3) - 2 / r**3 * sin3
    p, q, s = stresses(x, y)
    return {"u": u / (8 * SHEAR), "v": v / (8 * SHEAR), "p": p, "q": q, "s": s}


def judge(solution: Solution) -> tuple[Judgement, ...]:
    """Compare displacements, and the stress at the top of the hole, which is 3."""
    points = grid(PROBLEM, 81)
    found, known = solution(points), reference(points)
    moved = [np.concatenate([each["u"], each["v"]]) for each in (found, known)]
    top = float(solution(np.array([[0.0, 1.0]]))["p"][0])
    return (
        Judgement("relative L2 error of displacements", relative_error(*moved), BOUND),
        Judgement("relative error of the peak stress, 3", abs(top / 3 - 1), PEAK_BOUND),
    )


PROBLEM = Problem(
    "plate", without(box(x=(0.0, SIDE), y=(0.0, SIDE)), disk("hole", 1.0)),
    ("u", "v", "p", "q", "s"), (balance_x, balance_y, hooke_x, hooke_y, hooke_shear),
    {
        "x=0": (mirror_x,), f"x={SIDE:g}": (pulled,), "y=0": (mirror_y,), f"y={SIDE:g}": (side,),
        "hole": (free,),
    },
    reference, hidden=(24, 24, 24), points=3000, edge_points=200,
)  # fmt: skip
CASES = (Case(PROBLEM, judge, 6, 800, ("u", "p")),)
