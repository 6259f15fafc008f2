"""Linear regression, with any loss of a prediction and a target."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ooc.core.errors import InputError
from ooc.kernels.losses import LOSSES, loss_constant
from ooc.metrics.measured import Numbers, number_answers
from ooc.models.linear import LinearFamily
from ooc.models.own_loss import OwnLoss


@dataclass(frozen=True)
class Linear(LinearFamily):
    """Linear regression: half the squared error, or another loss.

    Attributes
    ----------
    loss
        "squared", "huber", "quantile", "epsilon_insensitive", "poisson" (scores are logarithms of
        rates), or what `ooc.own_loss` returned.
    loss_constant
        The loss's own constant: where "huber" turns linear, which "quantile", how wide
        "epsilon_insensitive" is.

    Examples
    --------
    >>> Linear().layout((28, 28)).shapes
    {'coefficients': (1, 784), 'intercept': (1,)}
    >>> Linear(loss="quantile").constant
    0.5
    """

    loss: str | OwnLoss = "squared"
    loss_constant: float | None = None

    name: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        if isinstance(self.loss, OwnLoss):
            if self.loss_constant is not None:
                raise InputError("a loss of your own has no constant; leave loss_constant out")
            return
        fitting = [name for name, loss in LOSSES.items() if not loss.labels]
        if self.loss not in fitting:
            raise InputError(
                f"linear has no loss {self.loss!r}; choose one of: {', '.join(fitting)}, or a "
                "classifier such as logistic or svm"
            )
        loss_constant(self.loss, self.loss_constant)

    @property
    def loss_name(self) -> str | OwnLoss:
        """The loss that was chosen."""
        return self.loss

    @property
    def constant(self) -> float:
        """The loss's own constant; 0 where it has none."""
        if isinstance(self.loss, OwnLoss):
            return 0.0
        return loss_constant(self.loss, self.loss_constant)

    def answers(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Return the scores as predictions; rates for "poisson"."""
        return {"prediction": np.exp(scores[:, 0]) if self.loss == "poisson" else scores[:, 0]}

    def to_config(self) -> dict[str, Any]:
        """Return name and settings, JSON-ready; a loss of the user's own by its name alone."""
        named = self.loss.label if isinstance(self.loss, OwnLoss) else self.loss
        return {**super().to_config(), "loss": named}

    def compare(
        self, scores: np.ndarray, target: np.ndarray | None, weights: np.ndarray
    ) -> Numbers:
        """Return targets, in float64, beside their predictions."""
        predictions = self.answers(scores)["prediction"]
        return number_answers(predictions.reshape(-1, 1), target, weights)
