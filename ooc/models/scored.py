"""What models share that give a row scores, and have a loss of scores and target."""

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import field, replace
from typing import Any, ClassVar

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.core.errors import InputError
from ooc.kernels.counters import OK
from ooc.kernels.losses import LOSSES, Loss, loss_constant
from ooc.kernels.share import PointLoss, call_loss
from ooc.metrics.measured import Labels, Measured, Numbers, label_answers, measured, number_answers
from ooc.models import standardise as standards
from ooc.models.compiled import BALANCED, CompiledModel, as_reals
from ooc.models.contract import BatchLike, Layout, Statistics, check_target_size
from ooc.models.declarations import Prepared, dtype_of
from ooc.models.own_loss import OwnLoss

# What makes answers of scores: a number as it is, the exponential of one, a label with the
# probability of label 1, one with the probabilities of all, one of labels that have an order, one
# with its margin; and what an autoencoder makes of its inputs.
IDENTITY, EXPONENTIAL, LOGISTIC, SOFTMAX, ORDINAL, MARGIN, RECONSTRUCTION = (
    "identity", "exponential", "logistic", "softmax", "ordinal", "margin", "reconstruction",
)  # fmt: skip
LINKS = {
    "poisson": EXPONENTIAL,
    "logistic": LOGISTIC,
    "softmax": SOFTMAX,
    "ordinal": ORDINAL,
    "hinge": MARGIN,
    "squared_hinge": MARGIN,
}
DTYPES = ("float32", "float64")


def dtype_field() -> Any:
    """Return a model's field: what it is by default is not noted, as in runs that lack it."""
    return field(default="float32", metadata={"unless": "float32"})


