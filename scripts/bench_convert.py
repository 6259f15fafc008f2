"""Measure conversions: each format's rate beside that of reading the same source with its library.

Sources are generated once. Each round reads one alone, as its library's users do: in parts of some
rows, each of whose values is added up. Then it is converted. Then as many bytes of what came out
are encoded and written alone, on all cores: the limit of every conversion, however it reads. The
ratio that the limit allows counts that both reading and encoding take the cores' time. Before each
of the three all that was written is synced, and the source leaves the page cache, as that of
more than memory would; --warm leaves it there. Reading and converting are each done in a process of
its own, which has imported and compiled all that it needs.
"""

import argparse
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.machine import machine

WIDTH, ROWS_AT_ONCE = 64, 8192
IMAGE_SIDE = 64
GENES = 2048
WARM_ROWS = 2000
CORES = os.cpu_count() or 1
# What of a store is held to encode it again and again.
SAMPLE_BYTES = 2**28


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


@dataclass(frozen=True)
class Time:
    """Seconds of a side, and what of the processors' time it took."""

    seconds: float
    processor: float


def settle(source: Path, cold: bool) -> None:
    """Put all that was written on the disk, and a source out of the page cache."""
    os.sync()
    for file in [source] if source.is_file() else source.rglob("*"):
        if cold and file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def timed(work: Callable[..., object], *arguments: Any) -> Time:
    """Return the time that some work takes in this process."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work(*arguments)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    return Time(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def read(name: str, source: Path) -> Time:
    """Time the library's reading of a source."""
    return timed(CASES[name].read, source)


def convert(name: str, source: Path, target: Path, memory: str) -> Time:
    """Time the conversion of a source."""
    import ooc

    how: dict[str, Any] = {"report": False, "memory": memory, **dict(CASES[name].options)}
    return timed(lambda: ooc.convert(source, target, **how))


def limit(store: Path, folder: Path) -> Time:
    """Time encoding and writing, on all cores, of as many bytes of each array as a store has."""
    chunks = list(_chunks(store))
    return timed(_encode, chunks, folder)


def _chunks(store: Path) -> Iterator[tuple[list[np.ndarray], int]]:
    """Yield for each array some of its chunks, and how many there are."""
    import zarr

    from ooc.store.writer import CHUNK_BYTES

    for _, member in zarr.open_group(store, mode="r").members(max_depth=None):
        if isinstance(member, zarr.Array):
            row_bytes = member.dtype.itemsize * int(np.prod(member.shape[1:]))
            rows = max(1, CHUNK_BYTES // row_bytes)
            values: Any = member[: max(1, SAMPLE_BYTES // row_bytes)]
            parts = [values[first : first + rows] for first in range(0, len(values), rows)]
            yield parts, -(-member.shape[0] // rows)


def _encode(arrays: list[tuple[list[np.ndarray], int]], folder: Path) -> None:
    """Encode and write chunks, a file a shard, which is synced while others are written."""
    from ooc.store.writer import SHARD_BYTES, encode_chunk

    waiting: deque[Future[bytes]] = deque()
    syncs: deque[Future[None]] = deque()
    with ThreadPoolExecutor(CORES) as pool, ThreadPoolExecutor(1) as syncing:
        for number, (parts, count) in enumerate(arrays):
            stream, filled = (folder / f"{number}").open("wb"), 0
            for chunk in range(count):
                part = parts[chunk % len(parts)]
                waiting.append(pool.submit(encode_chunk, part))
                filled += part.nbytes
                while len(waiting) > (2 * CORES if chunk < count - 1 else 0):
                    stream.write(waiting.popleft().result())
                if filled >= SHARD_BYTES or chunk == count - 1:
                    stream.flush()
                    syncs.append(syncing.submit(_sync, os.dup(stream.fileno())))
                    while len(syncs) > 1:
                        syncs.popleft().result()
                    filled = 0
            stream.close()


def _sync(descriptor: int) -> None:
    os.fsync(descriptor)
    os.close(descriptor)


def made(name: str, options: argparse.Namespace, folder: Path, rows: int) -> Path:
    """Return a source of some rows, which is written unless it is there."""
    case = CASES[name]
    path = folder / f"{name.replace(' ', '-')}-{rows}{case.suffix}"
    if not path.exists():
        aside = folder / f"unfinished{case.suffix}"
        if aside.exists():
            shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
        case.write(aside, rows)
        aside.rename(path)
    return path


def measure(name: str, options: argparse.Namespace, folder: Path) -> None:
    """Measure one format and print its line."""
    case = CASES[name]
    rows = int(case.share * options.mb * 1e6 / case.row_bytes)
    small, source = (made(name, options, folder, count) for count in (WARM_ROWS, rows))
    if options.only_make:
        return
    decoded, target = rows * case.row_bytes / 1e6, folder / "converted.zarr"
    times: list[tuple[Time, Time, Time]] = []
    spawned = get_context("spawn")
    with (
        ProcessPoolExecutor(1, spawned) as reader,
        ProcessPoolExecutor(1, spawned) as converter,
        tempfile.TemporaryDirectory(dir=folder) as scratch,
    ):
        reader.submit(read, name, small).result()
        converter.submit(convert, name, small, target, options.memory).result()
        shutil.rmtree(target)
        for _ in range(options.rounds):
            settle(source, not options.warm)
            reading = reader.submit(read, name, source).result()
            settle(source, not options.warm)
            converting = converter.submit(convert, name, source, target, options.memory).result()
            settle(source, not options.warm)
            times.append((reading, converting, limit(target, Path(scratch))))
            shutil.rmtree(target)
    _print_line(name, decoded, times)


def _print_line(name: str, decoded: float, times: list[tuple[Time, Time, Time]]) -> None:
    sides = list(zip(*times, strict=True))
    rates = [statistics.median(decoded / each.seconds for each in side) for side in sides]
    loads = [statistics.median(each.processor for each in side) for side in sides]
    ratios = [reading.seconds / converting.seconds for reading, converting, _ in times]
    best = statistics.median(
        reading.seconds / max(alone.seconds, (reading.processor + alone.processor) / CORES)
        for reading, _, alone in times
    )
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(
        f"{name:>9} {rates[0]:8.0f} {rates[1]:10.0f} {statistics.median(ratios):8.2f}  {spread:<13}"
        f"{rates[2]:8.0f} {best:8.2f}   "
        + " ".join(f"{1000 * load / decoded:6.2f}" for load in loads)
    )
    sys.stdout.flush()


def main() -> None:
    """Measure the formats and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=1000, help="decoded megabytes of a source, about")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", default="1GiB", help="the budget")
    parser.add_argument("--formats", default=",".join(CASES), help="names with commas between")
    parser.add_argument("--folder", help="where sources are made and kept; by default not kept")
    parser.add_argument("--warm", action="store_true", help="sources stay in the page cache")
    parser.add_argument("--only-make", action="store_true", help="make the sources in --folder")
    options = parser.parse_args()
    cache = "sources in the page cache" if options.warm else "no source in the page cache"
    print(f"{machine()}; medians of {options.rounds} rounds, {cache}")
    print(f"{'':>9}  reading converting                          limit:         core seconds a GB:")
    print(
        f"{'':>9}     MB/s       MB/s    ratio  from  to         MB/s    ratio   read  conv  limit"
    )
    with tempfile.TemporaryDirectory(dir=".") as passing:
        for name in options.formats.split(","):
            measure(name, options, Path(options.folder or passing))


if __name__ == "__main__":
    main()
