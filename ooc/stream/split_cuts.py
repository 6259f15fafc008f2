"""Where a store's rows are cut into sides: exact order statistics of their keys.

Sides are stretches of the rows' order by key: of a row's number, of its block's, of a value that it
shares with its group, or of each class by itself. A *cut* is where one ends.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np

from ooc.core.hashing import ALL_BITS, keys_at_ranks, keys_of
from ooc.core.order_statistics import values_at_ranks
from ooc.store.columns import block_sums, count_labels, used_pieces
from ooc.store.dataset import Dataset, check_one_number_a_row
from ooc.store.selection import Selection, as_labels

STRATIFIED_BITS = 14

# Upper limits of sides in the order of their keys, one for each class, and the rows below them.
Cut = tuple[tuple[int, ...], int]


def by_shares(dataset: Dataset, shares: list[Fraction], whole: Selection) -> list[Selection]:
    """Return the training side, and one for each share.

    Parameters
    ----------
    shares
        Of the rows, for each side but the training one.
    whole
        The selection of all rows: by what they are split, by which key, of which classes.
    """
    # In order, training rows come first; by random keys, they are what is left.
    ordered = whole.key is None
    parts = [Fraction(1) - sum(shares, Fraction(0)), *shares[:-1]] if ordered else shares
    if whole.stratify is not None:
        cuts = _class_cuts(dataset, parts, whole)
    elif whole.by == "row":
        cuts = _row_cuts(dataset, parts, whole)
    elif whole.by == "block":
        cuts = _block_cuts(dataset, parts, whole)
    else:
        cuts = (_value_cuts if ordered else _label_cuts)(dataset, parts, whole)
    edges: list[Cut] = [((), 0), *cuts, ((), dataset.rows)]
    sides = [
        replace(whole, lower=lower, upper=upper, rows=last - first)
        for (lower, first), (upper, last) in pairwise(edges)
    ]
    return sides if ordered else [sides[-1], *sides[:-1]]


def _row_cuts(dataset: Dataset, parts: list[Fraction], whole: Selection) -> list[Cut]:
    ranks = _ranks(parts, dataset.rows)
    if whole.key is not None:
        alone = np.empty(0, np.int64)
        (limits,) = keys_at_ranks(
            lambda: ((keys, alone) for keys in _keys(dataset, whole)), [np.array(ranks)]
        )
        return [((int(limit),), rank) for limit, rank in zip(limits, ranks, strict=True)]
    if dataset.selection is None:
        return [((rank,), rank) for rank in ranks]
    return _value_cuts(dataset, parts, whole)


def _block_cuts(dataset: Dataset, parts: list[Fraction], whole: Selection) -> list[Cut]:
    counts = block_counts(dataset, whole.block_rows)
    (blocks,) = np.nonzero(counts)
    keys = blocks.astype(np.uint64) if whole.key is None else keys_of(blocks, whole.key)
    order = np.argsort(keys)
    keys, reached = keys[order], np.concatenate([[0], np.cumsum(counts[blocks[order]])])
    return [_cut_before(keys, reached, rank) for rank in _ranks(parts, len(blocks))]


def _label_cuts(dataset: Dataset, parts: list[Fraction], whole: Selection) -> list[Cut]:
    """Take groups in the order of their keys until shares are reached as nearly as they can be."""
    assert whole.key is not None
    sizes = sizes_of(dataset, whole.by)
    keys = keys_of(np.array(list(sizes), np.int64), whole.key)
    order = np.argsort(keys)
    reached = np.concatenate([[0], np.cumsum(np.array(list(sizes.values()))[order])])
    wanted = [float(share * dataset.rows) for share in accumulate(parts)]
    nearest = [int(np.abs(reached - each).argmin()) for each in wanted]
    return [_cut_before(keys[order], reached, place) for place in nearest]


def _value_cuts(dataset: Dataset, parts: list[Fraction], whole: Selection) -> list[Cut]:
    """Cut between two values, where shares are reached as nearly as they can be."""
    wanted = [float(share * dataset.rows) for share in accumulate(parts)]
    ranks = [min(round(each), dataset.rows - 1) for each in wanted]
    found = values_at_ranks(lambda: _keys(dataset, whole), ranks)
    cuts: list[Cut] = []
    for (value, below, equal), rows in zip(found, wanted, strict=True):
        above = abs(below + equal - rows) < abs(below - rows) and value < int(ALL_BITS)
        cuts.append(((value + above,), below + equal * above))
    return cuts


def _class_cuts(dataset: Dataset, parts: list[Fraction], whole: Selection) -> list[Cut]:
    """Cut each class by itself; `whole` has its classes."""
    name, classes = str(whole.stratify), np.array(whole.classes)
    sizes = sizes_of(dataset, name)

    def pieces() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for first, arrays, used in used_pieces(dataset, (name,)):
            keys = whole.keys(first, first + len(used), arrays)[used]
            yield keys, np.searchsorted(classes, as_labels(arrays[name])[used])

    ranks = [_ranks(parts, sizes[label]) for label in whole.classes]
    limits = keys_at_ranks(pieces, [np.array(each) for each in ranks], STRATIFIED_BITS)
    cuts = zip(zip(*limits, strict=True), zip(*ranks, strict=True), strict=True)
    return [(tuple(map(int, limit)), sum(rows)) for limit, rows in cuts]


def _ranks(parts: list[Fraction], count: int) -> list[int]:
    """Return the first place after each part, of `count` places."""
    return [round(share * count) for share in accumulate(parts)]


def _cut_before(keys: np.ndarray, reached: np.ndarray, place: int) -> Cut:
    limit = int(keys[place]) if place < len(keys) else int(ALL_BITS)
    return (limit,), int(reached[place])


def _keys(dataset: Dataset, whole: Selection) -> Iterator[np.ndarray]:
    """Yield the keys of a dataset's rows, piece by piece."""
    own = replace(whole, within=None).arrays
    for first, arrays, used in used_pieces(dataset, own):
        yield whole.keys(first, first + len(used), arrays)[used]


def block_counts(dataset: Dataset, block_rows: int) -> np.ndarray:
    """Return how many rows a dataset uses of each block of the store: (K,) int64."""
    sums = block_sums(dataset, (), block_rows, lambda first, arrays, used: used)
    return sums.astype(np.int64)


def sizes_of(dataset: Dataset, name: str) -> Counter[int]:
    """Count the rows of each value of an array."""
    check_one_number_a_row(dataset.path, *dataset.specs((name,)))
    sizes: Counter[int] = Counter()
    for _, arrays, used in used_pieces(dataset, (name,)):
        count_labels(sizes, as_labels(arrays[name])[used])
    return sizes
