"""Measure conversions: each format's rate beside that of reading the same source with its library.

Sources are generated once, of about --mb decoded megabytes each. Each round reads a source alone,
as its library's users do, in parts of some rows, then converts it, then compresses as many dense
bytes alone, on as many threads as there are cores: what compresses cannot be faster than that.
Sources are in the page cache, unless --cold drops them before each reading.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ooc
from ooc.core.machine import machine
from ooc.store.fields import CHUNK_BYTES, encode_chunk

WIDTH, ROWS_AT_ONCE = 64, 8192
IMAGE_SIDE = 64


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
    return np.round(values * 256).astype(np.float32) / 256


def table(rows: int) -> Any:
    """Return a data frame of named columns with a target of two texts."""
    import pandas

    frame = pandas.DataFrame(features(rows), columns=[f"c{i}" for i in range(WIDTH)])
    frame["label"] = np.where(frame["c0"] > 0, "yes", "no")
    return frame


def write_parquet(path: Path, rows: int) -> None:
    """Write row groups of a tenth of the rows."""
    table(rows).to_parquet(path, row_group_size=max(1, rows // 10))


def read_parquet(path: Path) -> int:
    """Read all batches."""
    import pyarrow.parquet as parquet

    return sum(batch.num_rows for batch in parquet.ParquetFile(path).iter_batches())


def write_csv(path: Path, rows: int) -> None:
    """Write with a header."""
    import pyarrow
    import pyarrow.csv

    pyarrow.csv.write_csv(pyarrow.Table.from_pandas(table(rows), preserve_index=False), path)


def read_csv(path: Path) -> int:
    """Read block by block, by pyarrow's threads."""
    import pyarrow.csv

    with pyarrow.csv.open_csv(path) as reader:
        return sum(batch.num_rows for batch in reader)


def write_npz(path: Path, rows: int) -> None:
    """Write two arrays, packed."""
    np.savez_compressed(path, X=features(rows), y=np.arange(rows) % 2)


def read_npz(path: Path) -> list[np.ndarray]:
    """Read all arrays, whole: the library has no parts."""
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]


def read_npy(path: Path) -> None:
    """Read it part by part."""
    rows = np.load(path, mmap_mode="r")
    for first in range(0, len(rows), ROWS_AT_ONCE):
        _ = np.array(rows[first : first + ROWS_AT_ONCE])


def write_hdf5(path: Path, rows: int) -> None:
    """Write in chunks, packed by gzip at its lowest level."""
    import h5py

    with h5py.File(path, "w") as file:
        chunks = (1024, WIDTH)
        file.create_dataset(
            "X", data=features(rows), chunks=chunks, compression="gzip", compression_opts=1
        )
        file["y"] = np.arange(rows) % 2


def read_hdf5(path: Path) -> None:
    """Read both arrays part by part."""
    import h5py

    with h5py.File(path, "r") as file:
        for name in ("X", "y"):
            for first in range(0, len(file[name]), ROWS_AT_ONCE):
                _ = file[name][first : first + ROWS_AT_ONCE]


def write_netcdf(path: Path, rows: int) -> None:
    """Write a variable along time, with its coordinate."""
    import xarray

    values = xarray.DataArray(
        features(rows), dims=("time", "place"), coords={"time": np.arange(rows)}
    )
    xarray.Dataset({"t2m": values}).to_netcdf(path, engine="h5netcdf")


def read_netcdf(path: Path) -> None:
    """Read it part by part."""
    import xarray

    with xarray.open_dataset(path, engine="h5netcdf", cache=False) as dataset:
        for first in range(0, dataset.sizes["time"], ROWS_AT_ONCE):
            _ = dataset["t2m"].isel(time=slice(first, first + ROWS_AT_ONCE)).values


def write_svmlight(path: Path, rows: int) -> None:
    """Write one value in four."""
    from scipy.sparse import csr_matrix
    from sklearn.datasets import dump_svmlight_file

    values = features(rows)
    values[np.random.default_rng(1).random(values.shape) > 0.25] = 0
    dump_svmlight_file(csr_matrix(values), np.arange(rows) % 2, str(path), zero_based=False)


def read_svmlight(path: Path) -> Any:
    """Read it as sparse rows."""
    from sklearn.datasets import load_svmlight_file

    return load_svmlight_file(str(path))


def write_h5ad(path: Path, rows: int) -> None:
    """Write sparse rows, one value in four, with a categorical column."""
    import anndata
    import pandas
    from scipy.sparse import csr_matrix

    values = features(rows)
    values[np.random.default_rng(1).random(values.shape) > 0.25] = 0
    names = [str(i) for i in range(rows)]
    kinds = pandas.Categorical(np.where(np.arange(rows) % 2, "B", "T"))
    obs = pandas.DataFrame({"kind": kinds}, index=names)
    anndata.AnnData(csr_matrix(values), obs=obs).write_h5ad(path)


def read_h5ad(path: Path) -> None:
    """Read it backed, part by part, as sparse rows."""
    import anndata

    cells = anndata.read_h5ad(path, backed="r")
    for first in range(0, cells.n_obs, ROWS_AT_ONCE):
        _ = cells.X[first : first + ROWS_AT_ONCE]
    cells.file.close()


