"""Arrays whose attributes say how to read them: as xarray reads what xarray wrote."""

from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

import ooc
from ooc.core.errors import DataError, InputError
from ooc.shuffle import exact
from ooc.store.chunks import open_reader
from ooc.store.chunks.decoded import DecodedReader

ROWS = 90
PACKED = {"scale_factor": 0.01, "add_offset": 273.15}
ENCODINGS = {
    "scale": {"scale_factor": 0.01},
    "offset": {"add_offset": 5.0},
    "scale and offset": PACKED,
    "fill": {"_FillValue": -99},
    "scale, offset and fill": PACKED | {"_FillValue": -99},
    "missing_value": PACKED | {"missing_value": -99},
}
BAD = {
    "text": {"scale_factor": "a tenth"},
    "list": {"add_offset": [1.0, 2.0]},
    "zero": {"scale_factor": 0},
    "unsigned": {"_Unsigned": "maybe"},
    "range": {"valid_range": [1]},
    "fill": {"_FillValue": "none", "scale_factor": 0.5},
}


def stored_numbers(dtype: str, shape: tuple[int, ...], missing: bool) -> np.ndarray:
    values = np.random.default_rng(5).integers(-50, 100, shape).astype(dtype)
    if missing:
        values.reshape(-1)[::7] = -99
    return values


def write(path: Path, version: int, arrays: dict[str, np.ndarray], attributes: dict) -> Path:
    """Write through xarray: it turns attributes into its encoding's place for each version."""
    dims = ("row", "column")
    variables = {
        name: xarray.Variable(dims[: values.ndim], values, attributes.get(name, {}))
        for name, values in arrays.items()
    }
    xarray.Dataset(variables).to_zarr(path, zarr_format=version, consolidated=False)
    return path


def by_xarray(path: Path, name: str) -> np.ndarray:
    with xarray.open_zarr(path, consolidated=False, chunks=None) as found:
        return found[name].values


def read(dataset: ooc.Dataset, name: str) -> np.ndarray:
    spec = dataset.arrays[name]
    out = np.empty(spec.shape, spec.dtype)
    open_reader(dataset, name).read_runs([(0, 13), (13, ROWS)], out)
    return out


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "f4", "f8"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("role", ["X", "y"])
def test_values_are_those_of_xarray(
    tmp_path: Path, version: int, dtype: str, encoding: str, role: str
) -> None:
    declared = ENCODINGS[encoding]
    missing = "_FillValue" in declared or "missing_value" in declared
    arrays = {"X": np.ones((ROWS, 3), "f4"), "y": np.ones(ROWS, "f4")}
    arrays[role] = stored_numbers(dtype, arrays[role].shape, missing)
    path = write(tmp_path / "a.zarr", version, arrays, {role: declared})
    expected, dataset = by_xarray(path, role), ooc.open(path)
    found = read(dataset, role)
    # A scale may be applied in either order of rounding; the type of a float array stays.
    np.testing.assert_allclose(found, expected, rtol=1e-6, equal_nan=True)
    assert np.isnan(found).any() == missing
    if dtype[0] == "i":
        assert found.dtype == expected.dtype
    if not missing:
        window = next(iter(ooc.Loader(dataset, memory="512MiB", seed=1).windows(1)))
        rows = window.rows(window.order)
        np.testing.assert_array_equal(window.arrays[role][window.order], found[rows])


@pytest.mark.parametrize("version", [2, 3])
def test_unsigned_and_valid_ranges(tmp_path: Path, version: int) -> None:
    values = np.arange(-45, 45, dtype="i1")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    for name, attributes in (
        ("X", {"_Unsigned": "true"}),
        ("low", {"valid_min": -5}),
        ("both", {"valid_range": [-5, 20]}),
    ):
        group.create_array(name, data=values.reshape(ROWS, 1), attributes=attributes)
    dataset, column = ooc.open(tmp_path / "a.zarr"), values.reshape(ROWS, 1)
    np.testing.assert_array_equal(read(dataset, "X"), column.view("u1"))
    low, both = read(dataset, "low"), read(dataset, "both")
    np.testing.assert_array_equal(low, np.where(column < -5, np.nan, column))
    outside = (column < -5) | (column > 20)
    np.testing.assert_array_equal(both, np.where(outside, np.nan, column))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_honoured_is_named(tmp_path: Path, version: int, case: str) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    group.create_array("X", data=np.ones((9, 2), "i2"), attributes=BAD[case])
    with pytest.raises(InputError, match=rf"array X .*{next(iter(BAD[case]))}") as caught:
        ooc.open(tmp_path / "a.zarr")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", [2, 3])
def test_nothing_declared_nothing_wrapped(tmp_path: Path, version: int) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    group.create_array("X", data=np.zeros((9, 2), "i2"), attributes={"long_name": "zeros"})
    dataset = ooc.open(tmp_path / "a.zarr")
    assert dataset.arrays["X"].conventions is None
    assert dataset.arrays["X"].dtype == np.int16
    assert not isinstance(open_reader(dataset, "X"), DecodedReader)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("role", ["X", "y"])
def test_training_names_a_missing_value(tmp_path: Path, version: int, role: str) -> None:
    arrays = {
        "X": stored_numbers("i2", (ROWS, 3), False),
        "y": stored_numbers("i2", (ROWS,), False),
    }
    arrays[role][4] = -99
    path = write(tmp_path / "a.zarr", version, arrays, {role: PACKED | {"_FillValue": -99}})
    with pytest.raises(DataError, match=f"array {role} .*missing value in row 4, column 0"):
        ooc.fit(ooc.open(path), model="linear", memory="512MiB", epochs=1)


def test_a_shuffle_refuses_to_lose_the_meaning(tmp_path: Path) -> None:
    arrays = {"X": stored_numbers("i2", (ROWS, 3), False)}
    path = write(tmp_path / "a.zarr", 3, arrays, {"X": PACKED})
    with pytest.raises(InputError, match=r"array X .*times 0\.01 plus 273\.15.*shuffle"):
        exact(ooc.open(path), tmp_path / "b.zarr", "512MiB", seed=1)
    assert not (tmp_path / "b.zarr").exists()