class ScoredModel(CompiledModel):
    """Scores (rows, K) of rows whose features may be scaled and standardised.

    Fields that a model may have beside `scale` and `standardise` are `standardise_target`, `loss`,
    `loss_constant`, `class_weights` and `intercept`.

    Attributes
    ----------
    scale
        Factor that multiplies every feature; 1/255 brings bytes to 0..1. Never chosen silently.
    standardise
        Whether each feature's mean is subtracted and the result divided by its standard
        deviation. Both lie in the parameter vector; training finds them in one pass. "auto": if
        the first window says that features differ in scale; until then they are taken as they are.
    dtype
        Of the parameters, and of what is computed with them: "float32", or "float64" where a
        full-gradient method is to go deep.
    """

    scale: float
    standardise: bool | str
    dtype: str
    decided: ClassVar[tuple[str, ...]] = ("standardise",)
    # Whether a NaN of the features is a missing value that the model makes something of.
    takes_missing: ClassVar[bool] = False

    @property
    def loss_name(self) -> str | OwnLoss:
        """An entry of `ooc.kernels.losses.LOSSES`, or a loss of the user's own."""
        chosen: str | OwnLoss = getattr(self, "loss", self.name)
        return chosen

    @property
    def chosen_loss(self) -> Loss:
        """The loss itself."""
        name = self.loss_name
        return name.loss if isinstance(name, OwnLoss) else LOSSES[name]

    @property
    def constant(self) -> float:
        """The loss's own constant; 0 where it has none."""
        name = self.loss_name
        if isinstance(name, OwnLoss):
            return 0.0
        return loss_constant(name, getattr(self, "loss_constant", None))

    @property
    def targets(self) -> str:
        """What targets it takes, in words."""
        if self.link in (SOFTMAX, ORDINAL):
            return f"whole labels from 0 to {self.class_count - 1}"
        return self.chosen_loss.targets

    @property
    def target_width(self) -> int:
        """T, target values of a row."""
        return 1

    @property
    def class_count(self) -> int:
        """C, the number of classes; 0 where targets are numbers."""
        return 0

    @property
    def has_standard_targets(self) -> bool:
        """Whether targets get mean 0 and deviation 1: training is in that unit, answers are not."""
        return getattr(self, "standardise_target", False) is True

    @property
    def link(self) -> str:
        """What makes answers of scores in the targets' unit, see `LINKS`."""
        name = self.loss_name
        return LINKS.get(name, IDENTITY) if isinstance(name, str) else IDENTITY

    @property
    def label_weights(self) -> tuple[float, ...]:
        """What losses of each label are multiplied with in training; empty for ones.

        NaN where classes have not been counted yet: a kernel's sizes can be told before they are,
        but nothing can be learned with it.
        """
        given = getattr(self, "class_weights", None)
        return (math.nan,) * self.class_count if given == BALANCED else tuple(given or ())

    def constant_within(self, layout: Layout, parameters: np.ndarray) -> float:
        """Return the loss's own constant in the unit in which a model is trained."""
        factor = standards.target_standardisation(layout, parameters).factor[0]
        return self.constant * float(factor if self.chosen_loss.scales_constant else 1.0)

    def loss_unit(self, layout: Layout, parameters: np.ndarray) -> float:
        """Return what a loss of training is multiplied with to be that of targets as they are."""
        factor = standards.target_standardisation(layout, parameters).factor[0]
        return float(factor**-self.chosen_loss.degree)

    def loss_integers(self, dtype: Any) -> list[int]:
        """Return the first integers of a kernel: address over rows, of the pair, rule."""
        loss = self.chosen_loss
        return [loss.rows_address(dtype), loss.pair_address(), loss.rule]

    def layout_with(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        features: int,
        unpenalised: set[str],
        fixed: Collection[str] = (),
    ) -> Layout:
        """Return a layout of parts, and of what standardising F features, and targets, takes."""
        found = standards.standard_parts(features) if self.standardise is True else {}
        found |= standards.target_parts(self.target_width) if self.has_standard_targets else {}
        parts = {**shapes, **found}
        return Layout(parts, frozenset({*unpenalised, *found}), frozenset({*fixed, *found}))

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return zeros, and deviations of 1."""
        parameters = np.zeros(layout.size, dtype_of(self))
        for name in {standards.FEATURES[-1], standards.TARGETS[-1]} & layout.shapes.keys():
            layout.views(parameters)[name][:] = 1.0
        return parameters

    def prepare(self, statistics: Statistics) -> Prepared:
        """Settle what is left to the data: standardising, and balanced weights of classes."""
        statistics = statistics.without_missing() if self.takes_missing else statistics
        changes: dict[str, Any] = {}
        is_sparse = getattr(statistics, "is_sparse", False)
        intercept = getattr(self, "intercept", True)
        if getattr(self, "class_weights", None) == BALANCED:
            counts = statistics.class_counts(self.class_count, self.name, self.targets)
            weights = counts.sum() / (len(counts) * counts.astype(np.float64))
            changes["class_weights"] = tuple(weights.tolist())
        if self.standardise == standards.AUTO:
            needed = not is_sparse and standards.is_needed(statistics, self.scale, intercept)
            changes["standardise"] = needed
        if getattr(self, "standardise_target", False) == standards.AUTO:
            can = self.chosen_loss.degree > 0
            changes["standardise_target"] = can and standards.is_target_far(statistics, intercept)
        model: Any = replace(self, **changes) if changes else self  # type: ignore[type-var]
        parts = standards.measured_parts(statistics) if model.standardise is True else {}
        if model.has_standard_targets:
            parts |= standards.measured_target_parts(statistics, intercept)
        return Prepared(model, parts)

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Refuse targets of another count of numbers a row."""
        check_target_size(self.name, shape, self.target_width)

    def inputs(self, parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return rows as they come to the model, (rows, F)."""
        layout = self.layout(features.shape[1:])
        standard = standards.standardisation(layout, parameters, self.scale)
        return standards.inputs_of(features, standard, dtype_of(self))

    @abstractmethod
    def scores(self, parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return the scores of rows, (rows, K), in the unit in which the model is trained."""

    def scores_of(self, parameters: np.ndarray, batch: BatchLike) -> np.ndarray:
        """Return the scores of a batch; of more than its features where a model says so."""
        return self.scores(parameters, batch.features)

    def in_unit(self, layout: Layout, parameters: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Return scores in the targets' unit: float64 where targets were standardised."""
        if not self.has_standard_targets:
            return scores
        standard = standards.target_standardisation(layout, parameters)
        return scores / standard.factor + standard.shift

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the sums of weighted loss and of right labels over a batch, and its answers.

        The loss is that of the data, without penalty and dropout.

        Raises
        ------
        InputError
            If the model needs targets and the batch has none.
        """
        target = batch.target if self.needs_target else None
        if self.needs_target and target is None:
            raise InputError("the batch has no targets to compare predictions with; name them")
        layout = self.layout(batch.arrays[batch.roles[0]].shape[1:])
        scores, weights = self.scores_of(parameters, batch), as_reals(batch.weight)
        answers = self.compare(self.in_unit(layout, parameters, scores), batch.target, weights)
        standard = standards.target_standardisation(layout, parameters)
        targets = (
            self.inputs(parameters, batch.features)
            if target is None
            else standards.inputs_of(target, standard, scores.dtype)
        )
        address, pair, rule = self.loss_integers(scores.dtype)
        point = PointLoss(pair, rule, self.constant_within(layout, parameters), np.empty(0))
        weights = as_reals(batch.weight, scores.dtype)
        total, report = np.zeros(1), np.zeros(2, np.int64)
        # The scores are used up.
        status = _loss_over(address, (scores, targets, weights, point, total, report))
        if status != OK:
            raise self.explain(status, int(batch.rows[report[0]]), batch)
        loss = float(total[0]) * self.loss_unit(layout, parameters)
        return measured(loss, len(scores), weights, answers)

    def compare(
        self, scores: np.ndarray, target: np.ndarray | None, weights: np.ndarray
    ) -> Labels | Numbers | None:
        """Return true labels beside the likeliest ones, or numbers where there are no labels."""
        if self.class_count:
            return label_answers(scores, as_reals(target), weights, self.link != MARGIN)
        return number_answers(self.numbers(scores), target, weights)

    def numbers(self, scores: np.ndarray) -> np.ndarray:
        """Return the numbers that scores predict: rates for "poisson", else themselves."""
        return np.exp(scores) if self.loss_name == "poisson" else scores

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return "prediction", and what else `answers` names, one entry a row."""
        return self.answers(self.scores_in_unit(parameters, features))

    def scores_in_unit(self, parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return what answers are made of, (rows, K): log-odds, margins, numbers."""
        scores = self.scores(parameters, features)
        return self.in_unit(self.layout(features.shape[1:]), parameters, scores)

    def answers(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Turn scores into named predictions: numbers, where a model does not say otherwise."""
        numbers = self.numbers(scores)
        return {"prediction": numbers[:, 0] if numbers.shape[1] == 1 else numbers}


@exact_kernel
def _loss_over(address: int, given: tuple[Any, ...]) -> int:
    return call_loss(address, given)


def checked_class_weights(given: Any, name: str, classes: int) -> Any:
    """Return the weights of classes as they are kept: None, "balanced", or a tuple of numbers.

    Raises
    ------
    InputError
        If they are not one finite number of 0 or more for each class.
    """
    if given is None or given == BALANCED:
        return given
    if isinstance(given, str):
        wanted = f'one number for each class, or "{BALANCED}"'
        raise InputError(f"class_weights are {wanted}, not {given!r}")
    weights = tuple(float(weight) for weight in given)
    if len(weights) != classes or not all(0 <= weight < float("inf") for weight in weights):
        raise InputError(
            f"{name} takes {classes} finite class weights of 0 or more, not {list(weights)}"
        )
    return weights