def write_csc(path: Path, rows: int) -> None:
    """Write the same matrix by columns."""
    import anndata

    write_h5ad(path, rows)
    cells = anndata.read_h5ad(path)
    cells.X = cells.X.tocsc()
    cells.write_h5ad(path)


def read_csc(path: Path) -> Any:
    """Read it whole, and put it by rows: the library has no parts."""
    import anndata

    return anndata.read_h5ad(path).X.tocsr()


def write_images(path: Path, rows: int) -> None:
    """Write smooth images as PNG, in two folders."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(rows):
        folder = path / ("cats" if number % 2 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8))
        small.resize((IMAGE_SIDE, IMAGE_SIDE)).save(folder / f"{number}.png")


def read_images(path: Path) -> None:
    """Decode one after the other."""
    from PIL import Image

    for file in sorted(path.rglob("*.png")):
        with Image.open(file) as image:
            _ = np.asarray(image)


def write_zarr(path: Path, rows: int) -> None:
    """Write with zarr-python's own codec, in chunks of 2 MiB."""
    import zarr

    group = zarr.create_group(path)
    group.create_array("X", data=features(rows), chunks=(ROWS_AT_ONCE, WIDTH))
    group.create_array("y", data=np.arange(rows) % 2, chunks=(ROWS_AT_ONCE,))


def read_zarr(path: Path) -> None:
    """Read both arrays part by part."""
    import zarr

    group = zarr.open_group(path, mode="r")
    for name in ("X", "y"):
        array: Any = group[name]
        for first in range(0, array.shape[0], ROWS_AT_ONCE):
            _ = array[first : first + ROWS_AT_ONCE]


CASES = {
    "parquet": Case(write_parquet, read_parquet, ".parquet", options=(("target", "label"),)),
    "csv": Case(write_csv, read_csv, ".csv", share=0.5, options=(("target", "label"),)),
    "npy": Case(lambda path, rows: np.save(path, features(rows)), read_npy, ".npy", share=2),
    "npz": Case(write_npz, read_npz, ".npz"),
    "hdf5": Case(write_hdf5, read_hdf5, ".h5"),
    "netcdf": Case(write_netcdf, read_netcdf, ".nc"),
    "svmlight": Case(write_svmlight, read_svmlight, ".svm", share=0.1),
    "h5ad": Case(write_h5ad, read_h5ad, ".h5ad"),
    "h5ad csc": Case(write_csc, read_csc, ".h5ad"),
    "images": Case(write_images, read_images, "", row_bytes=3 * IMAGE_SIDE**2, share=0.2),
    "zarr": Case(write_zarr, read_zarr, ".zarr"),
}


def drop(path: Path) -> None:
    """Drop a source's files from the page cache."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds that some work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def compress(values: np.ndarray, megabytes: float) -> None:
    """Compress as many megabytes of these values, a chunk at a time, on all cores."""
    rows = CHUNK_BYTES // values[:1].nbytes
    chunks = [values[first : first + rows] for first in range(0, len(values) - rows, rows)]
    wanted = max(1, int(megabytes * 1e6 / CHUNK_BYTES))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in pool.map(
            lambda number: len(encode_chunk(chunks[number % len(chunks)])), range(wanted)
        ):
            pass


def measure(name: str, options: argparse.Namespace, folder: Path) -> None:
    """Measure one format and print its line."""
    case = CASES[name]
    rows = int(case.share * options.mb * 1e6 / case.row_bytes)
    source, target = folder / f"source{case.suffix}", folder / "converted.zarr"
    case.write(source, rows)
    asked: dict[str, Any] = {"report": False, "memory": options.memory, **dict(case.options)}
    decoded, values = rows * case.row_bytes / 1e6, features(100_000)
    times: list[tuple[float, float, float]] = []
    for number in range(options.rounds + 1):
        if options.cold:
            drop(source)
        reading = seconds_of(lambda: case.read(source))
        if options.cold:
            drop(source)
        converting = seconds_of(lambda: ooc.convert(source, target, **asked))
        shutil.rmtree(target)
        if number:  # the first round imports
            alone = seconds_of(lambda: compress(values, decoded))
            times.append((reading, converting, alone))
    columns = [[decoded / each for each in column] for column in zip(*times, strict=True)]
    reading_rate, rate, limit = (statistics.median(column) for column in columns)
    ratios = [reading / converting for reading, converting, _ in times]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    middle = f"{statistics.median(ratios):6.2f}  {spread}"
    print(f"{name:>10}  {reading_rate:8.0f}  {rate:8.0f}  {middle}  {limit:8.0f}")
    sys.stdout.flush()
    shutil.rmtree(source) if source.is_dir() else source.unlink()


def main() -> None:
    """Measure the formats and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=400, help="decoded megabytes of a source, about")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", default="1GiB", help="the budget")
    parser.add_argument("--formats", default=",".join(CASES), help="names with commas between")
    parser.add_argument("--folder", default=".", help="where sources are made for a while")
    parser.add_argument("--cold", action="store_true", help="sources are not in the page cache")
    options = parser.parse_args()
    cache = "cold" if options.cold else "sources in the page cache"
    print(f"{machine()}; medians of {options.rounds} rounds, {cache}")
    print(f"{'':>10}  reading,  converting,  ratio, from to       compressing")
    print(f"{'':>10}  MB/s      MB/s                              alone, MB/s")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name in options.formats.split(","):
            measure(name, options, Path(folder))


if __name__ == "__main__":
    main()
