"""Which labels a dataset's targets hold: one streamed pass, if the store does not note it."""

import numpy as np

from ooc.runs.classes import count_classes, labelled, labels_of
from ooc.store.dataset import Dataset


def labelled_classes(dataset: Dataset) -> tuple[Dataset, np.ndarray]:
    """Return a dataset whose targets are codes, and what those are called.

    Raises
    ------
    InputError
        If there are no targets, or they are no labels.
    """
    labels = labels_of(dataset)
    if labels is not None and len(labels.names) > 1:
        return labelled(dataset, labels), np.array(list(labels.names))
    return dataset, np.arange(count_classes(dataset))
