"""Data of four trades, written by each trade's own library, in the format that its people have.

``python tests/journeys/generate.py TRADE PATH ROWS [SEED]`` writes one of `TRADES`. Rows are
seeded; how much of a label or target can be told from a row is known by construction, and never all
of it.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

SEED = 7


def cells(
    path: Path, rows: int, seed: int = SEED, genes: int = 20_000, types: int = 12, donors: int = 10
) -> None:
    """Write counts of genes in cells, by anndata: an h5ad file, or a Zarr store.

    Counts are negative binomial. A type of cells raises or lowers a few genes, types come in
    families that are hard to tell apart, and each donor has a shift of every gene, so that donors
    who were not seen are harder. About 7 percent of the counts are not zero.
    """
    import anndata
    import pandas
    import scipy.sparse

    rng = np.random.default_rng(seed)
    usual = rng.normal(-4.2, 1.8, genes)
    marked = rng.random((types, genes)) < 0.05
    family = rng.normal(0, 0.6, (types // 3, genes))[np.arange(types) % (types // 3)]
    by_type = family * marked[np.arange(types) % (types // 3)] + rng.normal(
        0, 0.35, (types, genes)
    ) * (rng.random((types, genes)) < 0.05)
    by_donor = rng.normal(0, 0.25, (donors, genes))
    share = rng.dirichlet(np.full(types, 3.0))
    kind, donor = rng.choice(types, rows, p=share), rng.integers(0, donors, rows)
    rates = np.exp(usual + by_type).astype(np.float32)
    shifts = np.exp(by_donor).astype(np.float32)
    depth = rng.lognormal(0, 0.5, rows).astype(np.float32)
    pieces = []
    for first in range(0, rows, 1000):
        part = slice(first, first + 1000)
        mean = rates[kind[part]] * shifts[donor[part]] * depth[part, None]
        # Gamma of shape 2 makes the counts negative binomial; most rates are near 0.
        mean *= rng.standard_gamma(2.0, mean.shape, np.float32) / 2
        counts = rng.poisson(mean).astype(np.float32)
        pieces.append(scipy.sparse.csr_matrix(counts))
    obs = pandas.DataFrame(
        {
            "cell_type": pandas.Categorical([f"type {number:02}" for number in kind]),
            "donor": pandas.Categorical([f"D{number}" for number in donor]),
        },
        index=[f"cell-{number}" for number in range(rows)],
    )
    var = pandas.DataFrame(index=[f"ENSG{number:08}" for number in range(genes)])
    data = anndata.AnnData(scipy.sparse.vstack(pieces, format="csr"), obs, var)
    (data.write_zarr if path.suffix == ".zarr" else data.write_h5ad)(path)


FIELDS = {"t2m": (281.0, 9.0), "d2m": (276.0, 8.0), "msl": (101_300.0, 900.0)}
FIELDS |= {"u10": (1.0, 4.0), "v10": (0.5, 4.0)}


def climate(path: Path, rows: int, seed: int = SEED, height: int = 12, width: int = 20) -> None:
    """Write six-hourly fields and a demand for energy, by xarray: a Zarr store, or NetCDF.

    Fields are packed in int16 as ECMWF packs them: a mean, a season, a time of day, and weather
    that moves slowly in few patterns. Demand follows temperature and wind of some regions.
    """
    import pandas
    import xarray

    rng, patterns = np.random.default_rng(seed), 24
    times = pandas.date_range("1979-01-01", periods=rows, freq="6h")
    season = np.cos(2 * np.pi * (times.dayofyear.to_numpy() - 200) / 365.25)
    hour = np.cos(2 * np.pi * (times.hour.to_numpy() - 15) / 24)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = rng.normal(0, 2.5, (patterns, 2))
    shapes = np.cos(2 * np.pi * (waves[:, :1, None] * y + waves[:, 1:, None] * x)
                    + rng.uniform(0, 6, (patterns, 1, 1)))  # fmt: skip
    weather = rng.standard_normal((rows, patterns)).astype(np.float32)
    for step in range(1, rows):
        weather[step] = 0.95 * weather[step - 1] + 0.31 * weather[step]
    variables, encoding, demand = {}, {}, np.zeros(rows)
    for number, (name, (mean, spread)) in enumerate(FIELDS.items()):
        mixed = np.roll(weather, 3 * number, axis=1) @ rng.normal(0, 0.3, (patterns, patterns))
        field = (mixed @ shapes.reshape(patterns, -1)).reshape(rows, height, width) / 3
        field += 0.3 * rng.standard_normal(field.shape, np.float32)
        if name in ("t2m", "d2m"):
            field += (1.2 * season + 0.3 * hour)[:, None, None] * (1 - 0.5 * y)
        told = field[:, : height // 2, : width // 2].mean((1, 2))
        told += field[:, height // 2 :, width // 2 :].mean((1, 2)) / 2
        demand += (-1.0, 0.2, 0.1, 0.5, 0.4)[number] * told
        values = (mean + spread * field).astype(np.float32)
        variables[name] = (("time", "latitude", "longitude"), values)
        low, high = float(values.min()), float(values.max())
        packed = {"scale_factor": (high - low) / 65_000, "add_offset": (high + low) / 2}
        encoding[name] = {"dtype": "int16", "_FillValue": -32_768, **packed}
    demand = 50 + 10 * (demand + 0.25 * rng.standard_normal(rows))
    variables["demand"] = (("time",), demand.astype(np.float32))
    places = {"time": times, "latitude": 60 - 0.5 * np.arange(height)}
    places["longitude"] = 0.5 * np.arange(width)
    data = xarray.Dataset(variables, places)
    chunks = {"time": min(500, rows)}
    if path.suffix == ".zarr":
        data.chunk(chunks).to_zarr(path, encoding=encoding)
    else:
        data.to_netcdf(path, engine="h5netcdf", encoding=encoding)


def clicks(path: Path, rows: int, seed: int = SEED) -> None:
    """Write clicks as those of Criteo, by pyarrow: Parquet, or CSV.

    13 counts with missing values and 26 columns of categories, of which few are common and most
    are rare. Whether one clicked depends on counts, on categories, and on pairs of them.
    """
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    rng = np.random.default_rng(seed)
    sizes = (10 ** rng.uniform(1, 5, 26)).astype(int)
    effects = [rng.normal(0, 0.45, size).astype(np.float32) for size in sizes]
    common = [int(place) for place in np.argsort(sizes)[:8]]
    pairs = list(zip(common[:4], common[4:], strict=True))
    joint = [rng.normal(0, 0.5, (sizes[a], sizes[b])).astype(np.float32) for a, b in pairs]
    weights, lacks = rng.normal(0, 0.15, 13), rng.uniform(0, 0.4, 13)
    words = [rng.integers(0, 2**32, size, np.uint64) for size in sizes]
    texts = [np.array([f"{word:08x}" for word in each.tolist()]) for each in words]
    kinds = [("label", pyarrow.int8())]
    kinds += [(f"I{number + 1}", pyarrow.int32()) for number in range(13)]
    kinds += [(f"C{number + 1}", pyarrow.string()) for number in range(26)]
    schema = pyarrow.schema(kinds)
    writes = pyarrow.csv.CSVWriter if path.suffix == ".csv" else pyarrow.parquet.ParquetWriter
    with writes(str(path), schema) as writer:
        for first in range(0, rows, 100_000):
            count = min(100_000, rows - first)
            numbers = rng.lognormal(1.5, 1.5, (count, 13)).astype(np.int32)
            missing = rng.random((count, 13)) < lacks
            codes = [(size ** rng.random(count)).astype(int) - 1 for size in sizes]
            score = -1.5 + np.where(missing, 0, np.log1p(numbers) - 1.6) @ weights
            score += sum(effect[code] for effect, code in zip(effects, codes, strict=True)) / 2
            score += sum(
                each[codes[a], codes[b]] for (a, b), each in zip(pairs, joint, strict=True)
            )
            label = rng.random(count) < 1 / (1 + np.exp(-score))
            columns = [pyarrow.array(label.astype(np.int8))]
            columns += [
                pyarrow.array(numbers[:, each], mask=missing[:, each]) for each in range(13)
            ]
            columns += [pyarrow.array(text[code]) for text, code in zip(texts, codes, strict=True)]
            writer.write(pyarrow.record_batch(columns, schema=schema))


def events(path: Path, rows: int, seed: int = SEED, width: int = 64) -> None:
    """Write counts of events and an outcome, by dask.array: a Zarr store of two arrays.

    The outcome is linear in the logarithms of the counts, which are of very different size.
    """
    import dask.array

    block = min(rows, 20_000)
    state = dask.array.random.default_rng(seed)
    hidden = np.random.default_rng(seed)
    weights, scales = hidden.normal(0, 1, width), hidden.uniform(0.5, 6, width)
    logs = state.normal(0, 1, (rows, width), chunks=(block, width)) + scales
    counts = dask.array.floor(dask.array.exp(logs)).clip(0, 65_535).astype("uint16")
    told = (dask.array.log1p(counts.astype("float32")) - scales.astype("float32")) @ weights
    noise = state.normal(0, 2, rows, chunks=block)
    dask.array.store(
        [counts, (told + noise).astype("float32")],
        [_new(path, "counts", counts), _new(path, "outcome", told)],
        lock=False,
    )


def _new(path: Path, name: str, array: object) -> object:
    """Create an array of a store for what dask computes by blocks."""
    import zarr

    kind = array.dtype if name == "counts" else "float32"  # type: ignore[attr-defined]
    shape, chunks = array.shape, array.chunksize  # type: ignore[attr-defined]
    return zarr.open_group(path, mode="a").create_array(
        name, shape=shape, chunks=chunks, dtype=kind
    )


TRADES: dict[str, Callable[[Path, int, int], None]] = {
    "cells": cells,
    "climate": climate,
    "clicks": clicks,
    "events": events,
}

if __name__ == "__main__":
    trade, place, count, *seeds = sys.argv[1:]
    TRADES[trade](Path(place), int(count), int(*seeds or [SEED]))
