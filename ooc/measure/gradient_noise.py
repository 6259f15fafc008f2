"""Noise of mini-batch gradients: its variance for many batch sizes in one pass, and its scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ooc.core.errors import DataError, InputError
from ooc.core.numbers import check_counts
from ooc.engines.engine import engine_bytes
from ooc.engines.window_engine import noting_engine
from ooc.kernels import gradient_sums as kernels
from ooc.models.contract import Model
from ooc.models.declarations import arrays_of, dtype_of, kernel_of, prepare
from ooc.optim import sgd
from ooc.optim.settings import FIRST, SECOND, SETTINGS, Piece
from ooc.store.dataset import Dataset
from ooc.store.stores import told_row
from ooc.stream.loader import Loader
from ooc.stream.options import StreamOptions, make_stream
from ooc.stream.plan import Demand
from ooc.training.statistics import RowStatistics

FEWEST_BATCHES = 3


@dataclass(frozen=True)
class BatchVariance:
    """How the mean gradients of full batches of one size vary.

    Attributes
    ----------
    variance
        Trace of the covariance of a batch's mean gradient: the mean of ``|g - G|^2``.
    error
        Its standard error, batches taken as independent. It is too small where windows of few
        blocks make their batches alike, and too large where an epoch's few batches balance each
        other.
    squared_norm
        Mean of ``|g|^2``.
    """

    batch_size: int
    batches: int
    variance: float
    error: float
    squared_norm: float


@dataclass(frozen=True)
class GradientNoise:
    """What one pass told of the gradient and its noise.

    Attributes
    ----------
    gradient
        (P,) float64, the mean gradient over all rows that were visited.
    rows
        N, rows of an epoch.
    sizes
        Ascending.
    """

    gradient: np.ndarray
    rows: int
    sizes: tuple[BatchVariance, ...]

    def variance(self, batch_size: int) -> float:
        """Return the variance that was measured for a batch size."""
        variances = {found.batch_size: found.variance for found in self.sizes}
        if batch_size not in variances:
            known = ", ".join(map(str, variances))
            raise InputError(f"batches of {batch_size} were not measured; measured were: {known}")
        return variances[batch_size]

    def slope(self) -> float:
        """Return the slope of log variance against log batch size; -1 for independent rows."""
        if len(self.sizes) < 2 or min(found.variance for found in self.sizes) <= 0:
            raise InputError("a slope needs two batch sizes or more, with variances above zero")
        batch = np.log([float(found.batch_size) for found in self.sizes])
        variance = np.log([found.variance for found in self.sizes])
        batch -= batch.mean()
        return float((batch @ variance) / (batch @ batch))


@dataclass(frozen=True)
class NoiseScale:
    """The gradient noise scale of McCandlish, Kaplan, Amodei et al. (2018, arXiv:1812.06162).

    Estimated without bias are ``|G|^2`` and tr(S), the variance of one row's gradient.
    """

    squared_gradient: float
    trace: float

    @property
    def batch_size(self) -> float:
        """B_simple = ``tr(S) / |G|^2``: beyond it larger batches hardly lessen the steps needed."""
        return self.trace / self.squared_gradient if self.squared_gradient > 0 else math.inf


def noise_scale(small: BatchVariance, large: BatchVariance) -> NoiseScale:
    """Estimate the noise scale from squared gradient norms at two batch sizes (appendix A.1).

    Examples
    --------
    >>> small, large = (BatchVariance(b, 9, 6 / b, 0.0, 2 + 6 / b) for b in (1, 3))
    >>> round(noise_scale(small, large).batch_size, 6)
    3.0
    """
    first, second = small.batch_size, large.batch_size
    if first == second:
        raise InputError(f"two batch sizes are needed, not {first} twice")
    squared = (second * large.squared_norm - first * small.squared_norm) / (second - first)
    trace = (small.squared_norm - large.squared_norm) / (1 / first - 1 / second)
    return NoiseScale(squared, trace)


def expected_variance(
    row_variance: float, batch_size: int, rows: int, sampling: str = "once"
) -> float:
    """Return the variance of a batch mean: s2/B, without replacement times (N-B)/(N-1).

    Examples
    --------
    >>> expected_variance(12.0, 4, 10), expected_variance(12.0, 4, 10, "replacement")
    (2.0, 3.0)
    """
    share = (rows - batch_size) / (rows - 1) if sampling == "once" and rows > 1 else 1.0
    return row_variance / batch_size * share


def gradient_variance(
    model: Model,
    parameters: np.ndarray,
    dataset: Dataset,
    batch_sizes: Sequence[int],
    *,
    epochs: int = 1,
    stream: StreamOptions | None = None,
    **options: Any,
) -> GradientNoise:
    """Measure the variance of the mini-batch gradient for many batch sizes in one pass.

    The batches are those that a trainer would take: consecutive rows of the loader's stream.
    The linear family is measured in compiled code, row by row; any other model is asked for the
    gradient of each batch of the sizes' greatest common divisor, so that for it sizes such as
    8, 16, 64 cost an eighth of 1, 8, 64.

    Parameters
    ----------
    model, parameters
        The model, and where its gradients are taken: (P,) numbers.
    batch_sizes
        Each B; a size that a smaller one divides is made of its batches.
    epochs
        Passes, for more batches; each has an order of its own.
    stream, options
        See `ooc.stream.options.StreamOptions`: all of them in one object, or each by its name.
        With sampling "once" the distance is that from the exact mean over all rows; else from
        the mean of the batches, with one degree of freedom less.

    Raises
    ------
    InputError
        If there are fewer than 3 batches of a size, or parameters do not fit the model.
    DataError, DivergedError
        If a row or a gradient cannot be used.

    Examples
    --------
    >>> import ooc
    >>> dataset = ooc.open(example_dataset)
    >>> model = ooc.models.Linear(intercept=False)
    >>> noise = gradient_variance(model, np.zeros(3), dataset, (1, 10, 100), epochs=20)
    >>> [found.batches for found in noise.sizes]
    [20000, 2000, 200]
    >>> without = expected_variance(noise.variance(1), 100, rows=1000)
    >>> bool(abs(noise.variance(100) / without - 1) < 0.2)
    True
    """
    sizes = _checked_sizes(batch_sizes, dataset.rows, epochs)
    base = math.gcd(*sizes)
    levels = tuple(sorted({base, *sizes}))
    plain = Loader(dataset, base, arrays=None, stream=make_stream(stream, options))
    model = prepare(model, RowStatistics(plain)).model
    layout = model.layout(dataset.row_shape)
    parameters = _checked_parameters(parameters, layout.size, dtype_of(model))
    vectors = 8 * kernels.state_rows(len(levels), layout.size) * layout.size
    engine = engine_bytes(model, dataset, (sgd(1.0),), base, full=False)
    held = plain.plan.terms.get("held", 0)
    demand = Demand(vectors + engine, batch_copies=0, held_bytes=held)
    names = arrays_of(model, dataset)
    loader = Loader(dataset, base, arrays=names, demand=demand, stream=plain.stream)
    sums = _Sums(levels, layout.size)
    visit = _visit if kernel_of(model, layout) is None else _visit_compiled
    visit(model, parameters, loader, epochs, sums)
    gradient = sums.total / (epochs * dataset.rows)
    centre = gradient if loader.stream.sampling == "once" else None
    found = [sums.variance(i, centre) for i, size in enumerate(levels) if size in sizes]
    return GradientNoise(gradient, dataset.rows, tuple(found))


class _Sums:
    """Running sums for each batch size: views of the state that `note_gradient` takes."""

    def __init__(self, sizes: tuple[int, ...], parameters: int) -> None:
        count = len(sizes)
        self.state = np.zeros((kernels.state_rows(count, parameters), parameters))
        self.settings = np.zeros(SETTINGS)
        self.settings[FIRST] = count
        self.levels, self.sums = kernels.levels_and_sums(self.state, count)
        self.levels[:, kernels.SIZE] = sizes
        # The largest smaller size that divides one, -1 for the first.
        self.levels[:, kernels.SOURCE] = [
            max((i for i in range(level) if sizes[level] % sizes[i] == 0), default=-1)
            for level in range(count)
        ]
        self.partial, self.means = self.state[:count], self.state[count : 2 * count]
        self.total = self.state[2 * count]

    def add(self, gradient: np.ndarray, is_rest: bool) -> None:
        """Note the summed gradient of a batch, or of the shorter rest of an epoch."""
        self.settings[SECOND], unused = float(is_rest), np.empty(0)
        piece = Piece(unused, gradient, unused, self.state, 0)
        kernels.note_gradient(piece, self.settings, 0.0, 0)

    def end_epoch(self) -> None:
        """Count the rows that completed no batch, and begin each batch anew."""
        self.total += self.partial[0]
        self.partial[:] = 0.0
        self.levels[:, kernels.FILLED] = 0

    def variance(self, level: int, gradient: np.ndarray | None) -> BatchVariance:
        """Return the variance about the mean over all rows, or about that of the batches."""
        size, count = (int(self.levels[level, i]) for i in (kernels.SIZE, kernels.BATCHES))
        spread, squared, norm = self.sums[level].tolist()
        variance = spread / (count - 1)
        error = math.sqrt(max(squared / (count - 1) - variance**2, 0.0) / (count - 2))
        if gradient is not None:
            variance = spread / count + float(np.sum((self.means[level] - gradient) ** 2))
        return BatchVariance(size, count, variance, error, norm / count)


def _visit(model: Model, parameters: np.ndarray, loader: Loader, epochs: int, sums: _Sums) -> None:
    gradient = np.zeros(parameters.size)
    for _ in range(epochs):
        for batch in loader:
            loss = model.loss_and_grad(parameters, batch, gradient)
            if not (math.isfinite(loss) and np.isfinite(gradient).all()):
                ends = (batch.rows.min(), batch.rows.max())
                first, last = (told_row(batch, row) for row in ends)
                raise DataError(
                    f"loss or gradient of {model.name} are not finite for rows {first} to {last} "
                    f"of {loader.dataset.path}; check these rows and the parameters"
                )
            count = len(batch.rows)
            sums.add(gradient * count, is_rest=count < loader.plan.batch_size)
        sums.end_epoch()


def _visit_compiled(
    model: Model, parameters: np.ndarray, loader: Loader, epochs: int, sums: _Sums
) -> None:
    """Let the window loop tell the sums of each batch's gradient, where else it would step."""
    engine = noting_engine(model, loader, parameters, sums.state, sums.settings)
    for window in loader.windows(epochs):
        sums.settings[SECOND] = 0.0
        engine.advance(replace(window, last=False))
        if window.last:
            sums.settings[SECOND] = 1.0
            engine.advance(replace(window, start=len(window.order)))
            sums.end_epoch()


def _checked_sizes(batch_sizes: Sequence[int], rows: int, epochs: int) -> tuple[int, ...]:
    sizes = tuple(sorted({int(size) for size in batch_sizes}))
    if not sizes or sizes[0] < 1:
        raise InputError(f"batch sizes are whole numbers from 1 on, not {list(batch_sizes)}")
    check_counts(epochs=epochs)
    batches = rows // sizes[-1] * epochs
    if batches < FEWEST_BATCHES:
        raise InputError(
            f"{epochs} epochs of {rows} rows have {batches} full batches of {sizes[-1]}, and a "
            f"variance needs {FEWEST_BATCHES}; lower the batch size or raise epochs"
        )
    return sizes


def _checked_parameters(parameters: np.ndarray, size: int, dtype: np.dtype) -> np.ndarray:
    given = np.ascontiguousarray(parameters, dtype).reshape(-1)
    if given.size != size:
        raise InputError(f"the model has {size} parameters here, but {given.size} were given")
    if not np.isfinite(given).all():
        place = int(np.argmin(np.isfinite(given)))
        raise InputError(f"parameter {place} is {given[place]}; gradients need finite numbers")
    return given
