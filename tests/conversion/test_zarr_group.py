"""Zarr and NetCDF: arrays as they are stored, and the one whose rows count."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import foreign
from numpy.testing import assert_array_equal

from ooc.conversion.formats import Opening, open_source
from ooc.conversion.netcdf import NetcdfSource, open_netcdf
from ooc.conversion.source import Texts
from ooc.conversion.zarr_group import ZarrSource, open_zarr
from ooc.core.errors import DataError, InputError


def opened(path: Path, **options: Any) -> ZarrSource:
    return open_zarr(path, Opening(**options))


X = np.arange(60, dtype=np.float32).reshape(20, 3)


def test_arrays_that_share_the_rows_of_x_are_columns(tmp_path: Path) -> None:
    path = foreign(
        tmp_path / "a.zarr", 2,
        X={"data": X, "chunks": (6, 2), "attributes": {"units": "m"}},
        big={"data": np.zeros((30, 9))}, when={"data": np.arange(20).astype("M8[D]")},
        z={"data": np.arange(20) * 1j, "chunks": (7,)},
    )  # fmt: skip
    source, name = open_source(path, None, Opening())
    assert name == "zarr" and isinstance(source, ZarrSource)
    assert {name: each.rows for name, each in source.columns.items()} == {
        "X": 20, "when": 20, "z": 20,
    }  # fmt: skip
    assert source.columns["X"].attributes["units"] == "m"
    assert source.columns["z"].kind == "other"
    assert (source.unit_rows("X"), source.unit_rows("z")) == (6, 7)
    assert_array_equal(source.read("X", 4, 15), X[4:15])
    assert_array_equal(source.read("z", 4, 15), np.arange(4, 15) * 1j)
    count, size, time = source.stamp()
    files = [each for each in path.rglob("*") if each.is_file()]
    assert count == len(files) and size == sum(each.stat().st_size for each in files)
    assert time == max(each.stat().st_mtime_ns for each in files)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("ooc.conversion.arrays.PIECE_BYTES", 12 * 13)
        (first, second) = source.pieces(["X"], None)
        assert (first.first, second.first) == (0, 12)
        assert_array_equal(second.read()["X"], X[12:])


def test_texts_and_odd_attributes_are_copied_or_told(tmp_path: Path) -> None:
    path = foreign(
        tmp_path / "a.zarr", 2, X={"data": X, "chunks": (6, 3)}, w={"data": np.array(["u"] * 20)}
    )
    group = zarr.open_group(path)
    group.create_array("word", shape=(20,), dtype="string", chunks=(7,))
    group["word"][:] = np.array(["ab", "c"] * 10, object)
    source = opened(path)
    assert {name: each.kind for name, each in source.columns.items()} == {
        "X": "number", "w": "other", "word": "other",
    }  # fmt: skip
    assert source.read("word", 3, 5).tolist() == ["c", "ab"]  # type: ignore[union-attr]
    assert source.read("w", 3, 5).tolist() == ["u", "u"]  # type: ignore[union-attr]
    written = source.columns["word"].written
    assert written is not None and written.variable
    # What a piece takes is at least its rows, and more of texts.
    rows = source.piece_rows(["X"])
    assert source.piece_bytes(["X"]) >= rows * 12
    assert source.piece_bytes(["X", "word"]) > source.piece_bytes(["X"])
    assert source.held_bytes >= 6 * 12


def test_the_main_array_is_the_named_one_or_x_or_the_largest(tmp_path: Path) -> None:
    path = foreign(
        tmp_path / "a.zarr", 2,
        small={"data": np.zeros((9, 2))}, long={"data": np.zeros(10)},
        large={"data": np.zeros((4, 5))},
    )  # fmt: skip
    assert set(opened(path).columns) == {"large"}
    assert set(opened(path, columns=("small",)).columns) == {"small"}
    assert set(opened(path, columns=("none", "long")).columns) == {"long"}
    zarr.open_group(path)["X"] = np.zeros((9, 1))
    assert set(opened(path).columns) == {"X", "small"}
    assert set(opened(path, columns=("long",)).columns) == {"long"}


def test_a_group_without_numbers_is_refused(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    with pytest.raises(InputError) as caught:
        opened(tmp_path / "a.zarr")
    assert str(caught.value) == f"{tmp_path}/a.zarr has no array of numbers with rows; it is empty"


def netcdf(path: Path) -> NetcdfSource:
    """Write a file of version 3 by SciPy, and open it."""
    from scipy.io import netcdf_file

    with netcdf_file(path, "w") as file:
        file.title, file.level = b"by hand", np.int16(3)
        for name, size in (("time", 8), ("x", 3)):
            file.createDimension(name, size)
        for name, kind, dimensions in (("t", "i2", ("time", "x")), ("time", "f8", ("time",))):
            variable = file.createVariable(name, kind, dimensions)
            variable[:] = np.arange(np.prod(variable.shape)).reshape(variable.shape)
        file.variables["t"].scale_factor = np.float32(0.5)
        file.variables["t"].units = b"K"
    return open_netcdf(path, Opening())


def test_variables_stay_packed_with_what_declares_how(tmp_path: Path) -> None:
    source = netcdf(tmp_path / "a.nc")
    assert source.attributes == {"title": "by hand", "level": 3}
    column = source.columns["t"]
    assert (column.dtype, column.shape, column.rows) == (np.int16, (3,), 8)
    assert column.dimensions == ("time", "x")
    assert column.attributes == {"scale_factor": 0.5, "units": "K"}
    assert_array_equal(source.read("t", 2, 5), np.arange(24).reshape(8, 3)[2:5])
    found = source.read("time", 2, 5)
    assert not isinstance(found, Texts) and found.dtype.isnative
    assert source.unit_rows("t") == 1
    source._dataset.variables["t"].encoding["chunksizes"] = (4, 3)
    assert source.unit_rows("t") == 4


def test_rows_of_a_variable_that_cannot_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = netcdf(tmp_path / "a.nc")

    def broken(self: Any, *parts: Any, **more: Any) -> None:
        raise OSError("it is broken")

    monkeypatch.setattr("xarray.Variable.isel", broken)
    with pytest.raises(DataError) as caught:
        source.read("t", 2, 5)
    assert str(caught.value) == (
        f"rows 2 to 4 of t in {tmp_path}/a.nc cannot be read: it is broken; restore the file from "
        "its source"
    )


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for start in (b"nothing", b"\x89HDF nothing"):
        (tmp_path / "a.nc").write_bytes(start)
        with pytest.raises(InputError) as caught:
            open_netcdf(tmp_path / "a.nc", Opening())
        told = str(caught.value)
        assert told.startswith(f"{tmp_path}/a.nc cannot be read as NetCDF: ")
        assert told.endswith("; check the file") and "\n" not in told
