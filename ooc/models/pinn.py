"""The physics-informed network: tanh layers that are to obey laws at points (Raissi et al. 2019).

The rows of its dataset are points, each with a tag that says which laws hold there; there are no
targets. The loss is the mean over rows of squared residuals, each times the weight of its term.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ooc.core.blas import one_thread
from ooc.core.errors import InputError
from ooc.core.numbers import check_choice
from ooc.kernels import residuals as kernels
from ooc.kernels.share import Numbers
from ooc.metrics.measured import Measured
from ooc.models.compiled import CompiledModel
from ooc.models.contract import BatchLike, Layout
from ooc.models.declarations import Kernel, Needs
from ooc.models.laws import Compiled, Law, compile_laws, integers_of
from ooc.models.network import check_width
from ooc.models.scored import DTYPES

TILE_ROWS = 64  # whose jets stay in a core's cache
LARGEST_SHARE = 512
PIECE_ROWS = 1024
TAG, NORMAL = "tag", "normal"


@dataclass(frozen=True)
class PINN(CompiledModel):
    """Physics-informed network: layers tanh(X W^T + b), the last one without tanh, and laws.

    Attributes
    ----------
    coordinates
        Their names, a letter each, such as "xt".
    outputs
        Names of the network's outputs, such as ("u", "v").
    laws
        For each tag from 0 on the functions that are to be zero at its points. A law's parameters
        name what it takes: outputs ("u"), derivatives of them up to the fourth ("u_xxt"),
        coordinates ("x") and parts of the boundary's outward normal ("n_x"). It may use arithmetic
        and NumPy's functions, and returns a residual or a tuple of them. Each is a term of the
        loss, of its name.
    weights
        Of each term; by default 1.
    hidden
        Units of each hidden layer.
    bounds
        Least and largest value of each coordinate, which the network sees as -1 and 1.
    dtype
        "float64", or "float32", where descent does not have to go deep.
    start
        (P,) parameters to begin with; by default random ones (Glorot and Bengio 2010).

    Raises
    ------
    InputError
        If a law asks for what is not there, such as a fifth derivative, or cannot be traced.

    Examples
    --------
    >>> def wave(u_xx, u_tt):
    ...     return u_tt - u_xx
    >>> def fixed(u):
    ...     return u
    >>> PINN("xt", ("u",), ((wave,), (fixed,)), bounds=((0, 1), (0, 2))).terms
    ('wave', 'fixed')
    """

    coordinates: Sequence[str]
    outputs: Sequence[str]
    laws: Sequence[Sequence[Law]]
    weights: Sequence[float] | None = None
    hidden: Sequence[int] = (32, 32, 32)
    bounds: Sequence[tuple[float, float]] | None = None
    dtype: str = "float64"
    start: np.ndarray | None = field(default=None, compare=False, repr=False)
    name: ClassVar[str] = "pinn"
    needs_target = False
    usual_step: ClassVar[float] = 1e-3

    def __post_init__(self) -> None:
        settle = object.__setattr__
        settle(self, "coordinates", tuple(self.coordinates))
        settle(self, "outputs", tuple(self.outputs))
        settle(self, "laws", tuple(tuple(laws) for laws in self.laws))
        settle(self, "hidden", tuple(self.hidden))
        for units in self.hidden:
            check_width("hidden width", units)
        check_choice("dtype", DTYPES, self.dtype)
        for each in self.coordinates:
            if len(each) != 1 or not each.isalpha():
                raise InputError(f"a coordinate's name is one letter, not {each!r}")
        if not self.outputs or set(self.outputs) & {*self.coordinates, "n"}:
            raise InputError(
                f"outputs {self.outputs} need names that are neither n nor a coordinate's"
            )
        for tag, laws in enumerate(self.laws):
            if not laws:
                raise InputError(f"tag {tag} has no law; give it one, or leave out its points")
        bounds = self.bounds or ((-1.0, 1.0),) * len(self.coordinates)
        settle(self, "bounds", tuple((float(low), float(high)) for low, high in bounds))
        if len(bounds) != len(self.coordinates) or any(low >= high for low, high in bounds):
            raise InputError(
                f"bounds {bounds} are not a least and a larger value for each of "
                f"{len(self.coordinates)} coordinates"
            )
        if self.weights is not None:
            settle(self, "weights", tuple(map(float, self.weights)))
            if len(self.weights) != len(self.terms):
                raise InputError(
                    f"there are {len(self.weights)} weights for {len(self.terms)} terms: "
                    f"{', '.join(self.terms)}"
                )
        self.compiled  # noqa: B018  laws are checked now

    @cached_property
    def compiled(self) -> Compiled:
        """The laws as tapes."""
        return compile_laws(self.laws, self.coordinates, self.outputs)

    @cached_property
    def terms(self) -> tuple[str, ...]:
        """Names of the loss's terms: those of the laws, with a number where one comes again."""
        names = [law.__name__ for laws in self.laws for law in laws]
        return tuple(
            name if names.count(name) == 1 else f"{name}-{1 + names[:place].count(name)}"
            for place, name in enumerate(names)
        )

    @property
    def term_tags(self) -> tuple[int, ...]:
        """The tag of each term."""
        return tuple(tag for tag, laws in enumerate(self.laws) for _ in laws)

    @property
    def needs(self) -> Needs:
        """Points, their tags, and normals where a law asks for them."""
        count = len(self.coordinates)
        shapes: dict[str, tuple[int, ...]] = {TAG: ()}
        if self.compiled.uses_normals:
            shapes[NORMAL] = (count,)
        further = (NORMAL,) if self.compiled.uses_normals else ()
        return Needs(further=further, integers=(TAG,), shapes=shapes)

    @property
    def integer_bounds(self) -> tuple[int, int]:
        """Least and largest tag."""
        return 0, len(self.laws) - 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Inputs, and units of each layer."""
        return (len(self.coordinates), *self.hidden, len(self.outputs))

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return weights (units, inputs) and biases (units,) of each layer, in their order.

        Raises
        ------
        InputError
            If points have another number of coordinates.
        """
        if math.prod(row_shape) != len(self.coordinates):
            raise InputError(
                f"points have {math.prod(row_shape)} coordinates, and {self.name} was made for "
                f"{len(self.coordinates)}: {', '.join(self.coordinates)}"
            )
        shapes: dict[str, tuple[int, ...]] = {}
        for number, (fan, units) in enumerate(itertools.pairwise(self.widths), start=1):
            shapes[f"layer{number}.weights"] = (units, fan)
            shapes[f"layer{number}.biases"] = (units,)
        unpenalised = {name for name, shape in shapes.items() if len(shape) == 1}
        return Layout(shapes, frozenset(unpenalised))

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return the first parameters."""
        parameters = np.zeros(layout.size, self.dtype)
        if self.start is not None:
            parameters[:] = self.start
            return parameters
        for view in layout.views(parameters).values():
            if view.ndim == 2:
                bound = math.sqrt(6 / sum(view.shape))
                view[...] = generator.uniform(-bound, bound, view.shape)
        return parameters

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Take any targets: they are not used."""

    def kernel(self, layout: Layout, parameters: np.ndarray, is_linear: bool = False) -> Kernel:
        """Return its part of the window loop.

        With `is_linear` residuals themselves are added up, and not their squares.
        """
        numbers = self._numbers(self.compiled, self.weights, is_linear)
        widths, integers = self.widths, numbers.integers
        largest = max(fan * units for fan, units in itertools.pairwise(widths))
        per_row = kernels.row_values(integers, sum(widths[1:]))
        return Kernel(
            kernels.accumulate,
            *numbers,
            shares=2,
            least_rows=16,
            most_rows=LARGEST_SHARE,
            own_values=int(per_row) + -(-largest // 4),
            uses_blas=True,
            eager=True,
        )

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the sum of losses over a batch."""
        rows = len(batch.rows)
        loss = self.loss_and_grad(parameters, batch, np.empty(parameters.size))
        return Measured(rows * loss, rows, np.nan, rows)

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by their names, (rows,) each."""
        _, answers = self._evaluate(self.laws[:1], parameters, features, None)
        return dict(zip(self.outputs, answers.T.copy(), strict=True))

    def evaluate(
        self,
        function: Law,
        parameters: np.ndarray,
        points: np.ndarray,
        normals: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return what a function, written like a law, is at points: (results, rows) float64.

        Parameters
        ----------
        points, normals
            (rows, D).
        """
        return self._evaluate(((function,),), parameters, points, normals)[0]

    def to_config(self) -> dict[str, Any]:
        """Return names and settings, JSON-ready; laws by their tapes."""
        return {
            "name": self.name,
            "coordinates": list(self.coordinates),
            "outputs": list(self.outputs),
            "terms": list(self.terms),
            "tapes": [[list(map(list, each.code)), each.constants] for each in self.compiled.tapes],
            "weights": None if self.weights is None else list(self.weights),
            "hidden": list(self.hidden),
            "bounds": [list(each) for each in self.bounds or ()],
            "dtype": self.dtype,
        }

    def with_weights(self, weights: Sequence[float]) -> "PINN":
        """Return the same with other weights of the terms."""
        return replace(self, weights=tuple(weights))

    def _evaluate(
        self,
        laws: Sequence[Sequence[Law]],
        parameters: np.ndarray,
        points: np.ndarray,
        normals: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        compiled = compile_laws(laws, self.coordinates, self.outputs)
        numbers = self._numbers(compiled, None)
        count, dtype = len(self.coordinates) * compiled.uses_normals, np.dtype(self.dtype)
        rows, results = len(points), len(compiled.results[0])
        if normals is None:
            normals = np.zeros((rows, count))
        values, answers = np.empty((results, rows)), np.empty((rows, len(self.outputs)), dtype)
        parameters = np.ascontiguousarray(parameters, dtype)
        per_row = kernels.row_values(numbers.integers, sum(self.widths[1:]))
        own = np.empty(min(rows, PIECE_ROWS) * int(per_row), dtype)
        with one_thread():
            for first in range(0, rows, PIECE_ROWS):
                piece = slice(first, first + PIECE_ROWS)
                given = [
                    np.ascontiguousarray(a[piece], dtype) for a in (points, normals[:, :count])
                ]
                found = np.empty((results, len(given[0])))
                kernels.evaluate(
                    numbers, 0, parameters, given[0], given[1], own, found, answers[piece]
                )
                values[:, piece] = found
        return values, answers

    def _numbers(
        self, compiled: Compiled, weights: Sequence[float] | None, is_linear: bool = False
    ) -> Numbers:
        bounds = np.array(self.bounds)
        terms = 1 + max(term for results in compiled.results for _, term in results)
        integers = integers_of(compiled, self.widths, terms, TILE_ROWS, is_linear)
        lines = np.array(compiled.directions, np.float64).reshape(-1)
        reals = np.concatenate(
            [
                bounds.mean(axis=1), 2 / (bounds[:, 1] - bounds[:, 0]), lines,
                np.ones(terms) if weights is None else np.array(weights), compiled.constants(),
            ]
        )  # fmt: skip
        return Numbers(reals, integers)
