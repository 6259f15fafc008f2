"""A plasma in equilibrium in a tokamak: the Grad-Shafranov equation in Solov'ev's case (1968).

Of radius R and height z the flux u obeys u_RR - u_R/R + u_zz = (a + b) R^2, and is zero at the
plasma's edge, the D-shaped curve R^2 = 1 + 2 e cos(s), R z = k e sin(s).
"""

from collections.abc import Mapping

import numpy as np

from pipelines.pinn.case import Case, grid, judge_outputs
from pipelines.pinn.geometry import Geometry
from pipelines.pinn.problem import Problem

BOUND = 1e-3
NARROW, TALL = 0.32, 1.7  # inverse aspect ratio and elongation, as ITER has them
A = 1.0
B = A / TALL**2
EDGE = A * NARROW**2 / 2


def equilibrium(u_RR: float, u_R: float, u_zz: float, R: float) -> float:  # noqa: N803
    """Balance the pressure by the magnetic field."""
    return u_RR - u_R / R + u_zz - (A + B) * R**2


def edge(u: float) -> float:
    """Have no flux beyond the edge."""
    return u


def _level(R: np.ndarray, z: np.ndarray) -> np.ndarray:  # noqa: N803
    across, up = (R**2 - 1) / (2 * NARROW), R * z / (TALL * NARROW)
    found: np.ndarray = NARROW * (np.hypot(across, up) - 1)
    return found


def reference(points: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return u at points (R, z), (rows, 2)."""
    R, z = points.T  # noqa: N806
    return {"u": B * R**2 * z**2 / 2 + A * (R**2 - 1) ** 2 / 8 - EDGE}


_INNER, _OUTER = np.sqrt(1 - 2 * NARROW), np.sqrt(1 + 2 * NARROW)
_TOP = TALL * NARROW / np.sqrt(0.5 * (1 + np.sqrt(1 - 4 * NARROW**2)))
PROBLEM = Problem(
    "plasma",
    Geometry("Rz", ((_INNER, _OUTER), (-1.1 * _TOP, 1.1 * _TOP)), {"edge": _level}),
    ("u",), (equilibrium,), {"edge": (edge,)}, reference, hidden=(20, 20), points=1500,
    edge_points=300,
)  # fmt: skip
CASES = (Case(PROBLEM, judge_outputs(grid(PROBLEM, 81), {"u": BOUND}), 2, 600, ("u",)),)
