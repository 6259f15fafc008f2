"""A bag of token embeddings and dense layers over figures, joined, with the heads of a network."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.core.blas import one_thread
from ooc.core.errors import InputError
from ooc.core.numbers import check_choice
from ooc.kernels import embedding as kernels
from ooc.kernels.activations import ACTIVATIONS, IDENTITY
from ooc.kernels.counters import OK
from ooc.kernels.share import BAD, Numbers
from ooc.models.contract import BatchLike, Layout
from ooc.models.declarations import Kernel, Needs, dtype_of
from ooc.models.mlp import MLP
from ooc.models.network import MOST_SHARES, SHARE_ROWS, check_width
from ooc.models.ordinal import cumulative_scores
from ooc.models.standardise import standardisation, target_standardisation

BRANCHES = ("both", "tokens", "figures")
TABLE = "embeddings"
# Rows of a share: its touched embeddings are found by a table that stays in a core's cache.
LEAST_ROWS, MOST_ROWS = 32, 128
# Tokens of the largest share: their places among the touched rows are exact in float32.
MOST_TOKENS = 2**24
# Entries of the table of places for each token of a share.
PLACES = 4


@dataclass(frozen=True)
class EmbeddingMLP(MLP):
    """Embedding bag of tokens beside dense layers over figures, and dense layers behind the join.

    The features of a dataset are the figures, (N, F); tokens, (N, length), travel beside them. A
    row's tokens come to the mean of their embeddings (as fastText does, Joulin and others 2016),
    without those that are `padding`; of a row of these alone it is 0. A figure that is NaN is
    missing: it counts as the mean, and F further inputs tell which are. Of the table of embeddings
    a batch touches some rows, and the optimizer's step is for them alone.

    Attributes
    ----------
    vocabulary
        V, rows of the table: tokens are 0 to V - 1, others are refused.
    length
        Tokens of a row.
    width
        D, of the table.
    tokens
        Name of their array, of any integer type.
    padding
        The token that stands for none: -1, or one of the vocabulary.
    branches
        "both"; or "tokens" alone, or "figures" alone. Text without figures is opened with
        ``features="tokens"``.
    figure_hidden
        Units of the layers over figures, each with the activation; () joins the figures as they
        are.
    hidden
        Units of the layers behind the join.
    head, outputs, ...
        See `ooc.models.MLP`.

    Examples
    --------
    >>> model = EmbeddingMLP(vocabulary=1000, width=16, figure_hidden=(8,), hidden=(32,))
    >>> model.layout((5,)).shapes["figures1.weights"], model.layout((5,)).shapes["layer1.weights"]
    ((8, 10), (32, 24))
    >>> model.layout((5,)).touched, model.layout((5,)).shapes["embeddings"]
    ('embeddings', (1000, 16))
    """

    hidden: Sequence[int] = (64,)
    vocabulary: int = 2**15
    length: int = 64
    width: int = 32
    tokens: str = "tokens"
    padding: int = 0
    branches: str = "both"
    figure_hidden: Sequence[int] = (32,)

    name: ClassVar[str] = "embedding_mlp"
    takes_missing: ClassVar[bool] = True
    # It is not made of dense layers alone, as what exports those asks for.
    layers: ClassVar[None] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "figure_hidden", tuple(self.figure_hidden))
        check_choice("branches", BRANCHES, self.branches)
        for what, number in (
            ("vocabulary", self.vocabulary), ("length", self.length), ("width", self.width)
        ):  # fmt: skip
            check_width(what, number)
        for units in self.figure_hidden:
            check_width("width of a layer over figures", units)
        if not -1 <= self.padding < self.vocabulary:
            raise InputError(
                f"the padding is -1 or a token of the vocabulary, 0 to {self.vocabulary - 1}, not "
                f"{self.padding}"
            )
        if self.length * MOST_ROWS > MOST_TOKENS:
            most = MOST_TOKENS // MOST_ROWS
            raise InputError(f"a row has at most {most:,} tokens, not {self.length:,}")
        if not self.has_figures:  # there is nothing to standardise
            object.__setattr__(self, "standardise", False)

    @property
    def has_tokens(self) -> bool:
        """Whether the branch of tokens is there."""
        return self.branches != "figures"

    @property
    def has_figures(self) -> bool:
        """Whether the branch of figures is there."""
        return self.branches != "tokens"

    @property
    def needs(self) -> Needs:
        """The features, and tokens as integers."""
        if not self.has_tokens:
            return Needs()
        return Needs(integers=(self.tokens,), shapes={self.tokens: (self.length,)})

    @property
    def integer_bounds(self) -> tuple[int, int]:
        """The least and the largest integer of a row."""
        return min(0, self.padding), self.vocabulary - 1

    def figure_widths(self, features: int) -> tuple[int, ...]:
        """Return what goes into the layers over figures, and their units."""
        return (2 * features, *self.figure_hidden) if self.has_figures else (0,)

    def joined_widths(self, features: int) -> tuple[int, ...]:
        """Return what goes into the layers behind the join, and their units."""
        joined = self.width * self.has_tokens + self.figure_widths(features)[-1]
        return (joined, *self.units(joined))

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return layers over figures, layers behind the join, and the table as the last part."""
        features = int(np.prod(row_shape, dtype=np.int64))
        shapes: dict[str, tuple[int, ...]] = {}
        for name, widths in (
            ("figures", self.figure_widths(features)), ("layer", self.joined_widths(features))
        ):  # fmt: skip
            for number, (fan, units) in enumerate(itertools.pairwise(widths), start=1):
                shapes[f"{name}{number}.weights"] = (units, fan)
                shapes[f"{name}{number}.biases"] = (units,)
        fixed = {list(shapes)[-1]} if self.threshold_count else set[str]()
        if self.threshold_count:
            shapes["thresholds"] = (self.threshold_count,)
        unpenalised = {name for name, shape in shapes.items() if len(shape) == 1}
        found = self.layout_with(shapes, features, unpenalised, fixed)
        if not self.has_tokens:
            return found
        parts = {**found.shapes, TABLE: (self.vocabulary, self.width)}
        return Layout(parts, found.unpenalised, found.fixed, touched=TABLE)

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return first layers as `ooc.models.network` has them, and normal embeddings.

        Their variance is 1/D, so that they are about 1 long.
        """
        shapes = {name: shape for name, shape in layout.shapes.items() if name != TABLE}
        dense = super().init(Layout(shapes), generator)
        if not self.has_tokens:
            return dense
        table = generator.standard_normal(self.vocabulary * self.width) / np.sqrt(self.width)
        return np.concatenate([dense, table.astype(dense.dtype)])

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return the model's part of the window loop."""
        features = self._features(layout)
        constant = self.constant_within(layout, parameters)
        weights = [name for name in layout.shapes if name.endswith(".weights")]
        return Kernel(
            kernels.accumulate,
            *self._model_numbers(features, parameters.dtype, constant),
            standardisation(layout, parameters, self.scale),
            target_standardisation(layout, parameters),
            shares=MOST_SHARES,
            least_rows=LEAST_ROWS,
            most_rows=MOST_ROWS,
            own_values=self._own_values(features),
            decay=dict.fromkeys(weights, float(self.weight_decay)),
            touched_values=self.length if self.has_tokens else 0,
            uses_blas=True,
            eager=True,
        )

    def scores(self, parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return the scores of figures alone.

        Raises
        ------
        InputError
            If the model takes tokens, too.
        """
        if self.has_tokens:
            raise InputError(
                f"{self.name} takes tokens beside its features; give it a dataset that has both, "
                "or a batch"
            )
        return self._scores(parameters, features, np.empty((len(features), 0), np.int64))

    def scores_of(self, parameters: np.ndarray, batch: BatchLike) -> np.ndarray:
        """Return the scores of a batch, (rows, K), or those of ordered labels.

        Raises
        ------
        DataError
            If a token is none of the vocabulary; its row is named.
        """
        if not self.has_tokens:
            return self.scores(parameters, batch.features)
        tokens = self._tokens(batch)
        if not self.has_figures:
            return self._scores(parameters, np.empty((len(tokens), 0)), tokens, batch)
        return self._scores(parameters, batch.features, tokens, batch)

    def predict_batch(self, parameters: np.ndarray, batch: BatchLike) -> dict[str, np.ndarray]:
        """Return "prediction", and what else `answers` names, one entry a row."""
        return self.answers(self.batch_scores(parameters, batch))

    def batch_scores(self, parameters: np.ndarray, batch: BatchLike) -> np.ndarray:
        """Do as `ooc.models.MLP.scores_in_unit` for a batch."""
        layout, scores = self.layout(batch.features.shape[1:]), self.scores_of(parameters, batch)
        found = self.in_unit(layout, parameters, scores)
        return found[:, : self.threshold_count] if self.threshold_count else found

    def loss_and_grad(
        self, parameters: np.ndarray, batch: BatchLike, out_grad: np.ndarray
    ) -> float:
        """Do as `ooc.models.compiled.CompiledModel.loss_and_grad`; tokens are checked, too."""
        if self.has_tokens:
            self._tokens(batch)
        return super().loss_and_grad(parameters, batch, out_grad)

    def _tokens(self, batch: BatchLike) -> np.ndarray:
        found = np.asarray(batch.arrays[self.tokens])
        if found.shape[1:] != (self.length,):
            raise InputError(
                f"a row has tokens of shape {found.shape[1:]}, but {self.name} was made for "
                f"({self.length},); give its length"
            )
        return np.ascontiguousarray(found, np.int64)

    def _features(self, layout: Layout) -> int:
        """Return F, figures of a row, of which a layout tells twice as many inputs."""
        if not self.has_figures:
            return 0
        inputs = layout.shapes["figures1.weights" if self.figure_hidden else "layer1.weights"][1]
        return (inputs - (0 if self.figure_hidden else self.width * self.has_tokens)) // 2

    def _own_values(self, features: int) -> int:
        over, behind = self.figure_widths(features), self.joined_widths(features)
        units = 2 * sum(over[1:]) + 2 * sum(behind[1:]) + max(0, 2 * self.threshold_count - 1)
        return over[0] + behind[0] + units + PLACES * self.length * self.has_tokens

    def _scores(
        self,
        parameters: np.ndarray,
        features: np.ndarray,
        tokens: np.ndarray,
        batch: BatchLike | None = None,
    ) -> np.ndarray:
        dtype, rows = dtype_of(self), len(features)
        parameters = np.ascontiguousarray(parameters, dtype)
        inputs = self.inputs(parameters, features)
        count = inputs.shape[1]
        numbers, report = Numbers(*self._model_numbers(count, dtype)), np.zeros(2, np.int64)
        scores = np.empty((rows, self.joined_widths(count)[-1]), dtype)
        own = np.empty(min(rows, SHARE_ROWS) * self._own_values(count), dtype)
        with one_thread():
            for first in range(0, rows, SHARE_ROWS):
                some = slice(first, first + SHARE_ROWS)
                given = inputs[some], tokens[some], own, scores[some], report
                status = kernels.score(numbers, parameters, *given)
                if status != OK and batch is not None:
                    raise self.explain(status, int(batch.rows[first + report[BAD]]), batch)
        if self.threshold_count:
            views = self.layout(features.shape[1:]).views(parameters)
            return cumulative_scores(scores, views["thresholds"])
        return scores

    def _model_numbers(
        self, features: int, dtype: np.dtype, constant: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return reals and integers as `ooc.kernels.embedding` reads them."""
        code = ACTIVATIONS[self.activation].code(dtype)
        over, behind = self.figure_widths(features), self.joined_widths(features)
        # The layers over figures have no loss, and go on.
        figures = [0, 0, 0, 0, 0, 1, len(over) - 1, *over, *[code] * (len(over) - 1)]
        own_reals = [0.0, *[float(self.dropout)] * (len(over) - 1)]
        layers = len(behind) - 1
        joined = [*self.loss_integers(dtype), 0, self.threshold_count, 0, layers, *behind]
        joined += [*[code] * (layers - 1), IDENTITY]
        reals = [constant, *[float(self.dropout)] * (layers - 1), 0.0, *self.label_weights]
        table = (self.vocabulary, self.width) if self.has_tokens else (0, 0)
        count = features if self.has_figures else 0
        own = [*table, self.padding, count, len(figures), len(own_reals)]
        return np.array([*own_reals, *reals]), np.array([*own, *figures, *joined], np.int64)
