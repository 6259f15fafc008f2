"""The pair as a compiled model of `ooc.Trainer`: a Wasserstein critic, and a generator.

The critic D gives each point a number; its loss is D(made) - D(real), and a penalty holds the norm
of its slope near 1 between both (Gulrajani et al. 2017, arXiv:1704.00028). The generator's loss is
-D(made). Both are told the condition: the class, and whether the interface is stable. They take
turns on one stream, and whatever is drawn is a function of the step's seed and a row's place.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.core.numbers import check_choice
from ooc.metrics.measured import Measured, measured
from ooc.models.compiled import CompiledModel
from ooc.models.contract import BatchLike, Layout, check_target_size
from ooc.models.declarations import Kernel, Phase, dtype_of
from ooc.models.network import check_width
from ooc.optim import Optimizer, adam
from ooc.optim.schedules import cosine
from pipelines.protein_interfaces import kernels
from pipelines.protein_interfaces.coordinates import SIZE, Coordinates
from pipelines.protein_interfaces.row_kernels import CONDITIONS

BETAS = (0.5, 0.9)
POINT = SIZE + CONDITIONS
# The first weights of the way around the generator's layers: codes are coordinates at first.
DIRECT, LAST = 0.9, 0.1


@dataclass(frozen=True)
class InterfacePair(CompiledModel):
    """A critic and a generator of rows; how many critic steps go before one of the generator.

    Attributes
    ----------
    edges, starts, shift, factor
        See `pipelines.protein_interfaces.coordinates.Coordinates`.
    hidden
        Units of each of the two hidden layers, in both networks.
    latent
        Entries of a code, at least as many as there are coordinates.
    penalty
        What the penalty is multiplied with.
    critic_steps
        Steps of the critic for one of the generator.
    rate, rate_steps
        Of the critic's own Adam: the rate, and in how many of its steps that falls along a cosine.
    """

    edges: tuple[float, ...]
    starts: tuple[int, ...]
    shift: tuple[float, ...]
    factor: tuple[float, ...]
    hidden: int = 128
    latent: int = 64
    penalty: float = 1.0
    critic_steps: int = 5
    rate: float = 1e-3
    rate_steps: int = 1000
    dtype: str = "float32"
    name: ClassVar[str] = "interface_pair"
    needs_target = True
    terms = ("critic", "penalty", "generator")

    def __post_init__(self) -> None:
        check_choice("dtype", ("float32", "float64"), self.dtype)
        check_width("hidden width", self.hidden)
        check_width("count of a critic's steps", self.critic_steps)
        if self.latent < SIZE:
            check_width(f"code's length less {SIZE - 1}", self.latent - SIZE + 1)

    @property
    def coordinates(self) -> Coordinates:
        """What it was made with."""
        return Coordinates(self.edges, self.starts, self.shift, self.factor)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The critic's turns, and the generator's, which the trainer's optimizer takes."""
        critic = optimizer(self.rate, self.rate_steps)
        return (Phase("critic", self.critic_steps, critic), Phase("generator", 1))

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return the critic's parts, then the generator's; weights are (units, inputs)."""
        h, code = self.hidden, self.latent + CONDITIONS
        critic = {
            "critic.weights1": (h, POINT), "critic.biases1": (h,),
            "critic.weights2": (h, h), "critic.biases2": (h,), "critic.weights3": (h,),
        }  # fmt: skip
        generator = {
            "generator.weights1": (h, code), "generator.biases1": (h,),
            "generator.weights2": (h, h), "generator.biases2": (h,),
            "generator.weights3": (SIZE, h), "generator.direct": (SIZE, code),
            "generator.biases3": (SIZE,),
        }  # fmt: skip
        groups = dict.fromkeys(critic, "critic") | dict.fromkeys(generator, "generator")
        biases = frozenset(name for name in groups if "biases" in name)
        return Layout(critic | generator, unpenalised=biases, groups=groups)

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return He's normal weights (He et al. 2015); a made point is mostly its code at first."""
        parameters = np.zeros(layout.size, dtype_of(self))
        for name, view in layout.views(parameters).items():
            if "weights" in name:
                spread = math.sqrt(2 / view.shape[-1]) * (1 if "weights3" not in name else LAST)
                view[...] = spread * generator.standard_normal(view.shape)
            elif name == "generator.direct":
                view[:, :SIZE] = DIRECT * np.eye(SIZE)
        return parameters

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return what the window loop calls."""
        numbers = self.coordinates.numbers()
        return Kernel(
            kernels.accumulate,
            np.concatenate([[self.penalty], numbers.reals]),
            np.concatenate([[self.hidden, self.latent], numbers.integers]),
            least_rows=64,
            most_rows=128,
            own_values=kernels.own_values(self.hidden, self.latent),
            uses_blas=True,
            eager=True,
        )

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Raise an `InputError` if there is more than a class for each row."""
        check_target_size(self.name, shape, 1)

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the critic's mean number of real rows; it tells nothing about quality."""
        told = self.predict(parameters, batch.features)["prediction"]
        return measured(float(-told.sum()), len(told), told, None)

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return the critic's number of each row, without a class."""
        points = np.zeros((len(features), POINT), parameters.dtype)
        points[:, :SIZE] = self.coordinates.of_rows(np.asarray(features), 0)
        part = self.layout(features.shape[1:]).views(parameters)
        for layer in ("1", "2"):
            points = points @ part[f"critic.weights{layer}"].T + part[f"critic.biases{layer}"]
            points = np.where(points > 0, points, kernels.LEAK * points)
        return {"prediction": points @ part["critic.weights3"]}


def optimizer(rate: float, steps: int, average: float = 0.0) -> Optimizer:
    """Return Adam with the moments of Gulrajani et al., whose rate falls along a cosine."""
    return adam(rate, *BETAS, schedule=cosine(steps), average=average)
