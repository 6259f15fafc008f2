"""Labels that only the rows of a validation have: a model that never sees one gets it wrong."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ooc.models.contract import Model
from ooc.store.columns import used_pieces
from ooc.store.dataset import Dataset
from ooc.store.stores import told_row

NOWHERE = -1


def warn_of_unseen_labels(training: Dataset, validation: Dataset, model: Model) -> None:
    """Warn where rows to evaluate on have a label that no row to train on has.

    Targets of both are read once, where the model predicts labels.
    """
    classes, target = int(getattr(model, "class_count", 0)), training.target
    if not classes or target is None or training.held or validation.target is None:
        return
    # What a thread reads with goes with it: none of it is part of the run.
    with ThreadPoolExecutor(1) as apart:
        found = apart.submit(first_rows, validation, classes).result()
        seen = apart.submit(first_rows, training, classes).result()
    for label in np.flatnonzero((found != NOWHERE) & (seen == NOWHERE)).tolist():
        name = training.class_names[label] if training.class_names else label
        row = told_row(validation, int(found[label]))
        warnings.warn(
            f"label {name} of {validation.target} in {validation.path} is among the rows to "
            f"evaluate on alone, first in row {row}: the model never sees it, and cannot find it; "
            "split otherwise, or leave those rows out",
            stacklevel=3,
        )


def first_rows(dataset: Dataset, classes: int) -> np.ndarray:
    """Return the first used row of each label 0 to classes - 1, (classes,); `NOWHERE` without."""
    assert dataset.target is not None
    rows = np.full(classes, NOWHERE)
    for first, values, used in used_pieces(dataset, (dataset.target,), skip_bad=True):
        labels = values[dataset.target].reshape(len(used), -1)[:, 0]
        used = used & (labels >= 0) & (labels < classes)
        places = np.flatnonzero(used)
        in_piece = np.full(classes, NOWHERE)
        # Of several values for one place the last one stays.
        in_piece[labels[places[::-1]].astype(np.int64)] = first + places[::-1]
        rows = np.where(rows == NOWHERE, in_piece, rows)
    return rows
