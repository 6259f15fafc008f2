"""Stores as other people's tools write them: how each is written, and what it is worth by others.

What a store holds is known from NumPy, or from xarray where that writes the encoding; never from
this package.
"""

import json
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import tensorstore
import xarray
import zarr

from ooc.store.members import quiet

ROWS, WIDTH, CHUNK = 300, 3, 40


@dataclass(frozen=True)
class Truth:
    """What a store holds: values (rows, ...) float64 of features and targets, NaN for missing.

    Attributes
    ----------
    roles
        Options by which the store is opened.
    unused
        Names of members that cannot be used beside the rows.
    """

    features: np.ndarray
    target: np.ndarray
    roles: dict[str, Any] = field(default_factory=dict)
    unused: frozenset[str] = frozenset()

    @property
    def whole(self) -> np.ndarray:
        """Tell which rows lack no value."""
        flat = self.features.reshape(len(self.features), -1)
        return ~(np.isnan(flat).any(axis=1) | np.isnan(self.target))


Write = Callable[[Path], Truth]
RNG = np.random.default_rng(13)
NORMAL = RNG.standard_normal((ROWS, WIDTH))
LINE = NORMAL @ np.array([1.0, -2.0, 0.5]) + 0.1 * RNG.standard_normal(ROWS)
LACKS = np.arange(ROWS) % 37 == 11


def by_xarray(
    version: int,
    x: np.ndarray,
    y: np.ndarray,
    encoding: dict[str, dict[str, Any]],
    consolidated: bool = False,
    **attributes: dict[str, Any],
) -> Write:
    """Let xarray encode values as it is told, and decode what it wrote."""

    def write(path: Path) -> Truth:
        dims = ("row", "column", "depth")
        arrays = {"X": x, "y": y}
        variables = {
            name: xarray.Variable(dims[: values.ndim], values, attributes.get(name, {}))
            for name, values in arrays.items()
        }
        chunks = {name: {"chunks": (CHUNK, *values.shape[1:])} for name, values in arrays.items()}
        told = {name: chunks[name] | encoding.get(name, {}) for name in arrays}
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore", xarray.SerializationWarning)
            xarray.Dataset(variables).to_zarr(
                path, zarr_format=version, consolidated=consolidated, encoding=told
            )
            with xarray.open_zarr(path, consolidated=False, chunks=None) as found:
                features, target = (found[name].values.astype(np.float64) for name in arrays)
        return Truth(features, target)

    return write


def by_zarr(version: int, x: np.ndarray, y: np.ndarray, **options: Any) -> Write:
    """Let zarr-python write plain numbers, which mean themselves."""

    def write(path: Path) -> Truth:
        group = zarr.create_group(path, zarr_format=version)
        for name, values in {"X": x, "y": y}.items():
            chunks = (CHUNK, *values.shape[1:])
            array = group.create_array(
                name, shape=values.shape, chunks=chunks, dtype=values.dtype, **options
            )
            array[...] = values
        return Truth(x.astype(np.float64), y.astype(np.float64))

    return write


