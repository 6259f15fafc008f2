"""What a store says of its arrays is honoured: dimensions, coordinates, own metadata, encodings.

Stores are written by zarr-python and tensorstore, and by hand where no tool writes them today.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr
from shell import called, refused

import ooc
from ooc.cli import main
from ooc.core.errors import InputError

ROWS = 60
X = np.arange(ROWS * 3, dtype=np.float32).reshape(ROWS, 3)
Y = (np.arange(ROWS) % 2).astype(np.int64)
FORMATS = (pytest.param(2, marks=pytest.mark.slow), 3)


def write(
    path: Path,
    zarr_format: int,
    arrays: dict[str, np.ndarray],
    dimensions: dict[str, tuple[str | None, ...]] | None = None,
    **attributes: dict[str, Any],
) -> Path:
    """Write a group with dimension names as xarray does in either format."""
    group = zarr.create_group(path, zarr_format=zarr_format, attributes=attributes.pop("group", {}))
    for name, data in arrays.items():
        names, noted = (dimensions or {}).get(name), dict(attributes.get(name, {}))
        options: dict[str, Any] = {}
        if names is not None and zarr_format == 2:
            noted["_ARRAY_DIMENSIONS"] = list(names)
            options["fill_value"] = None
        elif names is not None:
            options["dimension_names"] = names
        if data.dtype == object:
            options["dtype"] = str
        else:
            options["dtype"] = data.dtype
        array = group.create_array(
            name,
            shape=data.shape,
            chunks=tuple(max(1, min(length, 25)) for length in data.shape),
            attributes=noted,
            config={"write_empty_chunks": True},
            **options,
        )
        if data.size:
            array[...] = data
    return path


def batches(dataset: ooc.store.dataset.Dataset) -> dict[str, np.ndarray]:
    """Return all arrays that travel, in the order of the rows, as a loader yields them."""
    loader = ooc.Loader(dataset, batch_size=16, memory="512MiB", seed=1)
    parts = list(loader)
    order = np.argsort(np.concatenate([part.rows for part in parts]))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0].arrays}


def message_of(path: Path, **roles: Any) -> str:
    with pytest.raises(InputError) as caught:
        ooc.open(path, **roles)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Dimensions of X and of y, roles that are named, and what refuses them; None where they agree.
DIMENSIONS: dict[str, tuple[Any, Any, dict[str, Any], tuple[str, ...] | None]] = {
    "agree": (("sample", "feature"), ("sample",), {}, None),
    "no names": (None, None, {}, None),
    "names of one alone": (("sample", "feature"), None, {}, None),
    "names of the other alone": (None, ("sample",), {}, None),
    "transposed": (("feature", "sample"), ("sample",), {}, ("'feature'", "'sample'", "X with")),
    "other rows": (("time", "band"), ("station",), {}, ("'time'", "'station'", "target along")),
    "other rows, named": (
        ("time", "band"),
        ("station",),
        {"features": "X", "target": "y"},
        ("'time'", "'station'", "target along"),
    ),
    "other rows, left out": (("time", "band"), ("station",), {"target": False}, None),
}


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("case", DIMENSIONS)
def test_rows_of_roles_are_along_the_same_dimension(
    tmp_path: Path, zarr_format: int, case: str
) -> None:
    of_x, of_y, roles, refusal = DIMENSIONS[case]
    dimensions = {name: names for name, names in (("X", of_x), ("y", of_y)) if names}
    path = write(tmp_path / "a.zarr", zarr_format, {"X": X, "y": Y}, dimensions)
    if refusal is None:
        dataset = ooc.open(path, **roles)
        assert dataset.target == (None if roles.get("target") is False else "y")
        found = batches(dataset)
        assert np.array_equal(found["X"], X)
        return
    message = message_of(path, **roles)
    assert all(part in message for part in (*refusal, "array X of"))
    assert ("--no-target" in message) == ("target" not in roles)


# Names of a coordinate and its dimensions, and the group's attributes.
COORDINATES: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "raster's y": ("y", ("y",), {}),
    "axis of weights": ("weight", ("weight",), {}),
    "listed by X": ("y", ("place",), {"X": {"coordinates": "lat y"}}),
    "listed by the group": ("y", ("place",), {"group": {"coordinates": "y lat"}}),
    "weight listed by X": ("weight", ("place",), {"X": {"coordinates": "weight"}}),
}


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("case", COORDINATES)
def test_a_coordinate_is_no_role_because_of_its_name(
    tmp_path: Path, zarr_format: int, case: str
) -> None:
    name, names, attributes = COORDINATES[case]
    values = np.linspace(50, 60, ROWS)
    dimensions = {"X": (names[0], "band"), name: names}
    path = write(tmp_path / "a.zarr", zarr_format, {"X": X, name: values}, dimensions, **attributes)
    dataset = ooc.open(path)
    assert dataset.roles == ("X", None, None)
    role = {"y": "target", "weight": "weight"}[name]
    assert dataset.passed_over == {role: f"{name} is a coordinate"}
    if role == "target":
        with pytest.raises(InputError, match="has no targets, as y is a coordinate"):
            ooc.Trainer(ooc.models.Linear(), ooc.optim.sgd(0.1), 8).loader(dataset)
    # It is there for whoever names it.
    named = ooc.open(path, **{role: name})
    assert getattr(named, role) == name
    assert np.array_equal(batches(named)[name], values)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_features_are_no_coordinate_either(tmp_path: Path, zarr_format: int) -> None:
    arrays = {"X": np.arange(5.0), "Y": np.arange(4.0), "band": np.ones((4, 5))}
    dimensions = {"X": ("X",), "Y": ("Y",), "band": ("Y", "X")}
    path = write(tmp_path / "a.zarr", zarr_format, arrays, dimensions)
    assert "array X of" in (message := message_of(path))
    assert "is a coordinate" in message
    dataset = ooc.open(path, features="band")
    assert set(dataset.arrays) == {"band", "Y"}
    assert dataset.unused == {"X": "its rows are along 'X', those of band along 'Y'"}


def test_guesses_are_told_and_can_be_switched_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kilograms = np.linspace(1, 90, ROWS)
    path = write(tmp_path / "a.zarr", 3, {"X": X, "y": Y, "weight": kilograms})
    dataset = ooc.open(path)
    assert dataset.guessed == ("features", "target", "weight")
    assert "weight weight (--no-weight for none)" in dataset.describe_guesses()
    assert ooc.open(path, weight=False).roles == ("X", "y", None)
    assert ooc.open(path, target=False, weight=False).roles == ("X", None, None)
    assert ooc.open(path, "X", "y", "weight").describe_guesses() == ""
    # No array is both what is learned from and what is learned.
    assert ooc.open(path, "y").roles == ("y", None, "weight")
    info = called(capsys, "info", str(path), "--no-weight")
    assert info["roles"] == {"features": "X", "target": "y", "weight": None}
    assert info["guessed"] == ["features", "target"]
    assert main(["info", str(path)]) == 0
    assert "target y (--no-target for none), weight weight" in capsys.readouterr().err
    assert "exclude each other" in refused(
        capsys, "info", str(path), "--weight", "weight", "--no-weight"
    )


def test_a_run_goes_on_without_the_weights_that_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unweighted training is scikit-learn's, too: a bias alone learns the mean of its labels."""
    kilograms = np.where(Y == 1, 90.0, 1.0)
    path = write(tmp_path / "a.zarr", 3, {"X": np.ones_like(X), "y": Y, "weight": kilograms})
    run = tmp_path / "run"
    train = ["train", str(path), "--model", "logistic", "--optimizer", "lbfgs", "--run", str(run)]
    main([*train, "--no-weight", "--json"])
    assert "weight" not in capsys.readouterr().err
    model = ooc.load(run)
    share = model.predict(ooc.open(path, target=False, weight=False), "probability")
    assert np.allclose(share.reshape(ROWS, -1)[:, -1], 0.5, atol=1e-3)
    assert called(capsys, "resume", str(run))["run"] == str(run)


