"""What a copy is planned to keep: how each array is written, and why what is left out is."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zarr
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.core.errors import InputError
from ooc.store.beside import copy_beside, kept_attributes, why_not_beside
from ooc.store.chunks.general import ZarrReader
from ooc.store.copies import Copy, plan_copy
from ooc.store.dataset import Dataset
from ooc.store.member import Member, dimensions_of
from ooc.store.members import quiet

ROWS, MUCH = 60, 2**30
TEXTS = np.array(["x" + "é" * (number % 9) for number in range(ROWS)], np.dtypes.StringDType())


def small(path: Path, version: int = 3, **more: Any) -> zarr.Group:
    group = zarr.create_group(path, zarr_format=version)
    for name, data in {"X": np.ones((ROWS, 3), "f4"), **more}.items():
        with quiet():
            array = group.create_array(
                name, shape=data.shape, dtype=data.dtype, chunks=(7, *data.shape[1:])
            )
            array[...] = data
    return group


def planned(path: Path, most: int = MUCH, **roles: Any) -> Copy:
    with quiet():
        return plan_copy(ooc.open(path, **roles), most)


def test_arrays_of_rows_are_written_as_they_are_stored(tmp_path: Path) -> None:
    group = small(
        tmp_path / "a.zarr", big=np.ones((ROWS, 2, 4), ">f8"), when=np.ones(ROWS, "M8[s]"),
        text=TEXTS, several=TEXTS.repeat(2).reshape(ROWS, 2),
    )  # fmt: skip
    group["big"].attrs["scale_factor"] = 0.5
    group.create_array("named", data=np.ones((ROWS, 2)), dimension_names=["row", None])
    copy = planned(tmp_path / "a.zarr")
    assert copy.fields["named"].dimensions == ("row", None)
    assert copy.left_out == {} and copy.beside == () and copy.groups == ()
    assert {name: field.shape for name, field in copy.fields.items()} == {
        "X": (3,), "big": (2, 4), "named": (2,), "several": (2,), "text": (), "when": (),
    }  # fmt: skip
    big = copy.fields["big"]
    assert (big.dtype, dict(big.attributes), big.fill_value) == (
        np.dtype("f8"), {"scale_factor": 0.5}, 0,
    )  # fmt: skip
    # The longest has 17 bytes, behind four for its length; fours are whole.
    assert copy.widths == {"several": 24, "text": 24}
    assert copy.fields["text"].value_bytes == 24
    assert copy.dataset.arrays["text"].chunks == (7, 24)
    assert copy.dataset.arrays["several"].shape == (ROWS, 2, 24)
    each = 192 + 4 * 24
    assert copy.object_bytes == {"text": each, "several": 2 * each}
    assert copy.dataset.arrays["when"].dtype == np.dtype("M8[s]")


def test_strings_are_read_chunk_by_chunk_as_they_are_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(tmp_path / "a.zarr", text=TEXTS)
    whole, runs = ZarrReader.read_runs, list[tuple[int, int]]()

    def read(self: Any, wanted: Any, out: np.ndarray, bad: Any = None) -> None:
        runs.extend(wanted)
        whole(self, wanted, out, bad)

    monkeypatch.setattr(ZarrReader, "read_runs", read)
    copy = planned(tmp_path / "a.zarr")
    assert runs == [(first, min(first + 7, ROWS)) for first in range(0, ROWS, 7)]
    runs.clear()
    out = np.zeros((25, copy.widths["text"]), np.uint8)
    with quiet():
        copy.reader(copy.dataset, "text", "auto")([(5, 20), (50, 60)], out)
        found = copy.for_writer("text", out)
    assert found.tolist() == TEXTS[np.r_[5:20, 50:60]].tolist()
    assert runs == [(5, 7), (7, 14), (14, 20), (50, 56), (56, 60)]
    numbers = np.zeros((4, 3), "f4")
    copy.reader(copy.dataset, "X", "auto")([(0, 4)], numbers)
    assert copy.for_writer("X", numbers) is numbers and numbers.all()


SPARSE = "it is a sparse matrix of AnnData (csr_matrix), whose rows cannot be put in order"
AWKWARD = "it is an awkward array of AnnData, whose rows cannot be put in order"


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"encoding-type": "csr_matrix", "shape": [ROWS, 5]}, SPARSE),
        ({"encoding-type": "csr_matrix", "shape": [5, ROWS]}, SPARSE),
        ({"encoding-type": "csr_matrix", "shape": [5, 6]}, ""),
        ({"h5sparse_format": "csr", "h5sparse_shape": [ROWS, 5]}, SPARSE),
        ({"encoding-type": "csr_matrix"}, SPARSE),
        ({"encoding-type": "awkward-array", "length": ROWS}, AWKWARD),
        ({"encoding-type": "awkward-array", "length": 5}, ""),
        ({"encoding-type": "dataframe", "length": ROWS}, ""),
        ({"shape": [ROWS, 5]}, ""),
    ],
)
def test_a_group_whose_rows_cannot_be_put_in_order_is_left_out_with_all_in_it(
    tmp_path: Path, attributes: dict[str, Any], why: str
) -> None:
    group = small(tmp_path / "a.zarr")
    group.create_group("M", attributes=attributes).create_array("data", data=np.ones(5))
    copy = planned(tmp_path / "a.zarr")
    assert copy.left_out == ({"M": why} if why else {})
    assert (copy.groups, copy.beside) == (((), ()) if why else (("M",), ("M/data",)))


def test_a_matrix_without_a_mark_is_known_by_its_parts(tmp_path: Path) -> None:
    group = small(tmp_path / "a.zarr")
    for name in ("data", "indices", "indptr"):
        group.create_array(f"M/{name}", data=np.ones(5))
    group["M"].attrs["shape"] = [ROWS, 5]
    said = "it is a sparse matrix, whose rows cannot be put in order"
    assert planned(tmp_path / "a.zarr").left_out == {"M": said}


def test_what_cannot_be_written_is_left_out_and_says_why(tmp_path: Path) -> None:
    long = TEXTS.copy()
    long[17] = "x" * (64 * 2**10 - 4)
    longer = TEXTS.copy()
    longer[59] = "x" * (64 * 2**10 - 3)
    group = small(tmp_path / "a.zarr", long=long, longer=longer)
    group.create_group("obs", attributes={"encoding-type": "dataframe"})
    group.create_array("obsp/near", data=np.ones((ROWS, ROWS), "f4"))
    copy = planned(tmp_path / "a.zarr")
    assert copy.widths == {"long": 64 * 2**10}
    assert copy.left_out == {
        "longer": "one of its values has 64.0 KiB, over 64.0 KiB",
        "obsp/near": "its columns, too, are rows of the data, and they would not be put in order",
    }
    # Seven strings of a chunk are 192 bytes each before they are read.
    few = planned(tmp_path / "a.zarr", 7 * 192 - 1)
    said = "a chunk of its strings takes 1.31 KiB or more, but 1.31 KiB are left"
    assert few.left_out["long"] == few.left_out["longer"] == said
    assert "long" not in planned(tmp_path / "a.zarr", 7 * 192).left_out
    none = planned(tmp_path / "a.zarr", -5)
    assert none.left_out["long"].endswith("or more, but 0 B are left")


def test_a_dtype_that_nobody_writes_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(tmp_path / "a.zarr", number=np.ones(ROWS, "i2"))
    monkeypatch.setattr("ooc.store.copies.FIXED_KINDS", "f")
    assert planned(tmp_path / "a.zarr").left_out == {"number": "its dtype int16 cannot be written"}
    monkeypatch.undo()

    def fail(group: Any, name: str, field: Any, *sizes: int) -> None:
        if field.dtype == np.int16:
            raise TypeError("odd")

    monkeypatch.setattr("ooc.store.copies.create_array", fail)
    assert planned(tmp_path / "a.zarr").left_out == {"number": "it cannot be written: odd"}


def test_names_of_anndata_mean_nothing_in_other_stores(tmp_path: Path) -> None:
    group = small(tmp_path / "a.zarr")
    for name in ("obsp/near", "var/mean", "uns"):
        group.create_array(name, data=np.ones((ROWS, 2)))
    assert set(planned(tmp_path / "a.zarr").fields) == {"X", "obsp/near", "uns", "var/mean"}
    group.create_group("obs", attributes={"encoding-type": "dataframe"})
    copy = planned(tmp_path / "a.zarr")
    assert set(copy.fields) == {"X"} and set(copy.left_out) == {"obsp/near"}
    assert copy.beside == ("uns", "var/mean")
    # Among columns it is the others that stay.
    assert "var/mean" in planned(tmp_path / "a.zarr", features="uns").fields


def test_what_codes_mean_is_no_row(tmp_path: Path) -> None:
    group = small(tmp_path / "a.zarr")
    group.create_group("kind", attributes={"encoding-type": "categorical"})
    group.create_group("other")
    for name in ("kind/codes", "kind/categories", "__categories/old", "other/categories"):
        group.create_array(name, data=np.arange(ROWS))
    group.create_array("empty", shape=(ROWS, 0), chunks=(7, 1), dtype="f4")
    copy = planned(tmp_path / "a.zarr")
    assert set(copy.fields) == {"X", "kind/codes", "other/categories"}
    assert set(copy.beside) == {"kind/categories", "__categories/old", "empty"}


def test_sparse_features_are_refused(tmp_path: Path) -> None:
    write_sparse(tmp_path / "a.zarr", random_matrix(30, 5))
    with pytest.raises(InputError) as caught:
        planned(tmp_path / "a.zarr")
    assert str(caught.value) == (
        f"X of {tmp_path / 'a.zarr'} is a sparse matrix, and no copy of it in another order can be "
        "made yet; shuffle it where it was written"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda group: group.create_array("M", shape=(5, 2**12), dtype="f8", chunks=(2, 2**12)),
         "a chunk of it takes 192 KiB to copy, but 100 KiB are left"),
        (lambda group: group.create_array("M", shape=(5, 2**11), dtype="f8", chunks=(2, 2**11)),
         None),
    ],
)  # fmt: skip
def test_a_chunk_that_is_too_large_to_copy_is_left(
    tmp_path: Path, change: Callable[[zarr.Group], Any], said: str | None
) -> None:
    """Of version 3, and a folder, files are copied as they are."""
    for version in (2, 3):
        path = tmp_path / f"{version}.zarr"
        change(small(path, version))
        copy = planned(path, 100 * 2**10)
        assert copy.left_out == ({"M": said} if said and version == 2 else {})


def test_memory_to_copy_counts_three_times_a_chunk(tmp_path: Path) -> None:
    small(tmp_path / "a.zarr", 2)
    source = ooc.open(tmp_path / "a.zarr")
    array = zarr.create_array(
        tmp_path / "b.zarr", shape=(10,), dtype="f8", chunks=(4,), zarr_format=2
    )
    member = Member("b", array)
    assert why_not_beside(member, 3 * 4 * 8, source) == ""
    assert why_not_beside(member, 3 * 4 * 8 - 1, source).startswith("a chunk of it takes 96 B to")
    assert why_not_beside(Member("b", None, reason="is gone"), MUCH, source) == "it is gone"
    sharded = zarr.create_array(
        tmp_path / "c.zarr", shape=(40,), dtype="f8", chunks=(4,), shards=(8,)
    )
    away: Any = SimpleNamespace(path="memory://a")
    assert why_not_beside(Member("c", sharded), 3 * 8 * 8, away) == ""
    assert why_not_beside(Member("c", sharded), 3 * 8 * 8 - 1, away) != ""


@pytest.mark.parametrize(
    ("version", "dtype", "fill", "noted", "kept"),
    [
        (2, "i2", -9, {"_ARRAY_DIMENSIONS": ["n"], "a": 1}, {"a": 1, "_FillValue": -9}),
        (2, "u1", 0, {"_ARRAY_DIMENSIONS": ["n"]}, {"_FillValue": 0}),
        (2, "f4", 1.0, {"_ARRAY_DIMENSIONS": ["n"]}, {"_FillValue": "AAAAAAAA8D8="}),
        (2, "i2", -9, {"a": 1}, {"a": 1}),
        (2, "i2", None, {"_ARRAY_DIMENSIONS": ["n"]}, {}),
        (2, "bool", True, {"_ARRAY_DIMENSIONS": ["n"]}, {}),
        (2, "i2", -9, {"_ARRAY_DIMENSIONS": ["n"], "_FillValue": 4}, {"_FillValue": 4}),
        (3, "i2", -9, {"_ARRAY_DIMENSIONS": ["n"], "a": 1}, {"a": 1}),
    ],
)
def test_attributes_say_in_version_3_what_they_said(
    version: int, dtype: str, fill: Any, noted: dict[str, Any], kept: dict[str, Any]
) -> None:
    array = zarr.create_array(
        {}, shape=(5,), dtype=dtype, fill_value=fill, zarr_format=version, attributes=noted
    )
    assert kept_attributes(Member("a", array)) == kept
    assert dict(array.attrs) == noted


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("remote", [False, True])
def test_what_lies_beside_is_copied_cell_by_cell(
    tmp_path: Path, version: int, remote: bool
) -> None:
    where: Any = f"memory://{tmp_path.name}{version}.zarr" if remote else tmp_path / "a.zarr"
    group = small(where, version)
    shards = {"shards": (4, 6)} if version == 3 else {}
    named = {"dimension_names": ["a", "b"]} if version == 3 else {}
    noted = {"_ARRAY_DIMENSIONS": ["a", "b"]} if version == 2 else {}
    deep = group.create_array(
        "below/deep", shape=(7, 8), chunks=(2, 3), dtype="i4", fill_value=5,
        attributes={"k": [1], **noted}, **shards, **named,
    )  # fmt: skip
    values = np.arange(56).reshape(7, 8)
    deep[:] = values
    deep[4:] = 5
    group["below"].attrs["said"] = "yes"
    (tmp_path / "new").mkdir()
    zarr.create_group(tmp_path / "new" / "b.zarr").create_array("below/deep", data=np.ones(3))
    source: Dataset = ooc.open(where)
    copy_beside(source, ["below"], ["below/deep"], tmp_path / "new" / "b.zarr")
    copy = zarr.open_group(tmp_path / "new" / "b.zarr", mode="r")
    found = copy["below/deep"]
    assert isinstance(found, zarr.Array)
    values[4:] = 5
    np.testing.assert_array_equal(found[...], values)
    assert (found.chunks, found.shards) == ((2, 3), (4, 6) if version == 3 else None)
    assert found.dtype == np.int32 and dimensions_of(found) == ("a", "b")
    assert dict(found.attrs) == {"k": [1], **({"_FillValue": 5} if version == 2 else {})}
    assert dict(copy["below"].attrs) == {"said": "yes"}
    stored = {file.relative_to(tmp_path / "new" / "b.zarr" / "below" / "deep" / "c").as_posix()
              for file in (tmp_path / "new").rglob("c/*/*")}  # fmt: skip
    rows = range(1) if version == 3 else range(2)
    assert stored == {f"{row}/{column}" for row in rows for column in range(2 if shards else 3)}
