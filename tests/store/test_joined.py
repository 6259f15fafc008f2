"""Several arrays side by side are what NumPy puts side by side, however each is stored."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import numpy as np
import pandas
import pytest
import scipy.sparse
import xarray
import zarr
from zarr.storage import MemoryStore

import ooc
from ooc.core.errors import DataError, InputError
from ooc.store.chunks import read_path
from ooc.store.dataset import Dataset
from ooc.store.feature_names import feature_names_of
from ooc.store.fingerprint import fingerprint
from ooc.store.joined import JoinedSpec, Part, common_dtype, joined, stored_number
from ooc.store.spec import ArraySpec
from ooc.store.verify import verify

ROWS = 400
LEVELS = [f"L{place}" for place in range(6)]
_RNG = np.random.default_rng(0)
T2M = 280 + _RNG.normal(size=ROWS)
MSL = _RNG.normal(1e5, 100, ROWS).astype("f4")
WIND = _RNG.normal(size=(ROWS, 6)).astype("f4")
GRID = _RNG.integers(0, 200, (ROWS, 3, 4)).astype("i2")
STORM = (T2M > 280).astype("i1")


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store that xarray has written, each array in chunks of its own."""
    path = tmp_path_factory.mktemp("weather") / "era.zarr"
    arrays = {
        "t2m": ("time", T2M),
        "msl": ("time", MSL),
        "wind": (("time", "level"), WIND),
        "grid": (("time", "lat", "lon"), GRID),
        "storm": ("time", STORM),
        "height": ("station", np.arange(7.0)),
    }
    coordinates = {"time": np.arange(ROWS), "level": np.array(LEVELS, object)}
    packed = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -9999}
    encoding: dict[str, dict[str, Any]] = {
        "t2m": {**packed, "chunks": (30,)},
        "msl": {"chunks": (70,)},
        "wind": {"chunks": (64, 2), "shards": (128, 6)},
        "grid": {"chunks": (50, 2, 3)},
    }
    found = xarray.Dataset(arrays, coordinates)
    found.to_zarr(path, encoding=encoding, zarr_format=3, consolidated=False)
    return path


def decoded(path: Path) -> xarray.Dataset:
    return xarray.open_zarr(path, chunks=None, consolidated=False)


def read(dataset: Dataset) -> np.ndarray:
    """Return all rows in the store's order, by way of shuffled batches."""
    spec = dataset.arrays[dataset.features]
    found = np.zeros(spec.shape, spec.dtype)
    for batch in ooc.Loader(dataset, 50, memory="512MiB", block_rows=40, window=3):
        found[batch.rows] = batch.features
    return found


def side_by_side(path: Path, *names: str) -> np.ndarray:
    here = decoded(path)
    return np.column_stack([here[name].values.reshape(ROWS, -1) for name in names])


def test_rows_are_those_that_xarray_decodes(weather: Path) -> None:
    names = ["t2m", "msl", "wind", "grid"]
    dataset = ooc.open(weather, names, target="storm")
    spec = dataset.arrays[dataset.features]
    assert isinstance(spec, JoinedSpec) and dataset.features == "t2m,msl,wind,grid"
    assert (spec.shape, spec.dtype) == ((ROWS, 20), "float64")
    assert spec.chunks == (64, 20), "those of the part with the largest rows"
    # Where xarray decodes packed numbers as float32 here, they are decoded as float64.
    assert np.allclose(read(dataset), side_by_side(weather, *names), rtol=1e-6, atol=0)
    assert np.allclose(read(dataset)[:, 0], np.round(T2M - 280, 2) + 280, rtol=1e-12)
    assert np.array_equal(read(ooc.open(weather, "grid,msl")), side_by_side(weather, "grid", "msl"))


def test_one_type_stays_and_others_meet_in_the_least_float_that_holds_them() -> None:
    types = {
        ("uint8", "uint8"): "uint8",
        ("int64", "int64"): "int64",
        ("bool", "int16"): "float32",
        ("float16", "float32", "uint16"): "float32",
        ("float32", "int32"): "float64",
        ("float32", "float64"): "float64",
        ("uint64", "int64"): "float64",
    }
    for given, expected in types.items():
        found = common_dtype([np.dtype(each) for each in given])
        assert found == expected
        for each in given:
            if found.kind == "f" and "64" not in each:
                assert np.can_cast(each, found), "no number is changed"


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("features", "columns", "expected"),
    [
        ("wind", "L3,0", WIND[:, [3, 0]]),
        ("wind", ["L5", 1, range(2, 4)], WIND[:, [5, 1, 2, 3]]),
        ("wind", 4, WIND[:, [4]]),
        ("grid", [11, 0, 5], GRID.reshape(ROWS, 12)[:, [11, 0, 5]]),
        ("msl", [0], MSL[:, None]),
        ("wind[L1:L2]", None, None),
    ],
)
def test_columns_are_those_that_numpy_takes(
    features: str, columns: Any, expected: np.ndarray | None, weather: Path
) -> None:
    if expected is None:
        with pytest.raises(InputError, match="has no column 'L1:L2'"):
            ooc.open(weather, features, columns=columns)
        return
    dataset = ooc.open(weather, features, columns=columns)
    found = read(dataset)
    assert found.dtype == expected.dtype and np.array_equal(found, expected)
    # What it is called opens the same again.
    assert np.array_equal(read(ooc.open(weather, dataset.features)), expected)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("path", ["native", "zarr-python"])
