"""SciPy's L-BFGS and conjugate gradients, asked for one point at a time.

SciPy runs in a thread of its own, which waits wherever it wants a value, and its state cannot be
saved. So a run that goes on from a checkpoint tells it again, from the start of the round, all that
it was told so far: it asks for the same points to the last bit, and then for a new one.
"""

import weakref
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

import numpy as np

from ooc.core.blas import one_thread
from ooc.engines.self_scaling import minimise_dense
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
    pass


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
    conversation = Conversation(minimiser, start, values, gradients, units)
    for _ in range(len(values)):
        conversation.go_on()
    return conversation.request


class Conversation:
    """A round with SciPy, which is told of the point that it asked for, and asks for the next.

    Parameters
    ----------
    minimiser, start, units
        See `replay`.
    values, gradients
        (R,) and (R, P) float64, where objective and gradient are put at each point asked for, in
        their order; they are read, and not copied.

    Attributes
    ----------
    request
        What it wants now.
    """

    def __init__(
        self,
        minimiser: FullGradient,
        start: np.ndarray,
        values: np.ndarray,
        gradients: np.ndarray,
        units: np.ndarray | None = None,
    ) -> None:
        self.request = Request(start, start, -1, 0)
        self._given = (minimiser, start.copy(), values, gradients, units)
        self._told: SimpleQueue[bool] = SimpleQueue()
        self._requests: SimpleQueue[Request | BaseException] = SimpleQueue()
        self._thread: Thread | None = None

    def go_on(self) -> Request:
        """Let SciPy read one more value and gradient; return what it wants then."""
        with one_thread():
            self._told.put(True)
            if self._thread is None:
                given = (*self._given, self._told, self._requests)
                self._thread = Thread(target=_converse, args=given, daemon=True)
                self._thread.start()
                # The thread, which waits, ends with whoever would have told it more.
                weakref.finalize(self, self._told.put, False)
            found = self._requests.get()
        if isinstance(found, BaseException):
            raise found
        self.request = found
        return found


def _converse(
    minimiser: FullGradient,
    start: np.ndarray,
    values: np.ndarray,
    gradients: np.ndarray,
    units: np.ndarray | None,
    told: "SimpleQueue[bool]",
    requests: "SimpleQueue[Request | BaseException]",
) -> None:
    """Run SciPy until it ends, or nobody tells it more; leave requests, or what it has raised."""
    try:
        end = _minimise(minimiser, start, values, gradients, units, told, requests)
    except BaseException as error:
        requests.put(error)
    else:
        if end is not None:
            requests.put(end)


def _minimise(
    minimiser: FullGradient,
    start: np.ndarray,
    values: np.ndarray,
    gradients: np.ndarray,
    units: np.ndarray | None,
    told: "SimpleQueue[bool]",
    requests: "SimpleQueue[Request | BaseException]",
) -> Request | None:
    """Return where SciPy ended; None if nobody tells it more."""
    if not told.get():
        return None
    if np.linalg.norm(gradients[0]) <= minimiser.tolerance:
        return Request(None, start, 0, 0, REACHED)
    from scipy.optimize import minimize

    options: dict[str, float] = {"gtol": 0.0, "maxiter": NO_LIMIT}
    if minimiser.minimiser == LBFGS:
        options |= {"ftol": 0.0, "maxfun": NO_LIMIT, "maxcor": minimiser.memory}
    if units is not None:
        # SciPy's first step has length 1 in its variables.
        units = units * float(np.linalg.norm(in_units(gradients[0], units)))
    numbers: dict[bytes, int] = {}
    known, iterate, number, iterations = 1, start, 0, 0

    def point_at(place: np.ndarray) -> np.ndarray:
        if units is None:
            return start + place
        return start + (units @ place if units.ndim == 2 else units * place)

    def objective(place: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal known
        found = numbers.setdefault(place.tobytes(), len(numbers))
        if found == known:
            requests.put(Request(point_at(place), iterate, number, iterations))
            if not told.get():
                raise _Stop
            known += 1
        return float(values[found]), in_units(gradients[found], units)

    def accept(place: np.ndarray) -> None:
        nonlocal iterate, number, iterations
        iterate, number = point_at(place), numbers[place.tobytes()]
        iterations += 1
        if np.linalg.norm(gradients[number]) <= minimiser.tolerance:
            raise _Stop(REACHED)

    zero, method = np.zeros(start.size), minimiser.minimiser
    try:
        if minimiser.dense:
            minimise_dense(objective, zero, accept)
        else:
            minimize(objective, zero, jac=True, method=method, callback=accept, options=options)
    except _Stop as stop:
        return Request(None, iterate, number, iterations, REACHED) if stop.args else None
    return Request(None, iterate, number, iterations, PRECISION)
