"""What models with a kernel share: a batch's gradient, its loss beside scores, its settings."""

import math
from dataclasses import fields, replace
from typing import Any, ClassVar

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.core.errors import DataError, DivergedError, InputError
from ooc.kernels.counters import OK
from ooc.kernels.losses import LOSSES, Loss, loss_constant
from ooc.kernels.share import PointLoss, call_loss
from ooc.metrics.measured import Labels, Measured, Numbers, measured
from ooc.models.bad_rows import explain
from ooc.models.batch_gradient import batch_gradient
from ooc.models.contract import BatchLike, Layout, Statistics
from ooc.models.declarations import Kernel, Prepared, dtype_of
from ooc.models.own_loss import OwnLoss
from ooc.models.scratch import loop_bytes
from ooc.models.standardise import AUTO, is_needed, measured_parts

BALANCED = "balanced"


class CompiledModel:
    """A model whose gradient is its kernel's; it names the kernel, and what goes into it.

    Attributes
    ----------
    name
        Its entry in `ooc.models.MODELS`.
    decided
        Settings that may be left to the data.
    """

    name: ClassVar[str]
    needs_target: bool = True
    decided: ClassVar[tuple[str, ...]] = ()

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return the parts of the vector."""
        raise NotImplementedError

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return the model's part of the window loop."""
        raise NotImplementedError

    def scratch_bytes(self, layout: Layout, rows: int) -> int:
        """Return what a gradient of a batch of so many rows takes."""
        kernel = self.kernel(layout, np.zeros(layout.size, dtype_of(self)))  # type: ignore[arg-type]
        return loop_bytes(self, layout, kernel, (), rows)  # type: ignore[arg-type]

    def loss_and_grad(
        self, parameters: np.ndarray, batch: BatchLike, out_grad: np.ndarray
    ) -> float:
        """Return the mean weighted loss of a batch; fill `out_grad` (float64) with its gradient.

        Both are divided by the batch's rows, not by its weights, so that importance weights leave
        them unbiased.

        Raises
        ------
        DataError, DivergedError
            If a target is not valid or a value is not finite; its row is named.
        """
        if getattr(self, "class_weights", None) == BALANCED:
            raise InputError("classes have not been counted yet; give the model to a trainer")
        layout = self.layout(batch.features.shape[1:])
        kernel = self.kernel(layout, parameters)
        status, row, loss = batch_gradient(self, kernel, parameters, batch, out_grad)  # type: ignore[arg-type]
        if status != OK:
            raise self.explain(status, row, batch)
        return loss / len(batch.rows)

    def explain(self, status: int, row: int, batch: BatchLike) -> DataError | DivergedError:
        """Say why a row of a batch cannot be used."""
        places = np.flatnonzero(batch.rows == row)
        place = int(places[0]) if len(places) else 0
        target = None if batch.target is None else batch.target[place]
        weight = None if batch.weight is None else float(batch.weight[place])
        return explain(self, status, row, batch.features[place], target, weight)  # type: ignore[arg-type]

    def to_config(self) -> dict[str, Any]:
        """Return name and settings, JSON-ready; a loss of the user's own by its name alone."""
        settings = {
            field.name: getattr(self, field.name)
            for field in fields(self)  # type: ignore[arg-type]
        }
        for name, value in settings.items():
            if isinstance(value, OwnLoss):
                settings[name] = value.label
            elif isinstance(value, tuple):
                settings[name] = list(value)
        return {"name": self.name, **settings}


def loss_of(name: "str | OwnLoss") -> Loss:
    """Return a loss of the table, or the user's own."""
    return name.loss if isinstance(name, OwnLoss) else LOSSES[name]


def constant_of(name: "str | OwnLoss", constant: float | None) -> float:
    """Return the loss's own constant; 0 where it has none."""
    return 0.0 if isinstance(name, OwnLoss) else loss_constant(name, constant)


def numbers_of(loss: Loss, dtype: Any) -> list[int]:
    """Return the first integers of a kernel: address over rows, of the pair, rule for targets."""
    return [loss.rows_address(dtype), loss.pair_address(), loss.rule]


@exact_kernel
def _loss_over(
    address: int,
    scores: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    loss: PointLoss,
    total: np.ndarray,
    report: np.ndarray,
) -> int:
    return call_loss(address, (scores, targets, weights, loss, total, report))


def measured_loss(
    model: Any,
    loss: Loss,
    constant: float,
    scores: np.ndarray,
    targets: np.ndarray,
    batch: BatchLike,
    answers: Labels | Numbers | None,
) -> Measured:
    """Add up weighted losses and right answers of scores (rows, K), which are used up."""
    weights = as_reals(batch.weight, scores.dtype)
    point = PointLoss(loss.pair_address(), loss.rule, constant, np.empty(0))
    total, report = np.zeros(1), np.zeros(2, np.int64)
    address = loss.rows_address(scores.dtype)
    status = _loss_over(address, scores, targets, weights, point, total, report)
    if status != OK:
        raise model.explain(status, int(batch.rows[report[0]]), batch)
    return measured(float(total[0]), len(scores), weights, answers)


def as_reals(values: np.ndarray | None, dtype: Any = np.float32) -> np.ndarray:
    """Return numbers of a role, flat; none at all for an absent role."""
    if values is None:
        return np.empty(0, dtype)
    return np.ascontiguousarray(values, dtype).reshape(-1)


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
        raise InputError(
            f'class_weights are one number for each class, or "{BALANCED}", not {given!r}'
        )
    weights = tuple(float(weight) for weight in given)
    if len(weights) != classes or not all(0 <= weight < float("inf") for weight in weights):
        raise InputError(
            f"{name} takes {classes} finite class weights of 0 or more, not {list(weights)}"
        )
    return weights


def label_weights_of(model: Any) -> tuple[float, ...]:
    """Return the weights of a model's classes; empty for ones.

    NaN where classes have not been counted yet: a kernel's sizes can be told before they are, but
    nothing can be learned with it.
    """
    given = getattr(model, "class_weights", None)
    return (math.nan,) * model.class_count if given == BALANCED else tuple(given or ())


def settled(model: Any, statistics: Statistics) -> Prepared:
    """Settle what is left to the data: standardising, and balanced weights of classes."""
    changes: dict[str, Any] = {}
    if getattr(model, "class_weights", None) == BALANCED:
        counts = statistics.class_counts(model.class_count, model.name, model.targets)
        weights = counts.sum() / (len(counts) * counts.astype(np.float64))
        changes["class_weights"] = tuple(weights.tolist())
    if model.standardise == AUTO:
        changes["standardise"] = is_needed(
            statistics, model.scale, getattr(model, "intercept", True)
        )
    if changes:
        model = replace(model, **changes)
    return Prepared(model, measured_parts(statistics) if model.standardise is True else {})
