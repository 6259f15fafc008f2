"""What a model may declare of itself, and what holds where it does not: nobody guesses by class."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ooc.core.errors import InputError
from ooc.kernels.share import Standard
from ooc.models.contract import BatchLike, Layout, Model, Statistics
from ooc.store.dataset import Dataset

if TYPE_CHECKING:
    from ooc.optim.optimizer import Optimizer


@dataclass(frozen=True)
class Needs:
    """The arrays that travel in a model's batches, exactly these.

    Attributes
    ----------
    features
        "floats", or "integers" where they are identifiers: those never go through a float.
    further, integers
        Names of other arrays, that come as floats and as integers.
    shapes
        Shape of a row of other arrays, where the model takes no others.
    """

    features: str = "floats"
    further: tuple[str, ...] = ()
    integers: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Phase:
    """A group of parts that takes its turn for some steps; a model's phases come one after another.

    Attributes
    ----------
    name
        The group, see `Layout.groups`.
    steps
        How many steps in a row are its own.
    optimizer
        What takes them; None: what the trainer was given.
    """

    name: str
    steps: int = 1
    optimizer: "Optimizer | None" = None


@dataclass(frozen=True)
class Standardisation:
    """How features, or targets, come to a model: (x - shift) times factor.

    Attributes
    ----------
    shift
        (F,) float64, or empty for 0.
    factor
        (F,) float64, or (1,) for all features.
    """

    shift: np.ndarray = field(default_factory=lambda: np.empty(0))
    factor: np.ndarray = field(default_factory=lambda: np.ones(1))

    def rounded(self, dtype: np.dtype) -> Standard:
        """Return it as gathers take it, for parameters of this dtype."""
        return Standard(self.shift, self.shift.astype(dtype), self.factor.astype(dtype))


@dataclass(frozen=True)
class Kernel:
    """A model's part of the compiled window loop.

    Attributes
    ----------
    accumulate
        The function that fills loss and gradient of a share, see
        `ooc.kernels.share.accumulate_of`.
    reals, integers
        The model's own numbers, as that function reads them.
    standard, target_standard
        How features and targets come to it.
    shares
        Shares into which a batch is cut, as long as they are neither smaller nor larger than
        `least_rows` and `most_rows`: a function of batch and model, never of threads.
    own_values
        Values of scratch that the function uses for each row of a share.
    decay
        For parts that the model penalises in its own loss: half of it times their squares.
    touched_values
        Rows of the touched part that one row of data touches, at most.
    uses_blas
        Whether it calls BLAS, which then has one thread.
    eager
        Whether shares go to several threads from the start; else only where that was faster.
    tries_threads
        Whether small shares may go to several threads, too, where that was faster: rows whose work
        is not told by their number.
    by_columns, batch_columns
        What takes the function's place where steps change the columns of a batch's sparse rows
        alone, see `ooc.kernels.columns`, and how many those are at most; 0 where it has not.
    by_rows
        Whether such steps subtract one row after the other, see `ooc.kernels.row_steps`.
    is_lazy
        Whether they take penalties when a column is met again, see `ooc.kernels.lazy_steps`.
    """

    accumulate: Callable[..., int]
    reals: np.ndarray
    integers: np.ndarray
    standard: Standardisation = field(default_factory=Standardisation)
    target_standard: Standardisation = field(default_factory=Standardisation)
    shares: int = 2
    least_rows: int = 4
    most_rows: int = 256
    own_values: int = 0
    decay: Mapping[str, float] = field(default_factory=dict)
    touched_values: int = 0
    uses_blas: bool = False
    eager: bool = False
    tries_threads: bool = False
    by_columns: Callable[..., int] | None = None
    batch_columns: int = 0
    by_rows: bool = False
    is_lazy: bool = False

    @property
    def is_by_columns(self) -> bool:
        """Whether steps change the columns of a batch alone."""
        return self.batch_columns > 0

    def share_rows(self, batch_size: int) -> int:
        """Return the rows of a share.

        Examples
        --------
        >>> kernel = Kernel(print, np.empty(0), np.empty(0), most_rows=256)
        >>> [kernel.share_rows(rows) for rows in (1, 256, 4096)]
        [4, 128, 256]
        """
        even = -(-batch_size // self.shares)
        return min(self.most_rows, max(self.least_rows, -(-even // 4) * 4))


@dataclass(frozen=True)
class Prepared:
    """What the rows said before training: the model with all settled, and values of fixed parts."""

    model: Model
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)


def needs_of(model: Model) -> Needs:
    """Return the arrays that the model asks for: the features, as floats, by default."""
    return getattr(model, "needs", Needs())


def dtype_of(model: Model) -> np.dtype:
    """Return the type of the model's parameters: float32, unless it says float64."""
    return np.dtype(getattr(model, "dtype", np.float32))


