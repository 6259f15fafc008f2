"""Members of a group are what their own metadata say, and what is wrong with one is said of it."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from ooc.core.errors import InputError
from ooc.store import members as members_module
from ooc.store.member import (
    Member,
    damage_of,
    declared_by,
    described,
    dimensions_of,
    encoding_of,
)
from ooc.store.members import member_of, members_of, opened, quiet
from ooc.store.place import Place

COLUMN = "write it as an array of numbers; of categories, name the array of their codes"
SPARSE = "name the whole matrix, in CSR, as features of the group that holds it"


def a_group(**attributes: Any) -> zarr.Group:
    return zarr.create_group(MemoryStore(), attributes=attributes)


def an_array(*shape: int, version: int = 3, name: str = "", **options: Any) -> zarr.Array:
    options = {"dtype": "f4", "chunks": shape or "auto", **options}
    return zarr.create_array(MemoryStore(), name=name, shape=shape, zarr_format=version, **options)


@pytest.mark.parametrize(
    ("attributes", "reason", "remedy"),
    [
        ({}, "is a group, not an array", "name an array"),
        ({"encoding-type": "dict"}, "is a group, not an array", "name an array"),
        ({"encoding-type": "csr_matrix"}, "is a group: a sparse matrix of AnnData (csr_matrix), "
         "which only features can be", SPARSE),
        ({"h5sparse_format": "csc"}, "is a group: a sparse matrix of AnnData (csc_matrix), "
         "which only features can be", SPARSE),
        ({"encoding-type": "categorical"}, "is a group: a categorical column of AnnData, not "
         "supported yet", COLUMN),
        ({"encoding-type": "nullable-boolean"}, "is a group: a column of AnnData with missing "
         "values (nullable-boolean), not supported yet", COLUMN),
        ({"encoding-type": "awkward-array"}, "is a group: an awkward array of AnnData, not "
         "supported yet", COLUMN),
        ({"encoding-type": "dataframe"}, "is a group: a table of AnnData (dataframe), whose "
         "columns are named by their paths", "name one of them"),
    ],
)  # fmt: skip
def test_groups_say_what_they_are(attributes: dict[str, Any], reason: str, remedy: str) -> None:
    group = a_group(**attributes)
    member = described("it", group)
    assert (member.reason, member.remedy) == (reason, remedy)
    assert member.array is None and member.group is group and member.rows is None
    assert member.is_categorical == (attributes.get("encoding-type") == "categorical")
    assert not member.is_text and member.first_dimension is None


CONVERT = "convert it to an integer or float dtype"


@pytest.mark.parametrize(
    ("array", "reason", "remedy"),
    [
        (an_array(4, 3), "", ""),
        (an_array(4, dtype="bool"), "", ""),
        (an_array(4, dtype="u8"), "", ""),
        (an_array(0, 3, chunks=(1, 3)), "", ""),
        (an_array(0, 3, chunks=(0, 3)), "", ""),
        (an_array(), "has no axes", "rows are along axis 0"),
        (an_array(4, 0, chunks=(4, 1)), "has rows without values, as its shape is (4, 0)",
         "name another array"),
        (an_array(4, dtype="c8"), "has dtype complex64, which is not a real number", CONVERT),
        (an_array(4, dtype="M8[s]"), "has dtype datetime64[s], which is not a real number",
         CONVERT),
    ],
)  # fmt: skip
def test_arrays_say_why_they_are_no_numbers(array: zarr.Array, reason: str, remedy: str) -> None:
    member = described("it", array)
    assert (member.reason, member.remedy) == (reason, remedy)
    assert member.rows == (array.shape[0] if array.shape else None)


def test_text_is_one_value_a_row() -> None:
    text = np.dtypes.StringDType()
    assert described("it", an_array(4, dtype=text)).is_text
    assert not described("it", an_array(4, 1, dtype=text)).is_text
    assert not described("it", an_array(4)).is_text
    assert not Member("it").is_text


def test_a_coordinate_has_the_name_of_its_only_dimension() -> None:
    for name, dimensions, is_one in (
        ("x", ("x",), True), ("a/x", ("x",), True), ("x", ("x", "y"), False), ("x", None, False),
        ("x", ("y",), False), ("x", (None,), False),
    ):  # fmt: skip
        assert Member(name, dimensions=dimensions).is_coordinate == is_one
    assert Member("x", dimensions=("a", "b")).first_dimension == "a"
    assert Member("x", dimensions=()).first_dimension is None


def test_names_of_dimensions_are_one_for_each_axis() -> None:
    assert dimensions_of(an_array(4, 3)) is None
    assert dimensions_of(an_array(4, 3, dimension_names=["a", None])) == ("a", None)
    noted = {"_ARRAY_DIMENSIONS": ["a", 5]}
    assert dimensions_of(an_array(4, 3, version=2, attributes=noted)) == ("a", "5")
    # Those of version 3 count before the attribute.
    both = an_array(4, 3, dimension_names=["c", "d"], attributes=noted)
    assert dimensions_of(both) == ("c", "d")
    for wrong in (["a"], ["a", "b", "c"], "ab", 7):
        array = an_array(4, 3, version=2, attributes={"_ARRAY_DIMENSIONS": wrong})
        with pytest.raises(ValueError) as caught:
            dimensions_of(array)
        assert str(caught.value) == f"2 axes have the dimension names {wrong!r}"


def test_codes_of_categories_say_what_they_are() -> None:
    old = described("kind", an_array(4, attributes={"categories": "__categories/kind"}))
    assert old.categories == "__categories/kind"
    for other in ("others", "a/__categories/kind", [1], None):
        assert described("kind", an_array(4, attributes={"categories": other})).categories == ""
    declared = {"missing_value": -1, "units": "codes of c"}
    array = an_array(4, attributes={"a": 1})
    assert declared_by(Member("k", array, categories="c")) == {**declared, "a": 1}
    own = an_array(4, attributes={"missing_value": -9, "units": "m"})
    assert declared_by(Member("k", own, categories="c")) == {"missing_value": -9, "units": "m"}
    assert declared_by(Member("k", array)) == {"a": 1}
    assert encoding_of(a_group(h5sparse_format="csr")) == "a sparse matrix of AnnData (csr_matrix)"


def test_what_is_too_large_to_be_true_is_refused() -> None:
    for shape, chunks, fits in (
        ((2**61 - 1,), (4,), True), ((2**61,), (4,), False), ((4,), (2**61,), False),
    ):  # fmt: skip
        array = an_array(*shape, chunks=chunks)
        if fits:
            assert described("it", array).reason == ""
            continue
        with pytest.raises(ValueError) as caught:
            described("it", array)
        assert str(caught.value) == f"shape {shape} and chunks {chunks} are too large"


def error_called(name: str, said: str) -> Exception:
    return type(name, (ValueError,), {})(said)


PICKLE = (
    "is encoded by pickle, which runs code of whoever wrote it, and is never read",
    "write it with another codec",
)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RecursionError("deep"), ("has metadata that cannot be used (nested too deeply)",
                                  "restore them from their source")),
        (KeyError("shape"), ("has metadata that cannot be used (shape)",
                             "restore them from their source")),
        (error_called("UnknownCodecError", "wonder"), (
            "needs a codec that is not installed (wonder)",
            "install the package that brings that codec")),
        (error_called("UnknownCodecError", "pickle"), PICKLE),
        (ValueError("no pickle"), ("has metadata that cannot be used (no pickle)",
                                   "restore them from their source")),
        (ValueError("{'object_codec_id': 'pickle'}"), PICKLE),
        (ValueError("Unknown chunk grid. Got hex"), (
            "is stored in a way that is not known (Unknown chunk grid. Got hex)",
            "write it in chunks of one shape")),
        (ValueError("No Zarr data type found"), (
            "has a dtype that is not known (No Zarr data type found)", CONVERT)),
    ],
)  # fmt: skip
def test_what_is_wrong_with_metadata_is_said_with_what_to_do(
    error: Exception, told: tuple[str, str]
) -> None:
    assert damage_of(error) == told


@pytest.mark.parametrize("before", [[], [{"name": "bytes"}]])
def test_pickle_of_version_3_is_never_read(tmp_path: Path, before: list[Any]) -> None:
    zarr.create_group(tmp_path / "a.zarr").create_array("X", data=np.ones((4, 2)))
    file = tmp_path / "a.zarr" / "X" / "zarr.json"
    codecs = [*before, {"name": "numcodecs.pickle", "configuration": {"protocol": 5}}]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"codecs": codecs}))
    with opened(Place(str(tmp_path / "a.zarr"))) as store:
        member = member_of(store, "X")
    assert member is not None and member.array is None
    assert (member.reason, member.remedy) == PICKLE


def test_members_are_found_by_their_paths(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("a/b/c", data=np.ones(4))
    group.create_group("kind", attributes={"encoding-type": "categorical"})
    group["kind"].create_array("codes", data=np.ones(4, "i1"))
    group["kind"].create_array("more", data=np.ones(4, "i1"))
    group.create_group("table", attributes={"encoding-type": "dataframe"})
    group["table"].create_array("column", data=np.ones(4))
    group.create_group("M", attributes={"encoding-type": "csr_matrix"})
    group["M"].create_array("data", data=np.ones(4))
    with opened(Place(str(tmp_path / "a.zarr"))) as store:
        whole = member_of(store, "a/b/c")
        assert whole is not None and whole.name == "a/b/c" and whole.rows == 4
        for name in ("b", "a/c", "a/b/c/d", "a/b/c/d/e"):
            assert member_of(store, name) is None
        for name in ("", "a//b", "/a", "a/", "a/./b", "a/../a", "a\\b"):
            found = member_of(store, name)
            assert found is not None and (found.reason, found.remedy) == (
                "is no name inside of the group", 'name an array like "obsm/X_pca"',
            )  # fmt: skip
        codes, more = member_of(store, "kind/codes"), member_of(store, "kind/more")
        assert codes is not None and (codes.reason, codes.categories) == ("", "kind/categories")
        assert more is not None and (more.reason, more.remedy) == (
            "is a part of a categorical column of AnnData and no rows", COLUMN,
        )  # fmt: skip
        part = member_of(store, "M/data")
        assert part is not None and (part.reason, part.remedy) == (
            "is a part of a sparse matrix of AnnData (csr_matrix) and no rows", SPARSE,
        )  # fmt: skip
        for name in ("kind/more", "M/data", "table/column"):
            kept = member_of(store, name, parts=True)
            assert kept is not None and kept.reason == "" and kept.rows == 4
        column = member_of(store, "table/column")
        assert column is not None and column.reason == ""
        named = members_of(Place(str(tmp_path / "a.zarr")), store, {"a/b/c", "X"})
        assert list(named) == ["M", "a", "a/b/c", "kind", "table"]


def test_a_member_that_cannot_be_opened_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr.create_group(tmp_path / "a.zarr").create_array("X", data=np.ones(4))

    def fail(*given: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(members_module, "described", fail)
    with opened(Place(str(tmp_path / "a.zarr"))) as store:
        found = member_of(store, "X")
    assert found is not None and (found.reason, found.remedy) == (
        "cannot be opened: Input/output error", "check the disk and the permissions",
    )  # fmt: skip
    # Behind a URL it may be the server that fails.
    with (
        pytest.raises(InputError, match="Input/output error"),
        opened(Place(in_memory(f"{tmp_path.name}-open"))) as store,
    ):
        member_of(store, "X")


def in_memory(name: str) -> str:
    """Write three arrays and consolidate what is said of them."""
    where = f"memory://{name}.zarr"
    group = zarr.create_group(where)
    for each in ("X", "y", "z"):
        group.create_array(each, data=np.ones(4), dimension_names=["n"])
    with quiet():
        zarr.consolidate_metadata(where)
    return where


def change(where: str, name: str, **changes: Any) -> None:
    """Change an array's own metadata, and not those that are consolidated."""
    import fsspec

    files = fsspec.filesystem("memory")
    path = f"{where.removeprefix('memory:/')}/{name}/zarr.json"
    files.pipe(path, json.dumps(json.loads(files.cat(path)) | changes).encode())