@pytest.mark.slow_after(1)
# What consolidated metadata may say that the arrays themselves do not.
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("change", ["longer", "another dtype", "a new y"])
@pytest.mark.parametrize("where", ["local", "remote"])
def test_an_array_s_own_metadata_count(
    tmp_path: Path, zarr_format: int, change: str, where: str
) -> None:
    first = {"X": X[:20], "other": X[:20, 0].copy()} | (
        {} if change == "a new y" else {"y": Y[:20]}
    )
    path = write(tmp_path / "a.zarr", zarr_format, first)
    zarr.consolidate_metadata(path)
    dtype = np.float64 if change == "another dtype" else np.float32
    added = write(
        tmp_path / "b.zarr", zarr_format, {"X": X.astype(dtype), "y": Y, "other": X[:, 0]}
    )
    for name in ("X", "y", "other"):
        shutil.rmtree(path / name, ignore_errors=True)
        shutil.copytree(added / name, path / name)
    source: Any = path
    if where == "remote":
        fsspec = pytest.importorskip("fsspec")
        source = f"memory://{tmp_path.name}/{zarr_format}{change}.zarr"
        fsspec.filesystem("memory").put(f"{path}/", source.split("://")[1], recursive=True)
    dataset = ooc.open(source)
    assert (dataset.rows, dataset.target, set(dataset.arrays)) == (ROWS, "y", {"X", "y", "other"})
    found = batches(dataset)
    assert found["X"].dtype == dtype
    assert np.array_equal(found["X"], X)
    assert np.array_equal(found["y"], Y)


