"""What models made of dense layers share: layout, first parameters, kernel, scores."""

import itertools
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.core.blas import one_thread
from ooc.core.errors import InputError
from ooc.core.numbers import check_choice, fraction, not_negative
from ooc.kernels import network as kernels
from ooc.kernels.activations import ACTIVATIONS, IDENTITY
from ooc.kernels.losses import Loss
from ooc.kernels.share import Numbers
from ooc.metrics.measured import Labels, Measured
from ooc.metrics.measured import Numbers as NumberAnswers
from ooc.models.compiled import (
    CompiledModel,
    as_reals,
    measured_loss,
    numbers_of,
    settled,
)
from ooc.models.contract import BatchLike, Layout, Statistics
from ooc.models.declarations import Kernel, Prepared, dtype_of
from ooc.models.standardise import DEVIATION, inputs_of, standard_parts, standardisation

INITIALISATIONS = ("auto", "he", "glorot")
# Fewer rows than this, or fewer multiplications than SHARE_WORK, make a share that two threads are
# no faster with than one. More shares than this, and adding up their gradients takes long.
SHARE_ROWS = 128
SHARE_WORK = 4_000_000
MOST_SHARES = 4
LARGEST_SHARE = 1024


@dataclass(frozen=True)
class DenseNetwork(CompiledModel):
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
    standardise
        Whether features get mean 0 and deviation 1, see `ooc.models.linear.LinearFamily`.
    """

    hidden: Sequence[int] = (64, 64)
    activation: str = "relu"
    dropout: float = 0.0
    weight_decay: float = 0.0
    initialisation: str = "auto"
    scale: float = 1.0
    standardise: bool | str = "auto"

    decided: ClassVar[tuple[str, ...]] = ("standardise",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for units in self.hidden:
            check_width("hidden width", units)
        check_choice("activation", ACTIVATIONS, self.activation)
        check_choice("initialisation", INITIALISATIONS, self.initialisation)
        fraction("dropout", self.dropout)
        not_negative("weight_decay", self.weight_decay)

    @property
    @abstractmethod
    def chosen_loss(self) -> Loss:
        """The loss of the last layer's outputs."""

    @property
    def constant(self) -> float:
        """The loss's own constant; 0 where it has none."""
        return 0.0

    @property
    def label_weights(self) -> tuple[float, ...]:
        """What losses of each label are multiplied with in training; empty for ones."""
        return ()

    @property
    @abstractmethod
    def target_width(self) -> int:
        """T, target values of a row; 0 where the features are the targets."""

    @abstractmethod
    def units(self, features: int) -> tuple[int, ...]:
        """Return the units of every layer for rows of this many features."""

    @abstractmethod
    def answers(self, scores: np.ndarray, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Turn the last layer's outputs into named predictions."""

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return weights (units, inputs) and biases (units,) of each layer, in their order."""
        features = fan = int(np.prod(row_shape, dtype=np.int64))
        shapes: dict[str, tuple[int, ...]] = {}
        for number, units in enumerate(self.units(fan), start=1):
            shapes[f"layer{number}.weights"] = (units, fan)
            shapes[f"layer{number}.biases"] = (units,)
            fan = units
        biases = frozenset(name for name, shape in shapes.items() if len(shape) == 1)
        fixed = standard_parts(features) if self.standardise is True else {}
        return Layout(shapes | fixed, biases | frozenset(fixed), frozenset(fixed))

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return random weights and zero biases, float32.

        He: normal, of variance 2/inputs. Glorot: uniform, of variance 2/(inputs + units).
        """
        parameters = np.zeros(layout.size, dtype_of(self))
        views = layout.views(parameters)
        if DEVIATION in views:
            views[DEVIATION][:] = 1.0
        weights = [view for view in views.values() if view.ndim == 2]
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

    def prepare(self, statistics: Statistics) -> Prepared:
        """Settle what is left to the data."""
        return settled(self, statistics)

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return the network's part of the window loop."""
        features = layout.shapes["layer1.weights"][1]
        widths = (features, *self.units(features))
        layers = len(widths) - 1
        work = sum((fan + 1) * units for fan, units in itertools.pairwise(widths))
        least = min(max(SHARE_ROWS, SHARE_WORK // work), LARGEST_SHARE)
        numbers = self._numbers(widths, parameters.dtype)
        return Kernel(
            kernels.accumulate,
            numbers.reals,
            numbers.integers,
            standardisation(layout, parameters, self.scale),
            shares=MOST_SHARES,
            least_rows=least,
            most_rows=LARGEST_SHARE,
            own_values=2 * sum(widths[1:]),
            decay={f"layer{n}.weights": float(self.weight_decay) for n in range(1, layers + 1)},
            uses_blas=True,
            eager=True,
        )

    @abstractmethod
    def check_target(self, shape: tuple[int, ...]) -> None:
        """Refuse targets that do not fit."""

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the sums of weighted loss, without penalty and dropout, and of right labels.

        The batch's answers come with them.
        """
        inputs, scores = self.scores(parameters, batch.features)
        answers = self.compare(scores, batch.target, as_reals(batch.weight))
        targets = inputs
        if self.needs_target:
            targets = as_reals(batch.target).reshape(len(scores), self.target_width)
        return measured_loss(self, self.chosen_loss, self.constant, scores, targets, batch, answers)

    def scores(self, parameters: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows as they come to the network (rows, F), and its outputs (rows, K)."""
        layout, dtype = self.layout(features.shape[1:]), dtype_of(self)
        parameters = np.ascontiguousarray(parameters, dtype)
        inputs = inputs_of(features, standardisation(layout, parameters, self.scale), dtype)
        widths = (inputs.shape[1], *self.units(inputs.shape[1]))
        numbers, rows, units = self._numbers(widths, dtype), len(inputs), widths[-1]
        scores = np.empty((rows, units), dtype)
        size, seed = sum(widths[1:]), int(np.int64(0))
        outputs, slopes = np.empty((2, min(rows, SHARE_ROWS) * size), dtype)
        with one_thread():
            for first in range(0, rows, SHARE_ROWS):
                part = inputs[first : first + SHARE_ROWS]
                kernels.forward(numbers, parameters, part, outputs, slopes, 0, seed, False)
                stop = len(part) * size
                last = outputs[stop - len(part) * units : stop]
                scores[first : first + SHARE_ROWS] = last.reshape(len(part), units)
        return inputs, scores

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return named predictions, one entry a row."""
        inputs, scores = self.scores(parameters, features)
        return self.answers(scores, inputs)

    def compare(
        self, scores: np.ndarray, target: np.ndarray | None, weights: np.ndarray
    ) -> Labels | NumberAnswers | None:
        """Return true beside predicted labels or numbers; None where there are no targets."""
        return None

    def _numbers(self, widths: tuple[int, ...], dtype: np.dtype) -> Numbers:
        layers = len(widths) - 1
        activations = [ACTIVATIONS[self.activation].code(dtype)] * (layers - 1) + [IDENTITY]
        dropout = [float(self.dropout)] * (layers - 1) + [0.0]
        loss = numbers_of(self.chosen_loss, dtype)
        integers = [*loss, not self.needs_target, layers, *widths, *activations]
        reals = [self.constant, *dropout, *self.label_weights]
        return Numbers(np.array(reals), np.array(integers, np.int64))


def check_width(what: str, units: int) -> None:
    """Refuse a width that is no whole number of at least 1."""
    if not isinstance(units, int) or isinstance(units, bool) or units < 1:
        raise InputError(f"a {what} must be a whole number of at least 1, not {units}")
