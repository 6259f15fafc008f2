"""Which labels a dataset's targets hold: one streamed pass, if the store does not note it."""

from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.models.scored import ORDINAL
from ooc.runs.classes import check_order, count_classes, labelled, labels_of
from ooc.store.dataset import Dataset


def labelled_classes(dataset: Dataset, model: Any = None) -> tuple[Dataset, np.ndarray]:
    """Return a dataset whose targets are codes, and what those are called.

    Raises
    ------
    InputError
        If there are no targets, or they are no labels, or have not the order that a model goes by.
    """
    labels = labels_of(dataset)
    if labels is not None and len(labels.names) > 1:
        check_order(dataset, labels, model)
        return labelled(dataset, labels), np.array(list(labels.names))
    return dataset, np.arange(count_classes(dataset))


def check_sorted(classes: np.ndarray, model: Any) -> None:
    """Refuse labels whose order is not that of sorting them, where a model goes by their order.

    Raises
    ------
    InputError
        With what to give instead.
    """
    if getattr(model, "link", None) == ORDINAL and classes.dtype.kind not in "biuf":
        raise InputError(
            f"labels are {classes.tolist()[0]!r} and others, and nothing says in which order; an "
            f"ordinal head goes by it: give 0 to {len(classes) - 1} in their order, as "
            "pandas.Categorical(y, categories=..., ordered=True).codes"
        )
