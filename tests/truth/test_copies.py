"""A copy in another order keeps everything that a store says of itself, or says what it leaves out.

Stores are written by zarr-python, and read again by it; which row is where is told by an array of
the rows' numbers.
"""

import base64
import json
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from shell import called, refused

import ooc
from ooc.cli import main
from ooc.shuffle import exact

ROWS = 500
FORMATS = (pytest.param(2, marks=pytest.mark.slow), 3)
RECORD = np.dtype([("a", "<i4"), ("b", "<f8")])
RNG = np.random.default_rng(0)
TEXTS = ["ab" * (number % 7) + "é\0x" * (number % 3) for number in range(ROWS)]

COLUMNS: dict[str, np.ndarray] = {
    "bool": RNG.random(ROWS) < 0.5,
    "int8": RNG.integers(-100, 100, ROWS).astype("i1"),
    "uint64": RNG.integers(0, 2**63, ROWS).astype("u8") * 2 + 1,
    "float16": RNG.standard_normal((ROWS, 2)).astype("f2"),
    "float64 with nan": np.where(RNG.random(ROWS) < 0.3, np.nan, RNG.standard_normal(ROWS)),
    "big endian": RNG.standard_normal((ROWS, 2)).astype(">f8"),
    "complex64": (RNG.standard_normal((ROWS, 2)) * (1 + 2j)).astype("c8"),
    "complex128": RNG.standard_normal(ROWS) * (1 - 1j),
    "datetime64": RNG.integers(0, 2**60, ROWS).astype("M8[ns]"),
    "datetime64 of days": RNG.integers(0, 2**14, (ROWS, 3)).astype("M8[D]"),
    "timedelta64": RNG.integers(0, 2**40, ROWS).astype("m8[s]"),
    "text of one width": np.array([text[:6] + "." for text in TEXTS], "U7"),
    "bytes of one width": np.array([b"%d" % number for number in range(ROWS)], "S4"),
    "structured": np.array([(n, n / 3) for n in range(ROWS)], RECORD),
    "raw": np.array([b"%05d" % n for n in range(ROWS)], "S5").view("V5"),
    "text": np.array(TEXTS, object),
    "text of several": np.array(TEXTS, object).repeat(3).reshape(ROWS, 3),
    "no text": np.array([""] * ROWS, object),
}
CHUNKS = {"one": ROWS, "some": 64}


def add(group: zarr.Group, name: str, values: np.ndarray, rows: int, **options: Any) -> zarr.Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dtype: Any = str if values.dtype == object else values.dtype
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=dtype,
            chunks=tuple(min(rows, length) for length in values.shape[:1]) + values.shape[1:],
            config={"write_empty_chunks": True},
            **options,
        )
        array[...] = values
    return array


def start(path: Path, zarr_format: int, rows: int = 64, **attributes: Any) -> zarr.Group:
    group = zarr.create_group(path, zarr_format=zarr_format, attributes=attributes)
    add(group, "X", np.arange(ROWS * 2, dtype="f4").reshape(ROWS, 2), rows)
    add(group, "number", np.arange(ROWS), rows)
    return group


