"""HDF5 by paths, with the attributes that JSON knows; and AnnData's files, which are of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csc_matrix, csr_matrix

from ooc.conversion.formats import Opening
from ooc.conversion.h5ad import H5adSource, open_h5ad
from ooc.conversion.hdf5 import Hdf5Source, json_value, open_hdf5, plain_attributes
from ooc.conversion.matrices import memory_of
from ooc.conversion.source import Texts
from ooc.conversion.sparse import SparseValues
from ooc.core.errors import DataError, InputError


def test_datasets_are_columns_by_their_paths(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["made"] = "by hand"
        x = file.create_dataset("g/x", data=np.arange(24.0).reshape(8, 3), chunks=(4, 2))
        x.attrs["units"] = "m"
        file["g/i"] = np.arange(8, dtype=">i2")
        file["w"] = ["u", "v"] * 4
        file["fixed"] = np.array([b"ab", b"c"] * 4)
        file["ww"] = [["u", "v"]] * 8
        file["s"] = np.zeros(8, [("a", "f4")])
        file["one"] = 3.0
        ragged = file.create_dataset("r", (8,), h5py.vlen_dtype(np.int32))
        ragged[0] = [1, 2]
    source = open_hdf5(tmp_path / "a.h5", Opening())
    assert source.attributes == {"made": "by hand"}
    assert set(source.columns) == {"g/x", "g/i", "w", "fixed"}
    assert source.skipped == {
        "ww": "it holds texts in rows of no fixed size",
        "r": "it holds values of no fixed size",
        "s": "its values are structures; write their fields as arrays of their own",
        "one": "it has no axes: it is one number, and no rows",
    }
    assert source.columns["g/x"].attributes == {"units": "m"}
    assert (source.unit_rows("g/x"), source.unit_rows("g/i"), source.rows) == (4, 1, 8)
    assert_array_equal(source.read("g/x", 3, 7), np.arange(24.0).reshape(8, 3)[3:7])
    found = source.read("g/i", 2, 5)
    assert isinstance(found, np.ndarray) and found.dtype.isnative
    assert_array_equal(found, [2, 3, 4])
    for name, words in (("w", ["v", "u"]), ("fixed", ["c", "ab"])):
        texts = source.read(name, 1, 3)
        assert isinstance(texts, Texts) and texts.values == words and texts.codes.tolist() == [0, 1]
    assert (source.columns["w"].was, source.columns["w"].may_lack) == ("text", True)


def test_attributes_are_those_that_json_knows() -> None:
    given = {
        "CLASS": b"DIMENSION_SCALE", "DIMENSION_LIST": [1], "word": b"\xc3\xbc", "n": np.int16(3),
        "range": np.array([0.5, np.nan]), "truth": np.bool_(True), "words": ["a", "b"],
        "deep": [[1]], "none": None, "low": -np.inf, "high": np.float32(np.inf),
    }  # fmt: skip
    assert plain_attributes(given) == {
        "word": "ü", "n": 3, "range": [0.5, "NaN"], "truth": True, "words": ["a", "b"],
        "low": "-Infinity", "high": "Infinity",
    }  # fmt: skip
    assert json_value(2.5) == 2.5


class Broken:
    """A dataset of which nothing can be read."""

    dtype, chunks = np.dtype("f8"), None

    def read_direct(self, *parts: Any) -> None:
        raise OSError("it is broken")


def test_rows_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros((8, 2))
    whole = open_hdf5(tmp_path / "a.h5", Opening())
    source = Hdf5Source(tmp_path / "a.h5", whole.file, whole.columns, {})
    source.file = {"x": Broken()}
    with pytest.raises(DataError) as caught:
        source.read("x", 3, 6)
    assert str(caught.value) == (
        f"rows 3 to 5 of x in {tmp_path}/a.h5 cannot be read: it is broken; restore the file from "
        "its source"
    )


def read_elem(node: Any) -> Any:
    """Return an element as anndata does, whose import takes seconds."""
    kind = node.attrs.get("encoding-type", "array")
    if kind == "categorical":
        names = [each.decode() for each in node["categories"][:]]
        return pd.Categorical.from_codes(node["codes"][:], names)
    if kind == "nullable-integer":
        return pd.arrays.IntegerArray(node["values"][:], node["mask"][:])
    values = node[:]
    return np.array([each.decode() for each in values], object) if values.dtype == "O" else values


@pytest.fixture(autouse=True)
def _anndata(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = SimpleNamespace(read_elem=read_elem)
    monkeypatch.setattr("ooc.conversion.h5ad.importing", lambda package: stand_in)


X = np.array([[0, 1.5, 0, 2], [3, 0, 0, 0], [0, 0, 4, 0]], np.float32)


def add_sparse(file: Any, name: str, values: np.ndarray, kind: str = "csr_matrix") -> None:
    rows = (csc_matrix if kind.startswith("csc") else csr_matrix)(values)
    group = file.create_group(name)
    group.attrs.update({"encoding-type": kind, "shape": values.shape})
    for part in ("data", "indices", "indptr"):
        group[part] = getattr(rows, part)


def cells(path: Path, **changes: Any) -> None:
    """Write a file of AnnData's, by its description of the format."""
    with h5py.File(path, "w") as file:
        if "x" in changes:
            add_sparse(file, "X", changes["x"], changes.get("kind", "csr_matrix"))
        else:
            file["X"] = X
        file["obs/_index"] = ["c0", "c1", "c2"]
        file["obs"].attrs["_index"] = "_index"
        file["var/_index"] = [f"g{i}" for i in range(changes.get("genes", 4))]
        file["var"].attrs["_index"] = "_index"
        kind = file.create_group("obs/kind")
        kind.attrs["encoding-type"] = "categorical"
        kind["categories"], kind["codes"] = ["T", "B"], np.array([1, -1, 0], np.int8)
        size = file.create_group("obs/size")
        size.attrs["encoding-type"] = "nullable-integer"
        size["values"], size["mask"] = np.array([7, 8, 9]), np.array([False, True, False])
        file["obs/who"] = ["x", "y", "x"]
        file["obs/score"] = np.array([0.5, 1.5, 2.5], np.float32)
        file["obs/__categories"] = np.zeros(3)
        file["obsm/pca"] = np.arange(6.0).reshape(3, 2)
        file.create_group("obsm/table")
        add_sparse(file, "layers/raw", X)
        add_sparse(file, "layers/by_gene", X, "csc_matrix")
        for name in changes.get("doubled", ()):
            file[f"obs/{name}"] = np.zeros(3)


