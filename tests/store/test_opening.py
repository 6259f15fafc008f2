"""An opened group tells its rows, roles and what it leaves out, or is refused in whole."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import foreign

import ooc
from ooc.core.errors import InputError
from ooc.store.chunks import open_reader
from ooc.store.dataset import Dataset, check_one_number_a_row, open_zarr_array
from ooc.store.labels import Labels
from ooc.store.members import quiet
from ooc.store.selection import Selection

ROWS = 2000
ARRAYS: dict[str, Any] = {
    "X": np.ones((ROWS, 4, 5), "f4"), "y": np.ones((ROWS, 1), "i2"), "weight": np.ones(ROWS),
}  # fmt: skip


def small(path: Path, version: int = 3, **more: np.ndarray) -> zarr.Group:
    arrays = {**ARRAYS, **more}
    with quiet():
        foreign(path, version, **{name: {"data": data} for name, data in arrays.items()})
    return zarr.open_group(path, mode="r+")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    small(tmp_path / "a.zarr")
    return ooc.open(tmp_path / "a.zarr")


def test_a_dataset_says_what_it_is(dataset: Dataset) -> None:
    facts = {
        "path": dataset.path, "rows": "2,000", "features": "X float32 (4, 5)",
        "target": "y int16 (1,)", "weight": "weight float64", "decoded": "176 KiB",
    }  # fmt: skip
    assert dataset.facts() == facts
    side = replace(dataset, selection=Selection("row", 1, (5,), True, 1000), weight=None)
    facts |= {"rows": "1,000 of 2,000", "decoded": "87.9 KiB"}
    assert side.facts() == {name: said for name, said in facts.items() if name != "weight"}
    assert (side.rows, side.stored_rows, side.row_shape) == (1000, 2000, (4, 5))


def test_guesses_are_told_in_a_line(dataset: Dataset) -> None:
    assert dataset.describe_guesses() == (
        "roles by the names of arrays: features X, target y (--no-target for none), weight weight "
        "(--no-weight for none)"
    )
    passed = replace(dataset, guessed=("weight",), passed_over={"target": "y is a coordinate"})
    assert passed.describe_guesses() == (
        "roles by the names of arrays: weight weight (--no-weight for none), no target, as y is a "
        "coordinate"
    )
    assert replace(dataset, guessed=()).describe_guesses() == ""
    assert passed.no_targets == f"{dataset.path} has no targets, as y is a coordinate"
    assert dataset.no_targets == f"{dataset.path} has no targets"


def test_names_of_classes_are_those_of_the_target(dataset: Dataset) -> None:
    assert dataset.class_names == replace(dataset, target=None).class_names == ()
    labels = Labels(("no", "yes"), (-1, 1), np.dtype("i2"))
    arrays = {**dataset.arrays, "y": dataset.arrays["y"].labelled(labels)}
    named = replace(dataset, arrays=arrays)
    assert named.class_names == ("no", "yes")
    assert replace(named, target="weight").class_names == ()
    assert named.undecoded().arrays == dataset.arrays


def said(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def test_arrays_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group = small(path, when=np.ones(ROWS, "M8[s]"), bad=np.ones(ROWS, "i2"))
    group["bad"].attrs["scale_factor"] = 0
    dataset = ooc.open(path)
    assert [spec.name for spec in dataset.specs(("y", "X"))] == ["y", "X"]
    assert said(lambda: dataset.specs(("X", "z"))) == (
        f"{path} has no array 'z'; it has: X, bad, weight, y"
    )
    assert said(lambda: dataset.specs(("when",))) == (
        f"when of {path} cannot be used: it has dtype datetime64[s], which is not a real number"
    )
    refused = (
        f"array bad of {path} cannot be decoded: scale_factor is 0, which makes all values equal; "
        "correct it"
    )
    assert said(lambda: dataset.specs(("bad",))) == refused
    for role in ("features", "target", "weight"):
        roles: dict[str, Any] = {role: "bad"}
        assert said(lambda roles=roles: ooc.open(path, **roles)) == refused  # type: ignore[misc]
    check_one_number_a_row("here", dataset.arrays["y"])
    assert said(lambda: check_one_number_a_row("here", dataset.arrays["X"])) == (
        "array X of here has shape (2000, 4, 5); it needs one number a row"
    )


def test_what_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    assert said(lambda: ooc.open(path)) == (
        f"{path} does not exist; check the path, or make it with `ooc make`"
    )
    path.mkdir()
    assert said(lambda: ooc.open(path)) == (
        f"{path} is not a Zarr group: it holds no zarr.json or .zgroup of a group; name the folder "
        "of the group"
    )
    zarr.create_array(tmp_path / "b.zarr", shape=(3,), dtype="f4")
    assert said(lambda: ooc.open(tmp_path / "b.zarr")) == (
        f"{tmp_path / 'b.zarr'} is a Zarr array, and not a group of arrays; name the group that "
        "holds it, or move the array into one, which `zarr.create_group` makes"
    )
    small(tmp_path / "c.zarr")
    assert said(lambda: ooc.open(tmp_path / "c.zarr", missing="zero")) == (
        "missing is one of raise, fill, not 'zero'"
    )
    empty = {"data": np.ones((0, 2))}
    foreign(tmp_path / "d.zarr", 3, X=empty, y={"data": np.ones(0)})
    assert said(lambda: ooc.open(tmp_path / "d.zarr")) == (
        f"array X of {tmp_path / 'd.zarr'} is empty: its shape is (0, 2)"
    )
    (tmp_path / "c.zarr" / "zarr.json").write_bytes(b"[" * 100_000)
    assert said(lambda: ooc.open(tmp_path / "c.zarr")) == (
        f"the Zarr group {tmp_path / 'c.zarr'} has metadata that cannot be used (nested too "
        "deeply); restore them from their source"
    )


def test_parts_of_one_thing_are_no_rows(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    for name in ("data", "indices", "indptr"):
        group.create_array(name, data=np.ones(9))
    whole = "its arrays are parts of it and no rows"
    by_name = "name the whole matrix, in CSR, as features of the group that holds it"
    assert said(lambda: ooc.open(tmp_path / "a.zarr", "data")) == (
        f"{tmp_path / 'a.zarr'} is a sparse matrix: {whole}; {by_name}"
    )
    group.attrs["encoding-type"] = "csc_matrix"
    assert said(lambda: ooc.open(tmp_path / "a.zarr", "data")) == (
        f"{tmp_path / 'a.zarr'} is a sparse matrix of AnnData (csc_matrix): {whole}; {by_name}"
    )
    group.attrs["encoding-type"] = "nullable-integer"
    assert said(lambda: ooc.open(tmp_path / "a.zarr", "data")) == (
        f"{tmp_path / 'a.zarr'} is a column of AnnData with missing values (nullable-integer): "
        f"{whole}; write it as an array of numbers; of categories, name the array of their codes"
    )
    group.attrs["encoding-type"] = "dataframe"
    assert ooc.open(tmp_path / "a.zarr", "data").rows == 9
    # Two of the names are anybody's.
    del group.attrs["encoding-type"], group["indptr"]
    assert ooc.open(tmp_path / "a.zarr", "data").rows == 9


def test_what_lies_beside_the_rows_says_why_it_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group = small(path, short=np.ones(7), label=np.array(["a"] * ROWS, np.dtypes.StringDType()))
    for name, kind in (("table", "dataframe"), ("M", "csr_matrix"), ("kind", "categorical")):
        group.create_group(name, attributes={"encoding-type": kind})
    group.create_group("below")
    group.create_array("scalar", shape=(), dtype="f4")
    group.create_array("none", shape=(ROWS, 0), chunks=(9, 1), dtype="f4")
    group.create_array("time", data=np.ones(ROWS), dimension_names=["time"])
    text = "it has dtype StringDType(), which is not a real number"
    unused = {
        "M": "it is a group: a sparse matrix of AnnData (csr_matrix), which only features can be",
        "below": "it is a group, not an array",
        "kind": "it is a group: a categorical column of AnnData, not supported yet",
        "label": text,
        "none": f"it has rows without values, as its shape is ({ROWS}, 0)",
        "scalar": "it has no axes",
        "short": f"it has 7 rows, X has {ROWS}",
        "table": "it is a group: a table of AnnData (dataframe), whose columns are named by their "
        "paths",
    }
    dataset = ooc.open(path)
    assert dataset.unused == unused
    assert set(dataset.arrays) == {"X", "y", "weight", "time"}
    # Text is read where it is the target, and as labels.
    named = ooc.open(path, target="label")
    assert named.unused == {name: why for name, why in unused.items() if name != "label"}
    spec = named.arrays["label"]
    assert spec.labels is not None and spec.labels.is_text and spec.dtype == np.int64
    assert ooc.open(path, target="label").attributes == {}


def test_a_column_of_categories_is_its_codes(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group = small(path)
    column = group.create_group("obs/kind", attributes={"encoding-type": "categorical"})
    column.create_array("codes", data=np.where(np.arange(ROWS) == 5, -1, 1).astype("i1"))
    found = ooc.open(path, target="obs/kind")
    assert found.target == "obs/kind/codes"
    conventions = found.arrays["obs/kind/codes"].conventions
    assert conventions is not None
    assert conventions.describe() == "int8, missing -1, in codes of obs/kind/categories"
    assert found.arrays["obs/kind/codes"].dtype == conventions.decoded == np.float32
    # The usual name of a target is no matter where there is to be none.
    del group["y"]
    group.create_group("y", attributes={"encoding-type": "categorical"})
    group["y"].create_array("codes", data=np.ones(ROWS, "i1"))
    assert ooc.open(path, target=False).target is None
    assert ooc.open(path).target == "y/codes"


def test_how_a_group_was_opened_is_kept(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", attributes={"made": "here"})
    group.create_array("X", data=np.ones((1, 3)))
    found = ooc.open(tmp_path / "a.zarr", missing="fill")
    assert (found.rows, found.attributes, found.missing) == (1, {"made": "here"}, "fill")
    assert (ooc.open(tmp_path / "a.zarr").missing, found.storage_options) == ("raise", None)
    where = f"memory://{tmp_path.name}-kept.zarr"
    zarr.create_group(where).create_array("X", data=np.ones((2, 3)))
    options = {"use_listings_cache": False}
    assert ooc.open(where, storage_options=options).storage_options == options


def test_each_role_may_be_an_array_of_a_group(tmp_path: Path) -> None:
    group = small(tmp_path / "a.zarr")
    for name in ("a/x", "a/y", "b/w"):
        group.create_array(name, data=np.ones(ROWS))
    found = ooc.open(tmp_path / "a.zarr", "a/x", "a/y", "b/w")
    assert found.roles == ("a/x", "a/y", "b/w")
    assert set(found.arrays) == {"X", "y", "weight", "a/x", "a/y", "b/w"}


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", ["i2", "bool"])
def test_a_fill_value_means_a_missing_one_only_for_version_2_with_dimensions(
    tmp_path: Path, version: int, dtype: str
) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=version)
    for name, noted in (("X", {"_ARRAY_DIMENSIONS": ["row"]}), ("z", {})):
        group.create_array(name, data=np.ones(9, dtype), fill_value=0, attributes=noted)
    arrays = ooc.open(tmp_path / "a.zarr").arrays
    assert arrays["X"].declares_missing == (version == 2 and dtype == "i2")
    assert not arrays["z"].declares_missing and arrays["z"].problem is None


def test_an_array_is_opened_as_it_was_known(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group = small(path)
    dataset = ooc.open(path)
    known = replace(dataset.arrays["weight"], chunks=(7,))
    other = replace(dataset, arrays={**dataset.arrays, "weight": known})
    assert said(lambda: open_zarr_array(other, "weight")) == (
        f"array weight of {path} has shape (2000,) in chunks (2000,), but (2000,) in (7,) by what "
        "was known of it: it was written again, or consolidated metadata are older; consolidate "
        "them anew, and open it again"
    )
    assert said(lambda: open_zarr_array(dataset, "z")) == (
        f"array z of {path} is not there; open it again"
    )
    group.create_group("below")
    assert said(lambda: open_zarr_array(dataset, "below")) == (
        f"array below of {path} is a group, not an array; open it again"
    )
    assert open_zarr_array(dataset, "weight").shape == (ROWS,)
    group["weight"].attrs["said"] = "since"
    assert dict(open_zarr_array(dataset, "weight").attrs) == {"said": "since"}
    out = np.zeros(3)
    open_reader(dataset, "weight").read_runs([(4, 7)], out)
    assert out.tolist() == [1, 1, 1]


@pytest.mark.parametrize("role", ["target", "weight"])
@pytest.mark.parametrize("given", [["y"], 3, True])
def test_a_role_is_the_name_of_one_array(dataset: Dataset, role: str, given: object) -> None:
    with pytest.raises(InputError, match=f"{role} is the name of an array, or False for none, not"):
        ooc.open(dataset.path, **{role: given})
