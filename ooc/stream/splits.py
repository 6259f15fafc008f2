"""Training and validation rows of one store: disjoint, exact, and without a copy.

A row's side is a function of its number, of its block's, or of a value that it shares with its
group: each has a random key, and those below a limit are validation rows. The limits are exact
order statistics, so that the sides have exactly the sizes that were asked for.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from ooc.core.errors import DataError, InputError
from ooc.core.hashing import ALL_BITS, fill_row_keys, keys_at_ranks, keys_of, keys_of_rows
from ooc.core.random_keys import Purpose, key
from ooc.store.columns import block_sums, count_labels, pieces_of
from ooc.store.dataset import Dataset, check_one_number_a_row
from ooc.store.selection import Selection, as_labels
from ooc.stream.missing_values import rule_of
from ooc.stream.order import Subset

MOST_CLASSES = 4096
STRATIFIED_BITS = 14


def split(
    dataset: Dataset,
    validation: float = 0.1,
    seed: int = 0,
    by: str = "row",
    stratify: str | None = None,
    missing_values: str = "raise",
) -> tuple[Dataset, Dataset]:
    """Split a dataset into training and validation rows of the same store.

    Nothing is copied and no list of rows is made. With "row" and "block" only numbers are
    computed; an array that decides is read once, here.

    Parameters
    ----------
    dataset
        What `ooc.open` returned.
    validation
        Share of the validation side, between 0 and 1. By row it is exact to a row, by block to a
        block, and by group as near as the sizes of groups in a random order allow.
    seed
        The split is a function of it.
    by
        "row"; "block", runs of rows as long as a chunk of the features, so that each side reads
        only what it uses; or the name of an array: rows with equal values stay on one side.
    stratify
        Name of an array of classes: the share is exact to a row in each of them. Only by row.
    missing_values
        What becomes of rows that lack a value, see `ooc.stream.options.StreamOptions`. Unless that
        is "raise", those that lack a value of the array that decides are one group, or class.

    Returns
    -------
    train, validation
        Two datasets, with the store's arrays and roles.

    Raises
    ------
    InputError
        If a side would be empty, an array is missing, or the dataset is a side of a split.

    Examples
    --------
    >>> import ooc
    >>> train, validation = split(ooc.open(example_dataset), validation=0.25)
    >>> train.rows, validation.rows
    (750, 250)
    """
    if dataset.selection is not None:
        raise InputError(f"{dataset.path} is one side of a split already; split the whole dataset")
    if not 0 < validation < 1:
        raise InputError(f"validation must be between 0 and 1, not {validation}")
    if stratify is not None and by != "row":
        raise InputError(f'stratify={stratify!r} goes with by="row" only, not with by={by!r}')
    if rule_of(missing_values).name == "raise":
        for name in {by, stratify} - {"row", "block", None}:
            _check_complete(dataset, str(name))
    share = Fraction(str(validation))
    number = key(seed, Purpose.SPLIT)
    if stratify is not None:
        below = _stratified(dataset, share, number, stratify)
    elif by in ("row", "block"):
        below = (_by_row if by == "row" else _by_block)(dataset, share, number)
    else:
        below = _by_group(dataset, share, number, by)
    above = replace(below, below=False, rows=dataset.rows - below.rows)
    for side, name in ((above, "training"), (below, "validation")):
        if side.rows == 0:
            raise InputError(
                f"the {name} side of {dataset.path} would be empty with validation={validation} "
                f"by {by} of {dataset.rows} rows; choose another share or a finer split"
            )
    return replace(dataset, selection=above), replace(dataset, selection=below)


def make_subset(dataset: Dataset, block_rows: int) -> Subset | None:
    """Count a side's rows in each block of the store; None if all rows are used."""
    selection = dataset.selection
    if selection is None:
        return None
    sums = block_sums(dataset, (), block_rows, lambda first, arrays, used: used)
    counts = sums.astype(np.int64)
    blocks = np.flatnonzero(counts)
    if counts.sum() != selection.rows:
        raise InputError(
            f"{dataset.path} has {counts.sum()} rows on this side of its split, not the "
            f"{selection.rows} that there were; it has changed since: split it again"
        )
    return Subset(blocks, counts[blocks])


