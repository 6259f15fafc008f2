"""Linear regression, with any loss of a prediction and a target."""

from dataclasses import dataclass
from typing import ClassVar

from ooc.core.errors import InputError
from ooc.kernels.losses import LABELS, LOSSES, loss_constant
from ooc.models.linear import LinearFamily
from ooc.models.own_loss import OwnLoss
from ooc.models.scored import ScoredModel


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
    standardise_target
        Whether targets get mean 0 and deviation 1 in training; predictions, losses and constants
        stay in the targets' own unit, penalties act on what is trained. "auto": if the first
        window says that they lie far from 0 or spread unlike 1, and the loss is one that stays
        the same when predictions and targets are shifted.

    Examples
    --------
    >>> Linear().layout((28, 28)).shapes
    {'coefficients': (1, 784), 'intercept': (1,)}
    >>> Linear(loss="quantile").constant
    0.5
    """

    loss: str | OwnLoss = "squared"
    loss_constant: float | None = None
    standardise_target: bool | str = "auto"

    name: ClassVar[str] = "linear"
    decided: ClassVar[tuple[str, ...]] = ("standardise", "standardise_target")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_regression_loss(self.name, self.loss, self.loss_constant)
        check_standard_targets(self)


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


def check_standard_targets(model: ScoredModel) -> None:
    """Refuse to standardise targets of a loss whose meaning that would change.

    Raises
    ------
    InputError
        With the losses that can.
    """
    if model.has_standard_targets and model.chosen_loss.degree == 0:
        able = ", ".join(name for name, loss in LOSSES.items() if loss.degree > 0)
        raise InputError(
            f"{model.name} cannot standardise targets of this loss; leave standardise_target out, "
            f"or choose a loss of numbers: {able}"
        )
