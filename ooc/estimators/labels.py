"""Which labels a dataset's targets hold: one streamed pass, if the store does not note it."""

from collections import Counter

import numpy as np

from ooc.core.errors import InputError
from ooc.store.columns import count_labels, used_pieces
from ooc.store.dataset import Dataset

MOST_CLASSES = 10_000


def count_classes(dataset: Dataset) -> int:
    """Return how many classes targets have, labels being 0 to K - 1; those that lack one are none.

    Raises
    ------
    InputError
        If there are no targets, or they are no such labels.
    """
    noted = dataset.attributes.get("classes")
    if isinstance(noted, int):
        return max(noted, 2)
    if dataset.target is None:
        raise InputError(f"{dataset.no_targets}; name those to train on with target=")
    name, counts = dataset.target, Counter[int]()
    for first, values, used in used_pieces(dataset, (name,)):
        labels = values[name].reshape(len(used), -1)[used]
        labels = labels[labels == labels]
        whole = (labels >= 0) & (labels < MOST_CLASSES) & (labels == np.floor(labels))
        if not whole.all():
            raise InputError(
                f"targets {name} of {dataset.path} are no labels from 0 to K - 1: from row {first} "
                f"on there is {labels[~whole][0]}; write such labels, or train a regressor"
            )
        count_labels(counts, labels.astype(np.int64))
    if len(counts) < 2:
        raise InputError(
            f"targets {name} of {dataset.path} have {len(counts)} class, and 2 are needed to learn"
        )
    return max(counts) + 1