def read(where: str, wanted: set[str]) -> dict[str, Any]:
    with opened(Place(where)) as group:
        return {n: m.dimensions for n, m in members_of(Place(where), group, wanted).items()}


def test_consolidated_metadata_tell_of_what_nobody_wants(tmp_path: Path) -> None:
    where = in_memory(tmp_path.name)
    change(where, "z", dimension_names=["other"])
    change(where, "y", dimension_names=["new"])
    assert read(where, {"X", "y"}) == {"X": ("n",), "y": ("new",), "z": ("n",)}
    assert read(where, {"X", "y", "w"}) == {"X": ("n",), "y": ("new",), "z": ("n",)}
    assert read(where, {"X", "z"})["z"] == ("other",)


@pytest.mark.parametrize(
    "changes", [{"attributes": {"a": 1}}, {"shape": [3]}, {"data_type": "int64", "fill_value": 0}]
)
def test_consolidated_metadata_that_are_older_count_for_nothing(
    tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = in_memory(tmp_path.name + next(iter(changes)))
    zarr.open_group(where, mode="r+", use_consolidated=False).create_array("new", data=np.ones(4))
    change(where, "z", dimension_names=["other"])
    assert "new" not in read(where, {"X"})
    change(where, "X", **changes)
    assert read(where, {"X", "y"}) == {"X": ("n",), "new": None, "y": ("n",), "z": ("other",)}

    def fail(*given: object) -> None:
        raise OSError("no listing")

    # Where nothing is listed, they still tell which arrays there are.
    monkeypatch.setattr(members_module, "_listed", fail)
    assert read(where, {"X", "y"}) == {"X": ("n",), "y": ("n",), "z": ("other",)}


def test_hidden_files_and_folders_are_no_members(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("X", data=np.ones(4))
    (tmp_path / "a.zarr" / ".hidden").mkdir()
    (tmp_path / "a.zarr" / "notes.txt").write_text("x")
    (tmp_path / "a.zarr" / "X").rename(tmp_path / "a.zarr" / "Z")
    with opened(Place(str(tmp_path / "a.zarr"))) as store:
        assert list(members_of(Place(str(tmp_path / "a.zarr")), store, {"X"})) == ["Z"]


def test_only_remarks_of_zarr_are_passed_over() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with quiet():
            for kind in (
                zarr.errors.ZarrUserWarning, zarr.errors.UnstableSpecificationWarning,
                UserWarning, RuntimeWarning,
            ):  # fmt: skip
                warnings.warn("remark", kind, stacklevel=1)
    assert [each.category for each in seen] == [UserWarning, RuntimeWarning]