def _by_row(dataset: Dataset, share: Fraction, number: int) -> Selection:
    wanted = round(share * dataset.rows)
    (limits,) = keys_at_ranks(keys_of_rows(dataset.rows, number), [np.array([wanted])])
    return Selection("row", number, (int(limits[0]),), True, wanted)


def _by_block(dataset: Dataset, share: Fraction, number: int) -> Selection:
    block_rows = dataset.arrays[dataset.features].chunks[0]
    blocks = -(-dataset.rows // block_rows)
    keys = keys_of(np.arange(blocks), number)
    wanted = round(share * blocks)
    limit = int(np.sort(keys)[wanted]) if wanted < blocks else int(ALL_BITS)
    rows = np.full(blocks, block_rows)
    rows[-1] = dataset.rows - (blocks - 1) * block_rows
    chosen = int(rows[keys < np.uint64(limit)].sum())
    return Selection("block", number, (limit,), True, chosen, block_rows)


def _by_group(dataset: Dataset, share: Fraction, number: int, name: str) -> Selection:
    """Take groups in the order of their keys until the share is reached as nearly as it can be."""
    sizes = _sizes(dataset, name)
    groups = np.array(list(sizes), np.int64)
    keys = keys_of(groups, number)
    order = np.argsort(keys)
    counts = np.array([sizes[group] for group in groups[order].tolist()])
    reached = np.concatenate([[0], np.cumsum(counts)])
    wanted = float(share * dataset.rows)
    taken = int(np.abs(reached - wanted).argmin())
    limit = int(keys[order[taken]]) if taken < len(groups) else int(ALL_BITS)
    return Selection(name, number, (limit,), True, int(reached[taken]))


def _stratified(dataset: Dataset, share: Fraction, number: int, name: str) -> Selection:
    sizes = _sizes(dataset, name)
    if len(sizes) > MOST_CLASSES:
        raise InputError(
            f"array {name} of {dataset.path} has {len(sizes)} different values, too many to be "
            f"classes (at most {MOST_CLASSES}); name an array of labels"
        )
    classes = sorted(sizes)
    wanted = [round(share * sizes[label]) for label in classes]

    def pieces() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for first, stop, arrays in pieces_of(dataset, [name]):
            keys = np.empty(stop - first, np.uint64)
            fill_row_keys(first, number, keys)
            yield keys, np.searchsorted(np.array(classes), as_labels(arrays[name]))

    ranks = [np.array([count]) for count in wanted]
    limits = keys_at_ranks(pieces, ranks, STRATIFIED_BITS)
    exact, rows = tuple(int(limit[0]) for limit in limits), sum(wanted)
    return Selection("row", number, exact, True, rows, stratify=name, classes=tuple(classes))


def _check_complete(dataset: Dataset, name: str) -> None:
    """Refuse an array that decides and lacks values, before anything is done by it."""
    (spec,), first, count = dataset.specs((name,)), 0, 0
    if spec.dtype.kind != "f":
        return
    for start, _, arrays in pieces_of(dataset, [name]):
        lacks = np.isnan(arrays[name].reshape(len(arrays[name]), -1)).any(axis=1)
        first = first if count else start + int(np.argmax(lacks))
        count += int(np.count_nonzero(lacks))
    if count:
        raise DataError(
            f"array {name} of {dataset.path}, which decides on a row's side, has no value in row "
            f"{first}; {count:,} of the {dataset.rows:,} rows lack one: leave such rows out with "
            "missing_values=drop, or split by another array"
        )


def _sizes(dataset: Dataset, name: str) -> Counter[int]:
    """Count the rows of each value of an array."""
    check_one_number_a_row(dataset.path, *dataset.specs((name,)))
    sizes: Counter[int] = Counter()
    for _, _, arrays in pieces_of(dataset, [name]):
        count_labels(sizes, as_labels(arrays[name]))
    return sizes