def test_an_array_that_was_written_again_is_not_read_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", 3, {"X": X, "y": Y})
    dataset = ooc.open(path)
    shutil.rmtree(path / "X")
    write(tmp_path / "b.zarr", 3, {"X": X[:20]})
    shutil.copytree(tmp_path / "b.zarr" / "X", path / "X")
    with pytest.raises(InputError, match=r"array X of .* has shape \(20, 3\).*\(60, 3\)"):
        batches(dataset)


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("order", ["C", "F"], ids=["native", "by zarr-python"])
@pytest.mark.parametrize("dtype", ["float32", "int16", "bool"])
@pytest.mark.parametrize("fill_value", [None, 0, 1])
def test_a_fill_value_of_null_is_no_value(
    tmp_path: Path, order: Any, dtype: str, fill_value: int | None
) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    array = group.create_array("X", shape=(40, 2), chunks=(10, 2), dtype=dtype, order=order)
    array[:30] = np.ones((30, 2))
    metadata = json.loads((tmp_path / "a.zarr" / "X" / ".zarray").read_text())
    metadata["fill_value"] = (
        fill_value if dtype != "bool" or fill_value is None else bool(fill_value)
    )
    (tmp_path / "a.zarr" / "X" / ".zarray").write_text(json.dumps(metadata))
    dataset = ooc.open(tmp_path / "a.zarr", missing="fill")
    if fill_value is not None:
        expected = np.concatenate([np.ones((30, 2)), np.full((10, 2), fill_value)])
        assert np.array_equal(batches(dataset)["X"], expected)
        return
    for missing in ("fill", "raise"):
        with pytest.raises(
            InputError, match=r"chunk 3\.0 of array X.*fill_value is null"
        ) as caught:
            batches(ooc.open(tmp_path / "a.zarr", missing=missing))
        assert "\n" not in str(caught.value)