def terms_of(model: Model) -> tuple[str, ...]:
    """Return the names of the terms of the model's loss; one where it does not tell them apart."""
    return tuple(getattr(model, "terms", ("loss",)))


def arrays_of(model: Model, dataset: Dataset, with_target: bool = True) -> tuple[str, ...]:
    """Return the names of the arrays that travel: those that the model needs, and weights.

    Without target and weights, those that predictions are made from.

    Raises
    ------
    InputError
        If the dataset lacks one.
    """
    if with_target and model.needs_target and dataset.target is None:
        raise InputError(
            f"{dataset.no_targets}, and the model needs them; name their array with target="
        )
    needs = needs_of(model)
    for name in (*needs.further, *needs.integers):
        if name in dataset.unused:
            dataset.specs((name,))
        if name not in dataset.arrays:
            known = ", ".join(dataset.arrays)
            raise InputError(
                f"{dataset.path} has no array {name!r}, which {model.name} needs; it has: {known}"
            )
    for name in (*needs.integers, *([dataset.features] if needs.features == "integers" else [])):
        dtype = dataset.arrays[name].dtype
        if dtype.kind not in "iub":
            raise InputError(
                f"array {name} of {dataset.path} has type {dtype}, but {model.name} needs integers"
            )
    for name, shape in needs.shapes.items():
        if (found := dataset.arrays[name].shape[1:]) != shape:
            raise InputError(
                f"array {name} of {dataset.path} has rows of shape {found}, but {model.name} was "
                f"made for {shape}; name another array, or make the model for this one"
            )
    target = dataset.target if with_target and model.needs_target else None
    weight = dataset.weight if with_target else None
    names = (dataset.features, target, weight, *needs.further, *needs.integers)
    return tuple(dict.fromkeys(name for name in names if name is not None))


def predictions_of(model: Model, parameters: np.ndarray, batch: BatchLike) -> dict[str, np.ndarray]:
    """Return named predictions for a batch; of more than its features where the model says so."""
    of_batch = getattr(model, "predict_batch", None)
    if of_batch is None:
        return model.predict(parameters, batch.features)
    found: dict[str, np.ndarray] = of_batch(parameters, batch)
    return found


def first_rate(model: Model, reach: float, features: np.ndarray) -> float:
    """Return a learning rate to begin a search with: about one over the curvature, or a usual one.

    Parameters
    ----------
    reach
        Of the optimizer, see `ooc.optim.optimizer.Optimizer`.
    features
        (rows, F) float64, some rows.
    """
    if reach == 0:
        return float(getattr(model, "usual_step", 0.001))
    curvature = getattr(model, "curvature", None)
    found = 20.0 if curvature is None else float(curvature(features))
    return 1.0 / found if math.isfinite(found) else 1.0


def phases_of(model: Model) -> tuple[Phase, ...]:
    """Return the phases that take turns; one, of all parts, by default."""
    return tuple(getattr(model, "phases", (Phase("all"),)))


