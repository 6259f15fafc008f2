"""SciPy's L-BFGS and conjugate gradients, asked for one point at a time.

SciPy calls the function that it minimises, and its state cannot be saved. So it is run again from
the start of the round with all that it was told so far: it asks for the same points to the last
bit, and then for a new one. Nothing but what it was told needs to be kept, and a run that goes on
from a checkpoint is a run that never stopped. A rerun costs no pass over data.
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


class _Told:
    """What is known of the objective: values and gradients, in the order of the points asked."""

    def __init__(
        self,
        start: np.ndarray,
        units: np.ndarray | None,
        values: np.ndarray,
        gradients: np.ndarray,
        tolerance: float,
    ) -> None:
        if units is not None:
            # SciPy's first step has length 1 in its variables.
            units = units * float(np.linalg.norm(in_units(gradients[0], units)))
        self._start, self._units, self._tolerance = start, units, tolerance
        self._values, self._gradients = values, gradients
        self._numbers: dict[bytes, int] = {}
        self.iterate, self.number, self.iterations = start, 0, 0

    def point(self, place: np.ndarray) -> np.ndarray:
        """Return the parameters at a place in SciPy's variables."""
        if self._units is None:
            return self._start + place
        return self._start + (self._units @ place if self._units.ndim == 2 else self._units * place)

    def objective(self, place: np.ndarray) -> tuple[float, np.ndarray]:
        """Return value and gradient, in SciPy's variables."""
        number = self._numbers.get(place.tobytes())
        if number is None:
            number = len(self._numbers)
            if number == len(self._values):
                raise _Stop(self.point(place))
            self._numbers[place.tobytes()] = number
        return float(self._values[number]), in_units(self._gradients[number], self._units)

    def accept(self, place: np.ndarray) -> None:
        """Note that an iteration has come to a place."""
        self.iterate, self.iterations = self.point(place), self.iterations + 1
        self.number = self._numbers[place.tobytes()]
        if np.linalg.norm(self._gradients[self.number]) <= self._tolerance:
            raise _Stop(None, REACHED)


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
    point, ended, zero = None, PRECISION, np.zeros(start.size)
    with one_thread():
        told = _Told(start, units, values, gradients, minimiser.tolerance)
        try:
            minimize(
                told.objective,
                zero,
                jac=True,
                method=minimiser.minimiser,
                callback=told.accept,
                options=options,
            )
        except _Stop as stop:
            point, ended = stop.point, stop.ended
    return Request(point, told.iterate, told.number, told.iterations, ended)
