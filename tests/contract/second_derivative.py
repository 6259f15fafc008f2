"""Derivatives by the input: a network that solves u'' = f between two ends where u is given.

u(x) = c + sum v tanh(w x + b), so that u'' = sum v w^2 tanh''(w x + b). A row is a point: inside,
its target is f there; at an end, which its tag says, its target is u. The loss is half the square
of what is left of either equation. Parameters are float64: the error is to fall a long way.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.core.compiler import lean_kernel
from ooc.kernels.counters import NOT_FINITE, OK
from ooc.kernels.share import BAD, Numbers, Output, Share
from ooc.metrics.measured import Measured, measured
from ooc.models.compiled import CompiledModel
from ooc.models.contract import BatchLike, Layout, check_target_size
from ooc.models.declarations import Kernel, Needs

EQUATION, BOUNDARY = range(2)


@dataclass(frozen=True)
class SecondDerivative(CompiledModel):
    """One hidden layer of tanh that solves u'' = f on [0, 1].

    Attributes
    ----------
    hidden
        Units.
    boundary
        What the loss of a point at an end is multiplied with.
    tag
        Name of the array that is 1 for points at an end, and 0 inside.
    """

    hidden: int = 24
    boundary: float = 100.0
    tag: str = "boundary"
    name: ClassVar[str] = "second_derivative"
    needs_target = True
    terms = ("equation", "boundary")
    dtype = np.float64

    @property
    def needs(self) -> Needs:
        """The tag travels beside points and targets."""
        return Needs(further=(self.tag,))

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return what a unit has, by kind, and the constant."""
        shapes = dict.fromkeys(("slopes", "biases", "weights"), (self.hidden,))
        return Layout({**shapes, "constant": (1,)}, frozenset({"biases", "constant"}))

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return units that bend all over the interval."""
        parameters = np.zeros(layout.size, self.dtype)
        views = layout.views(parameters)
        views["slopes"][:] = 4 * generator.standard_normal(self.hidden)
        views["biases"][:] = -views["slopes"] * generator.random(self.hidden)
        views["weights"][:] = 0.1 * generator.standard_normal(self.hidden)
        return parameters

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return what the window loop calls."""
        return Kernel(accumulate, np.array([self.boundary]), np.array([self.hidden]), most_rows=64)

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Refuse targets that are not one number a row."""
        check_target_size(self.name, shape, 1)

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the summed loss over a batch."""
        at_end = batch.arrays[self.tag].reshape(-1) != 0
        u, bend = self.solve(parameters, batch.features)
        rest = np.where(at_end, u, bend) - np.asarray(batch.target).reshape(-1)
        loss = 0.5 * (np.where(at_end, self.boundary, 1.0) * rest**2).sum()
        return measured(float(loss), len(rest), np.empty(0), None)

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return u, and its second derivative."""
        u, bend = self.solve(parameters, features)
        return {"prediction": u, "second_derivative": bend}

    def solve(self, parameters: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return u and u'' at points (rows, 1): (rows,) each."""
        views = self.layout(x.shape[1:]).views(parameters)
        t = np.tanh(x.reshape(-1, 1) * views["slopes"] + views["biases"])
        bend = -2 * t * (1 - t**2) * views["slopes"] ** 2
        return t @ views["weights"] + views["constant"], bend @ views["weights"]


@lean_kernel
def derivatives(a: float) -> tuple[float, float, float, float]:
    """Return tanh(a) and its first three derivatives."""
    t = math.tanh(a)
    first = 1.0 - t * t
    return t, first, -2.0 * t * first, first * (6.0 * t * t - 2.0)


@lean_kernel
def add_end(
    parameters: np.ndarray, h: int, x: float, target: float, factor: float, gradient: np.ndarray
) -> float:
    """Return the loss of a point at an end, where u is known, and add its gradient."""
    rest = parameters[3 * h] - target
    for j in range(h):
        rest += parameters[2 * h + j] * math.tanh(parameters[j] * x + parameters[h + j])
    by_u = factor * rest
    gradient[3 * h] += by_u
    for j in range(h):
        t, first, _, _ = derivatives(parameters[j] * x + parameters[h + j])
        back = by_u * parameters[2 * h + j] * first
        gradient[j] += back * x
        gradient[h + j] += back
        gradient[2 * h + j] += by_u * t
    return 0.5 * factor * rest * rest


@lean_kernel
def add_inside(
    parameters: np.ndarray, h: int, x: float, target: float, gradient: np.ndarray
) -> float:
    """Return the loss of a point inside, where u'' is known, and add its gradient."""
    rest = -target
    for j in range(h):
        w, v = parameters[j], parameters[2 * h + j]
        _, _, second, _ = derivatives(w * x + parameters[h + j])
        rest += v * w * w * second
    for j in range(h):
        w, v = parameters[j], parameters[2 * h + j]
        _, _, second, third = derivatives(w * x + parameters[h + j])
        gradient[j] += rest * v * w * (2.0 * second + w * third * x)
        gradient[h + j] += rest * v * w * w * third
        gradient[2 * h + j] += rest * w * w * second
    return 0.5 * rest * rest


def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill loss and gradient of a share."""
    h, factor, gradient = numbers.integers[0], numbers.reals[0], output.gradient
    gradient[:] = 0
    output.terms[:] = 0
    for r in range(share.features.shape[0]):
        x, target = share.features[r, 0], share.targets[r, 0]
        if share.further[r, 0] != 0:
            loss, term = add_end(parameters, h, x, target, factor, gradient), BOUNDARY
        else:
            loss, term = add_inside(parameters, h, x, target, gradient), EQUATION
        output.terms[term] += loss
        if not math.isfinite(loss):
            output.report[BAD] = r
            return NOT_FINITE
    return OK