def kernel_of(
    model: Model, layout: Layout, parameters: np.ndarray | None = None, rows: Any = None
) -> Kernel | None:
    """Return the model's part of the compiled loop, or None where it has none.

    Parameters
    ----------
    parameters
        What the model keeps in fixed parts; by default what it starts from.
    rows
        What the features are, with a `dtype`: dense ones by default, sparse where it says so.

    Raises
    ------
    InputError
        If rows are sparse, and the model takes dense ones alone.
    """
    make = getattr(model, "kernel", None)
    if make is None:
        return None
    if parameters is None:
        parameters = np.zeros(layout.size, dtype_of(model))
    kernel: Kernel = make(layout, parameters)
    if not getattr(rows, "is_sparse", False):
        return kernel
    # Only for the kernel as it was written: a model that changes it would be trained as another.
    of_sparse = getattr(model, "sparse_kernel", None)
    found: Kernel | None = None if of_sparse is None else of_sparse(kernel, layout, rows.dtype)
    if found is None:
        raise InputError(
            f"{model.name} takes no sparse rows, as linear, logistic, softmax and svm do; choose "
            "one of those, or write the rows as a dense array (ooc.create)"
        )
    return found


def kernel_for_data(
    model: Model, dataset: Dataset, parameters: np.ndarray | None = None
) -> Kernel | None:
    """Return the model's part of the compiled loop for the rows of a dataset, see `kernel_of`."""
    rows = dataset.arrays[dataset.features]
    return kernel_of(model, model.layout(dataset.row_shape), parameters, rows)


def loss_unit_of(model: Model, layout: Layout, parameters: np.ndarray) -> float:
    """Return what losses of training are multiplied with to be those of targets in their unit."""
    tell = getattr(model, "loss_unit", None)
    return 1.0 if tell is None else float(tell(layout, parameters))


def scratch_bytes_of(model: Model, layout: Layout, rows: int) -> int:
    """Return what the model says that it holds for a batch of so many rows.

    Raises
    ------
    InputError
        If it does not say: the memory promise counts on it.
    """
    declared = getattr(model, "scratch_bytes", None)
    if declared is None:
        raise InputError(
            f"{model.name} does not declare what it holds beside its parameters; give it "
            "scratch_bytes(layout, rows) -> bytes, such as 4 * rows * units"
        )
    return int(declared(layout, rows))


def prepare(model: Model, statistics: Statistics) -> Prepared:
    """Let the model ask what it must know of all rows."""
    ask = getattr(model, "prepare", None)
    prepared: Prepared = Prepared(model) if ask is None else ask(statistics)
    return prepared


def prepared_like(model: Model, saved: Mapping[str, Any]) -> Model:
    """Return a model with the settings that rows decided when a run began, from its config."""
    names: Sequence[str] = getattr(model, "decided", ())
    return replace(model, **{name: saved[name] for name in names})  # type: ignore[type-var]


def widest(model: Model, is_sparse: bool = False) -> Model:
    """Return the model as it is where the rows decide for all that is left to them.

    Sparse rows are never standardised.
    """
    # One that wraps another has the other's settings, but is not made of them.
    own = [each.name for each in fields(model)] if is_dataclass(model) else list[str]()
    for name in getattr(model, "decided", ()):
        left = not (is_sparse and name == "standardise")
        if left and name in own and getattr(model, name) == "auto":
            with suppress(InputError):  # a loss that does not go with it: rows cannot decide so
                model = replace(model, **{name: True})  # type: ignore[type-var]
    return model


def own_steps(phases: Sequence[Phase], steps: int) -> int:
    """Return how many of a run's steps are taken by the optimizer that the trainer was given.

    Where several phases share it, each counts its own: the most that one of them has.

    Examples
    --------
    >>> own_steps((Phase("critic", 5), Phase("generator", 1)), 600)
    500
    """
    cycle = sum(phase.steps for phase in phases)
    own = [phase.steps for phase in phases if phase.optimizer is None]
    return steps * max(own, default=cycle) // cycle


def phase_at(phases: Sequence[Phase], step: int) -> tuple[int, int]:
    """Return whose turn a step is, and how many steps it had before.

    Examples
    --------
    >>> phases = (Phase("critic", 5), Phase("generator", 1))
    >>> [phase_at(phases, step) for step in (0, 4, 5, 6)]
    [(0, 0), (0, 4), (1, 0), (0, 5)]
    """
    rounds, left = divmod(step, sum(phase.steps for phase in phases))
    for number, phase in enumerate(phases):
        if left < phase.steps:
            return number, rounds * phase.steps + left
        left -= phase.steps
    raise AssertionError("a cycle has as many steps as its phases")
