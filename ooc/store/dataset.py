"""Datasets: Zarr groups whose arrays share axis 0."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store

from ooc.core.errors import InputError
from ooc.core.sizes import format_size
from ooc.core.summary import Summary
from ooc.store.addresses import StorageOptions, checked_path
from ooc.store.array_specs import spec_of
from ooc.store.column_choice import places_of
from ooc.store.column_names import column_names
from ooc.store.feature_choice import ArrayChoice, Columns, read_choices, text_of
from ooc.store.joined import Part, joined, without_joined
from ooc.store.labels import Name
from ooc.store.member import Member, attributes_of
from ooc.store.members import check_whole, member_of, members_of, opened, opened_member
from ooc.store.place import IN_HAND, Place
from ooc.store.roles import (
    FEATURES,
    USUAL_NAMES,
    RoleName,
    coordinates_in,
    find_roles,
    why_apart,
)
from ooc.store.selection import Selection
from ooc.store.sparse import check_dense, sparse_spec
from ooc.store.spec import ArraySpec as ArraySpec
from ooc.store.stacked import StackedSpec, stacked
from ooc.store.stacked_sparse import StackedSparseSpec
from ooc.store.stores import Stores

MISSING_CHUNKS = ("raise", "fill")


@dataclass(frozen=True, repr=False)
class Dataset(Summary):
    """A Zarr group with roles for its arrays, as `open` returns it.

    Attributes
    ----------
    arrays
        Every numeric array that shares axis 0, by name; and the features, where they are made of
        several, or of some columns of one.
    features
        The name of the features: of an array, or the text that says what they are made of.
    storage_options
        What opens the store behind a URL again; it may hold keys, so that it is never shown.
    selection
        Which rows are used, where it is one side of a split; by default all.
    held_out
        Of rows to train on: those that were kept apart from them to evaluate on, in the end.
    unused
        What else is in the group, and why its rows cannot be read beside the others, by name.
    guessed, passed_over
        Roles that nobody named, and why an array with a role's usual name does not play it.
    held
        The arrays themselves, by name, where they are in memory and in no store.
    feature_names
        What the features of a row are called, where somebody has looked for that.
    store, inside
        The store that somebody has opened, where the path names none, and the group's path in it.
    parts, stores
        Where several stores are one: a dataset of each, and where its rows are among those of all.
    transform
        What is done to the features as they are read, see `ooc.store.transforms.transformed`.
    """

    path: str
    arrays: Mapping[str, ArraySpec]
    features: str
    target: str | None
    weight: str | None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    missing: str = "raise"
    storage_options: StorageOptions | None = field(default=None, repr=False)
    selection: Selection | None = None
    held_out: Selection | None = field(default=None, repr=False, compare=False)
    unused: Mapping[str, str] = field(default_factory=dict, repr=False)
    guessed: tuple[str, ...] = ()
    passed_over: Mapping[str, str] = field(default_factory=dict, repr=False)
    held: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    feature_names: tuple[str, ...] = field(default=(), repr=False, compare=False)
    store: Store | None = field(default=None, repr=False, compare=False)
    inside: str = field(default="", repr=False)
    parts: tuple["Dataset", ...] = field(default=(), repr=False)
    stores: Stores | None = field(default=None, repr=False)
    transform: str = ""

    @property
    def name(self) -> str:
        """What it is called in a title: the last part of its path, or of the first of several."""
        if self.stores is None:
            return PurePath(self.path).name
        return f"{PurePath(self.stores.paths[0]).name} and {len(self.parts) - 1} more"

    @property
    def saved_path(self) -> str | list[str]:
        """Its path, or those of several stores, that are the same from any folder."""
        paths = (self.path,) if self.stores is None else self.stores.paths
        found = [path if "://" in path else str(Path(path).absolute()) for path in paths]
        return found[0] if self.stores is None else found

    @property
    def store_rows(self) -> list[int]:
        """Rows of each of its stores."""
        return [part.stored_rows for part in self.parts] or [self.stored_rows]

    @property
    def place(self) -> Place:
        """Where the group is."""
        return Place(self.path, self.storage_options, self.store, self.inside)

    @property
    def rows(self) -> int:
        """N, rows of the dataset: of every array, or of this side of a split."""
        return self.stored_rows if self.selection is None else self.selection.rows

    @property
    def stored_rows(self) -> int:
        """Rows of every array, on whichever side of a split they are."""
        return self.arrays[self.features].shape[0]

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a row's features."""
        return self.arrays[self.features].shape[1:]

    @property
    def roles(self) -> tuple[str, str | None, str | None]:
        """Names of the arrays that are features, target and weight."""
        return self.features, self.target, self.weight

    def facts(self) -> dict[str, str]:
        """Return what a prompt shows: its rows and the arrays that play a role."""
        total = self.stored_rows - (0 if self.stores is None else self.stores.padding)
        kept = "" if self.rows == total else f" of {total:,}"
        found = {"path": self.path, "rows": f"{self.rows:,}{kept}"}
        for role, name in zip(USUAL_NAMES, self.roles, strict=True):
            if name is not None:
                spec = self.arrays[name]
                shape = f" {spec.shape[1:]}" if spec.shape[1:] else ""
                found[role] = f"{name} {spec.dtype}{shape}"
        return found | {"decoded": format_size(self.rows * self.stored_row_bytes)}

    @property
    def stored_row_bytes(self) -> int:
        """Decoded bytes of one row of all arrays of the store."""
        return sum(spec.kept_row_bytes for spec in without_joined(self.arrays).values())

    def stacks(self, spec: ArraySpec) -> list[tuple["Dataset", ArraySpec]]:
        """Return the arrays that are read as one, with the dataset of each."""
        assert isinstance(spec, StackedSpec | StackedSparseSpec)
        stored = spec.parts if isinstance(spec, StackedSpec) else spec.sources
        return [
            (replace(part, arrays={**part.arrays, own.name: own}), own)
            for part, own in zip(self.parts, stored, strict=True)
        ]

    def specs(self, names: tuple[str, ...]) -> tuple[ArraySpec, ...]:
        """Return the arrays with these names; refuse those that are not there."""
        for name in names:
            if name not in self.arrays:
                # A copy reads arrays that nothing else can use.
                if name in self.unused:
                    raise InputError(f"{name} of {self.path} cannot be used: {self.unused[name]}")
                known = ", ".join(self.arrays)
                raise InputError(f"{self.path} has no array {name!r}; it has: {known}")
            if (problem := self.arrays[name].problem) is not None:
                raise InputError(f"array {name} of {self.path} cannot be decoded: {problem}")
        return tuple(self.arrays[name] for name in names)

    @property
    def class_names(self) -> tuple[Name, ...]:
        """What the classes of its targets are called; empty where they are their numbers."""
        labels = None if self.target is None else self.arrays[self.target].labels
        return () if labels is None else labels.names

    @property
    def no_targets(self) -> str:
        """Say that there are no targets, and why where an array has their usual name."""
        why = self.passed_over.get("target")
        return f"{self.path} has no targets{f', as {why}' if why else ''}"

    def describe_guesses(self) -> str:
        """Say in one line which roles nobody named; empty if there are none."""
        said = []
        for role in self.guessed:
            off = "" if role == FEATURES else f" (--no-{role} for none)"
            said.append(f"{role} {getattr(self, role)}{off}")
        said += [f"no {role}, as {why}" for role, why in self.passed_over.items()]
        return f"roles by the names of arrays: {', '.join(said)}" if said else ""

    def undecoded(self) -> "Dataset":
        """Return the dataset with its arrays as they are stored: for copies that keep them so."""
        arrays = {name: spec.undecoded() for name, spec in self.arrays.items()}
        return replace(self, arrays=arrays, transform="")


