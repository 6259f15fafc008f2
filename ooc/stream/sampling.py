"""Ways to choose an epoch's rows other than each of them once; see `ooc.stream.draws` for the how.

Each is a table entry: the array that weights are made of, and what each of its values weighs.
The array is read once, before an epoch; what stays is one number for each block.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ooc.core.errors import InputError
from ooc.store.columns import block_sums, count_labels, used_pieces
from ooc.store.dataset import Dataset, check_one_number_a_row
from ooc.store.selection import as_labels
from ooc.store.stores import told_row
from ooc.stream.draws import Draws


@dataclass(frozen=True)
class Sampling:
    """One way to draw rows: what weights are made of, and what a row of each class weighs."""

    array: Callable[[Dataset], str | None]
    classes: Callable[[Dataset, str], tuple[tuple[int, ...], tuple[float, ...]]] | None = None


def sampled_array(dataset: Dataset, sampling: str) -> str | None:
    """Return the name of the array that a way of sampling needs, or None; refuse to lack it."""
    return None if sampling == "once" else SAMPLINGS[sampling].array(dataset)


def make_draws(dataset: Dataset, sampling: str, block_rows: int) -> Draws | None:
    """Sum weights up by block; None if each row is visited once."""
    if sampling == "once":
        return None
    way = SAMPLINGS[sampling]
    name = way.array(dataset)
    classes = () if way.classes is None or name is None else way.classes(dataset, name)
    draws = Draws(sampling, name, np.zeros(1), dataset.rows, *classes)

    def weigh(first: int, arrays: dict[str, np.ndarray], used: np.ndarray) -> np.ndarray:
        weights = draws.weights_of(None if name is None else arrays[name], len(used))
        bad = np.flatnonzero(~(weights >= 0) | ~np.isfinite(weights))
        if len(bad):
            raise InputError(
                f"row {told_row(dataset, first + bad[0])} of {name} of {dataset.path} weighs "
                f"{weights[bad[0]]}; a weight is zero or a positive finite number"
            )
        return weights

    sums = block_sums(dataset, () if name is None else (name,), block_rows, weigh)
    if not sums.any():
        raise InputError(f"all weights in {name} of {dataset.path} are zero; nothing can be drawn")
    return replace(draws, cumulative=np.concatenate([[0.0], np.cumsum(sums)]))


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
    check_one_number_a_row(dataset.path, *dataset.specs((name,)))
    counts: Counter[int] = Counter()
    for first, arrays, used in used_pieces(dataset, [name]):
        found = as_labels(arrays[name])
        if found.min() < 0 or not (found == arrays[name].reshape(-1)).all():
            raise InputError(
                f"array {name} of {dataset.path} holds no classes from row "
                f"{told_row(dataset, first)} on: they are whole numbers from 0"
            )
        count_labels(counts, found[used])
        if len(counts) > 2**16:
            raise InputError(f"array {name} of {dataset.path} has too many values to be classes")
    classes = int(dataset.attributes.get("classes", max(counts) + 1))
    for label in range(classes):
        if label not in counts:
            raise InputError(
                f"class {label} of {classes} has no rows in {name} of {dataset.path}; it cannot "
                "be balanced: give classes the numbers 0, 1, ... without a gap"
            )
    labels, total = tuple(sorted(counts)), counts.total()
    return labels, tuple(total / (len(labels) * counts[label]) for label in labels)


SAMPLINGS: dict[str, Sampling] = {
    "replacement": Sampling(lambda dataset: None),
    "weight": Sampling(_weight_array),
    "balanced": Sampling(_class_array, _balanced),
}
