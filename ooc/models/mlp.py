"""The multilayer perceptron: dense layers, and a head for numbers, labels or classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.core.errors import InputError
from ooc.core.numbers import check_choice
from ooc.metrics.measured import Labels, Numbers
from ooc.models.classification import Logistic, Softmax
from ooc.models.compiled import as_reals
from ooc.models.contract import check_target_size
from ooc.models.network import DenseNetwork, check_width
from ooc.models.ordinal import ordinal_answers, ordinal_labels
from ooc.models.own_loss import OwnLoss
from ooc.models.regression import check_regression_loss, check_standard_targets
from ooc.models.scored import checked_class_weights

# The loss of each head; that of numbers may be another one.
HEADS = {
    "regression": "squared",
    "binary": "logistic",
    "multiclass": "softmax",
    "ordinal": "ordinal",
}
# Heads of as many labels as they are told.
OF_CLASSES = ("multiclass", "ordinal")


@dataclass(frozen=True)
class MLP(DenseNetwork):
    """Multilayer perceptron (Rumelhart, Hinton and Williams 1986).

    Attributes
    ----------
    head
        "regression": a loss of numbers, summed over outputs; "binary": labels 0 and 1;
        "multiclass": labels 0 to outputs - 1; "ordinal": the same with an order, by proportional
        odds (McCullagh 1980), see `ooc.kernels.thresholds`.
    outputs
        Numbers predicted, 1; or classes of "multiclass" and "ordinal", at least 2.
    loss, loss_constant
        Of the regression head, as `ooc.models.Linear` has them: "squared" by default.
    standardise_target
        Of the regression head, as `ooc.models.Linear` has it.
    class_weights
        Of the other heads, as `ooc.models.Logistic` has them.

    Examples
    --------
    >>> model = MLP(hidden=(256, 128), head="multiclass", outputs=10)
    >>> model.layout((28, 28)).shapes["layer1.weights"]
    (256, 784)
    >>> model.layout((28, 28)).size
    235146
    """

    head: str = "binary"
    outputs: int = 1
    loss: str | OwnLoss | None = None
    loss_constant: float | None = None
    standardise_target: bool | str = "auto"
    class_weights: str | Sequence[float] | None = None

    name: ClassVar[str] = "mlp"
    decided: ClassVar[tuple[str, ...]] = ("standardise", "standardise_target", "class_weights")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("head", HEADS, self.head)
        check_width("count of outputs", self.outputs)
        if self.head == "binary" and self.outputs != 1:
            raise InputError(
                f"the binary head has 1 output, not {self.outputs}; for {self.outputs} classes "
                "choose the multiclass head"
            )
        if self.head in OF_CLASSES and self.outputs < 2:
            raise InputError(
                f"the {self.head} head needs at least 2 classes, not {self.outputs}; give them "
                "as outputs"
            )
        if self.head == "regression":
            if self.class_weights is not None:
                raise InputError("the regression head has no classes; leave class_weights out")
            check_regression_loss(self.name, self.loss or "squared", self.loss_constant)
        elif self.loss is not None or self.loss_constant is not None:
            raise InputError(
                f"the {self.head} head has its own loss; leave loss and loss_constant out, or "
                "choose the regression head"
            )
        check_standard_targets(self)
        weights = checked_class_weights(self.class_weights, self.name, self.class_count)
        object.__setattr__(self, "class_weights", weights)

    @property
    def loss_name(self) -> str | OwnLoss:
        """An entry of `ooc.kernels.losses.LOSSES`, or a loss of the user's own."""
        if self.head == "regression":
            return self.loss or HEADS[self.head]
        return HEADS[self.head]

    @property
    def class_count(self) -> int:
        """Classes of a head that has labels."""
        return {"regression": 0, "binary": 2}.get(self.head, self.outputs)

    @property
    def target_width(self) -> int:
        """One label, or as many numbers as outputs."""
        return self.outputs if self.head == "regression" else 1

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Refuse targets that do not fit the head."""
        check_target_size(f"{self.name} with the {self.head} head", shape, self.target_width)

    @property
    def threshold_count(self) -> int:
        """Thresholds between ordered labels, K - 1; 0 where labels have no order."""
        return self.outputs - 1 if self.head == "ordinal" else 0

    def units(self, features: int) -> tuple[int, ...]:
        """Return the hidden units and the outputs: of ordered labels, one for all."""
        return (*self.hidden, 1 if self.head == "ordinal" else self.outputs)

    def scores_in_unit(self, parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return what answers are made of: of ordered labels, (rows, K - 1) logits of P(y <= k)."""
        scores = super().scores_in_unit(parameters, features)
        return scores[:, : self.threshold_count] if self.threshold_count else scores

    def compare(
        self, scores: np.ndarray, target: np.ndarray | None, weights: np.ndarray
    ) -> Labels | Numbers | None:
        """Return true labels beside the likeliest ones, or numbers where there are no labels."""
        if self.head == "ordinal":
            return ordinal_labels(scores[:, : self.threshold_count], as_reals(target), weights)
        return super().compare(scores, target, weights)

    def answers(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Return the predicted numbers, or the likeliest label and probabilities.

        Of ordered labels there is the median, too: the label with the least absolute error.
        """
        if self.head == "ordinal":
            return ordinal_answers(scores[:, : self.threshold_count])
        if self.head == "binary":
            return Logistic().answers(scores)
        if self.head == "multiclass":
            return Softmax(classes=self.outputs).answers(scores)
        return super().answers(scores)
