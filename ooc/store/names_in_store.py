"""What a store says that an array's numbers are codes of: categories, or the two truth values."""

import numpy as np

from ooc.store.dataset import ArraySpec, Dataset, open_zarr_array
from ooc.store.labels import Labels
from ooc.store.member import OLD_CATEGORIES, attributes_of
from ooc.store.members import member_of, opened, quiet

# More are no names of classes or groups.
MOST_NAMES = 10_000


def names_in_store(dataset: Dataset, spec: ArraySpec) -> Labels | None:
    """Return what a store says that an array's numbers are codes of; None where it says nothing."""
    if spec.dtype.kind == "b":
        return Labels((False, True), (False, True), spec.dtype)
    if dataset.held:
        return None
    with opened(dataset.place) as group:
        member = member_of(group, spec.name)
    if member is not None and member.array is not None:
        noted = attributes_of(member.array).get("categories")
        if isinstance(noted, list) and 0 < len(noted) <= MOST_NAMES:  # as `ooc.convert` writes
            return Labels(tuple(map(str, noted)), tuple(range(len(noted))), spec.dtype)
    if member is None or not member.categories:
        return None
    # Before version 0.8, AnnData named them from where the column is.
    beside = "/".join((*spec.name.split("/")[:-1], member.categories))
    is_old = member.categories.startswith(OLD_CATEGORIES)
    names = open_zarr_array(dataset, beside if is_old else member.categories)
    if len(names.shape) != 1 or not 0 < names.shape[0] <= MOST_NAMES:
        return None
    with quiet():
        values = np.asarray(names[...])
    found = tuple(str(each) if isinstance(each, str) else each for each in values.tolist())
    return Labels(found, tuple(range(len(found))), spec.dtype)
