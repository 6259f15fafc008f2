"""Sources of the conversion's benchmark: who writes each format, and who reads it alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, ROWS_AT_ONCE = 64, 8192
IMAGE_SIDE = 64
GENES = 2048


@dataclass(frozen=True)
class Case:
    """One format: what writes a source of some rows, what reads it, and options to convert it."""

    write: Callable[[Path, int], None]
    read: Callable[[Path], Any]
    suffix: str
    row_bytes: int = 4 * WIDTH
    share: float = 1.0
    options: tuple[tuple[str, Any], ...] = ()


def features(rows: int, seed: int = 0) -> np.ndarray:
    """Return rows of float32 with the precision of measurements, which compress by a half."""
    values = np.random.default_rng(seed).standard_normal((rows, WIDTH), np.float32)
    values *= 256
    np.round(values, out=values)
    values /= 256
    return values


def sparse_features(rows: int, width: int) -> Any:
    """Return sparse rows with one value in sixteen."""
    from scipy.sparse import csr_matrix

    each = width // 16
    columns = np.random.default_rng(1).integers(0, 16, (rows, each), np.int32)
    columns += np.arange(0, width, 16, dtype=np.int32)
    values = features(-(-rows * each // WIDTH)).ravel()[: rows * each]
    values[values == 0] = 1
    return csr_matrix((values, columns.ravel(), np.arange(rows + 1) * each), (rows, width))


def table(rows: int) -> Any:
    """Return a table of named columns with a target of two texts."""
    import pyarrow

    values = features(rows)
    columns = {f"c{i}": pyarrow.array(np.ascontiguousarray(values[:, i])) for i in range(WIDTH)}
    columns["label"] = pyarrow.array(np.where(values[:, 0] > 0, "yes", "no"))
    return pyarrow.table(columns)


def write_parquet(path: Path, rows: int) -> None:
    """Write row groups of a tenth of the rows."""
    import pyarrow.parquet as parquet

    parquet.write_table(table(rows), path, row_group_size=max(1, rows // 10))


def read_parquet(path: Path) -> float:
    """Read all batches as NumPy's arrays."""
    import pyarrow.parquet as parquet

    total = 0.0
    for batch in parquet.ParquetFile(path).iter_batches():
        for column in batch.columns[:-1]:
            total += column.to_numpy().sum()
        total += len(batch.columns[-1].dictionary_encode())
    return total


def write_csv(path: Path, rows: int) -> None:
    """Write with a header."""
    import pyarrow.csv

    pyarrow.csv.write_csv(table(rows), path)


def read_csv(path: Path) -> float:
    """Read block by block, by pyarrow's threads."""
    import pyarrow.csv

    total = 0.0
    with pyarrow.csv.open_csv(path) as reader:
        for batch in reader:
            for column in batch.columns[:-1]:
                total += column.to_numpy().sum()
    return total


def write_npz(path: Path, rows: int) -> None:
    """Write two arrays, packed."""
    np.savez_compressed(path, X=features(rows), y=np.arange(rows) % 2)


def read_npz(path: Path) -> float:
    """Read all arrays, whole: the library has no parts."""
    with np.load(path) as arrays:
        return float(sum(arrays[name].sum() for name in arrays.files))


def in_parts(array: Any, rows: int) -> float:
    """Add up all values of an array that is read part by part."""
    parts = range(0, rows, ROWS_AT_ONCE)
    return float(sum(np.asarray(array[first : first + ROWS_AT_ONCE]).sum() for first in parts))


def read_npy(path: Path) -> float:
    """Read it part by part."""
    rows = np.load(path, mmap_mode="r")
    return in_parts(rows, len(rows))


def write_hdf5(path: Path, rows: int) -> None:
    """Write in chunks, packed by gzip at its lowest level."""
    import h5py

    with h5py.File(path, "w") as file:
        how = {"chunks": (1024, WIDTH), "compression": "gzip", "compression_opts": 1}
        file.create_dataset("X", data=features(rows), **how)
        file["y"] = np.arange(rows) % 2


def read_hdf5(path: Path) -> float:
    """Read both arrays part by part."""
    import h5py

    with h5py.File(path, "r") as file:
        return sum(in_parts(file[name], len(file[name])) for name in ("X", "y"))


