"""SciPy's L-BFGS and conjugate gradients, asked for one point at a time.

SciPy's state cannot be saved. So it is run again from the start of the round with all that it was
told so far: it asks for the same points to the last bit, and then for a new one. A run that goes on
from a checkpoint is then a run that never stopped, and a rerun costs no pass over data.
"""

from dataclasses import dataclass

import numpy as np

from ooc.core.blas import one_thread
from ooc.optim.full_gradient import LBFGS, FullGradient

NO_LIMIT = 10**9
# Why a minimiser ended.
REACHED = "tolerance"
PRECISION = "precision"


@dataclass(frozen=True)
class Request:
    """What a minimiser wants next, and where it has come to.

    Attributes
    ----------
    point
        (P,) float64, where loss and gradient are wanted; None where it has ended.
    iterate
        (P,) float64, the last point that it accepted.
    number
        Evaluation that was made there; -1 before the first.
    iterations
        Points that it accepted in this round.
    ended
        "tolerance" where the gradient is short enough, "precision" where no step lowers the
        objective that can be told from rounding; empty where it goes on.
    """

    point: np.ndarray | None
    iterate: np.ndarray
    number: int
    iterations: int
    ended: str = ""


class _Stop(Exception):  # noqa: N818  a way out of SciPy, no error
    def __init__(self, point: np.ndarray | None, ended: str = "") -> None:
        self.point, self.ended = point, ended


def in_units(gradient: np.ndarray, units: np.ndarray | None) -> np.ndarray:
    """Return the gradient by u, where parameters are C u; a copy.

    Examples
    --------
    >>> in_units(np.array([1.0, 2.0]), np.array([[1.0, 0.0], [3.0, 1.0]]))
    array([7., 2.])
    """
    if units is None:
        return gradient.copy()
    scaled: np.ndarray = units.T @ gradient if units.ndim == 2 else units * gradient
    return scaled


def replay(
    minimiser: FullGradient,
    start: np.ndarray,
    values: np.ndarray,
    gradients: np.ndarray,
    units: np.ndarray | None = None,
) -> Request:
    """Return the point that a minimiser wants next, after all that it was told.

    Parameters
    ----------
    minimiser
        L-BFGS or conjugate gradients.
    start
        (P,) float64, where the round began.
    values, gradients
        (n,) and (n, P) float64: what it was told of the points that it asked for, in their order.
    units
        C, of shape (P, P), or (P,) for a diagonal one: parameters are start + C u, and u is what
        SciPy sees. Where C C^T is about the inverse of the curvature, that of u is about 1: the
        first step is then minus the gradient by u. By default parameters are taken as they are,
        and the first step has SciPy's length of 1.

    Examples
    --------
    >>> from ooc.optim import lbfgs
    >>> minimiser, start, told, gradients = lbfgs().full, np.array([3.0]), [], []
    >>> request = replay(minimiser, start, np.empty(0), np.empty(0))
    >>> while request.point is not None:
    ...     told.append(request.point[0] ** 2 / 2)
    ...     gradients.append(request.point)
    ...     request = replay(minimiser, start, np.array(told), np.array(gradients))
    >>> request.ended, abs(request.iterate[0]) <= 1e-6
    ('tolerance', np.True_)
    """
    if len(values) == 0:
        return Request(start, start, -1, 0)
    if np.linalg.norm(gradients[0]) <= minimiser.tolerance:
        return Request(None, start, 0, 0, REACHED)
    from scipy.optimize import minimize

    options: dict[str, float] = {"gtol": 0.0, "maxiter": NO_LIMIT}
    if minimiser.minimiser == LBFGS:
        options |= {"ftol": 0.0, "maxfun": NO_LIMIT, "maxcor": minimiser.memory}
    numbers: dict[bytes, int] = {}
    iterate, number, iterations = start, 0, 0

    def point_at(place: np.ndarray) -> np.ndarray:
        if units is None:
            return start + place
        return start + (units @ place if units.ndim == 2 else units * place)

    def objective(place: np.ndarray) -> tuple[float, np.ndarray]:
        known = numbers.setdefault(place.tobytes(), len(numbers))
        if known == len(values):
            raise _Stop(point_at(place))
        return float(values[known]), in_units(gradients[known], units)

    def accept(place: np.ndarray) -> None:
        nonlocal iterate, number, iterations
        iterate, number = point_at(place), numbers[place.tobytes()]
        iterations += 1
        if np.linalg.norm(gradients[number]) <= minimiser.tolerance:
            raise _Stop(None, REACHED)

    point, ended, zero, method = None, PRECISION, np.zeros(start.size), minimiser.minimiser
    with one_thread():
        if units is not None:
            # SciPy's first step has length 1 in its variables.
            units = units * float(np.linalg.norm(in_units(gradients[0], units)))
        try:
            minimize(objective, zero, jac=True, method=method, callback=accept, options=options)
        except _Stop as stop:
            point, ended = stop.point, stop.ended
    return Request(point, iterate, number, iterations, ended)
