"""Arrays whose attributes say how to read them: as xarray reads what xarray wrote."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from pairs import pairs

import ooc
from ooc.cli import main
from ooc.core.errors import DataError, InputError
from ooc.models import Linear, Logistic
from ooc.optim import sgd
from ooc.runs.run import Run
from ooc.shuffle import exact
from ooc.store.chunks import open_reader
from ooc.store.chunks.decoded import DecodedReader
from ooc.store.dataset import Dataset
from ooc.stream.options import StreamOptions

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


def read(dataset: Dataset, name: str) -> np.ndarray:
    spec = dataset.arrays[name]
    out = np.empty(spec.shape, spec.dtype)
    open_reader(dataset, name).read_runs([(0, 13), (13, ROWS)], out)
    return out


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(("version", "role"), pairs([2, 3], ["X", "y"]))
@pytest.mark.parametrize(
    ("encoding", "dtype"), pairs(ENCODINGS, ["i1", "i2", "i4", "i8", "f4", "f8"], ["i2", "f4"])
)
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
        window = next(iter(ooc.Loader(dataset, 16, memory="512MiB", seed=1).windows(1)))
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
def test_nothing_declared_nothing_wrapped(tmp_path: Path, version: int) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    group.create_array("X", data=np.zeros((9, 2), "i2"), attributes={"long_name": "zeros"})
    dataset = ooc.open(tmp_path / "a.zarr")
    assert dataset.arrays["X"].conventions is None
    assert dataset.arrays["X"].dtype == np.int16
    assert not isinstance(open_reader(dataset, "X"), DecodedReader)


def with_missing(folder: Path, version: int, role: str) -> tuple[Path, np.ndarray]:
    """Write a noiseless line of which some rows lack a value; tell which rows are whole."""
    generator, whole = np.random.default_rng(3), np.ones(ROWS, bool)
    x = generator.integers(-50, 50, (ROWS, 3)).astype("i2")
    y = (x @ np.array([1, -2, 3])).astype("i2")
    whole[[4, 11, 70]] = False
    if role == "X":
        x[~whole, 1] = -99
    else:
        y[~whole] = -9999
    declared = {
        "X": {"scale_factor": 0.01, "_FillValue": -99},
        "y": {"scale_factor": 0.01, "_FillValue": -9999},
    }
    return write(folder / "a.zarr", version, {"X": x, "y": y}, declared), whole


def fit(dataset: Dataset, missing_values: str, **options: Any) -> Run:
    method = {"stream": StreamOptions(missing_values=missing_values, memory="512MiB")} | options
    return ooc.Trainer(Linear(), sgd(0.1), 10, **method).fit(dataset, epochs=2)


@pytest.mark.parametrize(("version", "role", "shuffle"), [(2, "X", "none"), (3, "y", "blocks")])
def test_rows_are_dropped_and_counted(
    tmp_path: Path, version: int, role: str, shuffle: str
) -> None:
    path, whole = with_missing(tmp_path, version, role)
    options = {"memory": "512MiB", "shuffle": shuffle, "missing_values": "drop"}
    loader = ooc.Loader(ooc.open(path), 16, **options)
    batches = list(loader)
    rows = np.concatenate([batch.rows for batch in batches])
    np.testing.assert_array_equal(np.sort(rows), np.flatnonzero(whole))
    for name in ("X", "y"):
        found = np.concatenate([batch[name] for batch in batches])
        np.testing.assert_allclose(found, by_xarray(path, name)[rows], rtol=1e-12)
    assert (loader.missing, loader.skipped_rows) == ({role: 3}, 3)


@pytest.mark.parametrize("role", ["X", "y"])
@pytest.mark.parametrize(("rule", "number"), [("fill", 0.0), ("fill:2.5", 2.5)])
def test_missing_values_are_filled(tmp_path: Path, role: str, rule: str, number: float) -> None:
    path, _ = with_missing(tmp_path, 3, role)
    loader = ooc.Loader(ooc.open(path), 16, memory="512MiB", missing_values=rule)
    for batch in loader:
        for name in ("X", "y"):
            expected = by_xarray(path, name)[batch.rows]
            expected = np.where(np.isnan(expected), number, expected)
            np.testing.assert_allclose(batch[name], expected, rtol=1e-12)
    assert loader.missing == {role: 3}


@pytest.mark.parametrize("role", [pytest.param("X", marks=pytest.mark.slow), "y"])
def test_runs_train_and_answer_without_rows_that_lack_a_value(tmp_path: Path, role: str) -> None:
    path, whole = with_missing(tmp_path, 3, role)
    dataset = ooc.open(path)
    run = fit(dataset, "drop")
    assert run.results["missing"][role] == 2 * 3
    with pytest.raises(DataError, match="missing value"):
        run.evaluate(dataset, "512MiB")
    found = run.evaluate(dataset, "512MiB", missing_values="drop")
    x, y = by_xarray(path, "X"), by_xarray(path, "y")
    answers = run.predict(dataset, memory="512MiB", missing_values="drop")
    assert len(answers) == ROWS
    flat = answers.reshape(-1)
    np.testing.assert_array_equal(np.isnan(flat), ~whole if role == "X" else False)
    residuals = flat[whole] - y[whole]
    assert found["r2"] == pytest.approx(1 - (residuals**2).sum() / np.var(y[whole]) / whole.sum())
    assert found["missing"] == {role: 3}
    run.predict_to(dataset, tmp_path / "p.zarr", "512MiB", missing_values="drop")
    written = zarr.open_group(tmp_path / "p.zarr", mode="r")["prediction"][:]
    np.testing.assert_array_equal(written.reshape(-1), flat)
    assert np.isfinite(x[whole]).all()


def test_labels_that_are_missing_are_no_labels(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    x = generator.normal(size=(ROWS, 3)).astype("f4")
    y = (x[:, 0] > 0).astype("i1")
    y[5] = -1
    path = write(tmp_path / "a.zarr", 3, {"X": x, "y": y}, {"y": {"_FillValue": np.int8(-1)}})
    options = {"memory": "512MiB"}
    with pytest.raises(DataError, match=r"array y .*missing value in row 5"):
        ooc.Trainer(Logistic(), sgd(0.5), 10, **options).fit(ooc.open(path), epochs=1)
    trainer = ooc.Trainer(Logistic(), sgd(0.5), 10, missing_values="drop", **options)
    run = trainer.fit(ooc.open(path), epochs=5)
    found = run.evaluate(ooc.open(path), "512MiB", missing_values="drop")
    assert sum(map(sum, found["confusion_matrix"])) == ROWS - 1


@pytest.mark.parametrize("units", ["seconds since 1970-01-01", "days since 2000-01-01"])
@pytest.mark.parametrize("version", [2, 3])
def test_times_stay_numbers_and_info_tells_their_units(
    tmp_path: Path, version: int, units: str, capsys: pytest.CaptureFixture[str]
) -> None:
    times = np.arange(ROWS)[:, None] + 10_000
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    group.create_array("X", data=times, attributes={"units": units})
    assert read(ooc.open(tmp_path / "a.zarr"), "X").tolist() == times.tolist()
    assert main(["info", str(tmp_path / "a.zarr"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["arrays"]["X"]["conventions"]["units"] == units


@pytest.mark.parametrize("version", [2, 3])
def test_a_fill_value_of_an_array_is_missing_where_dimensions_are_named(
    tmp_path: Path, version: int
) -> None:
    values = np.arange(ROWS, dtype="i2")[:, None] % 3
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    dimensions = {"_ARRAY_DIMENSIONS": ["row", "column"]}
    group.create_array("X", data=values, fill_value=2)
    group.create_array("zero", data=values, fill_value=0, attributes=dimensions)
    group.create_array("named", data=values, fill_value=2, attributes=dimensions)
    dataset = ooc.open(tmp_path / "a.zarr")
    np.testing.assert_array_equal(read(dataset, "X"), values)
    for name, missing in (("zero", 0), ("named", 2)):
        expected = np.where(values == missing, np.nan, values) if version == 2 else values
        np.testing.assert_array_equal(read(dataset, name), expected)


def test_a_zero_that_xarray_declared_is_missing(tmp_path: Path) -> None:
    values = np.arange(ROWS, dtype="i2")[:, None] % 3
    for version in (2, 3):
        path = write(tmp_path / f"{version}.zarr", version, {"X": values}, {"X": {"_FillValue": 0}})
        np.testing.assert_array_equal(read(ooc.open(path), "X"), by_xarray(path, "X"))
        exact(ooc.open(path), tmp_path / f"{version}-copy.zarr")
        copy = read(ooc.open(tmp_path / f"{version}-copy.zarr"), "X")
        assert np.count_nonzero(np.isnan(copy)) == np.count_nonzero(values == 0)


@pytest.mark.parametrize("rule", ["skip", "fill:", "fill:x", "drop:1", "fill:nan"])
def test_a_rule_that_is_none_is_refused(rule: str) -> None:
    with pytest.raises(InputError, match="missing_values is one of raise, drop, fill"):
        StreamOptions(missing_values=rule)
