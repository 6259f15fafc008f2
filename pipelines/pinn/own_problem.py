"""Heat in a plate with a round hole: a problem of one's own, to be copied and changed.

Run it with ``python -m pipelines.pinn --problem pipelines/pinn/own_problem.py``.
"""

import numpy as np

from pipelines.pinn.geometry import box, disk, without
from pipelines.pinn.problem import Problem


def heat(u_xx, u_yy, x):
    """Spread what is heated at the left."""
    return u_xx + u_yy + 4 * np.exp(-2 * x)


def cold(u):
    """Stay at zero degrees."""
    return u


def insulated(u_x, u_y, n_x, n_y):
    """Let no heat out."""
    return u_x * n_x + u_y * n_y


PROBLEM = Problem(
    "heat",
    without(box(x=(0, 2), y=(0, 1)), disk("hole", 0.25, centre=(0.8, 0.5))),
    outputs=["u"],
    inside=[heat],
    boundary={"x=0": [cold], "x=2": [cold], "y=0": [insulated], "y=1": [insulated], "hole": [cold]},
    hidden=(16, 16),
    points=800,
    edge_points=100,
)
