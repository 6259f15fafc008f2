"""Datasets whose rows are sequences of a long array's times, see `ooc.store.sequence_spec`."""

from dataclasses import replace

from ooc.core.errors import InputError
from ooc.store.dataset import Dataset
from ooc.store.sequence_spec import last_of_sequences, sequences_of

NAME = "sequences"


def sequence_text(text: str) -> str:
    """Read "sequences:LENGTH" or "sequences:LENGTH:STRIDE"; return it with its stride.

    Raises
    ------
    InputError
        If they are no whole numbers from 1 on.

    Examples
    --------
    >>> sequence_text("sequences:512"), sequence_text("sequences:512:128")
    ('sequences:512:1', 'sequences:512:128')
    """
    _, *given = text.strip().split(":")
    numbers = [int(each) if each.isascii() and each.isdecimal() else 0 for each in given]
    if not 1 <= len(numbers) <= 2 or min(numbers) < 1:
        raise InputError(
            f"transform {text}: rows are told by how many times each has, and how many times "
            "there are from one to the next, both from 1 on; write sequences:512:128"
        )
    length, stride = (*numbers, 1)[:2]
    return f"{NAME}:{length}:{stride}"


def in_sequences(dataset: Dataset, text: str) -> Dataset:
    """Return a dataset whose rows are sequences of the times that its arrays have.

    Raises
    ------
    InputError
        If there are fewer times than one row has, or rows are sparse, of several stores, of one
        side of a split, or transformed already.
    """
    length, stride = map(int, text.split(":")[1:])
    spec, path = dataset.arrays[dataset.features], dataset.path
    problem = None
    if dataset.stores is not None:
        problem = "are of several stores, and none goes on in the next; open each by itself"
    elif spec.is_sparse:
        problem = "are sparse; store times as a dense array"
    elif dataset.selection is not None:
        problem = "are one side of a split; open the sequences first, and split those"
    if problem is not None:
        raise InputError(f"transform {text}: rows of {dataset.features} of {path} {problem}")
    if spec.shape[0] < length:
        raise InputError(
            f"transform {text}: {dataset.features} of {path} has {spec.shape[0]:,} times along "
            f"axis 0, fewer than the {length:,} of one row; take shorter sequences"
        )
    arrays = {
        name: (sequences_of if name == dataset.features else last_of_sequences)(
            each, length, stride
        )
        for name, each in dataset.arrays.items()
        if not each.is_sparse
    }
    return replace(dataset, arrays=arrays)
