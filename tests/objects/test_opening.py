"""What is in people's hands opens as what it shows, without a copy where it lies in Zarr."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import icechunk
import numpy as np
import pytest
import xarray
import zarr

import ooc
from ooc.core.errors import InputError
from ooc.store.dataset import Dataset
from ooc.store.feature_names import feature_names_of

ROWS = 230
# None is 0, which HDF5 takes for a value that is missing.
X = (np.random.default_rng(0).standard_normal((ROWS, 3)).round(2) + 10).astype(np.float32)
Y = np.arange(1, ROWS + 1)
SCALED = {"scale_factor": 0.01, "dtype": "int16", "_FillValue": -(2**15)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A group as xarray writes it: packed features, targets, and weights in chunks of their own."""
    data = {"X": (("time", "x"), X), "y": (("time",), Y), "w": (("time",), Y / 7)}
    encoding: dict[str, Any] = {"X": {**SCALED, "chunks": (50, 3)}, "w": {"chunks": (30,)}}
    xarray.Dataset(data).to_zarr(tmp_path / "a.zarr", encoding=encoding)
    return tmp_path / "a.zarr"


def read(dataset: Dataset) -> dict[str, np.ndarray]:
    """Return all arrays of a dataset as a loader gives them, in the order of rows."""
    loader = ooc.Loader(dataset, min(40, dataset.rows), memory="512MiB", shuffle="none")
    parts = [batch.arrays for batch in loader]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def in_memory(**arrays: np.ndarray) -> zarr.Group:
    group = zarr.create_group(zarr.storage.MemoryStore())
    for name, values in arrays.items():
        group.create_array(name, data=values, chunks=(50, *values.shape[1:]))
    return group


OF_ZARR: dict[str, Callable[[Path], Any]] = {
    "group": lambda path: zarr.open_group(path, mode="r"),
    "consolidated group": lambda path: zarr.open_consolidated(path),
    "array": lambda path: zarr.open_group(path, mode="r")["X"],
    "array by its own path": lambda path: zarr.open_array(path / "X", mode="r"),
    "xarray": lambda path: xarray.open_zarr(path, chunks=None),
    "xarray with dask": lambda path: xarray.open_zarr(path, chunks={"time": 70}),
}


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("make", OF_ZARR.values(), ids=OF_ZARR)
def test_what_lies_in_a_folder_is_that_folder(path: Path, make: Callable[[Path], Any]) -> None:
    dataset = ooc.open(make(path))
    assert (dataset.path, dataset.roles) == (str(path), ("X", "y", None))
    found = read(dataset)
    np.testing.assert_allclose(found["X"], X, atol=1e-6)
    np.testing.assert_array_equal(found["y"], Y)


@pytest.mark.parametrize("chunks", [None, {}])
def test_variables_of_xarray_are_roles_by_name(path: Path, chunks: Any) -> None:
    opened = xarray.open_zarr(path, chunks=chunks).rename(X="pressure", y="rain")
    dataset = ooc.open(opened, features="pressure", target="rain", weight="w")
    assert (dataset.path, dataset.roles) == (str(path), ("X", "y", "w"))
    assert ooc.open(opened, "pressure", target=False).roles == ("X", None, None)
    assert ooc.open(opened["pressure"]).roles[0] == "X"


def test_coordinates_are_no_targets_because_of_their_names(tmp_path: Path) -> None:
    """Nor do coordinates of the usual name of a target stand in the way: maps have an axis y."""
    maps = xarray.Dataset(
        {"X": (("time", "y"), X)}, coords={"y": [1.0, 2.0, 3.0], "weight": ("time", Y)}
    )
    maps.to_zarr(tmp_path / "maps.zarr")
    for opened in (maps, xarray.open_zarr(tmp_path / "maps.zarr")):
        assert ooc.open(opened).roles == ("X", None, None)
    assert ooc.open(maps, target="weight").roles == ("X", "weight", None)


def test_a_run_of_rows_of_xarray_is_those_rows_in_place(path: Path) -> None:
    opened = xarray.open_zarr(path, chunks=None).isel(time=slice(33, 180))
    dataset = ooc.open(opened)
    assert (dataset.path, dataset.rows) == (str(path), 147)
    np.testing.assert_allclose(read(dataset)["X"], X[33:180], atol=1e-6)
    np.testing.assert_array_equal(read(dataset)["y"], Y[33:180])
    validation = ooc.split(dataset, 0.2, ordered=True)[1]
    np.testing.assert_array_equal(read(validation)["y"], Y[151:180])


