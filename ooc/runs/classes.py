"""Which classes targets have and what those are called: found in the store, before training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.models.contract import Model
from ooc.models.scored import ORDINAL
from ooc.store.chunks import BadChunkError, open_reader
from ooc.store.columns import used_pieces
from ooc.store.dataset import Dataset
from ooc.store.labels import TEXT_KINDS, Labels, Name, listed
from ooc.store.names_in_store import MOST_NAMES, names_in_store, with_names
from ooc.store.stores import told_row


def with_classes(dataset: Dataset, model: Model) -> Dataset:
    """Return a dataset whose targets are codes, where a model predicts labels and they are not.

    Text, categories, -1 and 1, and 1 to K become 0 to K - 1; what is stored as 0 to K - 1 stays,
    and only a first chunk of it is read.

    Raises
    ------
    InputError
        If text or categories are not as many as the model has classes, or it has none; or if the
        model goes by an order that they do not have.
    """
    classes = int(getattr(model, "class_count", 0))
    spec = None if dataset.target is None else dataset.arrays[dataset.target]
    if spec is None or dataset.class_names or dataset.held:
        return dataset
    if not classes:
        if spec.labels is not None and model.needs_target:
            raise InputError(
                f"targets {spec.name} of {dataset.path} are text, which is taken for labels, but "
                f"{model.name} predicts numbers; train a model that predicts labels, such as "
                "softmax, or name other targets"
            )
        return dataset
    labels = labels_of(dataset)
    if labels is None:
        return dataset
    check_order(dataset, labels, model)
    if len(labels.names) == classes:
        return labelled(dataset, labels)
    if not labels.is_named:
        return dataset  # numbers that nothing names: the model tells which row does not fit
    raise InputError(
        f"targets {spec.name} of {dataset.path} have {len(labels.names)} labels, "
        f"{listed(labels.names)}, but {model.name} has {classes} classes; train softmax, or an mlp "
        f"with the multiclass head, of {len(labels.names)}"
    )


def check_order(dataset: Dataset, labels: Labels, model: Any) -> None:
    """Refuse labels of which nothing says in which order they are, where the model goes by it.

    Raises
    ------
    InputError
        With what to store.
    """
    if getattr(model, "link", None) == ORDINAL and not labels.has_order:
        raise InputError(
            f"targets {dataset.target} of {dataset.path} are called {listed(labels.names)}, and "
            f"nothing says in which order; {model.name} with the ordinal head goes by the order: "
            f"store 0 to {len(labels.names) - 1} in their order, or categories with the attribute "
            '"ordered": true'
        )


def labelled(dataset: Dataset, labels: Labels) -> Dataset:
    """Return a dataset whose targets are read as the codes of labels."""
    assert dataset.target is not None
    spec = dataset.arrays[dataset.target].unlabelled()
    if dataset.stores is not None:
        return with_names(dataset, spec.name, labels.names)
    return replace(dataset, arrays={**dataset.arrays, spec.name: spec.labelled(labels)})


def labelled_as(dataset: Dataset, names: Sequence[Name]) -> Dataset:
    """Return a dataset whose targets are the codes that a run has for labels of these names.

    Raises
    ------
    InputError
        If the targets are text and the names are not, or the other way round.
    """
    if dataset.target is None or dataset.held or not names:
        return dataset
    return with_names(dataset, dataset.target, names)


def names_in(description: Mapping[str, Any], key: str) -> tuple[Name, ...]:
    """Return what a saved run's classes, or features, are called; a ValueError if not names."""
    names = description.get(key, [])
    if not isinstance(names, list) or not all(isinstance(each, Name) for each in names):
        raise ValueError(f"{key} {names!r}")
    return tuple(names)


def labels_of(dataset: Dataset) -> Labels | None:
    """Return the labels of a dataset's targets; None where they are their own codes, or no labels.

    Raises
    ------
    InputError
        If there are no targets, or more than `MOST_NAMES` texts.
    """
    if dataset.target is None:
        raise InputError(f"{dataset.no_targets}; name those to train on with target=")
    spec = dataset.arrays[dataset.target].unlabelled()
    if (known := names_in_store(dataset, spec)) is not None:
        return known
    plain = replace(dataset, arrays={**dataset.arrays, spec.name: spec})
    is_text = spec.dtype.kind in TEXT_KINDS
    if not is_text and (isinstance(dataset.attributes.get("classes"), int) or _begin_at_0(plain)):
        return None
    found, problem = _distinct(plain)
    if problem:
        if is_text:
            raise InputError(
                f"targets {spec.name} of {dataset.path} are no labels: {problem}; name "
                "other targets"
            )
        return None
    if not is_text and found == list(range(len(found))):
        return None
    return Labels(tuple(found), tuple(found), spec.dtype)


def count_classes(dataset: Dataset) -> int:
    """Return how many classes targets have; one that is missing is none.

    Raises
    ------
    InputError
        If there are no targets, or they are no labels.
    """
    noted = dataset.attributes.get("classes")
    if isinstance(noted, int):
        return max(noted, 2)
    if dataset.class_names:
        return len(dataset.class_names)
    if (labels := labels_of(dataset)) is not None:
        return len(labels.names)
    found, problem = _distinct(dataset)
    if not problem and found and found[0] < 0:
        problem = f"one is {found[0]}"
    if problem:
        raise InputError(
            f"targets {dataset.target} of {dataset.path} are no labels: {problem}; write "
            "labels, or train a regression"
        )
    if len(found) < 2:
        raise InputError(
            f"targets {dataset.target} of {dataset.path} have {len(found)} class, and 2 are needed "
            "to learn"
        )
    return int(found[-1]) + 1


def _distinct(dataset: Dataset) -> tuple[list[Any], str]:
    """Return the different targets, ascending, by one pass over them, or why they are no labels.

    Those that cannot be read are passed over: training tells them, or leaves them out.
    """
    assert dataset.target is not None
    found: set[Any] = set()
    for first, values, used in used_pieces(dataset, (dataset.target,), skip_bad=True):
        part = values[dataset.target].reshape(len(used), -1)[used]
        part = np.unique(part[part == part])
        if part.dtype.kind == "f":
            if not (whole := part == np.floor(part)).all():
                return [], f"from row {told_row(dataset, first)} on there is {part[~whole][0]}"
            part = part.astype(np.int64)
        found.update(part.tolist())
        if len(found) > MOST_NAMES:
            return [], f"there are more than {MOST_NAMES:,} different ones"
    return sorted(found), ""


def _begin_at_0(dataset: Dataset) -> bool:
    """Tell whether the first targets are no labels, or from 0 on and 0 is among them."""
    try:
        values = first_targets(dataset)
    except BadChunkError:
        return True  # training tells it, or leaves it out
    whole = values.dtype.kind != "f" or bool((values == np.floor(values)).all())
    return not whole or bool((values == 0).any() and (values >= 0).all())


def first_targets(dataset: Dataset) -> np.ndarray:
    """Return the targets of a first chunk, without those that are missing."""
    assert dataset.target is not None
    spec = dataset.arrays[dataset.target]
    values = np.empty((min(spec.chunks[0], spec.shape[0]), *spec.shape[1:]), spec.dtype)
    open_reader(dataset, spec.name).read_runs([(0, len(values))], values)
    return values[values == values]