def shuffled(path: Path) -> tuple[zarr.Group, np.ndarray, dict[str, str]]:
    """Shuffle; return the new group, the row at each place, and what is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = exact(ooc.open(path), path.with_name("new.zarr"), "512MiB", seed=3)
    group = zarr.open_group(path.with_name("new.zarr"), mode="r")
    rows = np.asarray(group["number"])
    assert np.array_equal(np.sort(rows), np.arange(ROWS))
    assert not np.array_equal(rows, np.arange(ROWS))
    return group, rows, result["left_out"]


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("chunks", ["some", pytest.param("one", marks=pytest.mark.slow)])
def test_arrays_of_every_dtype_travel(tmp_path: Path, zarr_format: int, chunks: str) -> None:
    rows_of_chunk = CHUNKS[chunks]
    group = start(tmp_path / "a.zarr", zarr_format, rows_of_chunk)
    for name, values in COLUMNS.items():
        add(group, name, values, rows_of_chunk)
    new, rows, left_out = shuffled(tmp_path / "a.zarr")
    assert left_out == {}
    for name in COLUMNS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = new[name]
            kinds = found.dtype, group[name].dtype
            assert kinds[0] == kinds[1] or kinds[0] == kinds[1].newbyteorder("="), name
            wanted = np.asarray(group[name][...])[rows]
            # Bits, so that one NaN is the other.
            assert np.asarray(found[...]).tolist() == wanted.tolist() or (
                found[...].tobytes() == wanted.astype(found.dtype).tobytes()
            ), name


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_bytes_of_any_length_travel(tmp_path: Path, zarr_format: int) -> None:
    values = np.empty(ROWS, object)
    values[:] = [bytes(range(number % 256)) for number in range(ROWS)]
    group = start(tmp_path / "a.zarr", zarr_format)
    if zarr_format == 3:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = group.create_array(
                "it", shape=(ROWS,), chunks=(64,), dtype="variable_length_bytes"
            )
            array[...] = values
    else:
        import numcodecs

        old = zarr.create_array(
            tmp_path / "a.zarr",
            name="it",
            shape=(ROWS,),
            chunks=(64,),
            dtype="u1",
            zarr_format=2,
            compressors=None,
        )
        metadata = json.loads((tmp_path / "a.zarr" / "it" / ".zarray").read_text())
        metadata |= {"dtype": "|O", "filters": [{"id": "vlen-bytes"}], "fill_value": ""}
        (tmp_path / "a.zarr" / "it" / ".zarray").write_text(json.dumps(metadata))
        for first in range(0, ROWS, old.chunks[0]):
            part = np.full(64, b"", object)
            part[: len(values[first : first + 64])] = values[first : first + 64]
            file = tmp_path / "a.zarr" / "it" / str(first // 64)
            file.write_bytes(numcodecs.VLenBytes().encode(part))
    new, rows, left_out = shuffled(tmp_path / "a.zarr")
    assert left_out == {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert new["it"][...].tolist() == values[rows].tolist()


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_what_is_said_of_arrays_is_kept(tmp_path: Path, zarr_format: int) -> None:
    """Names of dimensions move to where Zarr v3 has them, a v2 fill value to where xarray looks."""
    group = start(tmp_path / "a.zarr", zarr_format, title="Old", history=["a", {"b": 1}])
    said = {"units": "K", "scale_factor": 0.01, "nested": {"a": [1, None]}}
    packed = RNG.integers(-100, 100, ROWS).astype("i2")
    floats = np.arange(float(ROWS))
    plain = {"units": "m", "coordinates": "lat lon"}
    if zarr_format == 2:
        add(group, "t", packed, 64, fill_value=-99, attributes={**said, "_ARRAY_DIMENSIONS": ["n"]})
        add(
            group,
            "f",
            floats,
            64,
            fill_value=np.nan,
            attributes={**plain, "_ARRAY_DIMENSIONS": ["n"]},
        )
    else:
        said["_FillValue"] = -99
        add(group, "t", packed, 64, fill_value=-99, attributes=said, dimension_names=["n"])
        plain["_FillValue"] = base64.b64encode(struct.pack("<d", np.nan)).decode()
        add(group, "f", floats, 64, fill_value=np.nan, attributes=plain, dimension_names=["n"])
    add(group, "no_names", floats, 64, attributes={"a": 1})
    new, rows, left_out = shuffled(tmp_path / "a.zarr")
    assert left_out == {}
    assert np.array_equal(new["t"][...], packed[rows])
    assert new["t"].metadata.dimension_names == ("n",)
    assert dict(new["t"].attrs) == {**said, "_FillValue": -99}
    assert new["t"].fill_value == -99
    encoded = base64.b64encode(struct.pack("<d", np.nan)).decode()
    assert dict(new["f"].attrs) == {**plain, "_FillValue": encoded}
    assert np.isnan(new["f"].fill_value)
    assert new["no_names"].metadata.dimension_names is None
    assert dict(new["no_names"].attrs) == {"a": 1}
    noted = dict(new.attrs)
    assert noted.pop("shuffled")["seed"] == 3
    assert noted == {"title": "Old", "history": ["a", {"b": 1}]}


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_what_lies_beside_the_rows_comes_along(tmp_path: Path, zarr_format: int) -> None:
    group = start(tmp_path / "a.zarr", zarr_format)
    add(group, "crs", np.array(7), 1, attributes={"wkt": "..."})
    add(group, "bands", np.array(["red", "é"], object), 2)
    add(group, "wide", np.arange(70 * 3.0).reshape(70, 3), 16, fill_value=5)
    sparse = group.create_array("sparse", shape=(90,), chunks=(10,), dtype="i4", fill_value=3)
    sparse[10:20] = 8
    group.create_array("nothing", shape=(ROWS, 0), chunks=(10, 1), dtype="f4")
    below = group.create_group("below", attributes={"k": [1]})
    add(below, "deep", np.arange(9.0).astype("M8[s]"), 4, attributes={"q": 2})
    below.create_group("empty")
    new, _, left_out = shuffled(tmp_path / "a.zarr")
    assert left_out == {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("crs", "bands", "wide", "sparse", "nothing", "below/deep"):
            assert np.asarray(new[name][...]).tolist() == np.asarray(group[name][...]).tolist()
            assert new[name].fill_value == group[name].fill_value or "deep" in name
            assert dict(new[name].attrs) == dict(group[name].attrs)
        assert dict(new["below"].attrs) == {"k": [1]}
        assert isinstance(new["below/empty"], zarr.Group)
    stored = [
        file for file in (tmp_path / "new.zarr" / "sparse" / "c").rglob("*") if file.is_file()
    ]
    assert [file.name for file in stored] == ["1"], "what is not stored is not stored there either"


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_rows_in_groups_travel_and_what_a_table_says_stays(
    tmp_path: Path, zarr_format: int
) -> None:
    """As AnnData has them, with as many cells as genes, and as many categories as either."""
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=zarr_format)
    encodings = {
        "obs": "dataframe", "obs/kind": "categorical", "obs/age": "nullable-integer",
        "var": "dataframe", "obsp": "dict", "obsp/near": "csr_matrix", "layers": "dict",
        "raw": "raw", "raw/var": "dataframe",
    }  # fmt: skip
    for name, kind in encodings.items():
        group.create_group(name, attributes={"encoding-type": kind, "of": name})
    group["obsp/near"].attrs["shape"] = [ROWS, ROWS]
    texts = np.array([f"é{number}" for number in range(ROWS)], object)
    moved = {
        "number": np.arange(ROWS), "obs/_index": texts, "obs/kind/codes": np.arange(ROWS)[::-1],
        "obs/age/values": 2 * np.arange(ROWS), "obs/age/mask": np.arange(ROWS) % 3 == 0,
        "layers/counts": np.ones((ROWS, 2)) * np.arange(ROWS)[:, None],
        "raw/X": 7 * np.arange(ROWS),
    }  # fmt: skip
    stays = {
        "obs/kind/categories": texts, "var/_index": texts, "raw/var/n": np.arange(ROWS),
        "obs/__categories/old": texts, "uns/pca/variance": np.arange(ROWS) / 3,
    }  # fmt: skip
    for name, values in {**moved, **stays, "obsp/far": np.eye(ROWS)}.items():
        add(group, name, values, 64)
    add(group, "obsp/near/data", np.arange(ROWS), 64)
    result = exact(ooc.open(tmp_path / "a.zarr", "layers/counts"), tmp_path / "b.zarr", seed=3)
    assert set(result["left_out"]) == {"obsp/far", "obsp/near"}
    new = zarr.open_group(tmp_path / "b.zarr", mode="r")
    rows = np.asarray(new["number"])
    assert not np.array_equal(rows, np.arange(ROWS))
    for name, values in moved.items():
        assert np.asarray(new[name][...]).tolist() == values[rows].tolist(), name
    for name, values in stays.items():
        assert np.asarray(new[name][...]).tolist() == values.tolist(), name
    for name, kind in encodings.items():
        if name != "obsp/near":
            assert dict(new[name].attrs) == {"encoding-type": kind, "of": name}
    assert dict(new["obs/kind/codes"].attrs) == {}
    assert {"near", "far"}.isdisjoint(new["obsp"])


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_dimensions_tell_which_arrays_share_the_rows(tmp_path: Path, zarr_format: int) -> None:
    """As many rows are not the same rows."""

    def named(*names: str) -> dict[str, Any]:
        if zarr_format == 2:
            return {"attributes": {"_ARRAY_DIMENSIONS": list(names)}}
        return {"dimension_names": list(names)}

    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=zarr_format)
    add(group, "X", np.ones((ROWS, 2), "f4"), 64, **named("time", "band"))
    add(group, "number", np.arange(ROWS), 64, **named("time"))
    add(group, "time", np.arange(ROWS) * 10, 64, **named("time"))
    add(group, "station", np.arange(ROWS) * 7, 64, **named("station"))
    new, rows, left_out = shuffled(tmp_path / "a.zarr")
    assert left_out == {}
    assert np.array_equal(new["time"][...], rows * 10)
    assert np.array_equal(new["station"][...], np.arange(ROWS) * 7)
    assert new["station"].metadata.dimension_names == ("station",)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_what_is_left_out_is_named_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], zarr_format: int
) -> None:
    group = start(tmp_path / "a.zarr", zarr_format)
    sparse = {"encoding-type": "csr_matrix", "shape": [ROWS, 9]}
    add(group.create_group("M", attributes=sparse), "indptr", np.arange(ROWS + 1), 64)
    add(group, "lost", np.arange(ROWS), 64)
    file = tmp_path / "a.zarr" / "lost" / ("zarr.json" if zarr_format == 3 else ".zarray")
    metadata = json.loads(file.read_text())
    wonder = {"codecs": [{"name": "wonder"}]}, {"compressor": {"id": "wonder"}}
    metadata |= wonder[zarr_format == 2]
    file.write_text(json.dumps(metadata))
    add(group, "novel", np.array(["x" * 100_000] + ["y"] * (ROWS - 1), object), 64)
    new, _, left_out = shuffled(tmp_path / "a.zarr")
    assert set(new) == {"X", "number"}
    assert set(left_out) == {"M", "lost", "novel"}
    assert "a sparse matrix of AnnData (csr_matrix), whose rows" in left_out["M"]
    assert "a codec that is not installed" in left_out["lost"]
    assert "97.7 KiB, over 64.0 KiB" in left_out["novel"]
    status = main(["shuffle", str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")])
    assert status == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("shuffle a.zarr: leaves out ")
    assert all(name in said[0] for name in left_out)
    assert [line.split(",")[0] for line in said if line.startswith("left out: ")] == [
        "left out: M",
        "left out: lost",
        "left out: novel",
    ]


def test_a_lost_chunk_of_text_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    group = start(tmp_path / "a.zarr", 3)
    add(group, "it", COLUMNS["text"], 64)
    (tmp_path / "a.zarr" / "it" / "c" / "2").unlink()
    line = refused(capsys, "shuffle", str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr"))
    assert "chunk 2 of array it" in line
    assert not (tmp_path / "b.zarr").exists()
    result = called(
        capsys, "shuffle", str(tmp_path / "a.zarr"), str(tmp_path / "c.zarr"), "--missing", "fill"
    )
    assert result["left_out"] == {}
    new = zarr.open_group(tmp_path / "c.zarr", mode="r")
    rows = np.asarray(new["number"])
    wanted = COLUMNS["text"].copy()
    wanted[128:192] = ""
    assert new["it"][...].tolist() == wanted[rows].tolist()


@pytest.mark.slow
def test_a_copy_of_a_copy_is_one(tmp_path: Path) -> None:
    """What was written is read again: text in shards, records in files of their own."""
    group = start(tmp_path / "a.zarr", 3)
    for name, values in COLUMNS.items():
        add(group, name.replace(" ", "_"), values, 64)
    _, _, left_out = shuffled(tmp_path / "a.zarr")
    (tmp_path / "2").mkdir()
    (tmp_path / "new.zarr").rename(tmp_path / "2" / "a.zarr")
    again, more, left_out_again = shuffled(tmp_path / "2" / "a.zarr")
    assert left_out == left_out_again == {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in COLUMNS:
            found = np.asarray(again[name.replace(" ", "_")][...])
            wanted = np.asarray(group[name.replace(" ", "_")][...])[more]
            equal_nan = wanted.dtype.kind == "f"
            assert np.array_equal(found, wanted, equal_nan=equal_nan), name
