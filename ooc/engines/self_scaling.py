"""Self-scaling BFGS: a quasi-Newton method that keeps the whole inverse curvature, (P, P).

Before each update the matrix is divided by min(1, s y / s B s), so that curvature which shrinks on
the way, as that of small residuals does, is forgotten (Oren and Luenberger 1974; Al-Baali 1998). It
needs a tenth of the evaluations that L-BFGS does where valleys are narrow, and P^2 numbers. (For
physics-informed networks: Urban, Stefanou and Pons 2025.)
"""

import warnings
from collections.abc import Callable

import numpy as np

from ooc.kernels.quasi_newton import learn

# Of the Wolfe conditions: the decrease of the objective and of its slope.
DECREASE, SLOPE = 1e-4, 0.9
LINE_STEPS = 25
# Where no step is found along the gradient, shorter ones are tried, so many times.
SHORTER, MOST_TRIES = 1e-2, 5

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


def minimise_dense(
    objective: Objective, start: np.ndarray, accept: Callable[[np.ndarray], None]
) -> None:
    """Minimise until no step lowers the objective any more.

    Parameters
    ----------
    objective
        Point to value and gradient, (P,) float64.
    accept
        Called with each point that is accepted; it may raise to end.

    Examples
    --------
    >>> found = []
    >>> minimise_dense(lambda x: (x @ x / 2, x.copy()), np.ones(3), found.append)
    >>> bool(np.abs(found[-1]).max() < 1e-12)
    True
    """
    from scipy.optimize import line_search

    known: dict[bytes, tuple[float, np.ndarray]] = {}

    def at(place: np.ndarray) -> tuple[float, np.ndarray]:
        name = place.tobytes()
        if name not in known:
            if len(known) > LINE_STEPS:
                known.clear()
            known[name] = objective(place.copy())
        return known[name]

    point, before = start.copy(), None
    value, gradient = at(point)
    # The first step has length 1.
    inverse = np.eye(point.size) / max(float(np.linalg.norm(gradient)), 1e-300)
    is_new, tries, unit = True, 0, 1.0
    while True:
        direction = -(inverse @ gradient)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it found nothing is seen below
            length = line_search(
                lambda x: at(x)[0], lambda x: at(x)[1], point, direction, gradient, value, before,
                c1=DECREASE, c2=SLOPE, maxiter=LINE_STEPS,
            )[0]  # fmt: skip
        moved = (length or 0.0) * direction
        after = point + moved
        then, slope = at(after)
        change = slope - gradient
        along, across = float(moved @ change), float(change @ change)
        # Rounding may say that there is no curvature, where the Wolfe conditions say that there is.
        if not along > 0.0:
            if tries == MOST_TRIES:
                return
            if is_new:
                inverse *= SHORTER
            else:
                inverse = np.eye(point.size) * unit
            is_new, before, tries = True, None, tries + 1
            continue
        unit = along / max(across, 1e-300)  # Nocedal and Wright 2006, equation 6.20
        if is_new:
            inverse = np.eye(point.size) * unit
        product = inverse @ change
        # B s is minus the gradient times the length, where the matrix has been learned.
        curved = along if is_new else -float(length) * float(moved @ gradient)
        learn(inverse, moved, product, along, float(change @ product), min(1.0, along / curved))
        point, before, value, gradient = after, value, then, slope
        is_new, tries = False, 0
        accept(point)
