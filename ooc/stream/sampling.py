"""Ways to choose an epoch's rows other than each of them once; see `ooc.stream.draws` for the how.

Each is a table entry: the array that weights are made of, and what each of its values weighs.
The array is read once, before an epoch; what stays is one number for each block.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ooc.core.errors import InputError
from ooc.store.columns import check_one_number_a_row, pieces_of
from ooc.store.dataset import Dataset
from ooc.store.selection import as_labels
from ooc.stream.draws import Draws


@dataclass(frozen=True)
class Sampling:
    """One way to draw rows.

    Attributes
    ----------
    array
        Returns the name of the array that weights are made of, or None.
    class_weights
        Returns classes and what a row of each weighs, where it is by class.
    """

    array: Callable[[Dataset], str | None]
    class_weights: Callable[[Dataset, str], tuple[tuple[int, ...], tuple[float, ...]]] | None = None


def sampled_array(dataset: Dataset, sampling: str) -> str | None:
    """Return the name of the array that a way of sampling needs, or None.

    Raises
    ------
    InputError
        If the dataset has none in that role.
    """
    return None if sampling == "once" else SAMPLINGS[sampling].array(dataset)


def make_draws(dataset: Dataset, sampling: str, block_rows: int) -> Draws | None:
    """Sum weights up by block; None if each row is visited once.

    Raises
    ------
    InputError
        If weights are negative or not finite, or all are zero; or a class has no rows.
    """
    if sampling == "once":
        return None
    way = SAMPLINGS[sampling]
    name = way.array(dataset)
    rows, selection = dataset.stored_rows, dataset.selection
    classes: tuple[int, ...] = ()
    class_weights: tuple[float, ...] = ()
    if way.class_weights is not None and name is not None:
        classes, class_weights = way.class_weights(dataset, name)
    table = Draws(sampling, name, np.zeros(1), dataset.rows, classes, class_weights)
    sums = np.zeros(-(-rows // block_rows))
    deciding = () if selection is None else selection.arrays
    names = tuple(dict.fromkeys((name, *deciding) if name is not None else deciding))
    for first, stop, arrays in pieces_of(dataset, names, block_rows):
        weights = table.weights_of(arrays[name] if name is not None else None, stop - first)
        _check_weights(dataset, name, weights, first)
        if selection is not None:
            weights = weights * selection.contains(first, stop, arrays)
        starts = np.arange(0, stop - first, block_rows)
        block = first // block_rows
        sums[block : block + len(starts)] = np.add.reduceat(weights, starts)
    if not sums.any():
        raise InputError(f"all weights in {name} of {dataset.path} are zero; nothing can be drawn")
    cumulative = np.concatenate([[0.0], np.cumsum(sums)])
    return Draws(sampling, name, cumulative, dataset.rows, classes, class_weights)


def _check_weights(dataset: Dataset, name: str | None, weights: np.ndarray, first: int) -> None:
    bad = np.flatnonzero(~(weights >= 0) | ~np.isfinite(weights))
    if len(bad):
        raise InputError(
            f"row {first + bad[0]} of {name} of {dataset.path} weighs {weights[bad[0]]}; a weight "
            "is zero or a positive finite number"
        )


def _no_array(dataset: Dataset) -> None:
    return None


def _weight_array(dataset: Dataset) -> str:
    if dataset.weight is None:
        raise InputError(
            f'{dataset.path} has no array of weights; name one with weight=, or use "replacement"'
        )
    return dataset.weight


def _class_array(dataset: Dataset) -> str:
    if dataset.target is None:
        raise InputError(f"{dataset.path} has no array of classes; name one with target=")
    return dataset.target


def _balanced(dataset: Dataset, name: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Give every class the same weight: a row of class c weighs N / (C n_c)."""
    check_one_number_a_row(dataset, name)
    counts: dict[int, int] = {}
    selection = dataset.selection
    deciding = () if selection is None else selection.arrays
    for first, stop, arrays in pieces_of(dataset, tuple(dict.fromkeys((name, *deciding)))):
        labels = as_labels(arrays[name])
        if labels.min() < 0 or not (labels == arrays[name].reshape(-1)).all():
            raise InputError(
                f"array {name} of {dataset.path} holds no classes from row {first} on: they are "
                "whole numbers from 0"
            )
        if selection is not None:
            labels = labels[selection.contains(first, stop, arrays)]
        found, number = np.unique(labels, return_counts=True)
        for label, count in zip(found.tolist(), number.tolist(), strict=True):
            counts[label] = counts.get(label, 0) + count
        if len(counts) > 2**16:
            raise InputError(f"array {name} of {dataset.path} has too many values to be classes")
    classes = int(dataset.attributes.get("classes", max(counts) + 1))
    for label in range(classes):
        if label not in counts:
            raise InputError(
                f"class {label} of {classes} has no rows in {name} of {dataset.path}; it cannot "
                "be balanced: give classes the numbers 0, 1, ... without a gap"
            )
    total = sum(counts.values())
    labels_ = sorted(counts)
    return tuple(labels_), tuple(total / (len(labels_) * counts[label]) for label in labels_)


SAMPLINGS: dict[str, Sampling] = {
    "replacement": Sampling(_no_array),
    "weight": Sampling(_weight_array),
    "balanced": Sampling(_class_array, _balanced),
}
