"""Parts of one store's rows, to train on, to validate and to test: disjoint, exact, not copied.

A row's part is a function of its number, of its block's, or of a value that it shares with its
group. Each of these has a random key, or stands where it is in the order; limits between parts are
exact order statistics, so that parts have exactly the sizes that were asked for.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from ooc.core.errors import DataError, InputError
from ooc.core.random_keys import Purpose, key
from ooc.store.columns import used_pieces
from ooc.store.dataset import Dataset
from ooc.store.labels import listed
from ooc.store.names_in_store import deciding, names_in_store
from ooc.store.selection import Selection, as_labels
from ooc.store.stores import told_row
from ooc.stream.missing_values import rule_of
from ooc.stream.order import Subset
from ooc.stream.split_cuts import block_counts, by_shares, sizes_of

MOST_CLASSES = 4096
SIDES = ("training", "validation", "test")

Shares = float | Sequence[float]


def split(
    dataset: Dataset,
    validation: Shares = 0.1,
    seed: int = 0,
    by: str = "row",
    stratify: str | None = None,
    missing_values: str = "raise",
    *,
    ordered: bool = False,
    groups: Sequence[Any] | None = None,
) -> tuple[Dataset, ...]:
    """Split a dataset into training and validation rows of the same store, or into more parts.

    Nothing is copied and no list of rows is made. With "row" and "block" only numbers are
    computed; an array that decides is read once, here, and with `ordered` up to six times.

    Parameters
    ----------
    dataset
        What `ooc.open` returned, or a part of it.
    validation
        Share of the validation part, between 0 and 1, or shares of several parts, such as
        (0.1, 0.2) for validation and test. By row they are exact to a row, by block to a block,
        and by an array as near as rows with equal values allow.
    seed
        The split is a function of it, unless it is `ordered` or by chosen `groups`.
    by
        "row"; "block", runs of rows as long as a chunk of the features, so that each part reads
        only what it uses; or the name of an array: rows with equal values stay on one part. It
        may be a column in a group, such as "obs/donor".
    stratify
        Name of an array of classes: the shares are exact to a row in each of them. Only by row.
        Rows that overlap, of `ooc.open(..., transform="sequences:512:128")`, are split by "block"
        or `ordered`, and those that straddle are left out: no value is on two parts.
    missing_values
        What becomes of rows that lack a value, see `ooc.stream.options.StreamOptions`. Unless that
        is "raise", those that lack a value of the array that decides are one group, or class.
    ordered
        Keep the order, as of time: training rows come first, and the parts follow, each later than
        the one before; by an array, in the order of its values.
    groups
        In place of a share, values of the array `by`, or what they are called: their rows are the
        validation part.

    Returns
    -------
    train, validation, ...
        Datasets with the store's arrays and roles, one for the rows that are left and one a share.
        A run that is trained on the first one notes the last one: `ooc evaluate RUN --held-out`.

    Raises
    ------
    InputError
        If a part would be empty, an array is missing, a group has no rows, or options do not go
        together.

    Examples
    --------
    >>> import ooc
    >>> train, validation, test = split(ooc.open(example_dataset), (0.25, 0.1), ordered=True)
    >>> train.rows, validation.rows, test.rows
    (650, 250, 100)
    """
    shares = _checked_shares(validation)
    if stratify is not None and by != "row":
        raise InputError(f'stratify={stratify!r} goes with by="row" only, not with by={by!r}')
    if stratify is not None and ordered:
        raise InputError(f"stratify={stratify!r} goes with rows in random order only; leave one")
    if groups is not None and (ordered or by in ("row", "block")):
        what = "ordered" if ordered else f"by={by!r}"
        raise InputError(
            f"groups are values of an array, and go not with {what}; name that array by by="
        )
    if by not in ("row", "block"):
        dataset, by = deciding(dataset, by)
    if stratify is not None:
        dataset, stratify = deciding(dataset, stratify)
    by, gap = _apart(dataset, by, ordered, groups is not None or stratify is not None)
    for own in [each for each in (by, stratify) if each not in ("row", "block", None)]:
        if rule_of(missing_values).name == "raise":
            _check_complete(dataset, str(own))
    if groups is not None:
        sides, how = _by_groups(dataset, by, tuple(groups)), f"groups={list(groups)}"
    else:
        number = None if ordered else key(seed, Purpose.SPLIT)
        sides = by_shares(dataset, shares, _whole(dataset, by, number, stratify, gap))
        if gap:
            sides = [replace(side, rows=_counted(dataset, side)) for side in sides]
        how = f"validation={validation} by {by}"
    for number, side in enumerate(sides):
        if side.rows == 0:
            name = SIDES[number] if number < len(SIDES) else f"number {number + 1}"
            raise InputError(
                f"the {name} side of {dataset.path} would be empty with {how} of {dataset.rows} "
                "rows; choose another share or a finer split"
            )
    train, *others = [replace(dataset, selection=side) for side in sides]
    return replace(train, held_out=others[-1].selection), *others


def straddling_rows(*sides: Dataset) -> int:
    """Return how many rows are on no side of a split, as they overlap with those of two.

    Examples
    --------
    >>> import ooc
    >>> rows = ooc.open(example_dataset, transform="sequences:10:2")
    >>> straddling_rows(*split(rows, 0.2, ordered=True))
    4
    """
    (first, *_) = sides
    if first.selection is None or not first.selection.gap:
        return 0
    within = first.selection.within
    whole = first.stored_rows if within is None else within.rows
    return whole - sum(side.rows for side in sides)


def part_of(dataset: Dataset, selection: Selection | None) -> Dataset:
    """Return the part of a dataset that a selection of an earlier split is, all for None."""
    if selection is None:
        # Between several stores are rows that nothing uses.
        return dataset
    for name in selection.arrays:
        dataset, _ = deciding(dataset, name)
    return replace(dataset, selection=selection)


def make_subset(dataset: Dataset, block_rows: int) -> Subset | None:
    """Count a side's rows in each block of the store; None if all rows are used."""
    selection = dataset.selection
    if selection is None:
        return None
    counts = block_counts(dataset, block_rows)
    blocks = np.flatnonzero(counts)
    if counts.sum() != selection.rows:
        raise InputError(
            f"{dataset.path} has {counts.sum()} rows on this side of its split, not the "
            f"{selection.rows} that there were; it has changed since: split it again"
        )
    return Subset(blocks, counts[blocks])


