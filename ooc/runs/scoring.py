"""How rows are read to be scored: in order, a few at a time, beside whatever else is in memory."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ooc import metrics
from ooc.core.compile_child import Compilation
from ooc.core.errors import DataError, DivergedError, InputError
from ooc.engines.engine import scoring_bytes
from ooc.models.contract import Layout, Model
from ooc.models.declarations import arrays_of, dtype_of, kernel_for_data, predictions_of
from ooc.store.chunks import reading_kernels
from ooc.store.dataset import Dataset
from ooc.store.feature_names import feature_names_of
from ooc.store.sparse_rows import SparseRows, zero_rows
from ooc.store.transforms import transform_kernels
from ooc.stream.batch import Batch
from ooc.stream.block_sizes import batch_bytes
from ooc.stream.loader import Loader
from ooc.stream.plan import Demand

# Rows that are scored at a time: the bytes of their features and outputs, so that neither wide
# rows nor many classes break the budget; and how many copies of them are alive at once, where a
# model scores them where they lie (what waits for the next window, and both together), and where
# it does not.
SCORED_BYTES = 2 * 2**20
COPIES_IN_PLACE, SCORED_COPIES = 3, 8


def check_scorable(model: Model, dataset: Dataset, row_shape: tuple[int, ...]) -> None:
    """Refuse a dataset whose rows do not fit a model."""
    if dataset.row_shape != row_shape:
        raise InputError(
            f"the model was trained on rows of shape {row_shape}, but {dataset.features} "
            f"of {dataset.path} has rows of shape {dataset.row_shape}"
        )
    # A kernel, and the compiler with it, is loaded after what the process holds was measured.
    if dataset.arrays[dataset.features].is_sparse:
        kernel_for_data(model, dataset)  # which refuses rows that the model does not take


def check_feature_order(names: Sequence[str], dataset: Dataset) -> None:
    """Refuse a dataset whose features are those that a model was trained on in another order.

    `names` are those of the model's features, where they have any.
    """
    here = feature_names_of(dataset) if names and dataset.row_shape == (len(names),) else ()
    if here != tuple(names) and sorted(here) == sorted(names):
        place = next(
            at for at, (was, now) in enumerate(zip(names, here, strict=True)) if was != now
        )
        raise InputError(
            f"the model was trained on feature {names[place]} at place {place}, where "
            f"{dataset.features} of {dataset.path} has {here[place]}; open the same features in "
            "the order of the run"
        )


def check_targets(model: Model, dataset: Dataset) -> None:
    """Refuse a dataset that lacks the targets that a model is compared with."""
    if not model.needs_target:
        return
    if dataset.target is None:
        raise InputError(f"{dataset.no_targets}; name those to compare with by target=")
    model.check_target(dataset.arrays[dataset.target].shape[1:])


def outputs_of_zeros(model: Model, layout: Layout, dataset: Dataset) -> dict[str, np.ndarray]:
    """Return what a model predicts for one row of zeros: names, types and sizes of its outputs."""
    batch = _zeros(model, dataset, 1, with_target=False)
    return predictions_of(model, np.zeros(layout.size, dtype_of(model)), batch)


def _zeros(model: Model, dataset: Dataset, rows: int, with_target: bool) -> Batch:
    specs = dataset.specs(arrays_of(model, dataset, with_target=with_target))
    arrays = {spec.name: zero_rows(rows, spec) for spec in specs}
    return Batch(arrays=arrays, roles=dataset.roles, rows=np.arange(rows), step=0, seed=0)


def scoring_loader(
    model: Model,
    layout: Layout,
    dataset: Dataset,
    memory: str | int,
    with_target: bool,
    held: int,
    **options: Any,
) -> Loader:
    """Return a loader of a dataset's rows in order, in batches that are scored at once.

    `held` is what the process held before, see `ooc.stream.plan.held_bytes`.
    """
    rows, names, demand = scoring_demand(model, layout, dataset, with_target, held)
    options |= {"memory": memory, "shuffle": "none"}
    return Loader(dataset, rows, arrays=names, demand=demand, **options)


def scoring_demand(
    model: Model, layout: Layout, dataset: Dataset, with_target: bool, held: int
) -> tuple[int, tuple[str, ...], Demand]:
    """Return the rows that are scored at once, their arrays, and what that needs."""
    names = arrays_of(model, dataset, with_target)
    row_bytes = batch_bytes(dataset.specs(names), 1)
    outputs = outputs_of_zeros(model, layout, dataset).values()
    output_bytes = sum(values.nbytes for values in outputs)
    rows = max(1, min(dataset.rows, SCORED_BYTES // (row_bytes + output_bytes)))
    is_sparse = dataset.arrays[dataset.features].is_sparse
    scoring = scoring_bytes(model, layout, is_sparse) + SCORED_COPIES * rows * output_bytes
    if with_target:
        scoring += metrics.most_bytes(sum(values.size for values in outputs))
    copies = COPIES_IN_PLACE if hasattr(model, "scoring_scratch_bytes") else SCORED_COPIES
    return rows, names, Demand(8 * layout.size + scoring, copies, held_bytes=held)


def scoring_kernels(model: Model, dataset: Dataset, with_target: bool = True) -> list[Compilation]:
    """Return the compilations that scoring needs, or predicting alone: a rehearsal on zeros."""
    batch = _zeros(model, dataset, 2, with_target)
    kinds = sorted(
        f"{name}:{values.dtype}{' sparse' if isinstance(values, SparseRows) else ''}"
        for name, values in batch.arrays.items()
    )

    def rehearse() -> None:
        parameters = np.zeros(model.layout(dataset.row_shape).size, dtype_of(model))
        if not with_target:
            predictions_of(model, parameters, batch)
            return
        states: metrics.States = {}
        with suppress(DataError, DivergedError):
            metrics.update(states, model.measure(parameters, batch))
            metrics.values(states)

    own = [*transform_kernels(dataset), *reading_kernels(dataset)]
    return [*own, Compilation(f"scoring {with_target} {model.to_config()} {kinds}", rehearse)]
