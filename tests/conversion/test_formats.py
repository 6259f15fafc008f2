"""Each format: what is written is what the format's own library reads."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from conversions import converted, people, small_shards, texts
from datasets import foreign
from numpy.testing import assert_array_equal
from PIL import Image

import ooc


def check_people(group: zarr.Group, frame: pd.DataFrame) -> None:
    numbers = frame[["age", "income", "member"]]
    assert_array_equal(group["X"][:], numbers.to_numpy(float))
    assert group["X"].attrs["feature_names"] == list(numbers)
    assert_array_equal(texts(group["city"]), frame["city"])
    # Sorted, as pandas and scikit-learn have them.
    expected = pd.Categorical(frame["label"])
    assert group["y"].attrs["categories"] == list(expected.categories)
    assert_array_equal(group["y"][:], expected.codes)
    unit, _, origin = group["when"].attrs["units"].split()
    passed = group["when"][:].astype({"seconds": "m8[s]", "microseconds": "m8[us]"}[unit])
    assert_array_equal(np.datetime64(origin) + passed, frame["when"].to_numpy())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_table_is_what_pandas_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    small_shards(monkeypatch)
    frame, path = people(), tmp_path / f"people.{kind}"
    if kind == "parquet":
        frame.to_parquet(path, row_group_size=130)
        frame = pd.read_parquet(path)
    else:
        frame.to_csv(path, index=False)
        frame = pd.read_csv(path, parse_dates=["when"], float_precision="round_trip")
    group, result = converted(path, target="label")
    check_people(group, frame)
    assert result["rows"] == result["rows_read"] == len(frame)
    assert set(result["columns"]) == set(frame)
    dataset = ooc.open(tmp_path / f"people.{kind}.out.zarr")
    assert (dataset.features, dataset.target, dataset.weight) == ("X", "y", None)


@pytest.mark.slow
def test_a_partitioned_folder_is_one_table_with_its_keys(tmp_path: Path) -> None:
    frame = people().assign(
        year=np.arange(1000) % 3 + 2020, half=np.where(people()["age"] > 45, "b", "a")
    )
    frame.to_parquet(tmp_path / "parts", partition_cols=["year", "half"])
    group, _ = converted(tmp_path / "parts", target="label", columns=["income", "year"])
    read = pd.read_parquet(tmp_path / "parts")
    assert_array_equal(group["X"][:], read[["income", "year"]].astype(float).to_numpy())
    assert_array_equal(texts(group["y"]), read["label"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [{"sep": "\t"}, {"sep": ";"}, {"compression": "gzip"}, {"quoting": 1}]
)
def test_csv_of_other_dialects(tmp_path: Path, how: dict) -> None:
    frame = people()
    frame.loc[3, "city"] = 'a "quoted"\nplace'
    path = tmp_path / ("a.csv.gz" if "compression" in how else "a.csv")
    frame.to_csv(path, index=False, **how)
    group, _ = converted(path, target="label")
    check_people(group, frame)


@pytest.mark.slow
def test_types_of_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    vectors = np.arange(30, dtype=np.float32).reshape(10, 3)
    table = pa.table(
        {
            "small": pa.array(range(10), pa.int8()),
            "price": pa.array([None, *range(9)], pa.decimal128(9, 2)),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 3),
            "day": pa.array([None, *range(1, 10)], pa.date32()),
            "kind": pa.array(["b", None, *"abababab"]).dictionary_encode(),
            "words": pa.array([["x"]] * 10),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    group, result = converted(tmp_path / "a.parquet", missing_values="keep")
    expected = np.column_stack([np.arange(10.0), [np.nan, *range(9)], vectors])
    assert_array_equal(group["X"][:], expected)
    names = ["small", "price", "vector[0]", "vector[1]", "vector[2]"]
    assert group["X"].attrs["feature_names"] == names
    assert_array_equal(group["day"][1:], np.arange(1, 10))
    assert group["day"].attrs["units"] == "days since 1970-01-01"
    assert_array_equal(texts(group["kind"]), ["b", None, *"abababab"])
    assert "list" in result["columns"]["words"] and "skipped" in result["columns"]["words"]


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    small_shards(monkeypatch)
    values = np.asarray(np.arange(3000.0).reshape(1000, 3), order=order)
    np.save(tmp_path / "a.npy", values)
    group, _ = converted(tmp_path / "a.npy")
    assert_array_equal(group["X"][:], values)
    assert group["X"].dtype == values.dtype


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_keeps_arrays_that_share_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: object
) -> None:
    small_shards(monkeypatch)
    arrays = {
        "images": np.arange(8000, dtype=np.uint8).reshape(500, 4, 4),
        "y": np.arange(500) % 7,
        "place": np.array(["b", "a"] * 250),
        "short": np.arange(3),
    }
    save(tmp_path / "a.npz", **arrays)  # type: ignore[operator]
    group, result = converted(tmp_path / "a.npz")
    assert_array_equal(group["X"][:], arrays["images"])
    assert_array_equal(group["y"][:], arrays["y"])
    assert_array_equal(texts(group["place"]), arrays["place"])
    assert result["columns"]["short"] == "skipped: it has 3 rows, not 500"
    assert "short" not in group


@pytest.mark.slow
def test_a_structured_array_is_a_table(tmp_path: Path) -> None:
    values = np.zeros(50, [("u", "f4"), ("v", "i2"), ("t", "M8[s]")])
    values["u"], values["v"] = np.arange(50) / 7, np.arange(50)
    values["t"] = np.arange(50)
    np.save(tmp_path / "a.npy", values)
    group, _ = converted(tmp_path / "a.npy")
    assert_array_equal(group["X"][:], np.column_stack([values["u"], values["v"]]))
    assert_array_equal(group["t"][:], np.arange(50))


def test_hdf5_by_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_shards(monkeypatch)
    x = np.random.default_rng(0).standard_normal((700, 5)).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("signals/raw", data=x, chunks=(64, 2), compression="gzip")
        file["signals/id"] = np.arange(700)
        file["kind"] = ["u", "v"] * 350
    group, _ = converted(tmp_path / "a.h5", columns=["signals/raw"], target="kind")
    assert_array_equal(group["X"][:], x)
    assert_array_equal(texts(group["y"]), ["u", "v"] * 350)
    assert "signals/id" not in group


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_netcdf_stays_packed_and_is_decoded_as_xarray_does(tmp_path: Path, engine: str) -> None:
    import xarray as xr

    x = np.random.default_rng(0).standard_normal((400, 3, 2))
    x[5, 1, 0] = np.nan
    time = np.arange("2001-01-01", "2002-02-05", dtype="M8[D]")[:400]
    data = xr.Dataset({"t2m": (("time", "lat", "lon"), x)}, {"time": time, "lat": [1.0, 2.0, 3.0]})
    packed = {"t2m": {"dtype": "int16", "scale_factor": 0.001, "_FillValue": -32768}}
    path = tmp_path / "a.nc"
    data.to_netcdf(path, engine=engine, encoding=packed)
    group, result = converted(path, missing_values="keep")
    assert group["X"].dtype == np.int16
    assert result["missing"] == {"t2m": 1}
    expected = xr.open_dataset(path, engine=engine)
    written = xr.open_zarr(tmp_path / "a.nc.out.zarr", consolidated=False)
    assert_array_equal(written["X"].values, expected["t2m"].values)
    assert_array_equal(written["time"].values, expected["time"].values)
    assert written["X"].dims == ("time", "lat", "lon")
    spec = ooc.open(tmp_path / "a.nc.out.zarr").arrays["X"]
    assert spec.declares_missing and spec.conventions.scale == 0.001
    # Filled, they are decoded.
    (tmp_path / "b").mkdir()
    data.to_netcdf(tmp_path / "b" / "b.nc", engine=engine, encoding=packed)
    group, _ = converted(tmp_path / "b" / "b.nc", missing_values="fill:7", dtype="float32")
    filled = expected["t2m"].fillna(7).values.astype(np.float32)
    assert_array_equal(group["X"][:], filled)


@pytest.mark.slow
@pytest.mark.parametrize("zero_based", [False, True])
def test_svmlight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zero_based: bool) -> None:
    from scipy.sparse import random as random_rows
    from sklearn.datasets import dump_svmlight_file, load_svmlight_file

    small_shards(monkeypatch)
    monkeypatch.setattr("ooc.conversion.svmlight.SCAN_BYTES", 2**10)
    x = random_rows(300, 40, 0.3, format="csr", random_state=0)
    queries, path = np.arange(300) // 10, tmp_path / "a.svm"
    dump_svmlight_file(
        x, np.arange(300) % 3, str(path), zero_based=zero_based, query_id=queries, comment="b: 1:2"
    )
    group, _ = converted(path, zero_based=zero_based, dense=True)
    expected, labels, qid = load_svmlight_file(str(path), zero_based=zero_based, query_id=True)
    assert_array_equal(group["X"][:], expected.toarray())
    assert_array_equal(group["y"][:], labels)
    assert group["y"].dtype == np.int64
    assert_array_equal(group["qid"][:], qid)


@pytest.mark.slow
@pytest.mark.parametrize("sparse", [False, True])
def test_h5ad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sparse: bool) -> None:
    import anndata
    from scipy.sparse import random as random_rows

    small_shards(monkeypatch)
    x = random_rows(300, 40, 0.3, format="csr", random_state=0, dtype=np.float32)
    obs = pd.DataFrame(
        {"kind": pd.Categorical(["B", "T", None] * 100), "size": np.arange(300), "who": "x"},
        index=[f"c{i}" for i in range(300)],
    )
    var = pd.DataFrame(index=[f"g{i}" for i in range(40)])
    pca = np.random.default_rng(0).standard_normal((300, 3))
    cells = anndata.AnnData(x if sparse else x.toarray(), obs=obs, var=var, obsm={"X_pca": pca})
    cells.write_h5ad(tmp_path / "a.h5ad")
    group, _ = converted(tmp_path / "a.h5ad", dense=True)
    read = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert_array_equal(group["X"][:], read.to_df().to_numpy())
    assert group["X"].attrs["feature_names"] == list(read.var_names)
    assert_array_equal(group["kind"][:], read.obs["kind"].cat.codes)
    assert group["kind"].attrs["categories"] == ["B", "T"]
    assert_array_equal(group["obsm/X_pca"][:], pca)
    # Single genes, beside a number of the cells.
    (tmp_path / "b").mkdir()
    (tmp_path / "a.h5ad").rename(tmp_path / "b" / "b.h5ad")
    group, _ = converted(
        tmp_path / "b" / "b.h5ad", columns=["g7", "size"], target="kind", missing_values="drop",
        dense=True,
    )  # fmt: skip
    has_kind = read.obs["kind"].notna().to_numpy()
    expected = np.column_stack([read.to_df()["g7"], read.obs["size"]])[has_kind]
    assert_array_equal(group["X"][:], expected)
    assert_array_equal(texts(group["y"]), read.obs["kind"][has_kind].to_numpy())


def test_images_in_one_subfolder_a_class(tmp_path: Path) -> None:
    rng, expected = np.random.default_rng(0), []
    for kind in ("dogs", "cats"):
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(rng.integers(0, 256, (6, 5, 3), np.uint8)).save(
                tmp_path / "pets" / kind / f"{number}.png"
            )
    group, _ = converted(tmp_path / "pets")
    for file in sorted((tmp_path / "pets").rglob("*.png")):
        expected.append(np.asarray(Image.open(file)))
    assert_array_equal(group["X"][:], np.stack(expected))
    assert_array_equal(texts(group["y"]), ["cats"] * 3 + ["dogs"] * 3)


def test_zarr_with_other_chunks_keeps_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch)
    x = np.random.default_rng(0).standard_normal((333, 6)).astype(np.float32)
    path = foreign(
        tmp_path / "a.zarr",
        2,
        X={"data": x, "chunks": (10, 4), "attributes": {"units": "m"}},
        id={"data": np.arange(333), "chunks": (50,)},
        lat={"data": np.arange(3.0)},
    )
    zarr.open_group(path).create_array("word", shape=(333,), dtype="string", chunks=(100,))
    zarr.open_group(path)["word"][:] = np.array(["ab", "cde", "f"] * 111, object)
    group, _ = converted(path)
    assert group.metadata.zarr_format == 3
    assert_array_equal(group["X"][:], x)
    assert group["X"].attrs["units"] == "m" and group["X"].chunks != (10, 4)
    assert_array_equal(group["id"][:], np.arange(333))
    assert group["word"][:].tolist() == ["ab", "cde", "f"] * 111
    assert_array_equal(group["lat"][:], np.arange(3.0))
