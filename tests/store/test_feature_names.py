"""Features are called what their store says, in whichever way it does."""

from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from datasets import write_dataset

import ooc
from ooc.store.feature_names import feature_names_of

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


@pytest.mark.parametrize("names", [["a", "b"], ["a", "a", "b"], ["a", "b", 3], "abc", 7])
def test_what_are_no_names_is_passed_over(names: object, tmp_path: Path) -> None:
    write_dataset(tmp_path / "a.zarr", X=X)
    zarr.open_group(tmp_path / "a.zarr", mode="r+")["X"].attrs["feature_names"] = names
    assert feature_names_of(ooc.open(tmp_path / "a.zarr")) == ()
