"""Two networks against each other: a Wasserstein pair with a gradient penalty, for points.

The critic D gives each point a number; its loss is D(fake) - D(real), and a penalty holds the norm
of D's slope near 1 (Gulrajani et al. 2017, arXiv:1704.00028). The generator G makes points from
normal numbers; its loss is -D(fake). They take turns: the critic has several steps, then the
generator one. Both have one hidden layer of s(a) = a / sqrt(1 + a^2), so that the slope of D and
the gradient of the penalty, a second derivative, are written by hand in a few lines.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.core.compiler import lean_kernel, lean_sums, like
from ooc.kernels.counters import NOT_FINITE, OK
from ooc.kernels.random_numbers import normal, uniform
from ooc.kernels.share import BAD, Numbers, Output, Share
from ooc.metrics.measured import Measured, measured
from ooc.models.compiled import CompiledModel
from ooc.models.contract import BatchLike, Layout
from ooc.models.declarations import Kernel, Phase, dtype_of
from ooc.optim import adam

TERMS = ("critic", "penalty", "generator")
CRITIC, PENALTY, GENERATOR = range(3)
# Random numbers of a row: two normal ones take four uniform ones, the next one mixes points.
MIX = 4
CRITIC_TURN = 0
D = 2  # axes of a point, and of a latent code


@dataclass(frozen=True)
class WassersteinPair(CompiledModel):
    """A generator of points in the plane, and the critic that it learns from.

    Attributes
    ----------
    hidden
        Units of either network.
    penalty
        What the penalty is multiplied with.
    critic_steps
        Steps of the critic for one of the generator.
    spread
        Deviation of the first weights: about how fine a structure the networks begin with.
    """

    hidden: int = 128
    penalty: float = 0.3
    critic_steps: int = 5
    spread: float = 8.0
    name: ClassVar[str] = "wasserstein"
    needs_target = False
    terms = TERMS

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The critic's turns, by an optimizer of its own, and the generator's, by the trainer's."""
        return (
            Phase("critic", self.critic_steps, adam(0.002, beta1=0.0, beta2=0.9)),
            Phase("generator", 1),
        )

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return the critic (weights before, biases, weights behind), then the generator."""
        h = self.hidden
        critic = {"critic_in": (D, h), "critic_bias": (h,), "critic_out": (h,)}
        generator = {
            "generator_in": (D, h), "generator_bias": (h,),
            "generator_out": (D, h), "generator_shift": (D,),
        }  # fmt: skip
        groups = dict.fromkeys(critic, "critic") | dict.fromkeys(generator, "generator")
        return Layout(critic | generator, groups=groups)

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return normal weights; a unit's ridge lies anywhere among the points."""
        parameters = np.zeros(layout.size, dtype_of(self))
        views, h = layout.views(parameters), self.hidden
        for name in ("critic", "generator"):
            weights = self.spread * generator.standard_normal((D, h))
            views[f"{name}_in"][:] = weights
            views[f"{name}_bias"][:] = -(weights * generator.uniform(-2, 2, (D, h))).sum(axis=0)
            out = views[f"{name}_out"]
            out[:] = generator.standard_normal(out.shape) / math.sqrt(h)
        return parameters

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return what the window loop calls."""
        return Kernel(
            accumulate, np.array([self.penalty]), np.array([self.hidden]), most_rows=64
        )  # fmt: skip

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Take any targets: they are not used."""

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the mean of D over real points less that over made ones: what the critic sees."""
        made = self.sample(parameters, len(batch.rows), batch.seed)
        gap = self.criticise(parameters, batch.features) - self.criticise(parameters, made)
        return measured(float(gap.sum()), len(gap), np.empty(0), None)

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return the critic's number of each point."""
        return {"prediction": self.criticise(parameters, features)}

    def criticise(self, parameters: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return D of points (rows, 2): (rows,)."""
        views = self.layout(points.shape[1:]).views(parameters)
        a = points.astype(parameters.dtype) @ views["critic_in"] + views["critic_bias"]
        return (a / np.sqrt(1 + a * a)) @ views["critic_out"]

    def sample(self, parameters: np.ndarray, count: int, seed: int) -> np.ndarray:
        """Return points that the generator makes, (count, 2)."""
        views = self.layout((D,)).views(parameters)
        codes = [[normal(seed, row, k) for k in range(D)] for row in range(count)]
        a = np.array(codes) @ views["generator_in"] + views["generator_bias"]
        return (a / np.sqrt(1 + a * a)) @ views["generator_out"].T + views["generator_shift"]


@lean_kernel
def ridge(a: float) -> tuple[float, float, float]:
    """Return s(a) = a / sqrt(1 + a^2), and its first and second derivatives."""
    one = like(1.0, a)
    r = one / np.sqrt(one + a * a)
    slope = r * r * r
    return a * r, slope, like(-3.0, a) * a * slope * r * r


@lean_sums
def add_critic(
    critic: np.ndarray, x: float, y: float, factor: float, gradient: np.ndarray
) -> float:
    """Return factor D(x, y), and add its gradient by the critic's parameters, (4, h)."""
    value = like(0.0, x)
    for j in range(critic.shape[1]):
        s, slope, _ = ridge(critic[0, j] * x + critic[1, j] * y + critic[2, j])
        value += critic[3, j] * s
        back = factor * critic[3, j] * slope
        gradient[0, j] += back * x
        gradient[1, j] += back * y
        gradient[2, j] += back
        gradient[3, j] += factor * s
    return factor * value


@lean_sums
def slope_of(critic: np.ndarray, x: float, y: float) -> tuple[float, float, float]:
    """Return D(x, y), and its slope by x and y."""
    value, dx, dy = like(0.0, x), like(0.0, x), like(0.0, x)
    for j in range(critic.shape[1]):
        s, slope, _ = ridge(critic[0, j] * x + critic[1, j] * y + critic[2, j])
        value += critic[3, j] * s
        dx += critic[3, j] * slope * critic[0, j]
        dy += critic[3, j] * slope * critic[1, j]
    return value, dx, dy


@lean_sums
def add_penalty(
    critic: np.ndarray, x: float, y: float, factor: float, gradient: np.ndarray
) -> float:
    """Return factor (|slope of D at (x, y)| - 1)^2, and add its gradient."""
    _, dx, dy = slope_of(critic, x, y)
    norm = np.sqrt(dx * dx + dy * dy)
    excess = norm - like(1.0, x)
    scale = like(2.0, x) * factor * excess / norm if norm > 0 else norm
    qx, qy = scale * dx, scale * dy  # the derivative by the slope
    for j in range(critic.shape[1]):
        _, slope, bend = ridge(critic[0, j] * x + critic[1, j] * y + critic[2, j])
        along = critic[0, j] * qx + critic[1, j] * qy
        bent = critic[3, j] * bend * along
        gradient[0, j] += critic[3, j] * slope * qx + bent * x
        gradient[1, j] += critic[3, j] * slope * qy + bent * y
        gradient[2, j] += bent
        gradient[3, j] += slope * along
    return factor * excess * excess


@lean_sums
def generate(units: np.ndarray, shift: np.ndarray, p: float, q: float) -> tuple[float, float]:
    """Return the point that a code makes; `units` is (5, h)."""
    x, y = shift[0], shift[1]
    for j in range(units.shape[1]):
        s, _, _ = ridge(units[0, j] * p + units[1, j] * q + units[2, j])
        x += s * units[3, j]
        y += s * units[4, j]
    return x, y


@lean_sums
def add_generator(
    units: np.ndarray, p: float, q: float, dx: float, dy: float, gradient: np.ndarray
) -> None:
    """Add the gradient by the units of what has the gradient (dx, dy) by their point."""
    for j in range(units.shape[1]):
        s, slope, _ = ridge(units[0, j] * p + units[1, j] * q + units[2, j])
        back = slope * (dx * units[3, j] + dy * units[4, j])
        gradient[0, j] += back * p
        gradient[1, j] += back * q
        gradient[2, j] += back
        gradient[3, j] += s * dx
        gradient[4, j] += s * dy


def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill loss and gradient of a share, of the phase whose turn it is."""
    real, h = parameters.dtype.type, numbers.integers[0]
    one, factor = real(1), real(numbers.reals[0])
    critic, units = parameters[: 4 * h].reshape((4, h)), parameters[4 * h : 9 * h].reshape((5, h))
    of_critic = output.gradient[: 4 * h].reshape((4, h))
    of_units, of_shift = output.gradient[4 * h : 9 * h].reshape((5, h)), output.gradient[9 * h :]
    output.gradient[:] = 0
    output.terms[:] = 0
    for r in range(share.features.shape[0]):
        row = share.first + r
        p, q = real(normal(share.seed, row, 0)), real(normal(share.seed, row, 1))
        x, y = generate(units, parameters[9 * h :], p, q)
        if share.turn == CRITIC_TURN:
            a, b = share.features[r, 0], share.features[r, 1]
            t = real(uniform(share.seed, row, MIX))
            loss = add_critic(critic, x, y, one, of_critic)
            loss += add_critic(critic, a, b, -one, of_critic)
            held = add_penalty(
                critic, t * a + (one - t) * x, t * b + (one - t) * y, factor, of_critic
            )
            output.terms[CRITIC] += loss
            output.terms[PENALTY] += held
            loss += held
        else:
            value, dx, dy = slope_of(critic, x, y)
            add_generator(units, p, q, -dx, -dy, of_units)
            of_shift[0] -= dx
            of_shift[1] -= dy
            output.terms[GENERATOR] -= value
            loss = -value
        if not math.isfinite(loss):
            output.report[BAD] = r
            return NOT_FINITE
    return OK
