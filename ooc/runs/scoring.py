"""How rows are read to be scored: in order, a few at a time, beside whatever else is in memory."""

from typing import Any

import numpy as np

from ooc import metrics
from ooc.core.errors import InputError
from ooc.engines.engine import scoring_bytes
from ooc.models.contract import Layout, Model
from ooc.store.dataset import Dataset
from ooc.stream.loader import Loader
from ooc.stream.plan import Demand

# Rows that are scored at a time: the bytes of their features and outputs, so that neither wide
# rows nor many classes break the budget; and how many copies of them are alive at once.
SCORED_BYTES = 2 * 2**20
SCORED_COPIES = 8


def check_scorable(model: Model, dataset: Dataset, row_shape: tuple[int, ...]) -> None:
    """Refuse a dataset whose rows do not fit a model."""
    if dataset.row_shape != row_shape:
        raise InputError(
            f"the model was trained on rows of shape {row_shape}, but {dataset.features} "
            f"of {dataset.path} has rows of shape {dataset.row_shape}"
        )


def check_targets(model: Model, dataset: Dataset) -> None:
    """Refuse a dataset that lacks the targets that a model is compared with."""
    if not model.needs_target:
        return
    if dataset.target is None:
        raise InputError(f"{dataset.path} has no targets to compare with; name them with target=")
    model.check_target(dataset.arrays[dataset.target].shape[1:])


def outputs_of_zeros(
    model: Model, layout: Layout, row_shape: tuple[int, ...], dtype: np.dtype
) -> dict[str, np.ndarray]:
    """Return what a model predicts for one row of zeros: names, types and sizes of its outputs."""
    parameters = np.zeros(layout.size, np.float32)
    return model.predict(parameters, np.zeros((1, *row_shape), dtype))


def scoring_loader(
    model: Model,
    layout: Layout,
    dataset: Dataset,
    memory: str | int,
    with_target: bool,
    **options: Any,
) -> Loader:
    """Return a loader of a dataset's rows in order, in batches that are scored at once."""
    spec = dataset.arrays[dataset.features]
    roles = dataset.roles if with_target else (spec.name,)
    outputs = outputs_of_zeros(model, layout, spec.shape[1:], spec.dtype).values()
    output_bytes = sum(values.nbytes for values in outputs)
    rows = max(1, min(dataset.rows, SCORED_BYTES // (spec.row_bytes + output_bytes)))
    scoring = scoring_bytes(model, layout) + SCORED_COPIES * rows * output_bytes
    if with_target:
        scoring += metrics.most_bytes(sum(values.size for values in outputs))
    return Loader(
        dataset,
        rows,
        arrays=[name for name in roles if name is not None],
        demand=Demand(8 * layout.size + scoring, SCORED_COPIES),
        memory=memory,
        shuffle="none",
        **options,
    )
