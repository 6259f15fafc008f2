"""What lies beside features and targets does no harm, and says why it cannot be used itself."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from shell import called, refused

import ooc
from ooc.store.members import quiet

ROWS = 60
SLOW = pytest.mark.slow
X = np.arange(ROWS * 3, dtype=np.float32).reshape(ROWS, 3)
Y = (np.arange(ROWS) % 2).astype(np.int64)
NAMES = [str(number) * (number % 5) + "é" for number in range(ROWS)]
FORMATS = (2, 3)
ROLES = ("--features", "--target", "--weight")
RECORD = np.dtype([("a", "<i4"), ("b", "<f8")])

# Arrays that are no real numbers: their values, and what is said of them.
VALUES: dict[str, tuple[Any, str]] = {
    "complex": (np.arange(ROWS) * 1j, "complex128"),
    "datetime": (np.arange(ROWS).astype("M8[ns]"), "datetime64[ns]"),
    "timedelta": (np.arange(ROWS).astype("m8[s]"), "timedelta64[s]"),
    "text of one width": (np.array(NAMES, "U10"), "<U10"),
    "bytes of one width": (np.array([b"ab"] * ROWS, "S3"), "S3"),
    "structured": (np.array([(i, i / 2) for i in range(ROWS)], RECORD), "('a', '<i4')"),
    "raw": (np.zeros(ROWS, "V5"), "V5"),
    "text": (np.array(NAMES, object), "StringDType()"),
    "text, two axes": (np.array(NAMES, object).reshape(ROWS // 2, 2).repeat(2, 0), "StringDType()"),
}


def small(path: Path, zarr_format: int) -> zarr.Group:
    group = zarr.create_group(path, zarr_format=zarr_format)
    for name, data in {"X": X, "y": Y}.items():
        chunks = (25, *data.shape[1:])
        array = group.create_array(name, shape=data.shape, dtype=data.dtype, chunks=chunks)
        array[...] = data + 1
    return group


def is_unharmed(path: Path, capsys: pytest.CaptureFixture[str], reasons: dict[str, str]) -> None:
    """Open, describe, read and shuffle; neighbours are listed with their reasons."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = ooc.open(path)
    assert set(dataset.arrays) == {"X", "y"}
    found = called(capsys, "info", str(path), "--verify")
    assert set(found["arrays"]) == {"X", "y"}
    assert set(found["unused"]) == set(reasons)
    for name, reason in reasons.items():
        assert reason in found["unused"][name], name
    for batch in ooc.Loader(dataset, 16, memory="512MiB"):
        assert np.array_equal(batch["X"], X[batch.rows] + 1)
        assert np.array_equal(batch["y"], Y[batch.rows] + 1)
    shuffled = path.with_name("shuffled.zarr")
    result = called(capsys, "shuffle", str(path), str(shuffled), "--memory", "512MiB")
    assert result["rows"] == ROWS
    copy = zarr.open_group(shuffled, mode="r")
    rows = ((np.asarray(copy["X"])[:, 0] - 1) // 3).astype(int)
    assert np.array_equal(np.sort(rows), np.arange(ROWS))
    assert np.array_equal(np.asarray(copy["y"]), Y[rows] + 1)
    for name in reasons:
        kept = name in copy
        assert kept != (name in result["left_out"]), "it is there, or said to be left out"


def is_refused_where_it_is_named(
    path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    reason: str,
    options: tuple[str, ...] = ROLES,
) -> None:
    for option in options:
        line = refused(capsys, "info", str(path), option, name)
        assert f"{name} of {path}" in line
        assert reason in line
    line = refused(capsys, "train", str(path), "--model", "linear", "--target", name)
    assert reason in line


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [pytest.param(2, marks=SLOW), 3])
def test_dtypes_that_are_no_real_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], zarr_format: int
) -> None:
    group = small(tmp_path / "a.zarr", zarr_format)
    for case, (values, _) in VALUES.items():
        with quiet():
            dtype: Any = str if values.dtype == object else values.dtype
            chunks = (25, *values.shape[1:])
            config = {"write_empty_chunks": True}
            array = group.create_array(
                case, shape=values.shape, dtype=dtype, chunks=chunks, config=config
            )
            array[...] = values
    reasons = {case: said for case, (_, said) in VALUES.items()}
    is_unharmed(tmp_path / "a.zarr", capsys, reasons)
    for number, case in enumerate(VALUES):
        if case in ("text", "text of one width"):
            # One value a row is a label, which linear regression does not predict.
            for option in ("--features", "--weight"):
                line = refused(capsys, "info", str(tmp_path / "a.zarr"), option, case)
                assert f"{case} of " in line and "not a real number" in line
            train = ["train", str(tmp_path / "a.zarr"), "--model", "linear", "--target", case]
            assert "taken for labels" in refused(capsys, *train)
            continue
        role = (ROLES[number % 3],)
        is_refused_where_it_is_named(tmp_path / "a.zarr", capsys, case, "not a real number", role)


