"""Linear regression, with any loss of a prediction and a target."""

from dataclasses import dataclass
from typing import ClassVar

from ooc.core.errors import InputError
from ooc.kernels.losses import LABELS, LOSSES, loss_constant
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
        check_regression_loss(self.name, self.loss, self.loss_constant)

    @property
    def loss_name(self) -> str | OwnLoss:
        """The loss that was chosen."""
        return self.loss


def check_regression_loss(name: str, loss: str | OwnLoss, constant: float | None) -> None:
    """Refuse a loss that is none of numbers, or a constant that it does not have.

    Raises
    ------
    InputError
        With the losses to choose from.
    """
    if isinstance(loss, OwnLoss):
        if constant is not None:
            raise InputError("a loss of your own has no constant; leave loss_constant out")
        return
    fitting = [one for one, entry in LOSSES.items() if entry.rule != LABELS and entry.pair]
    if loss not in fitting:
        raise InputError(
            f"{name} has no loss {loss!r}; choose one of: {', '.join(fitting)}, or a "
            "classifier such as logistic or svm"
        )
    loss_constant(loss, constant)