def open(
    path: str | Path | Place,
    features: str | Sequence[str] | None = None,
    target: RoleName = None,
    weight: RoleName = None,
    missing: str = "raise",
    storage_options: StorageOptions | None = None,
    columns: Columns | None = None,
) -> Dataset:
    """Open a group of Zarr, version 2 or 3, by its place, as `ooc.objects.opening.open` does.

    Raises
    ------
    InputError
        Where that one does.

    Examples
    --------
    >>> dataset = open(example_dataset)
    >>> dataset.rows, dataset.arrays["X"].shape, dataset.target
    (1000, (1000, 3), 'y')
    """
    if isinstance(path, Place):
        place = path
    elif str(path).startswith((f"{IN_HAND}://", f"{IN_HAND}:/")):
        raise InputError(
            f"{path} was an object in the hands of another process, or of this one; open that "
            "object again, and give the dataset"
        )
    else:
        place = Place(checked_path(path, storage_options), storage_options)
    path = place.path
    if missing not in MISSING_CHUNKS:
        raise InputError(f"missing is one of {', '.join(MISSING_CHUNKS)}, not {missing!r}")
    for role, given in (("target", target), ("weight", weight)):
        if not isinstance(given, str | None) and given is not False:
            raise InputError(f"{role} is the name of an array, or False for none, not {given!r}")
    with opened(place) as group:
        choices = _choices_in(group, features, columns)
        is_joined = len(choices) > 1 or choices[0].columns is not None
        chosen = tuple(each.name for each in choices)
        wanted = {*chosen, target or "y", weight or "weight"}
        attributes = attributes_of(group)
        members = members_of(place, group, wanted)
        check_whole(path, group, members)
        named = members.get(target or "y")
        if named is not None and named.is_categorical:
            # What a column of categories stands for is in its codes.
            codes = f"{named.name}/codes"
            members |= members_of(place, group, wanted | {codes})
            target = codes if target is not False else False
        if is_joined:
            check_dense(path, [members[name] for name in chosen if name in members])
        sparse = None if is_joined else sparse_spec(path, members.get(chosen[0]), spec_of)
    if sparse is not None:
        members[sparse.name] = Member(sparse.name, sparse_rows=sparse.shape[0])
    listed = coordinates_in(attributes)
    roles = find_roles(path, members, listed, chosen if features else (), target, weight)
    main = members[roles["features"]]
    aligned: dict[str, ArraySpec] = {}
    unused = {}
    for name, member in members.items():
        reads_text = member.is_text and name == roles["target"]
        reason = "" if reads_text else member.reason
        reason = f"it {reason}" if reason else why_apart(main, member)
        if reason:
            unused[name] = reason
        elif sparse is not None and name == sparse.name:
            aligned[name] = sparse
        elif member.array is not None:
            aligned[name] = spec_of(member, member.array)
    if is_joined:
        roles["features"] = text_of(choices)
        aligned[roles["features"]] = _joined(place, choices, aligned)
    found = Dataset(
        path,
        aligned,
        **roles,
        attributes=attributes,
        missing=missing,
        storage_options=place.storage_options,
        store=place.store,
        inside=place.inside,
        unused=unused,
    )
    (spec, *_) = found.specs(tuple(name for name in found.roles if name is not None))
    if spec.shape[0] == 0:
        raise InputError(f"array {spec.name} of {path} is empty: its shape is {spec.shape}")
    return found


