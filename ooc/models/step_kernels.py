"""Which kernel takes the steps of some optimizers, and which of them take penalties late."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ooc.kernels.lazy_steps import accumulate_lazily
from ooc.models.contract import Model
from ooc.models.declarations import Kernel, kernel_for_data
from ooc.optim import Method, Optimizer, lazy
from ooc.store.dataset import Dataset
from ooc.store.sparse import SparseSpec

# Sparse rows are wide where they have this many times more columns than a batch has non-zeros.
WIDE = 2


def kernel_for_steps(
    model: Model,
    dataset: Dataset,
    optimizers: Sequence[Optimizer | None],
    batch_size: int,
    parameters: np.ndarray | None = None,
) -> Kernel | None:
    """Return the model's part of the compiled loop for steps by some optimizers.

    Where rows are sparse and so wide that a batch has non-zeros in few columns, and all optimizers
    leave an entry without gradient as it is, steps change the columns of a batch alone; those of
    plain descent row by row.
    """
    kernel, rows = kernel_for_data(model, dataset, parameters), dataset.arrays[dataset.features]
    by_columns = None if kernel is None else kernel.by_columns
    if kernel is None or by_columns is None or not isinstance(rows, SparseSpec):
        return kernel
    leave = bool(optimizers) and all(each is not None and each.leaves_out for each in optimizers)
    if not leave or not are_wide(rows, batch_size):
        return kernel
    most = max(1, min(rows.most_nonzeros(batch_size), rows.shape[1]))
    by_rows = all(each is not None and each.is_linear for each in optimizers)
    found = replace(kernel, accumulate=by_columns, batch_columns=most, by_rows=by_rows)
    if any(each is not None and each.is_lazy for each in optimizers):
        assert by_rows, "penalties are taken late where all steps are those of plain descent"
        return replace(found, accumulate=accumulate_lazily, is_lazy=True)
    return found


def are_wide(rows: SparseSpec, batch_size: int) -> bool:
    """Tell whether a batch of sparse rows has non-zeros in few of their columns."""
    return rows.shape[1] * rows.shape[0] > WIDE * rows.nonzeros * batch_size


def with_lazy_penalties(
    methods: Sequence[Method], model: Model, dataset: Dataset, batch_size: int
) -> tuple[Method, ...]:
    """Return methods that take penalties of wide sparse rows' columns when these are met again.

    They are as they were where rows are dense or not so wide, or one takes other steps than those
    of plain descent. It is decided before a descent is begun: it has vectors of state for it.
    """
    rows, optimizers = dataset.arrays[dataset.features], [each.optimizer for each in methods]
    are_linear = all(
        one is not None and each.full is None and one.is_linear
        and (one.can_be_lazy or one.leaves_out)
        for each, one in zip(methods, optimizers, strict=True)
    )  # fmt: skip
    layout = model.layout(dataset.row_shape)
    if not are_linear or not isinstance(rows, SparseSpec) or not are_wide(rows, batch_size):
        return tuple(methods)
    kernel = kernel_for_data(model, dataset)
    whole = set(layout.shapes) <= {"coefficients", "intercept"}
    if kernel is None or kernel.by_columns is None or not whole or layout.size < lazy.SLOTS:
        return tuple(methods)
    return tuple(
        replace(each, optimizer=replace(one, is_lazy=True, slots=lazy.SLOTS))
        if one is not None and one.can_be_lazy
        else each
        for each, one in zip(methods, optimizers, strict=True)
    )