def test_values_are_those_that_the_object_shows(path: Path) -> None:
    raw = xarray.open_zarr(path, chunks=None, mask_and_scale=False)
    assert read(ooc.open(raw))["X"].tolist() == raw["X"].values.tolist()
    lazy = dask.array.from_zarr(path / "X")
    assert read(ooc.open(lazy))["X"].tolist() == lazy.compute().tolist()


def test_runs_of_different_rows_are_not_taken_for_the_same(path: Path) -> None:
    opened = xarray.open_zarr(path, chunks=None)
    shifted = xarray.Dataset(
        {"X": opened["X"].isel(time=slice(0, 100)), "y": opened["y"].isel(time=slice(50, 150))}
    )
    found = read(ooc.open(shifted))
    np.testing.assert_allclose(found["X"], X[:100], atol=1e-6)
    np.testing.assert_array_equal(found["y"], Y[50:150])


COMPUTED: dict[str, Callable[[xarray.Dataset], Any]] = {
    "arithmetic": lambda opened: opened * 2,
    "every other row": lambda opened: opened.isel(time=slice(None, None, 2)),
    "rows backwards": lambda opened: opened.isel(time=slice(None, None, -1)),
    "some columns": lambda opened: opened.isel(x=slice(0, 2)),
    "one column": lambda opened: opened.isel(x=1),
    "chosen rows": lambda opened: opened.isel(time=[5, 3, 200]),
    "one variable anew": lambda opened: opened.assign(y=opened["y"] + 1),
    "the other axis first": lambda opened: xarray.Dataset(
        {"X": opened["X"].isel(time=slice(3)).transpose(), "y": ("x", Y[:3])}
    ),
    "loaded": lambda opened: opened.load(),
}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("chunks", [None, {"time": 70}])
@pytest.mark.parametrize("make", COMPUTED.values(), ids=COMPUTED)
def test_what_is_computed_is_written_once(
    path: Path, make: Any, chunks: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = xarray.open_zarr(path, chunks=chunks)
    opened = make(opened)
    dataset = ooc.open(opened)
    if make is not COMPUTED["loaded"]:
        assert dataset.path != str(path)
    for name in ("X", "y"):
        np.testing.assert_array_equal(read(dataset)[name], opened[name].values.astype(float))
    said = capsys.readouterr().err
    assert dataset.path == str(path) or said.startswith(
        "ooc: the xarray.Dataset is not as it is in a Zarr store, and is written once, "
    )


def test_dask_arrays_that_are_computed_are_written_by_their_chunks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.objects.temporary.PIECE_BYTES", 1000)
    taken = list[int]()

    def note(block: np.ndarray) -> np.ndarray:
        taken.append(len(block))
        return block * 2

    lazy = dask.array.from_array(X, chunks=(60, 3)).map_blocks(note, dtype=X.dtype)
    assert read(ooc.open(lazy, "X"))["X"].tolist() == (X * 2).tolist()
    assert sorted(filter(None, taken)) == [50, 60, 60, 60]
    assert "the dask.Array is not" in capsys.readouterr().err


@pytest.mark.slow
def test_temporary_stores_go_with_the_process() -> None:
    import subprocess
    import sys

    code = "import dask.array, ooc; print(ooc.open(dask.array.ones((20, 2))).path)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("data.zarr")
    assert not Path(done.stdout.strip()).parent.exists()


def test_groups_and_arrays_in_memory() -> None:
    group = in_memory(X=X, y=Y)
    dataset = ooc.open(group)
    assert dataset.roles == ("X", "y", None)
    found = read(dataset)
    assert (found["X"].tolist(), found["y"].tolist()) == (X.tolist(), Y.tolist())
    below = zarr.create_group(zarr.storage.MemoryStore(), path="deep/er")
    below.create_array("X", data=X)
    assert read(ooc.open(below))["X"].tolist() == X.tolist()
    assert read(ooc.open(below["X"]))["X"].tolist() == X.tolist()
    alone = zarr.create_array(zarr.storage.MemoryStore(), data=X)
    assert read(ooc.open(alone))["X"].tolist() == X.tolist()


def test_a_run_on_an_object_asks_for_it_when_it_goes_on(tmp_path: Path) -> None:
    dataset = ooc.open(in_memory(X=X, y=Y))
    trainer = ooc.Trainer(ooc.models.Linear(), ooc.optim.sgd(0.01), 20, memory="512MiB")
    whole = trainer.fit(dataset, epochs=1, run_dir=tmp_path / "run")
    with pytest.raises(InputError, match="was an object in the hands of another process"):
        ooc.resume(tmp_path / "run")
    again = ooc.resume(tmp_path / "run", dataset=dataset)
    assert again.results["parameters_sha256"] == whole.results["parameters_sha256"]


def test_what_a_session_of_icechunk_shows(tmp_path: Path) -> None:
    storage = icechunk.local_filesystem_storage(str(tmp_path / "repository"))
    repository = icechunk.Repository.create(storage)
    for values in (X, X + 1):
        session = repository.writable_session("main")
        group = zarr.open_group(session.store, mode="a")
        group.create_array("X", data=values, chunks=(50, 3), overwrite=True)
        group.create_array("y", data=Y, overwrite=True)
        last = session.commit("written")
    now = repository.readonly_session("main")
    first = list(repository.ancestry(branch="main"))[1].id
    before = repository.readonly_session(snapshot_id=first)
    for source, expected in [(now, X + 1), (now.store, X + 1), (before, X)]:
        assert read(ooc.open(source))["X"].tolist() == expected.tolist()
    assert last in ooc.open(now).path
    with pytest.raises(InputError, match="give a session of it, such as repository"):
        ooc.open(repository)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: [1, 2], "an object of list cannot be opened; give the path of a Zarr group, or"),
        (lambda: X, r"an object of numpy.ndarray cannot .* in memory are written by ooc.create"),
        (lambda: zarr.storage.MemoryStore(), "zarr.MemoryStore cannot be opened; give its zarr.Gr"),
        (lambda: xarray.DataArray(3.0, name="a"), "variable 'a' is one number, and has no rows"),
        (lambda: xarray.Dataset({"a": ("t", [1.0])}), "no variable 'X' for features; it has: a;"),
        (
            lambda: xarray.Dataset({"X": ("t", [1.0]), "y": ("s", [1.0])}),
            "rows of the features are along 't', those of the target along 's'",
        ),
        (lambda: xarray.Dataset({"X": ("t", ["a"])}), "X has dtype .*, which is not a real number"),
        (lambda: dask.array.ones(3).sum(), "the dask array is one number, and has no rows"),
    ],
)
def test_what_cannot_be_opened_says_why(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ooc.open(make())


def test_options_that_do_not_go_with_an_object(path: Path) -> None:
    group = zarr.open_group(path, mode="r")
    with pytest.raises(InputError, match=r"storage_options are for URLs, and not for an object of"):
        ooc.open(group, storage_options={"anon": True})
    with pytest.raises(InputError, match="an array is the features itself; leave features='X' out"):
        ooc.open(group["X"], features="X")
    with pytest.raises(InputError, match="is open already"):
        ooc.open(ooc.open(path))
    computed = dask.array.ones((5, 2)) + 1
    with pytest.raises(InputError, match="the array is computed, and has no target beside it"):
        ooc.open(computed, target="y")


@pytest.mark.slow
def test_estimators_take_them(path: Path) -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    fitted = ooc.OOCRegressor("linear", memory="512MiB").fit(xarray.open_zarr(path, chunks=None))
    assert fitted.predict(X).shape == (ROWS,)
    assert sklearn.LinearRegression().fit(X, Y).coef_.shape == fitted.coef_.shape


@pytest.mark.slow
def test_columns_of_what_is_computed_keep_their_names() -> None:
    wind = xarray.DataArray(
        np.arange(12.0).reshape(4, 3), dims=("time", "level"), coords={"level": ["a", "b", "c"]}
    )
    assert feature_names_of(ooc.open(wind * 2)) == ("a", "b", "c")
    both = xarray.Dataset({"wind": wind + 1, "calm": ("time", np.arange(4))})
    chosen = ooc.open(both, features="wind", target="calm", columns=["c", "a"])
    assert feature_names_of(chosen) == ("c", "a")
    noted = wind.drop_vars("level").assign_attrs(feature_names=["x", "y", "z"])
    assert feature_names_of(ooc.open(noted)) == ("x", "y", "z")
    assert feature_names_of(ooc.open(wind.assign_coords(level=[1, 2, 3]) * 2)) == ()