def write_netcdf(path: Path, rows: int) -> None:
    """Write a variable along time, with its coordinate."""
    import xarray

    values = xarray.DataArray(
        features(rows), dims=("time", "place"), coords={"time": np.arange(rows)}
    )
    xarray.Dataset({"t2m": values}).to_netcdf(path, engine="h5netcdf")


def read_netcdf(path: Path) -> float:
    """Read it part by part."""
    import xarray

    with xarray.open_dataset(path, engine="h5netcdf", cache=False) as dataset:
        return in_parts(dataset["t2m"], dataset.sizes["time"])


def write_svmlight(path: Path, rows: int) -> None:
    """Write one value in sixteen."""
    from sklearn.datasets import dump_svmlight_file

    dump_svmlight_file(
        sparse_features(rows, GENES // 8), np.arange(rows) % 2, str(path), zero_based=False
    )


def read_svmlight(path: Path) -> float:
    """Read it as sparse rows."""
    from sklearn.datasets import load_svmlight_file

    return float(load_svmlight_file(str(path))[0].sum())


def write_h5ad(path: Path, rows: int) -> None:
    """Write sparse rows, one value in sixteen, with a categorical column."""
    _write_cells(path, sparse_features(rows, GENES))


def _write_cells(path: Path, matrix: Any) -> None:
    import anndata
    import pandas

    rows = matrix.shape[0]
    kinds = pandas.Categorical(np.where(np.arange(rows) % 2, "B", "T"))
    obs = pandas.DataFrame({"kind": kinds}, index=[str(i) for i in range(rows)])
    anndata.AnnData(matrix, obs=obs).write_h5ad(path)


def read_h5ad(path: Path) -> float:
    """Read it backed, part by part, as sparse rows."""
    import anndata

    cells, total = anndata.read_h5ad(path, backed="r"), 0.0
    for first in range(0, cells.n_obs, ROWS_AT_ONCE):
        total += cells.X[first : first + ROWS_AT_ONCE].sum()
    cells.file.close()
    return total


def write_csc(path: Path, rows: int) -> None:
    """Write the same matrix by columns."""
    _write_cells(path, sparse_features(rows, GENES).tocsc())


def read_csc(path: Path) -> float:
    """Read it whole, and put it by rows: the library has no parts."""
    import anndata

    return float(anndata.read_h5ad(path).X.tocsr().sum())


def write_images(path: Path, rows: int) -> None:
    """Write smooth images as PNG, in two folders."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(rows):
        folder = path / ("cats" if number % 2 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8))
        small.resize((IMAGE_SIDE, IMAGE_SIDE)).save(folder / f"{number}.png")


def read_images(path: Path) -> float:
    """Decode one after the other."""
    from PIL import Image

    total = 0.0
    for file in sorted(path.rglob("*.png")):
        with Image.open(file) as image:
            total += np.asarray(image).sum()
    return total


def write_zarr(path: Path, rows: int) -> None:
    """Write with zarr-python's own codec, in chunks of 2 MiB."""
    import zarr

    group = zarr.create_group(path)
    group.create_array("X", data=features(rows), chunks=(ROWS_AT_ONCE, WIDTH))
    group.create_array("y", data=np.arange(rows) % 2, chunks=(ROWS_AT_ONCE,))


def read_zarr(path: Path) -> float:
    """Read both arrays part by part."""
    import zarr

    group: Any = zarr.open_group(path, mode="r")
    return sum(in_parts(group[name], group[name].shape[0]) for name in ("X", "y"))


CASES = {
    "parquet": Case(write_parquet, read_parquet, ".parquet", options=(("target", "label"),)),
    "csv": Case(write_csv, read_csv, ".csv", 8 * WIDTH, options=(("target", "label"),)),
    "npy": Case(lambda path, rows: np.save(path, features(rows)), read_npy, ".npy", share=2),
    "npz": Case(write_npz, read_npz, ".npz", share=0.3),
    "hdf5": Case(write_hdf5, read_hdf5, ".h5"),
    "netcdf": Case(write_netcdf, read_netcdf, ".nc", share=2),
    "svmlight": Case(write_svmlight, read_svmlight, ".svm", GENES // 16, 0.2),
    "h5ad": Case(write_h5ad, read_h5ad, ".h5ad", GENES // 2),
    "h5ad csc": Case(write_csc, read_csc, ".h5ad", GENES // 2),
    "images": Case(write_images, read_images, "", row_bytes=3 * IMAGE_SIDE**2, share=0.2),
    "zarr": Case(write_zarr, read_zarr, ".zarr"),
}
