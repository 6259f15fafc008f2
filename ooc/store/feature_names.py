"""What the features of a row are called, as far as a store says so."""

import math
from collections.abc import Sequence

from ooc.core.errors import InputError
from ooc.store.column_names import MOST_NAMES, column_names
from ooc.store.dataset import Dataset
from ooc.store.joined import JoinedSpec, joined_names
from ooc.store.members import opened


def feature_names_of(dataset: Dataset) -> tuple[str, ...]:
    """Return one name for each feature of a row; none where the store has none, or one twice.

    See `ooc.store.column_names.column_names` for where they are. Of features that are made of
    several arrays, or of some columns, each has a name, see `ooc.store.joined.joined_names`.

    Examples
    --------
    >>> import ooc
    >>> feature_names_of(ooc.open(example_dataset))
    ()
    """
    if dataset.stores is not None:
        return _shared([(part.path, feature_names_of(part)) for part in dataset.parts])
    count = math.prod(dataset.row_shape)
    # Columns that many features share have no names, nor have times.
    if "hash" in dataset.transform or "sequences" in dataset.transform:
        return ()
    if dataset.held or len(dataset.row_shape) != 1 or count > MOST_NAMES:
        return ()
    features = dataset.arrays[dataset.features]
    with opened(dataset.place) as group:
        if isinstance(features, JoinedSpec):
            return joined_names(features, lambda *each: column_names(group, *each))
        return column_names(group, dataset.features, count)


def _shared(found: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    """Return the names of all stores; refuse features that stand in another order in one."""
    (first, names), *_ = found
    for path, own in found:
        if names and own and own != names:
            place = next(place for place, name in enumerate(names) if own[place] != name)
            raise InputError(
                f"feature {place} is {names[place]} in {first} and {own[place]} in {path}; store "
                "the same features in the same order in all"
            )
        names = names or own
    return names