def as_csr(group: zarr.Group, name: str, encoding: str) -> None:
    """Write a sparse matrix as AnnData does (its on-disk format 0.1.0)."""
    noted = {"encoding-type": encoding, "encoding-version": "0.1.0", "shape": [ROWS, 3]}
    matrix = group.create_group(name, attributes=noted)
    count = 2 * ROWS
    matrix.create_array("data", data=np.ones(count, np.float32))
    matrix.create_array("indices", data=np.tile(np.int32([0, 2]), ROWS))
    matrix.create_array("indptr", data=np.arange(0, count + 1, 2, dtype=np.int32))


def as_categorical(group: zarr.Group, name: str) -> None:
    noted = {"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False}
    column = group.create_group(name, attributes=noted)
    column.create_array("codes", data=Y.astype(np.int8))
    column.create_array("categories", shape=(2,), dtype=str)[:] = np.array(["a", "b"], object)


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("encoding", ["csr_matrix", "csc_matrix"])
def test_parts_of_a_sparse_matrix_are_no_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], zarr_format: int, encoding: str
) -> None:
    path = tmp_path / "a.zarr"
    root = zarr.create_group(path, zarr_format=zarr_format, attributes={"encoding-type": "anndata"})
    as_csr(root, "X", encoding)
    root.create_array("dense", data=X)
    if encoding == "csr_matrix":
        (batch,) = ooc.Loader(ooc.open(path), ROWS, memory="512MiB", shuffle="none")
        assert np.array_equal(batch["X"].toarray(), np.tile([1, 0, 1], (ROWS, 1)))
    else:
        message = message_of(path)
        assert encoding in message and "by columns" in message and "tocsr()" in message
    for roles in ({}, {"features": "data"}, {"features": "data", "target": "indices"}):
        assert f"a sparse matrix of AnnData ({encoding})" in message_of(path / "X", **roles)
    assert "sparse" in refused(capsys, "train", str(path), "--model", "linear", "--target", "X")
    dataset = ooc.open(path, features="dense")
    assert "sparse matrix" in dataset.unused["X"]
    # Somebody's own sparse matrix, without a mark.
    root["X"].attrs.clear()
    plain = zarr.open_group(path / "X", mode="r+")
    plain.attrs.put({})
    assert "sparse matrix" in message_of(path / "X", features="data")


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_categorical_column_says_what_it_is(tmp_path: Path, zarr_format: int) -> None:
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=zarr_format)
    as_categorical(root, "kind")
    root.create_array("X", data=X)
    assert "kind" in ooc.open(tmp_path / "a.zarr").unused
    assert ooc.open(tmp_path / "a.zarr", target="kind").target == "kind/codes"
    message = message_of(tmp_path / "a.zarr", features="kind")
    assert "kind of" in message and "categorical column" in message and "codes" in message
    assert "categorical" in message_of(tmp_path / "a.zarr" / "kind", features="codes")


@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
def test_stores_of_tensorstore(tmp_path: Path, driver: str) -> None:
    """It writes arrays alone; groups are made around them, dimension names in v3 are its own."""
    path = tmp_path / "a.zarr"
    zarr.create_group(path, zarr_format=2 if driver == "zarr" else 3)
    labels = {"X": ["sample", "feature"], "y": ["sample"], "z": ["other"]}
    for name, data in {"X": X, "y": Y, "z": Y}.items():
        schema: dict[str, Any] = {"dtype": data.dtype.name, "domain": {"shape": list(data.shape)}}
        if driver == "zarr3":
            schema["domain"]["labels"] = labels[name]
        spec = {"driver": driver, "kvstore": f"file://{path / name}/", "schema": schema}
        tensorstore.open(spec, create=True).result().write(data).result()
    # In v2 tensorstore writes a fill value of null.
    dataset = ooc.open(path)
    assert np.array_equal(batches(dataset)["X"], X)
    assert np.array_equal(batches(dataset)["y"], Y)
    assert ("z" in dataset.arrays) == (driver == "zarr")
    if driver == "zarr3":
        assert "along 'other'" in message_of(path, target="z")