def opened(path: Path, **options: Any) -> H5adSource:
    return open_h5ad(path, Opening(**options))


def test_an_annotated_matrix_is_its_features_with_columns_beside(tmp_path: Path) -> None:
    cells(tmp_path / "a.h5ad")
    source = opened(tmp_path / "a.h5ad")
    names = {"X", "obsm/pca", "layers/raw", "layers/by_gene", "kind", "size", "who", "score"}
    assert set(source.columns) == names
    assert source.skipped == {"obsm/table": "it is a table or another group, and no matrix"}
    genes = ["g0", "g1", "g2", "g3"]
    assert [source.columns[name].names for name in ("X", "layers/raw")] == [genes, genes]
    assert list(source.columns["obsm/pca"].names) == []
    kind, size = source.columns["kind"], source.columns["size"]
    assert (kind.kind, kind.categories, kind.may_lack) == ("category", ["T", "B"], True)
    assert (size.kind, size.dtype) == ("number", np.float64)
    assert source.rows == 3 and source.attributes == {}
    for name, expected in (
        ("X", X), ("kind", [1, -1, 0]), ("size", [7, np.nan, 9]),
        ("score", [0.5, 1.5, 2.5]), ("obsm/pca", np.arange(6.0).reshape(3, 2)),
    ):  # fmt: skip
        found = source.read(name, 1, 3)
        assert isinstance(found, np.ndarray)
        assert_array_equal(found, np.asarray(expected)[1:])
    rows = source.read("layers/raw", 1, 3)
    assert isinstance(rows, SparseValues)
    assert_array_equal(rows.toarray(), X[1:])
    who = source.read("who", 1, 3)
    assert isinstance(who, Texts) and (who.values, who.codes.tolist()) == (["y", "x"], [0, 1])
    # Columns are in memory: pointers and what they point to, codes of one byte, two of numbers.
    matrices = memory_of(source.matrices.values())
    assert source.held_bytes - matrices == 10 * 3 * 8 + 3 * 1 + 3 * 8 + 3 * 4
    rows = source.piece_rows(["X"])
    assert source.piece_bytes(["X"]) == 2 * rows * 16


def test_a_column_that_is_called_like_the_matrix_leaves_it_be(tmp_path: Path) -> None:
    cells(tmp_path / "a.h5ad", doubled=["X"])
    source = opened(tmp_path / "a.h5ad")
    assert_array_equal(source.read("X", 0, 3), X)
    assert source.skipped["obs/X"] == "X is the name of a matrix, too; rename the column"


def test_names_of_genes_are_those_of_the_columns_or_none(tmp_path: Path) -> None:
    cells(tmp_path / "a.h5ad", genes=5)
    assert list(opened(tmp_path / "a.h5ad").columns["X"].names) == []


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        opened(path, **options)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix"])
def test_sparse_rows_stay_so_unless_they_are_to_be_dense(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.h5ad"
    thin = np.zeros((3, 200), np.float32)
    thin[0, 7], thin[2, 199], thin[2, 3] = 5, 6, 7
    cells(path, x=thin, kind=kind)
    for dense in (False, True):
        source = opened(path, dense=dense, scratch=tmp_path)
        column = source.columns["X"]
        assert (column.shape, column.dtype, column.may_lack) == ((200,), np.float32, True)
        assert column.nonzeros == (None if dense else 3)
        piece = next(source.pieces(["X"], None))
        rows = piece.read()["X"]
        assert isinstance(rows, np.ndarray if dense else SparseValues)
        assert_array_equal(rows if dense else rows.toarray(), thin)  # type: ignore[union-attr]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.h5ad"
    with h5py.File(path, "w") as file:
        file["X"] = X
    assert refused(path) == f"{path} has no X and obs, which AnnData writes; name its format hdf5"