def _choices_in(
    group: zarr.Group, features: str | Sequence[str] | None, columns: Columns | None
) -> tuple[ArrayChoice, ...]:
    """Return what features are made of; a text may be an array's own name, too."""
    if isinstance(features, str) and columns is None:
        is_text = features and text_of([ArrayChoice(features)]) != features
        if is_text and member_of(group, features) is not None:
            return (ArrayChoice(features),)
    return read_choices(features, columns, USUAL_NAMES[FEATURES])


def _joined(
    place: Place, choices: Sequence[ArrayChoice], arrays: Mapping[str, ArraySpec]
) -> ArraySpec:
    """Describe what features are made of as one array."""
    parts = []
    for choice in choices:
        part = Part(arrays[choice.name])
        if part.spec.problem is not None:
            raise InputError(
                f"array {choice.name} of {place.path} cannot be decoded: {part.spec.problem}"
            )
        if choice.columns is not None:
            with opened(place) as group:
                names = column_names(group, choice.name, part.stored_width)
            what = f"array {choice.name} of {place.path}"
            places = places_of(what, choice.columns, part.stored_width, names)
            part = Part(part.spec, places)
        parts.append(part)
    return joined(text_of(choices), parts)


def with_array(dataset: Dataset, name: str) -> tuple[Dataset, str]:
    """Return a dataset that has an array of a group in its group, too, and what it is called.

    Of a column of categories, such as AnnData's "obs/donor", those are its codes.

    Raises
    ------
    InputError
        If there is none of this name, or its rows cannot be read beside the others.
    """
    if name in dataset.arrays or "/" not in name or dataset.held:
        dataset.specs((name,))
        return dataset, name
    if dataset.stores is not None:
        found_in = [with_array(part, name) for part in dataset.parts]
        specs = [part.arrays[own] for part, own in found_in]
        both = {**dataset.arrays, specs[0].name: stacked(specs, dataset.stores)}
        return replace(dataset, arrays=both), specs[0].name
    found = opened_member(dataset.place, name)
    if found is not None and found.is_categorical:
        name = f"{name}/codes"
        found = opened_member(dataset.place, name)
    if found is None:
        raise InputError(f"{dataset.path} has no array {name!r}; check its name")
    if found.array is None or found.reason:
        raise InputError(f"{name} of {dataset.path} {found.reason}; {found.remedy}")
    spec = dataset.arrays[dataset.features].beside(spec_of(found, found.array))
    if spec.shape[:1] != (dataset.stored_rows,):
        raise InputError(
            f"array {name} of {dataset.path} has shape {spec.shape}, and {dataset.features} has "
            f"{dataset.stored_rows} rows; every array needs one entry a row"
        )
    return replace(dataset, arrays={**dataset.arrays, name: spec}), name


def open_zarr_array(dataset: Dataset, name: str) -> zarr.Array:
    """Open one array of a dataset for reading."""
    member = opened_member(dataset.place, name)
    if member is None or member.array is None:
        reason = "is not there" if member is None else member.reason
        raise InputError(f"array {name} of {dataset.path} {reason}; open it again")
    known, array = dataset.arrays.get(name), member.array
    if known is not None and (known.shape, known.chunks) != (array.shape, array.chunks):
        raise InputError(
            f"array {name} of {dataset.path} has shape {array.shape} in chunks {array.chunks}, but "
            f"{known.shape} in {known.chunks} by what was known of it: it was written again, or "
            "consolidated metadata are older; consolidate them anew, and open it again"
        )
    return array


def check_one_store(dataset: Dataset, done: str) -> None:
    """Refuse several stores where only one can be dealt with."""
    if dataset.stores is not None:
        raise InputError(f"{dataset.path} are several stores; each is {done} by itself: name one")


def check_one_number_a_row(path: str, spec: ArraySpec) -> None:
    """Refuse an array that has more than one number a row."""
    if math.prod(spec.shape[1:]) != 1:
        raise InputError(
            f"array {spec.name} of {path} has shape {spec.shape}; it needs one number a row"
        )
