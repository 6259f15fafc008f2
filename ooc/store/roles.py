"""Which arrays of a group are features, target and weight: named, or found by usual names.

What a store says of itself, by dimension names and coordinates, is honoured.
"""

import math
from collections.abc import Mapping
from typing import Literal, TypedDict

from ooc.core.errors import InputError
from ooc.store.member import Member

FEATURES, TARGET, WEIGHT = "features", "target", "weight"
USUAL_NAMES = {FEATURES: "X", TARGET: "y", WEIGHT: "weight"}

# The name of an array; None to look for the usual one; False for none at all.
RoleName = str | Literal[False] | None


class Roles(TypedDict):
    """The arrays that play a role, as `ooc.store.dataset.Dataset` takes them."""

    features: str
    target: str | None
    weight: str | None
    guessed: tuple[str, ...]
    passed_over: Mapping[str, str]


def find_roles(
    path: str,
    members: Mapping[str, Member],
    coordinates: frozenset[str],
    features: tuple[str, ...],
    target: RoleName,
    weight: RoleName,
) -> Roles:
    """Find the array of each role, none of the group's coordinates, and check that they fit.

    Parameters
    ----------
    coordinates
        Names of arrays that the group notes as coordinates.
    features
        Names of arrays that stand side by side; none for the usual one.
    target, weight
        Names of arrays; None for the usual names, and False for none at all.

    Raises
    ------
    InputError
        If a named array is missing or cannot be used, rows of two are along different
        dimensions, or the target is among several features.
    """
    guessed, passed_over = [] if features else [FEATURES], {}
    all_features = [
        _named(path, members, FEATURES, name) for name in features or (USUAL_NAMES[FEATURES],)
    ]
    main = all_features[0]
    if not features and main.is_coordinate:
        raise InputError(
            f"array {main.name} of {path} is a coordinate, as its only dimension has its name; "
            "name the array of features with features="
        )
    for other in all_features[1:]:
        _check_fits(path, main, other, FEATURES, guessed=False)
    for each in all_features:
        if each.array is not None:
            coordinates |= coordinates_in(each.array.metadata.attributes)
    found: dict[str, str | None] = {}
    for role, name in ((TARGET, target), (WEIGHT, weight)):
        found[role] = None if name is False else name
        if name is None and USUAL_NAMES[role] in members:
            member = members[USUAL_NAMES[role]]
            if why := _no_role(member, coordinates, role):
                passed_over[role] = why
            elif member.name in features and len(features) > 1:
                passed_over[role] = f"{member.name} is among the features"
            elif member.name != main.name:
                found[role] = member.name
                guessed.append(role)
        if (used := found[role]) is not None:
            if role == TARGET and used in features and len(features) > 1:
                raise InputError(
                    f"the target {used} is among the features, {', '.join(features)}, which would "
                    "tell it; leave it out there"
                )
            _check_fits(path, main, _named(path, members, role, used), role, role in guessed)
    return Roles(
        features=main.name,
        target=found[TARGET],
        weight=found[WEIGHT],
        guessed=tuple(guessed),
        passed_over=passed_over,
    )


def coordinates_in(attributes: Mapping[str, object]) -> frozenset[str]:
    """Return the names in the attribute "coordinates" of an array or a group, as CF has it.

    Examples
    --------
    >>> sorted(coordinates_in({"coordinates": "x y"}))
    ['x', 'y']
    """
    listed = attributes.get("coordinates")
    return frozenset(listed.split()) if isinstance(listed, str) else frozenset()


def why_apart(features: Member, other: Member) -> str:
    """Return why an array's rows are not those of the features; empty if they are."""
    ours, theirs = features.first_dimension, other.first_dimension
    if ours is not None and theirs is not None and ours != theirs:
        return f"its rows are along {theirs!r}, those of {features.name} along {ours!r}"
    if other.rows != features.rows:
        count = "no" if other.rows is None else other.rows
        return f"it has {count} rows, {features.name} has {features.rows}"
    return ""


def _named(path: str, members: Mapping[str, Member], role: str, name: str) -> Member:
    member = members.get(name)
    if member is None:
        usable = ", ".join(each.name for each in members.values() if not each.reason)
        raise InputError(
            f"{path} has no array {name!r} for {role}; it has: {usable or 'none'}; "
            f"name the right one with {role}="
        )
    if member.reason and not (role == TARGET and member.is_text):
        what = "array " if member.group is None else ""
        raise InputError(f"{what}{name} of {path} {member.reason}; {member.remedy}")
    return member


def _no_role(member: Member, coordinates: frozenset[str], role: str) -> str:
    """Return why an array is not taken for a role because of its name."""
    if member.reason and not (role == TARGET and member.is_text):
        return f"{member.name} {member.reason}"
    is_coordinate = member.is_coordinate or member.name in coordinates
    return f"{member.name} is a coordinate" if is_coordinate else ""


def _check_fits(path: str, features: Member, other: Member, role: str, guessed: bool) -> None:
    off = f", or leave it out with {role}=False (--no-{role})" if guessed else ""
    ours, theirs = features.first_dimension, other.first_dimension
    if ours is not None and theirs is not None and ours != theirs:
        remedy = f"name a {role} along {ours!r}"
        if theirs in (features.dimensions or ()):
            remedy = f"store {features.name} with {theirs!r} as its first dimension"
        raise InputError(
            f"rows of array {features.name} of {path} are along {ours!r}, those of {other.name} "
            f"along {theirs!r}; {remedy}{off}"
        )
    rows, others = features.rows, other.rows
    if rows != others:
        raise InputError(
            f"arrays of {path} differ along axis 0: {features.name} has {rows} rows, "
            f"{other.name} has {others}; every array needs one entry a row{off}"
        )
    if other.array is None:
        raise InputError(f"{other.name} of {path} is a sparse matrix and no {role}; name an array")
    if role == WEIGHT and math.prod(other.array.shape[1:]) != 1:
        raise InputError(
            f"array {other.name} of {path} has shape {other.array.shape}; it needs one number a "
            f"row{off}"
        )