@pytest.mark.parametrize("count", [3, 40])
def test_columns_of_wide_rows_on_every_path(
    order: str, path: str, count: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    values = rng.normal(size=(120, 90)).astype("f4")
    store = MemoryStore() if path == "zarr-python" else tmp_path / "a.zarr"
    group = zarr.create_group(store, zarr_format=2)
    options: dict[str, Any] = {"chunks": (32, 8), "order": order}
    group.create_array("X", shape=values.shape, dtype="f4", **options)[...] = values
    columns = rng.permutation(90)[:count].tolist()
    dataset = ooc.open(group, columns=columns)
    assert read_path(dataset, dataset.features).native == (path == "native")
    assert np.array_equal(read(dataset), values[:, columns])


def test_only_chunks_of_wanted_columns_are_decoded_or_missed(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    values = rng.normal(size=(100, 60))
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("X", data=values, chunks=(25, 10))
    for each in (0, 2, 3, 4):
        (tmp_path / f"a.zarr/X/c/1/{each}").unlink()
    dataset = ooc.open(tmp_path / "a.zarr", columns=[11, 52, 19])
    assert np.array_equal(read(dataset), values[:, [11, 52, 19]])
    spec = dataset.arrays[dataset.features]
    assert spec.decoded_bytes(0, 50) == 2 * 2 * 25 * 10 * 8
    with pytest.raises(DataError, match=r"chunk 1\.2 of array X in .*rows 25 to 49"):
        read(ooc.open(tmp_path / "a.zarr", columns=[11, 25]))


def test_a_bad_chunk_is_told_by_its_own_array_and_can_be_skipped(
    weather: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "era.zarr"
    copy.mkdir()
    source = zarr.open_group(weather, mode="r")
    group = zarr.create_group(copy)
    for name in ("t2m", "msl"):
        array = source[name]
        given = {"chunks": array.chunks, "attributes": dict(array.attrs), "fill_value": 0}
        group.create_array(name, data=array[...], dimension_names=["time"], **given)
    (copy / "msl/c/2").unlink()
    dataset = ooc.open(copy, "t2m,msl")
    with pytest.raises(DataError, match=r"chunk 2 of array msl in .*rows 140 to 209"):
        read(dataset)
    options = {"memory": "512MiB", "block_rows": 40, "window": 3, "on_bad_chunk": "skip"}
    loader = ooc.Loader(dataset, 50, **options)
    rows = np.concatenate([batch.rows for batch in loader])
    assert sorted(rows.tolist()) == [*range(140), *range(210, ROWS)]
    # It is met once for each block that has rows of it.
    assert (loader.skipped_rows, loader.skipped_chunks) == (70, 3)
    filled = ooc.open(copy, "t2m,msl", missing="fill")
    assert (read(filled)[140:210, 1] == 0).all()
    assert [bad.array for bad in verify(dataset)] == ["msl"]


def test_missing_values_are_those_of_each_part(tmp_path: Path, rng: np.random.Generator) -> None:
    # No value is -0.001, which would be written as the number that stands for a missing one.
    first, second = rng.uniform(1, 2, 300), rng.normal(size=(300, 3))
    first[[5, 200]] = np.nan
    arrays = {"a": ("row", first), "b": (("row", "column"), second)}
    packed = {"dtype": "int16", "scale_factor": 0.001, "_FillValue": -1}
    options = {"encoding": {"a": {**packed, "chunks": (40,)}}, "consolidated": False}
    xarray.Dataset(arrays).to_zarr(tmp_path / "a.zarr", **options)
    dataset = ooc.open(tmp_path / "a.zarr", ["b", "a"])
    with pytest.raises(
        DataError, match=r"array a of .* missing value in row 5, column 0 \(int16 times"
    ):
        read(dataset)
    loader = ooc.Loader(dataset, 50, memory="512MiB", missing_values="drop")
    rows = np.concatenate([batch.rows for batch in loader])
    assert sorted(rows.tolist()) == [row for row in range(300) if row not in (5, 200)]
    loader = ooc.Loader(dataset, 300, memory="512MiB", missing_values="fill:7")
    (batch,) = loader
    assert (batch.features[np.isin(batch.rows, [5, 200]), 3] == 7).all()
    assert loader.missing == {"b,a": 2}


def test_names_are_those_of_the_store_or_of_arrays_and_places(weather: Path) -> None:
    names = feature_names_of(ooc.open(weather, ["t2m", "wind[L3,0]", "grid[7]", "msl"]))
    assert names == ("t2m", "L3", "L0", "grid[7]", "msl")
    assert feature_names_of(ooc.open(weather, "wind", columns=[2])) == ("L2",)


@pytest.mark.slow
def test_anndata_has_columns_embeddings_and_layers(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    genes = [f"g{number}" for number in range(5)]
    score, pca = rng.normal(size=60), rng.normal(size=(60, 4)).astype("f4")
    counts = rng.poisson(2, (60, 5)).astype("f4")
    obs = pandas.DataFrame({"score": score, "kind": pandas.Categorical(["a", "b"] * 30)})
    obs.index = [f"cell{number}" for number in range(60)]
    cells = anndata.AnnData(
        scipy.sparse.csr_matrix(counts), obs, pandas.DataFrame(index=genes),
        obsm={"X_pca": pca, "X_umap": pca[:, :2]}, layers={"counts": counts},
    )  # fmt: skip
    cells.write_zarr(tmp_path / "cells.zarr")
    features = ["obs/score", "obsm/X_pca[3,0]", "layers/counts[g4,g0]", "obsm/X_umap"]
    expected = np.column_stack([score, pca[:, [3, 0]], counts[:, [4, 0]], pca[:, :2]])
    for source in (tmp_path / "cells.zarr", cells):
        dataset = ooc.open(source, features, target="obs/kind")
        assert np.array_equal(read(dataset), expected)
        names = ("score", "X_pca[3]", "X_pca[0]", "g4", "g0", "X_umap[0]", "X_umap[1]")
        assert feature_names_of(dataset) == names
    for sparse in (["obs/score", "X"], ["X[g0]"]):
        with pytest.raises(InputError, match=r"X of .* is a sparse matrix.*a dense array"):
            ooc.open(tmp_path / "cells.zarr", sparse)
    with pytest.raises(InputError, match=r"kind of .* is a group.*categories, name the array"):
        ooc.open(tmp_path / "cells.zarr", ["obs/score", "obs/kind"])


def test_names_that_two_arrays_share_go_with_their_arrays(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    for name in ("a/x", "b/x", "c"):
        array = group.create_array(name, data=np.ones((20, 2)), chunks=(7, 2))
        if name != "a/x":
            array.attrs["feature_names"] = ["low", name]
    names = feature_names_of(ooc.open(tmp_path / "a.zarr", "a/x,b/x,c"))
    assert names == ("a/x[0]", "a/x[1]", "b/x[low]", "b/x", "c[low]", "c")


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (["t2m", "storm"], {"target": "storm"}, "target storm is among the features, t2m, storm"),
        (["t2m", "height"], {}, "'time', those of height along 'station'"),
        (["t2m", "tm2"], {}, "no array 'tm2' for features"),
        (["t2m", "level"], {}, "array level of .* has dtype"),
        ("t2m,msl", {"columns": "0"}, "columns are of one array"),
        ("wind", {"columns": "L9"}, "array wind of .* has no column 'L9'; it has 6: L0, L1"),
        ("grid", {"columns": "north"}, "array grid of .* have no names in the store"),
        ("t2m,", {}, "cannot be read from their end on"),
    ],
)
def test_what_does_not_go_together_is_refused(
    features: Any, options: dict[str, Any], message: str, weather: Path
) -> None:
    with pytest.raises(InputError, match=message):
        ooc.open(weather, features, **options)


def test_a_target_that_nobody_named_is_not_guessed_among_the_features(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    for name in ("X", "y", "weight", "a,b"):
        group.create_array(name, data=np.arange(9.0))
    dataset = ooc.open(tmp_path / "a.zarr", ["X", "y"])
    assert dataset.target is None and dataset.weight == "weight"
    assert "no target, as y is among the features" in dataset.describe_guesses()
    # Of one column the array is guessed, and told.
    assert "features X[0]" in ooc.open(tmp_path / "a.zarr", columns=[0]).describe_guesses()
    # An array may be called as several are named together.
    assert ooc.open(tmp_path / "a.zarr", "a,b").features == "a,b"
    assert ooc.open(tmp_path / "a.zarr", ['"a,b"', "X"]).features == '"a,b",X'


@pytest.mark.slow
def test_objects_in_hand_take_several(weather: Path, tmp_path: Path) -> None:
    opened = decoded(weather)
    lazy = xarray.open_zarr(weather, chunks={}, consolidated=False)
    expected = side_by_side(weather, "msl", "wind")[:, [0, 3, 1]]
    for source in (opened, lazy, zarr.open_group(weather, mode="r")):
        dataset = ooc.open(source, ["msl", "wind[L2,L0]"], target="storm")
        assert dataset.path == str(weather), "nothing was copied"
        assert np.array_equal(read(dataset), expected)
    part = ooc.open(opened.isel(time=slice(100, 300)), ["t2m", "msl"])
    rows = np.concatenate([batch.rows for batch in ooc.Loader(part, 50, memory="512MiB")])
    assert sorted(rows.tolist()) == list(range(100, 300))
    renamed = ooc.open(opened.rename(msl="pressure"), ["pressure", "t2m"])
    assert renamed.features == "msl,t2m"
    computed = ooc.open(opened.assign(msl=opened.msl * 2), ["msl", "wind[1]"], target="storm")
    assert np.array_equal(read(computed), np.column_stack([2 * MSL, WIND[:, 1]]))
    array = zarr.open_group(weather, mode="r")["wind"]
    assert np.array_equal(read(ooc.open(array, columns=["L1"])), WIND[:, [1]])
    for wrong, message in ((["msl", "mls"], "no variable 'mls'"), (["msl", "height"], "along")):
        with pytest.raises(InputError, match=message):
            ooc.open(opened, wrong)


def test_a_fingerprint_is_of_each_part_that_is_stored(weather: Path) -> None:
    dataset = ooc.open(weather, ["t2m", "wind[L1]"])
    found = fingerprint(dataset, [dataset.features])
    assert list(found["files"]) == ["t2m", "wind"]
    assert found["arrays"][dataset.features]["parts"]["wind"]["columns"] == [1]
    other = fingerprint(ooc.open(weather, ["t2m", "wind[L2]"]), ["t2m,wind[L2]"])
    assert other["arrays"] != found["arrays"]


def test_what_a_plan_counts_is_what_is_decoded(weather: Path) -> None:
    dataset = ooc.open(weather, ["t2m", "grid[0]", "wind"])
    spec = dataset.arrays[dataset.features]
    specs = dataset.specs(("t2m", "wind"))
    grid = 2 * 50 * 2 * 3 * 2 * 2  # two chunks down, one of the first latitudes, all longitudes
    assert spec.decoded_bytes(0, 100) == sum(each.decoded_bytes(0, 100) for each in specs) + grid
    assert re.search(r"1 of 12 columns of grid int16", spec.describe())
    info = str(dataset)
    assert dataset.features in info


def test_a_number_is_told_by_the_array_that_stores_it() -> None:
    a = ArraySpec("a", (9,), np.dtype("f4"), (4,), None)
    b = ArraySpec("b", (9, 5), np.dtype("f4"), (3, 5), None)
    holder = SimpleNamespace(joined=joined("a,b[4,0]", [Part(a), Part(b, (4, 0))]))
    told = [stored_number(holder, "a,b[4,0]", place) for place in range(3)]
    assert told == [("a", 0), ("b", 4), ("b", 0)]
    assert stored_number(holder, "y", 0) == ("y", 0)
    assert stored_number(SimpleNamespace(joined=None), None, 2) == ("", 2)


@pytest.mark.parametrize(("value", "standardise"), [(np.inf, True), (np.inf, False), (1e30, False)])
def test_training_names_the_column_of_the_part_that_cannot_be_used(
    tmp_path: Path, value: float, standardise: bool
) -> None:
    values = np.random.default_rng(0).standard_normal((200, 2)).astype(np.float32)
    values[17, 1] = value
    arrays = {"t2m": values[:, 0], "msl": values, "y": (values[:, 0] > 0).astype(np.int64)}
    group = zarr.create_group(tmp_path / "a.zarr")
    for name, each in arrays.items():
        group.create_array(name, data=each, chunks=(50, *each.shape[1:]))
    data = ooc.open(tmp_path / "a.zarr", features=["t2m", "msl"])
    model = ooc.models.Logistic(standardise=standardise)
    trainer = ooc.Trainer(model, ooc.optim.sgd(0.1), batch_size=50, memory="512MiB")
    with pytest.raises(DataError, match=r"row 17 of msl has \S+ in feature 1"):
        trainer.fit(data, report=False)
