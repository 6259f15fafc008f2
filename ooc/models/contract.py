"""The contract of a model: a layout of one flat vector, and functions of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ooc.core.errors import InputError
from ooc.metrics.measured import Measured


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the parts of one flat parameter vector.

    Attributes
    ----------
    shapes
        Shape of each part, in the order in which they lie in the vector.
    unpenalised
        Names of the parts that penalties leave alone, such as intercepts.
    fixed
        Names of the parts that training leaves alone, such as the means of features.
    groups
        For parts that take turns with others, the name of the phase that trains them; the first
        phase trains all the rest.
    touched
        Name of the last part, of shape (rows, width), where a batch has a gradient for some of its
        rows only; None where there is no such part.

    Examples
    --------
    >>> layout = Layout({"coefficients": (2, 3), "intercept": (2,)})
    >>> layout.size
    8
    >>> layout.views(np.arange(8.0))["intercept"]
    array([6., 7.])
    """

    shapes: Mapping[str, tuple[int, ...]]
    unpenalised: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    groups: Mapping[str, str] = field(default_factory=dict)
    touched: str | None = None

    def __post_init__(self) -> None:
        if self.touched is not None and (
            self.touched != list(self.shapes)[-1] or len(self.shapes[self.touched]) != 2
        ):
            raise InputError(
                f"the touched part {self.touched} must be the last one and have two axes; the "
                f"parts are {dict(self.shapes)}"
            )

    @property
    def size(self) -> int:
        """Parameters in all."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def trained(self) -> int:
        """Parameters that training changes."""
        return sum(
            math.prod(shape) for name, shape in self.shapes.items() if name not in self.fixed
        )

    @property
    def touched_place(self) -> tuple[int, int, int]:
        """Where the touched part begins, its rows and their width; (size, 0, 0) without one."""
        if self.touched is None:
            return self.size, 0, 0
        rows, width = self.shapes[self.touched]
        return self.spans()[self.touched][0], rows, width

    def spans(self) -> dict[str, tuple[int, int]]:
        """Return where each part begins in the vector, and where it ends."""
        spans, start = {}, 0
        for name, shape in self.shapes.items():
            spans[name] = (start, start + math.prod(shape))
            start += math.prod(shape)
        return spans

    def penalised(self) -> np.ndarray:
        """Return for each entry of the vector whether penalties are for it: (size,) bool."""
        mask = np.ones(self.size, np.bool_)
        for name, (start, stop) in self.spans().items():
            mask[start:stop] = name not in self.unpenalised
        return mask

    def views(self, parameters: np.ndarray) -> dict[str, np.ndarray]:
        """Return named views, no copies, of a flat vector.

        Raises
        ------
        InputError
            If the vector has another length.
        """
        if parameters.shape != (self.size,):
            raise InputError(
                f"a parameter vector of {self.size} entries is needed, not of {parameters.shape}"
            )
        return {
            name: parameters[start:stop].reshape(self.shapes[name])
            for name, (start, stop) in self.spans().items()
        }


class BatchLike(Protocol):
    """The rows of one step, as `ooc.stream.batch.Batch` holds them."""

    @property
    def features(self) -> np.ndarray:
        """(rows, ...) of any numeric dtype."""

    @property
    def target(self) -> np.ndarray | None:
        """(rows,), or None where the dataset has none."""

    @property
    def weight(self) -> np.ndarray | None:
        """(rows,), or None where the dataset has none."""

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """All that travels, by name."""

    @property
    def roles(self) -> tuple[str, str | None, str | None]:
        """Names of the arrays that are features, target and weight."""

    @property
    def rows(self) -> np.ndarray:
        """(rows,) int64, the rows' places in the dataset."""

    @property
    def step(self) -> int:
        """The step's number in the run."""

    @property
    def seed(self) -> int:
        """A seed of the step's own, for models that sample."""


class Statistics(Protocol):
    """What may be asked of the rows before a model is trained; each answer is one pass, at most."""

    def without_missing(self) -> "Statistics":
        """Return the same, where moments of features are those of the values that are not NaN."""

    def sample_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of each feature, (F,) float64, in the run's first window."""

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of each feature over all rows, (F,) float64."""

    def target_sample_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of each target, (T,) float64, in the run's first window."""

    def target_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of each target over all rows, (T,) float64."""

    def class_counts(self, classes: int, model: str, targets: str) -> np.ndarray:
        """Return how many rows each label from 0 to classes - 1 has, (classes,) int64."""


@runtime_checkable
class Model(Protocol):
    """What a trainer asks of every model. All parameters lie in one flat vector.

    What a model may declare beside it, and what holds where it does not, is in
    `ooc.models.declarations`.
    """

    @property
    def name(self) -> str:
        """Its entry in `ooc.models.MODELS`."""

    @property
    def needs_target(self) -> bool:
        """Whether its batches carry targets."""

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return the parts of the vector for rows of this shape."""

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return the first parameters."""

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Raise an `InputError` if targets of this shape a row do not fit."""

    def scratch_bytes(self, layout: Layout, rows: int) -> int:
        """Return the bytes held for a batch of so many rows, beside it and the parameters."""

    def loss_and_grad(
        self, parameters: np.ndarray, batch: BatchLike, out_grad: np.ndarray
    ) -> float:
        """Return the mean loss of a batch and fill `out_grad` (float64) with its gradient."""

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the sums of loss and correct answers over a batch, and the answers themselves."""

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return named predictions, one entry a row."""

    def to_config(self) -> dict[str, Any]:
        """Return what `ooc.models.from_config` makes the same model from, JSON-ready."""


def check_target_size(model: str, shape: tuple[int, ...], expected: int) -> None:
    """Refuse targets with another count of numbers a row.

    Raises
    ------
    InputError
        With both counts.
    """
    found = math.prod(shape)
    if found != expected:
        raise InputError(
            f"{model} takes {expected} target value{'s' if expected > 1 else ''} a row, but the "
            f"targets have {found} a row (shape {shape}); name another target, or give the model "
            f"as many outputs"
        )


__all__ = ["BatchLike", "Layout", "Measured", "Model", "Statistics", "check_target_size"]
