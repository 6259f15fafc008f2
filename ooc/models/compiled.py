"""What models with a kernel share: the gradient of a batch, and their settings."""

from abc import ABC, abstractmethod
from dataclasses import MISSING, fields
from typing import Any, ClassVar

import numpy as np

from ooc.core.errors import DataError, DivergedError, InputError
from ooc.kernels.counters import BAD_INTEGER, LOSS_SUM, OK
from ooc.kernels.share import TOUCHED
from ooc.models.bad_rows import explain, explain_integers
from ooc.models.contract import BatchLike, Layout, Model
from ooc.models.declarations import Kernel, dtype_of, kernel_of, needs_of
from ooc.models.loop import Rows, WindowLoop
from ooc.models.own_loss import OwnLoss
from ooc.models.scratch import columns_of, loop_bytes
from ooc.models.train_state import at_rest
from ooc.store.sparse_rows import dense_row, is_matrix, rows_of
from ooc.store.stores import told_row

BALANCED = "balanced"


class CompiledModel(ABC):
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

    @abstractmethod
    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return the parts of the vector."""

    @abstractmethod
    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return the model's part of the window loop."""

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
        layout, rows = self.layout(batch.features.shape[1:]), _as_rows(batch.features)
        kernel = kernel_of(self, layout, parameters, rows)  # type: ignore[arg-type]
        assert kernel is not None, "its kernel is what it is trained by"
        status, row, loss = batch_gradient(self, kernel, parameters, batch, out_grad)  # type: ignore[arg-type]
        if status != OK:
            raise self.explain(status, row, batch)
        return loss / len(batch.rows)

    def explain(self, status: int, row: int, batch: BatchLike) -> DataError | DivergedError:
        """Say why a row of a batch cannot be used."""
        place = int(np.argmax(batch.rows == row))
        target = None if batch.target is None else batch.target[place]
        weight = None if batch.weight is None else float(batch.weight[place])
        found = dense_row(batch.features, place), target, weight
        told = told_row(batch, row)
        if status == BAD_INTEGER:
            names = needs_of(self).integers or batch.roles[:1]  # type: ignore[arg-type]
            values = np.concatenate([np.ravel(batch.arrays[name][place]) for name in names])
            return explain_integers(self, told, values)  # type: ignore[arg-type]
        return explain(self, status, told, *found, roles=batch.roles, holder=batch)  # type: ignore[arg-type]

    def to_config(self) -> dict[str, Any]:
        """Return name and settings, JSON-ready; a loss of the user's own by its name alone."""
        settings: dict[str, Any] = {"name": self.name}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value == field.metadata.get("unless", MISSING):
                continue
            if isinstance(value, OwnLoss):
                value = value.label
            settings[field.name] = list(value) if isinstance(value, tuple) else value
        return settings


def as_reals(values: np.ndarray | None, dtype: Any = np.float32) -> np.ndarray:
    """Return numbers of a role, flat; none at all for an absent role."""
    if values is None:
        return np.empty(0, dtype)
    return np.ascontiguousarray(values, dtype).reshape(-1)


def batch_gradient(
    model: Model, kernel: Kernel, parameters: np.ndarray, batch: BatchLike, out_grad: np.ndarray
) -> tuple[int, int, float]:
    """Fill a batch's mean gradient, (P,) float64.

    Returns
    -------
    status, row, loss
        `OK` and the loss summed over the rows, or the row of the dataset that cannot be used.
    """
    layout, count = model.layout(batch.features.shape[1:]), len(batch.rows)
    given = {name: _as_rows(values) for name, values in batch.arrays.items()}
    columns = columns_of(model, given, batch.roles)
    state = at_rest(model, np.asarray(parameters, dtype_of(model)))
    loop = WindowLoop(model, layout, kernel, columns, state, count)
    loop.begin(batch.step, seed=batch.seed)
    arrays = {column.name: given[column.name] for column in columns}
    rows = Rows(arrays, np.arange(count, dtype=np.int32), np.zeros(1, np.int64), count)
    status = loop.run(rows, flush=True, place=0)
    if status == OK:
        _spread(layout, loop, out_grad)
    row = int(batch.rows[loop.bad_row]) if status != OK and loop.bad_row >= 0 else -1
    return status, row, float(state.totals[0, LOSS_SUM])


def _as_rows(values: Any) -> Any:
    """Return the rows of an array as the loop takes them."""
    return rows_of(values) if is_matrix(values) else np.ascontiguousarray(values)


def _spread(layout: Layout, loop: WindowLoop, out: np.ndarray) -> None:
    """Write the gradient to the whole vector, touched rows to their places."""
    start, rows, width = layout.touched_place
    out[:start] = loop.gradient[:start]
    if width == 0:
        return
    table = out[start:].reshape(rows, width)
    table[:] = 0.0
    # Gradients lie in the order in which shares named the rows, each once.
    names, reports = loop.scratch["touched"][0], loop.scratch["reports"][0]
    lists = [names[slot, : reports[slot, TOUCHED]] for slot in range(loop.sizes.slots)]
    touched = list(dict.fromkeys(np.concatenate(lists).tolist()))
    values = loop.gradient[start:].reshape(-1, width)
    table[touched] = values[: len(touched)]
