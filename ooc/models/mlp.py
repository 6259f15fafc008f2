"""The multilayer perceptron: dense layers, and a head for numbers, labels or classes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.core.errors import InputError
from ooc.kernels.linear import SOFTMAX
from ooc.kernels.losses import LOSSES
from ooc.metrics.measured import Labels, Numbers, label_answers, number_answers
from ooc.models.classification import Logistic, Softmax
from ooc.models.contract import check_target_size
from ooc.models.linear import as_float32
from ooc.models.network import DenseNetwork, check_width

HEADS = ("regression", "binary", "multiclass")


@dataclass(frozen=True)
class MLP(DenseNetwork):
    """Multilayer perceptron (Rumelhart, Hinton and Williams 1986).

    Attributes
    ----------
    head
        "regression": half the squared error, summed over outputs; "binary": labels 0 and 1;
        "multiclass": labels 0 to outputs - 1.
    outputs
        Numbers predicted, 1; or classes of "multiclass", at least 2.

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
    name: ClassVar[str] = "mlp"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head not in HEADS:
            raise InputError(f"no head is called {self.head!r}; choose one of: {', '.join(HEADS)}")
        check_width("count of outputs", self.outputs)
        if self.head == "binary" and self.outputs != 1:
            raise InputError(
                f"the binary head has 1 output, not {self.outputs}; for {self.outputs} classes "
                "choose the multiclass head"
            )
        if self.head == "multiclass" and self.outputs < 2:
            raise InputError(
                f"the multiclass head needs at least 2 classes, not {self.outputs}; give them "
                "as outputs"
            )

    @property
    def loss_code(self) -> int:
        """Code of the head's loss."""
        if self.head == "multiclass":
            return SOFTMAX
        return LOSSES["logistic" if self.head == "binary" else "squared"].code

    @property
    def targets(self) -> str:
        """What targets it takes."""
        if self.head == "multiclass":
            return f"whole labels from 0 to {self.outputs - 1}"
        return LOSSES["logistic" if self.head == "binary" else "squared"].targets

    @property
    def target_width(self) -> int:
        """One label, or as many numbers as outputs."""
        return self.outputs if self.head == "regression" else 1

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Refuse targets that do not fit the head."""
        check_target_size(f"{self.name} with the {self.head} head", shape, self.target_width)

    def units(self, features: int) -> tuple[int, ...]:
        """Return the hidden units and the outputs."""
        return (*self.hidden, self.outputs)

    def answers(self, scores: np.ndarray, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the predicted numbers, or the likeliest label and probabilities."""
        if self.head == "binary":
            return Logistic().answers(scores)
        if self.head == "multiclass":
            return Softmax(classes=self.outputs).answers(scores)
        return {"prediction": scores[:, 0] if self.outputs == 1 else scores}

    def compare(
        self, scores: np.ndarray, target: np.ndarray | None, weights: np.ndarray
    ) -> Labels | Numbers:
        """Return numbers for the regression head, labels for the others."""
        if self.head == "regression":
            return number_answers(scores, target, weights)
        return label_answers(scores, as_float32(target), weights)