def by_hand(dtype: str, **metadata: Any) -> Write:
    """Write a version 2 store byte by byte, as tools in other languages do."""

    def write(path: Path) -> Truth:
        path.mkdir()
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        x, y = (100 * NORMAL).astype(dtype), (100 * LINE).astype(dtype)
        separator = metadata.get("dimension_separator", ".")
        for name, values in {"X": x, "y": y}.items():
            (path / name).mkdir()
            described = {
                "zarr_format": 2, "shape": values.shape, "chunks": (CHUNK, *values.shape[1:]),
                "dtype": values.dtype.str, "compressor": None, "fill_value": None, "order": "C",
                "filters": None, **metadata,
            }  # fmt: skip
            (path / name / ".zarray").write_text(json.dumps(described))
            for number in range(-(-ROWS // CHUNK)):
                chunk = np.zeros((CHUNK, *values.shape[1:]), values.dtype)
                part = values[number * CHUNK : (number + 1) * CHUNK]
                chunk[: len(part)] = part
                file = path / name / separator.join([str(number), *["0"] * (values.ndim - 1)])
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(chunk.tobytes(metadata.get("order", "C")))
        return Truth(x.astype(np.float64), y.astype(np.float64))

    return write


def by_tensorstore(driver: str) -> Write:
    """Let tensorstore write arrays into a group."""

    def write(path: Path) -> Truth:
        zarr.create_group(path, zarr_format=2 if driver == "zarr" else 3)
        for name, values in {"X": NORMAL, "y": LINE}.items():
            schema = {"dtype": values.dtype.name, "domain": {"shape": list(values.shape)}}
            spec = {"driver": driver, "kvstore": f"file://{path / name}/", "schema": schema}
            tensorstore.open(spec, create=True).result().write(values).result()
        return Truth(NORMAL, LINE)

    return write


def declared(x: np.ndarray, y: np.ndarray, truth: Truth, version: int, **noted: Any) -> Write:
    """Write stored numbers with attributes that xarray does not decode, and say what they mean."""

    def write(path: Path) -> Truth:
        group = zarr.create_group(path, zarr_format=version)
        for name, values in {"X": x, "y": y}.items():
            chunks = (CHUNK, *values.shape[1:])
            attributes = noted.get(name, {})
            group.create_array(name, data=values, chunks=chunks, attributes=attributes)
        return truth

    return write


def annotated(version: int, old: bool) -> Write:
    """Write embeddings and codes of categories as AnnData does, before 0.8 and since."""

    def write(path: Path) -> Truth:
        group = zarr.create_group(
            path, zarr_format=version, attributes={"encoding-type": "anndata"}
        )
        group.create_array("X/data", data=np.ones(ROWS))
        group["X"].attrs["encoding-type"] = "csr_matrix"
        group.create_array("obsm/X_pca", data=NORMAL, chunks=(CHUNK, WIDTH))
        obs = group.create_group("obs", attributes={"encoding-type": "dataframe"})
        codes = np.where(LACKS, -1, LINE > 0).astype(np.int8)
        name, texts = ("kind", "__categories/kind") if old else ("kind/codes", "kind/categories")
        noted = {"categories": texts} if old else {}
        obs.create_array(name, data=codes, chunks=(CHUNK,), attributes=noted)
        with quiet():
            obs.create_array(texts, shape=2, dtype=str)[:] = np.array(["a", "b"], object)
        if not old:
            obs["kind"].attrs["encoding-type"] = "categorical"
        target = np.where(codes < 0, np.nan, codes)
        roles = {"features": "obsm/X_pca", "target": f"obs/{name}"}
        return Truth(NORMAL, target, roles, frozenset({"X", "obs", "obsm"}))

    return write


def with_neighbours(version: int) -> Write:
    """Write rows beside arrays of every other kind."""

    def write(path: Path) -> Truth:
        truth = by_zarr(version, NORMAL, LINE)(path)
        group = zarr.open_group(path, mode="r+")
        others: dict[str, np.ndarray] = {
            "time": np.arange(ROWS).astype("M8[ns]"), "phase": np.arange(ROWS) * 1j,
            "name": np.array(["ab"] * ROWS, "U2"), "scale": np.ones(7),
        }  # fmt: skip
        with quiet():
            for name, values in others.items():
                group.create_array(name, data=values)
            group.create_array("text", shape=ROWS, dtype=str)[:] = np.array(["é"] * ROWS, object)
        return Truth(truth.features, truth.target, {}, frozenset({*others, "text"}))

    return write


def grown(version: int) -> Write:
    """Consolidate metadata when half of the rows are there, and append the rest."""

    def write(path: Path) -> Truth:
        half = ROWS // 2
        by_zarr(version, NORMAL[:half], LINE[:half])(path)
        with quiet():
            zarr.consolidate_metadata(str(path))
            group = zarr.open_group(path, mode="r+", use_consolidated=False)
            for name, values in {"X": NORMAL, "y": LINE}.items():
                array = group[name]
                assert isinstance(array, zarr.Array)
                array.append(values[half:])
        return Truth(NORMAL, LINE)

    return write


def with_times(version: int) -> Write:
    """Let xarray write durations and dates, some of which are no times."""

    def write(path: Path) -> Truth:
        seconds = np.rint(1e4 * np.column_stack([NORMAL, LINE])).astype("m8[s]").astype("m8[ns]")
        seconds[LACKS, 1] = np.timedelta64("NaT")
        seconds[LACKS[::-1], 3] = np.timedelta64("NaT")
        since = np.datetime64("2001-01-01", "ns")
        variables: dict[str, Any] = {
            "X": (("row", "column"), seconds[:, :3]), "y": ("row", since + seconds[:, 3]),
        }  # fmt: skip
        told = {"X": {"units": "seconds"}, "y": {"units": "seconds since 2001-01-01"}}
        with quiet():
            xarray.Dataset(variables).to_zarr(
                path, zarr_format=version, consolidated=False, encoding=told
            )
        stored = np.where(np.isnat(seconds), np.nan, seconds / np.timedelta64(1, "s"))
        return Truth(stored[:, :3], stored[:, 3])

    return write


def zipped(version: int, compression: int, folder: str = "") -> Write:
    """Write a group into a zip archive, or zip a folder together with its name."""

    def write(path: Path) -> Truth:
        aside = path.with_suffix(".aside")
        truth = by_zarr(version, NORMAL, LINE)(aside)
        with zipfile.ZipFile(path, "w", compression) as archive:
            for file in aside.rglob("*"):
                archive.write(file, Path(folder, file.relative_to(aside)))
        return truth

    return write


def with_names(version: int, x: np.ndarray, noted: dict[str, str]) -> Write:
    """Write dimension names, and arrays that have the names of roles and play none."""

    def write(path: Path) -> Truth:
        variables: dict[str, Any] = {
            "X": (("scene", "band"), x), "label": ("scene", LINE), "y": ("y", np.arange(7.0)),
            "weight": ("scene", np.full(ROWS, 1e3), noted),
        }  # fmt: skip
        with quiet():
            xarray.Dataset(variables).to_zarr(path, zarr_format=version, consolidated=False)
        roles = {"target": "label", "weight": False}
        return Truth(x.astype(np.float64), LINE, roles, frozenset({"y"}))

    return write


PACKED = {"dtype": "int16", "scale_factor": 0.001, "add_offset": 273.15, "_FillValue": -32768}
X_LACKS = np.where(LACKS[:, None] & [False, True, False], np.nan, NORMAL)
Y_LACKS = np.where(LACKS, np.nan, LINE)
BYTES = np.clip(128 + 40 * NORMAL, 0, 255).astype("u1")
WHOLE = np.rint(100 * NORMAL)
PLAIN: dict[str, dict[str, Any]] = {}
UNSIGNED = declared(
    BYTES.view("i1"), LINE, Truth(BYTES.astype(float), LINE), 2, X={"_Unsigned": "true"}
)
FULL = np.where(LACKS[:, None] & [True, False, False], 255, np.minimum(BYTES, 254)).astype("u1")
UNSIGNED_MARK = declared(
    FULL.view("i1"), LINE, Truth(np.where(FULL == 255, np.nan, FULL), LINE), 2,
    X={"_Unsigned": "true", "_FillValue": -1},
)  # fmt: skip
BEYOND = np.abs(NORMAL) > 2
RANGE = declared(
    NORMAL, LINE, Truth(np.where(BEYOND, np.nan, NORMAL), LINE), 3, X={"valid_range": [-2, 2]}
)
LEAST = declared(
    WHOLE.astype("i2"), LINE, Truth(np.where(WHOLE < -150, np.nan, WHOLE), LINE), 2,
    X={"valid_min": -150},
)  # fmt: skip
MARKED = np.where(LACKS[:, None], [-99, -98, 0], WHOLE).astype("i4")
TWICE = declared(
    MARKED, LINE, Truth(np.where(np.isin(MARKED, [-99, -98]), np.nan, MARKED), LINE), 3,
    X={"_FillValue": -99, "missing_value": -98},
)  # fmt: skip

# Writer, encoding, dtype, scale and labels of stores that are read as they mean it.
STORES: dict[str, Write] = {
    "xarray 2, plain": by_xarray(2, NORMAL, LINE, PLAIN),
    "xarray 3, plain": by_xarray(3, NORMAL, LINE, PLAIN),
    "xarray 2, consolidated": by_xarray(2, NORMAL, LINE, PLAIN, consolidated=True),
    "xarray 3, single": by_xarray(3, NORMAL.astype("f4"), LINE.astype("f4"), PLAIN),
    "xarray 2, packed": by_xarray(2, X_LACKS + 280, LINE, {"X": PACKED}),
    "xarray 3, packed": by_xarray(3, X_LACKS + 280, LINE, {"X": PACKED}),
    "xarray 2, packed targets": by_xarray(2, NORMAL, Y_LACKS + 280, {"y": PACKED}),
    "xarray 3, packed targets": by_xarray(3, NORMAL, Y_LACKS + 280, {"y": PACKED}),
    "xarray 3, scale alone": by_xarray(
        3, NORMAL, LINE, {"X": {"dtype": "int32", "scale_factor": 1e-4}}
    ),
    "xarray 2, offset alone": by_xarray(
        2, WHOLE + 500, LINE, {"X": {"dtype": "int16", "add_offset": 500.0}}
    ),
    "xarray 2, sentinel": by_xarray(2, X_LACKS, Y_LACKS, {"X": {"_FillValue": -9999.0}}),
    "xarray 3, fill of netCDF": by_xarray(
        3, X_LACKS.astype("f4"), LINE, {"X": {"_FillValue": np.float32(9.96921e36)}}
    ),
    "xarray 2, missing_value": by_xarray(2, X_LACKS, LINE, {"X": {"missing_value": 1e20}}),
    "xarray 3, missing targets": by_xarray(3, NORMAL, Y_LACKS, {"y": {"_FillValue": -1e30}}),
    "xarray 3, images": by_xarray(3, NORMAL[:, :, None] * np.ones(2), LINE, PLAIN),
    "xarray 2, labels of 0": by_xarray(
        2, NORMAL, np.where(LACKS, np.nan, LINE > 0), {"y": {"dtype": "int8", "_FillValue": -1}}
    ),
    "xarray 2, no times": with_times(2),
    "xarray 3, no times": with_times(3),
    "zarr 2, big endian": by_zarr(2, NORMAL.astype(">f4"), LINE.astype(">f8")),
    "zarr 2, columns first": by_zarr(2, NORMAL, LINE, order="F"),
    "zarr 2, filters": by_zarr(
        2, WHOLE.astype("i4"), LINE.astype("i4") + 5, filters=[numcodecs.Delta("i4")]
    ),
    "zarr 3, big endian": by_zarr(
        3, NORMAL.astype("f4"), LINE, serializer=zarr.codecs.BytesCodec(endian="big")
    ),
    "zarr 3, zstd": by_zarr(3, NORMAL, LINE, compressors=zarr.codecs.ZstdCodec(checksum=True)),
    "zarr 3, gzip": by_zarr(3, BYTES, LINE, compressors=zarr.codecs.GzipCodec()),
    "zarr 3, keys of 2": by_zarr(3, NORMAL, LINE, chunk_key_encoding={"name": "v2"}),
    "zarr 3, half": by_zarr(3, NORMAL.astype("f2"), LINE),
    "zarr 3, int64": by_zarr(3, (2**40 + 1000 * WHOLE).astype("i8"), LINE),
    "zarr 3, seconds since 1970": by_zarr(3, 1.7e9 + 60 * NORMAL, 1.7e9 + 10 * LINE),
    "zarr 2, pascals and cents": by_zarr(
        2, 101325 + 0.01 * NORMAL, np.rint(1e10 + 1e5 * LINE).astype("i8")
    ),
    "zarr 3, scales": by_zarr(3, NORMAL * [1e-3, 1, 1e4], LINE),
    "by hand 2, fill null": by_hand("<f4"),
    "by hand 2, folders": by_hand("<i2", dimension_separator="/"),
    "by hand 2, columns first": by_hand(">f8", order="F"),
    "tensorstore 2": by_tensorstore("zarr"),
    "tensorstore 3": by_tensorstore("zarr3"),
    "zip 2, folder": zipped(2, zipfile.ZIP_DEFLATED, "a.zarr"),
    "zip 3": zipped(3, zipfile.ZIP_STORED),
    "declared, unsigned": UNSIGNED,
    "declared, unsigned mark": UNSIGNED_MARK,
    "declared, range": RANGE,
    "declared, least": LEAST,
    "declared, two marks": TWICE,
    "AnnData 0.7": annotated(2, old=True),
    "AnnData 0.8": annotated(2, old=False),
    "AnnData, version 3": annotated(3, old=False),
    "neighbours 2": with_neighbours(2),
    "neighbours 3": with_neighbours(3),
    "consolidated, then grown": grown(2),
    "consolidated, then grown, 3": grown(3),
    "kilograms": with_names(3, NORMAL, {"units": "kg"}),
}