# Of a block at most one row of so many is left out, where rows overlap.
FEWEST_GAPS = 16


def _by_groups(dataset: Dataset, name: str, groups: tuple[Any, ...]) -> list[Selection]:
    """Return the side of all other values, and that of the chosen ones."""
    sizes, spec = sizes_of(dataset, name), dataset.arrays[name]
    labels = names_in_store(dataset, spec)
    known = dict(zip(map(str, labels.names), labels.values, strict=True)) if labels else {}
    codes: dict[int, Any] = {}
    for group in groups:
        code = known.get(str(group), group)
        if isinstance(code, str):
            with suppress(ValueError):
                code = float(code)
        if isinstance(code, str) or sizes.get(label := int(as_labels(np.array([code]))[0])) is None:
            there = listed(labels.names if labels else sorted(sizes))
            raise InputError(
                f"array {name} of {dataset.path} has no row of group {group!r}; there are: {there}"
            )
        codes[label] = group
    chosen = tuple(sorted(codes))
    inside = sum(sizes[code] for code in chosen)
    side = Selection(name, None, (), (), inside, groups=chosen, within=dataset.selection)
    return [replace(side, rows=dataset.rows - inside, others=True), side]


def _apart(dataset: Dataset, by: str, ordered: bool, by_values: bool) -> tuple[str, int]:
    """Return by what rows are split, and how many have to be left out between two sides.

    Raises
    ------
    InputError
        If rows overlap, and such a split would put the same values on both sides.
    """
    gap = dataset.arrays[dataset.features].overlap
    if not gap:
        return by, 0
    if ordered and by in ("row", "block") and not by_values:
        return "row", gap
    if by != "block" or by_values:
        raise InputError(
            f"rows of {dataset.path} overlap (transform={dataset.transform!r}): split by {by}, the "
            'same values would be on both sides; split by="block", or ordered=True, as of time'
        )
    return by, gap


def _counted(dataset: Dataset, side: Selection) -> int:
    """Count the rows of a side, of which no value is read."""
    part = replace(dataset, selection=side)
    return int(block_counts(part, dataset.arrays[dataset.features].chunks[0]).sum())


def _whole(
    dataset: Dataset, by: str, number: int | None, stratify: str | None, gap: int
) -> Selection:
    """Return the selection of all rows of which sides are cut."""
    block_rows = dataset.arrays[dataset.features].chunks[0] if by == "block" else 1
    # Of each block some rows are left out: few of them.
    while block_rows < FEWEST_GAPS * gap and by == "block":
        block_rows *= 2
    whole = Selection(
        by, number, (), (), dataset.rows, block_rows, within=dataset.selection, gap=gap
    )
    if stratify is None:
        return whole
    classes = tuple(sorted(sizes_of(dataset, stratify)))
    if len(classes) > MOST_CLASSES:
        raise InputError(
            f"array {stratify} of {dataset.path} has {len(classes)} different values, too many to "
            f"be classes (at most {MOST_CLASSES}); name an array of labels"
        )
    return replace(whole, stratify=stratify, classes=classes)


def _checked_shares(validation: Shares) -> list[Fraction]:
    given = [validation] if isinstance(validation, int | float) else list(validation)
    shares = [Fraction(str(share)) for share in given]
    if not shares or not all(0 < share < 1 for share in shares):
        raise InputError(f"validation must be between 0 and 1, not {validation}")
    if sum(shares) >= 1:
        raise InputError(
            f"shares of {' and '.join(map(str, given))} leave no rows to train on; their sum has "
            "to be below 1"
        )
    return shares


def _check_complete(dataset: Dataset, name: str) -> None:
    """Refuse an array that decides and lacks values, before anything is done by it."""
    (spec,), first, count = dataset.specs((name,)), 0, 0
    if spec.dtype.kind != "f":
        return
    for start, arrays, used in used_pieces(dataset, (name,)):
        lacks = np.isnan(arrays[name].reshape(len(used), -1)).any(axis=1) & used
        first = first if count else start + int(np.argmax(lacks))
        count += int(np.count_nonzero(lacks))
    if count:
        raise DataError(
            f"array {name} of {dataset.path}, which decides on a row's side, has no value in row "
            f"{told_row(dataset, first)}; {count:,} of the {dataset.rows:,} rows lack one: leave "
            "such rows out with missing_values=drop, or split by another array"
        )
