"""Roles of arrays are found by their names or by usual ones; what does not fit is said in whole."""

from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from ooc.core.errors import InputError
from ooc.store.member import Member
from ooc.store.roles import Roles, coordinates_in, find_roles, why_apart

NO_COORDINATES: frozenset[str] = frozenset()


def member(
    name: str, *shape: int, dimensions: Any = None, dtype: Any = "f4", **other: Any
) -> Member:
    attributes = other.pop("attributes", {})
    array = zarr.create_array(
        MemoryStore(), name=name, shape=shape, chunks=shape, dtype=dtype, attributes=attributes
    )
    return Member(name, array, dimensions, **other)


def roles_of(
    *members: Member,
    features: str | None = None,
    target: Any = None,
    weight: Any = None,
    coordinates: frozenset[str] = NO_COORDINATES,
) -> Roles:
    named = {each.name: each for each in members}
    return find_roles("a.zarr", named, coordinates, (features,) if features else (), target, weight)


X, Y, W, Z = member("X", 9, 3), member("y", 9), member("weight", 9), member("z", 9, 1)
TEXT = member("y", 9, dtype=np.dtypes.StringDType(), reason="has dtype T", remedy="convert it")
SPARSE = Member("X", sparse_rows=9)


@pytest.mark.parametrize(
    ("members", "asked", "found", "guessed"),
    [
        ((X, Y, W), {}, ("X", "y", "weight"), ("features", "target", "weight")),
        ((X, Z), {}, ("X", None, None), ("features",)),
        ((X, Y, W), {"features": "X"}, ("X", "y", "weight"), ("target", "weight")),
        ((X, Y, W), {"target": False}, ("X", None, "weight"), ("features", "weight")),
        ((X, Y, W), {"weight": False}, ("X", "y", None), ("features", "target")),
        ((X, Y, W, Z), {"target": "z"}, ("X", "z", "weight"), ("features", "weight")),
        ((X, Y, W, Z), {"weight": "z"}, ("X", "y", "z"), ("features", "target")),
        ((X, Y, W), {"features": "y"}, ("y", None, "weight"), ("weight",)),
        ((X, Y, W), {"features": "weight"}, ("weight", "y", None), ("target",)),
        ((X, Y), {"features": "X", "target": "X"}, ("X", "X", None), ()),
        ((member("X", 9, dimensions=("X",)),), {"features": "X"}, ("X", None, None), ()),
        ((X, TEXT), {}, ("X", "y", None), ("features", "target")),
        ((SPARSE, Y), {}, ("X", "y", None), ("features", "target")),
    ],
)
def test_roles_that_nobody_named_are_guessed_and_told(
    members: tuple[Member, ...], asked: dict[str, Any], found: Any, guessed: tuple[str, ...]
) -> None:
    roles = roles_of(*members, **asked)
    assert (roles["features"], roles["target"], roles["weight"]) == found
    assert (roles["guessed"], roles["passed_over"]) == (guessed, {})


def test_what_has_a_usual_name_may_not_play_its_role() -> None:
    bad = member("y", 9, reason="has no axes", remedy="rows are along axis 0")
    assert roles_of(X, bad)["passed_over"] == {"target": "y has no axes"}
    axis = member("y", 9, dimensions=("y",))
    assert roles_of(X, axis)["passed_over"] == {"target": "y is a coordinate"}
    listed = roles_of(X, Y, W, coordinates=frozenset({"weight"}))
    assert listed["passed_over"] == {"weight": "weight is a coordinate"}
    assert (listed["target"], listed["weight"]) == ("y", None)
    noted = member("X", 9, 3, attributes={"coordinates": "weight  y"})
    both = {"target": "y is a coordinate", "weight": "weight is a coordinate"}
    assert roles_of(noted, Y, W)["passed_over"] == both
    # Text is a label and never a weight.
    text = Member("weight", TEXT.array, reason=TEXT.reason, remedy=TEXT.remedy)
    assert roles_of(X, text)["passed_over"] == {"weight": "weight has dtype T"}
    # Whoever names it has it.
    assert roles_of(X, axis, target="y")["target"] == "y"
    assert roles_of(X, axis, target=False)["passed_over"] == {}
    assert coordinates_in({"coordinates": ["a"]}) == coordinates_in({}) == NO_COORDINATES


ALONG_TIME = member("X", 9, 3, dimensions=("time", "band"))
REFUSED: list[tuple[tuple[Member, ...], dict[str, Any], str]] = [
    (
        (Y, Z), {},
        "a.zarr has no array 'X' for features; it has: y, z; name the right one with features=",
    ),
    (
        (X, TEXT), {"target": "w"},
        "a.zarr has no array 'w' for target; it has: X; name the right one with target=",
    ),
    ((), {}, "a.zarr has no array 'X' for features; it has: none; name the right one with "
     "features="),
    (
        (member("X", 9, dimensions=("X",)), Y), {},
        "array X of a.zarr is a coordinate, as its only dimension has its name; name the array of "
        "features with features=",
    ),
    ((X, TEXT), {"features": "y"}, "array y of a.zarr has dtype T; convert it"),
    ((X, TEXT), {"weight": "y"}, "array y of a.zarr has dtype T; convert it"),
    (
        (Member("X", group=zarr.create_group(MemoryStore()), reason="is a group", remedy="no"), Y),
        {}, "X of a.zarr is a group; no",
    ),
    (
        (ALONG_TIME, member("y", 9, dimensions=("station",))), {},
        "rows of array X of a.zarr are along 'time', those of y along 'station'; name a target "
        "along 'time', or leave it out with target=False (--no-target)",
    ),
    (
        (ALONG_TIME, member("y", 3, dimensions=("band",))), {"target": "y"},
        "rows of array X of a.zarr are along 'time', those of y along 'band'; store X with 'band' "
        "as its first dimension",
    ),
    (
        (X, Y, member("weight", 8)), {},
        "arrays of a.zarr differ along axis 0: X has 9 rows, weight has 8; every array needs one "
        "entry a row, or leave it out with weight=False (--no-weight)",
    ),
    (
        (X, member("y", 10)), {"target": "y"},
        "arrays of a.zarr differ along axis 0: X has 9 rows, y has 10; every array needs one entry "
        "a row",
    ),
    (
        (X, Member("y", sparse_rows=9)), {"target": "y"},
        "y of a.zarr is a sparse matrix and no target; name an array",
    ),
    (
        (X, Y, member("weight", 9, 2)), {},
        "array weight of a.zarr has shape (9, 2); it needs one number a row, or leave it out with "
        "weight=False (--no-weight)",
    ),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("members", "asked", "said"), REFUSED)
def test_what_does_not_fit_a_role_is_said_in_whole(
    members: tuple[Member, ...], asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        roles_of(*members, **asked)
    assert str(caught.value) == said


def test_a_weight_of_one_column_and_targets_of_several_fit() -> None:
    several = member("y", 9, 4)
    assert roles_of(X, several, member("weight", 9, 1, 1))["weight"] == "weight"


def test_rows_are_apart_by_their_dimension_or_their_number() -> None:
    time, same = ALONG_TIME, member("a", 9, dimensions=("time",))
    other = member("b", 9, dimensions=("place", "time"))
    assert why_apart(time, same) == why_apart(X, other) == why_apart(time, Y) == ""
    assert why_apart(time, other) == "its rows are along 'place', those of X along 'time'"
    assert why_apart(X, member("c", 8)) == "it has 8 rows, X has 9"
    assert why_apart(X, member("d")) == "it has no rows, X has 9"
    assert why_apart(SPARSE, Y) == "" and SPARSE.rows == 9
