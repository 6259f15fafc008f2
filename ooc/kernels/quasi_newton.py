"""The inverse curvature as a whole matrix, and what a step teaches of it."""

import numpy as np

from ooc.core.compiler import kernel


@kernel
def learn(
    inverse: np.ndarray, moved: np.ndarray, product: np.ndarray, along: float, across: float,
    scale: float,
) -> None:  # fmt: skip
    """Update the inverse curvature H in place, as BFGS does, after it was divided by a scale.

    Parameters
    ----------
    inverse
        H, (P, P) float64, symmetric.
    moved, product
        The step s, and H y, y the change of the gradient: (P,) float64.
    along, across
        s y and y H y.
    scale
        Of self-scaling; 1 for plain BFGS.
    """
    size, factor = moved.size, 1.0 / scale
    for i in range(size):
        hy, step = product[i] / across, moved[i] / along
        turn = step - hy
        for j in range(size):
            other = moved[j] / along - product[j] / across
            inside = inverse[i, j] - hy * product[j] + across * turn * other
            inverse[i, j] = factor * inside + step * moved[j]