def of_v3(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda metadata: {**metadata, **changes}


def chunked(*shape: Any) -> Callable[[dict[str, Any]], Any]:
    return of_v3(chunk_grid={"name": "regular", "configuration": {"chunk_shape": list(shape)}})


LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
# What zarr.json of an array of two axes may hold instead of what it should, and what is said.
DAMAGE_3: dict[str, tuple[bytes | Callable[[dict[str, Any]], Any], str]] = {
    "empty": (b"", "cannot be used"),
    "cut": (b'{"zarr_format": 3, "node_type": "arr', "cannot be used"),
    "binary": (b"\xff\xfe\x00\x80\x93" * 9, "cannot be used"),
    "nested deeply": (b"[" * 100_000, "nested too deeply"),
    "a list": (b"[]", "cannot be used"),
    "null": (b"null", "cannot be used"),
    "a number": (b"17", "cannot be used"),
    "text": (b'"zarr"', "cannot be used"),
    "an empty object": (b"{}", "cannot be used"),
    "no node type": (b'{"zarr_format": 3}', "cannot be used"),
    "another version": (of_v3(zarr_format=4), "cannot be used"),
    "negative shape": (of_v3(shape=[-60, 3]), "cannot be used"),
    "float shape": (of_v3(shape=[60.5, 3]), "cannot be used"),
    "null shape": (of_v3(shape=None), "cannot be used"),
    "shape with null": (of_v3(shape=[None, 3]), "cannot be used"),
    "text as shape": (of_v3(shape="60"), "cannot be used"),
    "shape of an object": (of_v3(shape={"rows": 60}), "cannot be used"),
    "astronomic shape": (of_v3(shape=[2**80, 3]), "too large"),
    "too few axes": (of_v3(shape=[60]), "cannot be used"),
    "chunk of 0": (chunked(0, 3), "a chunk cannot have the shape (0, 3)"),
    "negative chunk": (chunked(-4, 3), "cannot be used"),
    "null chunk": (chunked(None, 3), "cannot be used"),
    "chunk of too few axes": (chunked(25), "cannot be used"),
    "astronomic chunk": (chunked(2**62, 3), "too large"),
    "unknown grid": (of_v3(chunk_grid={"name": "hexagonal"}), "cannot be used"),
    "no grid": (of_v3(chunk_grid=None), "cannot be used"),
    "unknown dtype": (of_v3(data_type="float33"), "a dtype that is not known"),
    "null dtype": (of_v3(data_type=None), "cannot be used"),
    "number as dtype": (of_v3(data_type=32), "cannot be used"),
    "codec not installed": (
        of_v3(
            codecs=[{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "wonder"}]
        ),
        "a codec that is not installed",
    ),
    "codec whose package is not installed": (
        of_v3(codecs=[{"name": "numcodecs.zfpy", "configuration": {}}]),
        "a codec that is not installed",
    ),
    "pickle of numcodecs": (
        of_v3(codecs=[LITTLE, {"name": "numcodecs.pickle", "configuration": {}}]),
        "is encoded by pickle",
    ),
    "no codecs": (of_v3(codecs=[]), "cannot be used"),
    "null codecs": (of_v3(codecs=None), "cannot be used"),
    "codecs of numbers": (of_v3(codecs=[1, 2]), "cannot be used"),
    "fill value of another type": (of_v3(fill_value="zero"), "cannot be used"),
    "dimension names too few": (of_v3(dimension_names=["row"]), "cannot be used"),
    "dimension names of numbers": (of_v3(dimension_names=[1, 2]), "cannot be used"),
    "attributes of a list": (of_v3(attributes=[1]), "cannot be used"),
    "attributes of text": (of_v3(attributes="none"), "cannot be used"),
    "unknown key encoding": (of_v3(chunk_key_encoding={"name": "b-tree"}), "cannot be used"),
    "must be understood": (of_v3(wonder={"must_understand": True}), "cannot be used"),
}
DAMAGE_2: dict[str, tuple[bytes | Callable[[dict[str, Any]], Any], str]] = {
    name: DAMAGE_3[name]
    for name in (
        "empty",
        "cut",
        "binary",
        "nested deeply",
        "a list",
        "null",
        "a number",
        "text",
        "an empty object",
        "negative shape",
        "float shape",
        "null shape",
        "shape with null",
        "text as shape",
        "astronomic shape",
        "too few axes",
        "another version",
    )
} | {
    "chunk of 0": (of_v3(chunks=[0, 3]), "a chunk cannot have the shape (0, 3)"),
    "negative chunk": (of_v3(chunks=[-1, 3]), "cannot be used"),
    "null chunks": (of_v3(chunks=None), "cannot be used"),
    "astronomic chunk": (of_v3(chunks=[2**62, 3]), "too large"),
    "unknown dtype": (of_v3(dtype="<f33"), "a dtype that is not known"),
    "null dtype": (of_v3(dtype=None), "a dtype that is not known"),
    "objects": (of_v3(dtype="|O"), "a dtype that is not known"),
    "codec not installed": (of_v3(compressor={"id": "wonder"}), "a codec that is not installed"),
    "filter not installed": (of_v3(filters=[{"id": "wonder"}]), "a codec that is not installed"),
    "compressor without a name": (of_v3(compressor={}), "a codec that is not installed"),
    "compressor of text": (of_v3(compressor="zlib"), "cannot be used"),
    "unknown order": (of_v3(order="K"), "cannot be used"),
    "fill value of another type": (of_v3(fill_value="zero"), "cannot be used"),
    "pickle": (of_v3(filters=[{"id": "pickle", "protocol": 4}]), "never read"),
    "pickle as compressor": (of_v3(compressor={"id": "pickle", "protocol": 4}), "never read"),
}
DAMAGE = {2: DAMAGE_2, 3: DAMAGE_3}


def damage(folder: Path, zarr_format: int, name: str) -> str:
    """Damage an array's metadata; return what is said of it."""
    change, said = DAMAGE[zarr_format][name]
    file = folder / ("zarr.json" if zarr_format == 3 else ".zarray")
    file.write_bytes(
        change
        if isinstance(change, bytes)
        else json.dumps(change(json.loads(file.read_text()))).encode()
    )
    return said


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_damaged_metadata_of_neighbours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], zarr_format: int
) -> None:
    """Each of many is listed with its own reason, and none of them does harm."""
    group, reasons = small(tmp_path / "a.zarr", zarr_format), {}
    for case in DAMAGE[zarr_format]:
        group.create_array(case, data=X, chunks=(25, 3))
    for case in DAMAGE[zarr_format]:
        reasons[case] = damage(tmp_path / "a.zarr" / case, zarr_format, case)
    is_unharmed(tmp_path / "a.zarr", capsys, reasons)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    "zarr_format, case, option",
    [
        # One in three: the neighbours above are of every kind.
        pytest.param(each, case, ROLES[number % 4 % 3], marks=[SLOW] if number % 3 else [])
        for each in FORMATS
        for number, case in enumerate(DAMAGE[each])
    ],
)
def test_damaged_metadata_of_a_role(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], zarr_format: int, case: str, option: str
) -> None:
    group = small(tmp_path / "a.zarr", zarr_format)
    group.create_array("odd", data=X, chunks=(25, 3))
    said = damage(tmp_path / "a.zarr" / "odd", zarr_format, case)
    is_refused_where_it_is_named(tmp_path / "a.zarr", capsys, "odd", said, (option,))


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff\x00", b"7"])
def test_damaged_metadata_of_the_group(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], zarr_format: int, content: bytes
) -> None:
    small(tmp_path / "a.zarr", zarr_format)
    (tmp_path / "a.zarr" / ("zarr.json" if zarr_format == 3 else ".zgroup")).write_bytes(content)
    for command in ("info", "plan", "train"):
        assert str(tmp_path / "a.zarr") in refused(capsys, command, str(tmp_path / "a.zarr"))


