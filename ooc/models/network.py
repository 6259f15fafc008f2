"""What models made of dense layers share: layout, first parameters, kernel, scores."""

import itertools
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ooc.core.blas import one_thread
from ooc.core.errors import InputError
from ooc.core.numbers import check_choice, fraction, not_negative
from ooc.kernels import network as kernels
from ooc.kernels.activations import ACTIVATIONS, IDENTITY
from ooc.kernels.share import Numbers
from ooc.models.contract import Layout
from ooc.models.declarations import Kernel, dtype_of
from ooc.models.layers import DenseLayer
from ooc.models.ordinal import cumulative_scores, first_thresholds
from ooc.models.scored import DTYPES, ScoredModel, dtype_field
from ooc.models.standardise import standardisation, target_standardisation

INITIALISATIONS = ("auto", "he", "glorot")
# Fewer rows than this, or fewer multiplications than SHARE_WORK, make a share that two threads are
# no faster with than one. More shares than this, and adding up their gradients takes long.
SHARE_ROWS = 128
SHARE_WORK = 4_000_000
MOST_SHARES = 4
LARGEST_SHARE = 1024


@dataclass(frozen=True)
class DenseNetwork(ScoredModel):
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
    scale, standardise, dtype
        See `ooc.models.scored.ScoredModel`.
    """

    hidden: Sequence[int] = (64, 64)
    activation: str = "relu"
    dropout: float = 0.0
    weight_decay: float = 0.0
    initialisation: str = "auto"
    scale: float = 1.0
    standardise: bool | str = "auto"
    dtype: str = dtype_field()

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for units in self.hidden:
            check_width("hidden width", units)
        check_choice("activation", ACTIVATIONS, self.activation)
        check_choice("initialisation", INITIALISATIONS, self.initialisation)
        check_choice("dtype", DTYPES, self.dtype)
        fraction("dropout", self.dropout)
        not_negative("weight_decay", self.weight_decay)

    @property
    def threshold_count(self) -> int:
        """Thresholds between ordered labels, K - 1; 0 where labels have no order."""
        return 0

    @abstractmethod
    def units(self, features: int) -> tuple[int, ...]:
        """Return the units of every layer for rows of this many features."""

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return weights (units, inputs) and biases (units,) of each layer, in their order.

        Of ordered labels the thresholds, (K - 1,), come behind them, see `ooc.kernels.thresholds`;
        they do what the last layer's bias would, which stays 0.
        """
        features = fan = int(np.prod(row_shape, dtype=np.int64))
        shapes: dict[str, tuple[int, ...]] = {}
        for number, units in enumerate(self.units(fan), start=1):
            shapes[f"layer{number}.weights"] = (units, fan)
            shapes[f"layer{number}.biases"] = (units,)
            fan = units
        fixed = set[str]()
        if self.threshold_count:
            fixed = {list(shapes)[-1]}
            shapes["thresholds"] = (self.threshold_count,)
        unpenalised = {name for name, shape in shapes.items() if len(shape) == 1}
        return self.layout_with(shapes, features, unpenalised, fixed)

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return random weights and zero biases, and thresholds of labels that are as frequent.

        He: normal, of variance 2/inputs. Glorot: uniform, of variance 2/(inputs + units).
        """
        parameters = super().init(layout, generator)
        views = layout.views(parameters)
        if self.threshold_count:
            views["thresholds"][:] = first_thresholds(self.threshold_count)
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

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return the network's part of the window loop."""
        features = layout.shapes["layer1.weights"][1]
        widths = (features, *self.units(features))
        layers = len(widths) - 1
        work = sum((fan + 1) * units for fan, units in itertools.pairwise(widths))
        least = min(max(SHARE_ROWS, SHARE_WORK // work), LARGEST_SHARE)
        constant = self.constant_within(layout, parameters)
        return Kernel(
            kernels.accumulate,
            *self._numbers(widths, parameters.dtype, constant),
            standardisation(layout, parameters, self.scale),
            target_standardisation(layout, parameters),
            shares=MOST_SHARES,
            least_rows=least,
            most_rows=LARGEST_SHARE,
            own_values=2 * sum(widths[1:]) + max(0, 2 * self.threshold_count - 1),
            decay={f"layer{n}.weights": float(self.weight_decay) for n in range(1, layers + 1)},
            uses_blas=True,
            eager=True,
        )

    def layers(self, layout: Layout, parameters: np.ndarray) -> list[DenseLayer]:
        """Return all layers, see `ooc.models.layers.Layered`."""
        part = layout.views(parameters)
        found, number = [], 1
        while f"layer{number}.weights" in part:
            weights, biases = part[f"layer{number}.weights"], part[f"layer{number}.biases"]
            found.append(DenseLayer(weights, biases, self.activation))
            number += 1
        return [*found[:-1], found[-1]._replace(activation="identity")]

    def scores(self, parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return the network's outputs, (rows, K), or what ordered labels have for scores.

        Those are (rows, 2 K - 3), see `ooc.kernels.thresholds.cumulate`.
        """
        dtype, inputs = dtype_of(self), self.inputs(parameters, features)
        parameters = np.ascontiguousarray(parameters, dtype)
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
        if self.threshold_count:
            views = self.layout(features.shape[1:]).views(parameters)
            return cumulative_scores(scores, views["thresholds"])
        return scores

    def _numbers(self, widths: tuple[int, ...], dtype: np.dtype, constant: float = 0.0) -> Numbers:
        layers = len(widths) - 1
        activations = [ACTIVATIONS[self.activation].code(dtype)] * (layers - 1) + [IDENTITY]
        dropout = [float(self.dropout)] * (layers - 1) + [0.0]
        loss = self.loss_integers(dtype)
        kind = [*loss, not self.needs_target, self.threshold_count, False]
        integers = [*kind, layers, *widths, *activations]
        reals = [constant, *dropout, *self.label_weights]
        return Numbers(np.array(reals), np.array(integers, np.int64))


def check_width(what: str, units: int) -> None:
    """Refuse a width that is no whole number of at least 1."""
    if not isinstance(units, int) or isinstance(units, bool) or units < 1:
        raise InputError(f"a {what} must be a whole number of at least 1, not {units}")
