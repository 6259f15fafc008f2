"""What models made of dense layers share: layout, first parameters, gradient, scores."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from ooc.core.blas import one_thread
from ooc.core.errors import DataError, DivergedError, InputError
from ooc.kernels import network as kernels
from ooc.kernels.activations import ACTIVATIONS, IDENTITY
from ooc.kernels.counters import NOT_FINITE, OK
from ooc.kernels.heads import head_loss
from ooc.kernels.network_memory import (
    MOST_SHARES,
    SHARE_ROWS,
    Network,
    Scratch,
    least_share,
    make_scratch,
)
from ooc.kernels.rows import as_rows, gather
from ooc.metrics.measured import Labels, Measured, Numbers, measured
from ooc.models.bad_rows import explain
from ooc.models.contract import BatchLike, Layout
from ooc.models.linear import as_float32

INITIALISATIONS = ("auto", "he", "glorot")
# Beyond it, the squares of a few features are beyond float32.
LARGEST_FEATURE = 1e18


@dataclass(frozen=True)
class DenseNetwork(ABC):
    """Layers f(X W^T + b) one after the other, the last one without an activation.

    Attributes
    ----------
    hidden
        Units of each hidden layer.
    activation
        Of the hidden layers: an entry of `ooc.kernels.activations.ACTIVATIONS`.
    dropout
        Share of each hidden layer's outputs that is dropped in training; which ones is a function
        of (seed, step).
    weight_decay
        Half of it times the sum of squared weights, biases left out, is added to the loss.
    initialisation
        "he", "glorot", or "auto": what the activation asks for. The last layer takes "glorot".
    scale
        Factor that multiplies every feature; 1/255 brings bytes to 0..1. Never chosen silently.
    """

    hidden: Sequence[int] = (64, 64)
    activation: str = "relu"
    dropout: float = 0.0
    weight_decay: float = 0.0
    initialisation: str = "auto"
    scale: float = 1.0

    name: ClassVar[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for units in self.hidden:
            check_width("hidden width", units)
        if self.activation not in ACTIVATIONS:
            raise InputError(
                f"no activation is called {self.activation!r}; choose one of: "
                f"{', '.join(ACTIVATIONS)}"
            )
        if self.initialisation not in INITIALISATIONS:
            raise InputError(
                f"no initialisation is called {self.initialisation!r}; choose one of: "
                f"{', '.join(INITIALISATIONS)}"
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, not {self.dropout}")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"weight decay must be at least 0, not {self.weight_decay}")

    @property
    def needs_target(self) -> bool:
        """Whether its batches carry targets."""
        return True

    @property
    @abstractmethod
    def loss_code(self) -> int:
        """Code of the head's loss."""

    @property
    @abstractmethod
    def targets(self) -> str:
        """What targets it takes, in words."""

    @property
    @abstractmethod
    def target_width(self) -> int:
        """T, target values of a row; 0 where the features are the targets."""

    @abstractmethod
    def units(self, features: int) -> tuple[int, ...]:
        """Return the units of every layer for rows of this many features."""

    @abstractmethod
    def answers(self, scores: np.ndarray, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Turn scores, and inputs times scale, into named predictions."""

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return weights (units, inputs) and biases (units,) of each layer, from 1 on."""
        fan = math.prod(row_shape)
        shapes: dict[str, tuple[int, ...]] = {}
        for number, units in enumerate(self.units(fan), start=1):
            shapes[f"layer{number}.weights"] = (units, fan)
            shapes[f"layer{number}.biases"] = (units,)
            fan = units
        biases = frozenset(name for name, shape in shapes.items() if len(shape) == 1)
        return Layout(shapes, biases)

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return random weights and zero biases, float32.

        He: normal, of variance 2/inputs. Glorot: uniform, of variance 2/(inputs + units).
        """
        parameters = np.zeros(layout.size, np.float32)
        weights = [view for view in layout.views(parameters).values() if view.ndim == 2]
        chosen = self.initialisation
        if chosen == "auto":
            chosen = ACTIVATIONS[self.activation].initialisation
        for number, view in enumerate(weights, start=1):
            units, fan = view.shape
            if chosen == "he" and number < len(weights):
                view[...] = generator.standard_normal(view.shape) * math.sqrt(2 / fan)
            else:
                bound = math.sqrt(6 / (fan + units))
                view[...] = generator.uniform(-bound, bound, view.shape)
        return parameters

    def network(self, features: int) -> Network:
        """Return what the kernels are to compute for rows of this many features."""
        widths = (features, *self.units(features))
        layers = len(widths) - 1
        activations = np.full(layers, ACTIVATIONS[self.activation].code, np.int64)
        activations[-1] = IDENTITY
        dropout = np.full(layers, float(self.dropout))
        dropout[-1] = 0.0
        return Network(
            widths=np.array(widths, np.int64),
            activations=activations,
            dropout=dropout,
            loss_code=self.loss_code,
            reconstructs=not self.needs_target,
            weight_decay=float(self.weight_decay),
            scale=float(self.scale),
            least_share=least_share(np.array(widths)),
            most_shares=MOST_SHARES,
        )

    def loss_and_grad(
        self, parameters: np.ndarray, batch: BatchLike, out_grad: np.ndarray
    ) -> float:
        """Return the mean weighted loss of a batch; fill `out_grad` (float64) with its gradient.

        The penalty of the weights is in both. Masks of dropout are those of the batch's seed.

        Raises
        ------
        DataError, DivergedError
            If a target is not valid or a value is not finite; its row is named.
        """
        features, half = as_rows(batch.features)
        count, network = len(features), self.network(features.shape[1])
        weights = as_float32(batch.weight)
        scratch = make_scratch(network, count, self.target_width, weights.size > 0)
        order, starts = np.arange(count, dtype=np.int32), np.zeros(1, np.int64)
        targets = self.target_rows(batch.target, count)
        kernels.load_rows(
            scratch, features, half, targets, weights, order, 0, count, starts, count,
            network.scale, 0,
        )  # fmt: skip
        with one_thread():
            status, row, loss = kernels.batch_gradient(
                network, scratch, parameters, count, np.int64(batch.seed), out_grad
            )
        if status != OK:
            raise self.explain(status, int(batch.rows[row]), scratch, row)
        return loss / count

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the sums of weighted loss, without penalty and dropout, and of right labels.

        The batch's answers come with them.
        """
        inputs, scores = self.scores(parameters, batch.features)
        count = len(scores)
        targets, weights = self.target_rows(batch.target, count), as_float32(batch.weight)
        answers = self.compare(scores, batch.target, weights)
        status, row, loss = head_loss(
            scores, targets if self.needs_target else inputs, weights, self.loss_code
        )
        if status != OK:
            target = targets[row, 0] if targets.size else None
            number = int(batch.rows[row])
            raise explain(self.name, self.targets, status, number, batch.features[row], target)
        return measured(loss, count, weights, answers)

    def scores(self, parameters: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs times scale (rows, F), and the last layer's outputs (rows, K), float32."""
        flat, half = as_rows(features)
        network = self.network(flat.shape[1])
        rows, units = len(flat), int(network.widths[-1])
        inputs = np.empty((rows, flat.shape[1]), np.float32)
        gather(flat, half, np.arange(rows, dtype=np.int32), 0, rows, self.scale, inputs, 0)
        scores = np.empty((rows, units), np.float32)
        step = min(rows, SHARE_ROWS)
        outputs, slopes = np.empty((2, step * int(network.widths[1:].sum())), np.float32)
        last, seed = outputs[-step * units :].reshape(step, units), np.int64(0)
        with one_thread():
            for first in range(0, rows, step):
                part = inputs[first : first + step]
                kernels.forward(
                    network, parameters, part, outputs, slopes, step, 0, len(part), seed, False
                )
                scores[first : first + step] = last[: len(part)]
        return inputs, scores

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return named predictions, one entry a row."""
        inputs, scores = self.scores(parameters, features)
        return self.answers(scores, inputs)

    def to_config(self) -> dict[str, Any]:
        """Return name and settings, JSON-ready."""
        return {"name": self.name, **asdict(self), "hidden": list(self.hidden)}

    def compare(
        self, scores: np.ndarray, target: np.ndarray | None, weights: np.ndarray
    ) -> Labels | Numbers | None:
        """Return true beside predicted labels or numbers; None where there are no targets."""
        return None

    def target_rows(self, targets: np.ndarray | None, rows: int) -> np.ndarray:
        """Return targets as (rows, T) float32; T is 0 where the features are the targets."""
        flat = as_float32(targets if self.needs_target else None)
        return flat.reshape(rows, self.target_width)

    def explain(
        self, status: int, row: int, scratch: Scratch, place: int, where: str = ""
    ) -> DataError | DivergedError:
        """Say why the kernels refused the row of the dataset at this place of the batch."""
        values = scratch.inputs[place]
        target = float(scratch.targets[place, 0]) if scratch.targets.size else None
        if status == NOT_FINITE and np.isfinite(values).all():
            largest = int(np.argmax(np.abs(values)))
            if abs(float(values[largest])) > LARGEST_FEATURE:
                scaled = "" if self.scale == 1 else f" times the scale of {self.scale:g}"
                value = float(values[largest]) / self.scale
                return DataError(
                    f"row {row} has {value:g}{scaled} in feature {largest}, whose square "
                    "overflows float32; standardise the features (subtract the mean, divide by "
                    "the standard deviation), scale them, or remove the row"
                )
        return explain(self.name, self.targets, status, row, values, target, where)


def check_width(what: str, units: int) -> None:
    """Refuse a width that is no whole number of at least 1."""
    if not isinstance(units, int) or isinstance(units, bool) or units < 1:
        raise InputError(f"a {what} must be a whole number of at least 1, not {units}")