def test_damaged_attributes_and_consolidated_metadata(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.zarr"
    small(path, 2)
    # They are not what counts.
    (path / ".zmetadata").write_bytes(b"{")
    assert ooc.open(path).rows == ROWS
    (path / "y" / ".zattrs").write_bytes(b"[1")
    assert ooc.open(path, target=False).rows == ROWS
    assert "y of" in refused(capsys, "info", str(path), "--target", "y")
    (path / ".zattrs").write_bytes(b"[1")
    assert str(path) in refused(capsys, "info", str(path))


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_what_is_no_array_of_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], zarr_format: int
) -> None:
    path = tmp_path / "a.zarr"
    group = small(path, zarr_format)
    group.create_array("scalar", shape=(), dtype="i4")
    group.create_array("other", data=np.arange(7.0))
    group.create_array("empty", shape=(ROWS, 0), dtype="f4", chunks=(10, 1))
    group.create_group("below").create_array("deep", data=np.arange(7.0))
    (path / "notes").mkdir()
    (path / "README").write_text("not a member")
    found = called(capsys, "info", str(path), "--verify")
    assert set(found["arrays"]) == {"X", "y"}
    assert set(found["unused"]) == {"scalar", "other", "empty", "below"}
    assert "it has 7 rows, X has 60" in found["unused"]["other"]
    for name, said in (("scalar", "no axes"), ("empty", "without values"), ("below", "a group")):
        assert said in refused(capsys, "info", str(path), "--target", name)
    assert "notes" in refused(capsys, "info", str(path), "--target", "notes")
