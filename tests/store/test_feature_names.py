"""Features are called what their store says, in whichever way it does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from datasets import write_dataset

import ooc
from ooc.store.feature_names import feature_names_of
from ooc.store.held import hold

X = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
GENES = ("actb", "<b>", "gapdh")


def as_text(names: tuple[str, ...]) -> np.ndarray:
    return np.array(names, np.dtypes.StringDType())


def noted(path: Path) -> None:
    write_dataset(path, X=X, y=X[:, 0])
    zarr.open_group(path, mode="r+")["X"].attrs["feature_names"] = list(GENES)


def of_xarray(path: Path) -> None:
    coordinates = {"gene": np.array(GENES, object)}
    arrays = {"X": (("row", "gene"), X), "y": ("row", X[:, 0])}
    xarray.Dataset(arrays, coordinates).to_zarr(path, consolidated=False)


def of_anndata(path: Path) -> None:
    write_dataset(path, X=X, y=X[:, 0])
    root = zarr.open_group(path, mode="r+")
    root.create_group("var", attributes={"_index": "symbol"}).create_array(
        "symbol", data=as_text(GENES)
    )


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("write", [noted, of_xarray, of_anndata])
def test_names_of_a_store_come_to_the_coefficients(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path / "a.zarr")
    dataset = ooc.open(tmp_path / "a.zarr")
    assert feature_names_of(dataset) == GENES
    trainer = ooc.Trainer(ooc.models.Linear(), ooc.optim.sgd(0.1), 50, memory="512MiB")
    run = trainer.fit(dataset, 1, tmp_path / "run", report=False)
    assert run.feature_names == ooc.load(tmp_path / "run").feature_names == GENES
    lines = run.export(tmp_path / "a.csv").read_text()
    assert all(name in lines for name in GENES)


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("names", [["a", "b"], ["a", "a", "b"], ["a", "b", 3], "abc", 7])
def test_what_are_no_names_is_passed_over(names: object, tmp_path: Path) -> None:
    write_dataset(tmp_path / "a.zarr", X=X)
    zarr.open_group(tmp_path / "a.zarr", mode="r+")["X"].attrs["feature_names"] = names
    assert feature_names_of(ooc.open(tmp_path / "a.zarr")) == ()


def cells(path: Path, features: str, **tables: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Write features of a path as AnnData has them, and tables; return the names that are found."""
    group = zarr.create_group(path)
    group.create_array(features, data=X)
    for table, columns in tables.items():
        name = table.replace("_", "/")
        for column, texts in columns.items():
            group.create_array(f"{name}/{column}", data=as_text(texts))
    return feature_names_of(ooc.open(path, features))


OTHER = ("x", "y", "z")


@pytest.mark.parametrize(
    ("features", "found"),
    [("X", GENES), ("layers/counts", GENES), ("raw/X", OTHER), ("obsm/pca", ()), ("other", ())],
)
def test_genes_name_the_matrices_that_are_of_genes(
    tmp_path: Path, features: str, found: tuple[str, ...]
) -> None:
    """Of those that are called _index where a table does not say which."""
    tables = {"var": {"_index": GENES, "symbol": OTHER}, "raw_var": {"_index": OTHER}}
    assert cells(tmp_path / "a.zarr", features, **tables) == found


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "b"), ("a", "b", "c", "d"), ()], ids=str)
def test_names_are_one_for_each_feature_and_none_twice(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    assert cells(tmp_path / "a.zarr", "X", var={"_index": names} if names else {}) == ()
    assert cells(tmp_path / "b.zarr", "X") == ()


@pytest.mark.parametrize("folder", ["", "below/"])
def test_the_text_beside_the_features_labels_their_second_axis(tmp_path: Path, folder: str) -> None:
    for number, (dimensions, texts, found) in enumerate((
        (["row", "gene"], as_text(GENES), GENES),
        (["gene", "row"], as_text(GENES), ()),
        (None, as_text(GENES), ()),
        (["row", None], as_text(GENES), ()),
        (["row", "gene"], np.arange(3), ()),
        (["row", "gene"], as_text(GENES)[:, None], ()),
    )):  # fmt: skip
        group = zarr.create_group(tmp_path / f"{number}.zarr")
        group.create_array(f"{folder}Z", data=X, dimension_names=dimensions)
        group.create_array(f"{folder}gene", data=texts)
        dataset = ooc.open(tmp_path / f"{number}.zarr", f"{folder}Z")
        assert feature_names_of(dataset) == found, number


def test_what_is_noted_counts_before_what_lies_beside(tmp_path: Path) -> None:
    of_anndata(tmp_path / "a.zarr")
    attributes = zarr.open_group(tmp_path / "a.zarr", mode="r+")["X"].attrs
    attributes["feature_names"] = list(OTHER)
    assert feature_names_of(ooc.open(tmp_path / "a.zarr")) == OTHER
    attributes["feature_names"] = ["too", "few"]
    assert feature_names_of(ooc.open(tmp_path / "a.zarr")) == GENES


@pytest.mark.parametrize("write", [noted, of_xarray, of_anndata])
def test_names_of_very_wide_rows_are_left(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.zarr")
    dataset = ooc.open(tmp_path / "a.zarr")
    for most, found in ((3, GENES), (2, ())):
        monkeypatch.setattr("ooc.store.feature_names.MOST_NAMES", most)
        assert feature_names_of(dataset) == found


def test_names_of_thousands_of_genes_are_read(tmp_path: Path) -> None:
    names = [f"gene {number}" for number in range(20_000)]
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("X", shape=(2, 20_000), dtype="f4", attributes={"feature_names": names})
    assert feature_names_of(ooc.open(tmp_path / "a.zarr")) == tuple(names)


def test_images_and_arrays_in_memory_have_no_names(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a.zarr", X=X[:, :, None])
    zarr.open_group(tmp_path / "a.zarr", mode="r+")["X"].attrs["feature_names"] = list(GENES)
    assert feature_names_of(ooc.open(tmp_path / "a.zarr")) == ()
    assert feature_names_of(hold({"X": X})) == ()
