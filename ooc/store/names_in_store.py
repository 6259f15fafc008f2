"""What a store says that an array's numbers are codes of: categories, or the two truth values."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ooc.core.errors import InputError
from ooc.store.dataset import ArraySpec, Dataset, open_zarr_array, with_array
from ooc.store.labels import TEXT_KINDS, Labels, Name, listed
from ooc.store.member import OLD_CATEGORIES, attributes_of
from ooc.store.members import member_of, opened, quiet
from ooc.store.stacked import StackedSpec, stacked

# More are no names of classes or groups.
MOST_NAMES = 10_000


def names_in_store(dataset: Dataset, spec: ArraySpec) -> Labels | None:
    """Return what a store says that an array's numbers are codes of; None where it says nothing.

    Several stores may have other codes for the same names: values are then those that
    `with_names` reads.

    Raises
    ------
    InputError
        If some stores have names, and others none.
    """
    if isinstance(spec, StackedSpec):
        return _names_in_all(dataset, spec)
    if spec.dtype.kind == "b":
        return Labels((False, True), (False, True), spec.dtype)
    if dataset.held:
        return None
    with opened(dataset.place) as group:
        member = member_of(group, spec.name)
    if member is not None and member.array is not None:
        own = attributes_of(member.array)
        noted, told = own.get("categories"), own.get("ordered") is True
        if isinstance(noted, list) and 0 < len(noted) <= MOST_NAMES:  # as `ooc.convert` writes
            return Labels(tuple(map(str, noted)), tuple(range(len(noted))), spec.dtype, told)
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
    return Labels(found, tuple(range(len(found))), spec.dtype, _is_ordered(dataset, spec.name))


def _is_ordered(dataset: Dataset, codes: str) -> bool:
    """Tell whether a column of categories in AnnData's encoding says that they have an order."""
    with opened(dataset.place) as group:
        column = group[codes.rpartition("/")[0]] if "/" in codes else group
        return attributes_of(column).get("ordered") is True


def with_names(dataset: Dataset, name: str, names: Sequence[Name]) -> Dataset:
    """Return a dataset with an array read as the places of its labels among names.

    Raises
    ------
    InputError
        If its values are text and the names are not, or the other way round.
    """
    spec = dataset.arrays[name].unlabelled()
    if isinstance(spec, StackedSpec):
        parts = [with_names(part, name, names) for part, _ in dataset.stacks(spec)]
        read = stacked([part.arrays[name] for part in parts], spec.stores)
        return replace(dataset, arrays={**dataset.arrays, name: read})
    here = names_in_store(dataset, spec)
    values = tuple(names)
    if here is not None:
        # A name that this store does not know is no code of its own: below -1 there is none.
        code_of = dict(zip(here.names, here.values, strict=True))
        values = tuple(code_of.get(name, -2 - place) for place, name in enumerate(names))
    elif isinstance(names[0], str) != (spec.dtype.kind in TEXT_KINDS):
        raise InputError(
            f"targets {spec.name} of {dataset.path} are {spec.dtype}, but the classes that were "
            f"learned are called {listed(names)}; name other targets"
        )
    labels = Labels(tuple(names), values, spec.dtype)
    return replace(dataset, arrays={**dataset.arrays, name: spec.labelled(labels)})


def deciding(dataset: Dataset, name: str) -> tuple[Dataset, str]:
    """Return a dataset that has an array by which rows are chosen, and what it is called.

    Where stores have other codes for the same names, it is read by those names.

    Raises
    ------
    InputError
        As `ooc.store.dataset.with_array`.
    """
    dataset, name = with_array(dataset, name)
    spec = dataset.arrays[name]
    if isinstance(spec, StackedSpec) and (known := _names_in_all(dataset, spec)) is not None:
        own = [names_in_store(part, each) for part, each in dataset.stacks(spec)]
        if any(each != known for each in own):
            return with_names(dataset, name, known.names), name
    return dataset, name


def _names_in_all(dataset: Dataset, spec: StackedSpec) -> Labels | None:
    """Return the names of all stores, in the order in which stores first have them."""
    if spec.labels is not None and spec.labels.names:
        return spec.labels  # read by their names already
    parts = dataset.stacks(spec)
    found = [names_in_store(part, own.unlabelled()) for part, own in parts]
    known = [each for each in found if each is not None]
    if not known:
        return None
    if len(known) < len(found):
        some, none = (
            parts[next(number for number, each in enumerate(found) if (each is None) == lacks)][0]
            for lacks in (False, True)
        )
        raise InputError(
            f"array {spec.name} of {some.path} has names for its codes, and that of {none.path} "
            "has none; store it alike in all"
        )
    if all(each == known[0] for each in known):
        return known[0]
    # Stores that differ do not say where the names of the one lie among those of the other.
    names = tuple(dict.fromkeys(name for each in known for name in each.names))
    return Labels(names, tuple(range(len(names))), np.dtype(np.int64))
