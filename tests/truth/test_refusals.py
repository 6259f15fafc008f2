"""Stores that cannot be honoured, and damaged ones: every door says so in one line that names it.

Refusals x doors, and damage x formats x doors.
"""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import foreign, write_dataset
from pairs import pairs
from shell import called, refused
from truth.stores import CHUNK, LINE, NORMAL, ROWS, by_zarr

import ooc
from ooc.store.chunks import BadChunkError
from ooc.store.members import quiet

MEMORY = "512MiB"
Shell = pytest.CaptureFixture[str]


def with_attributes(name: str, dtype: str = "i2", **attributes: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        by_zarr(3, (100 * NORMAL).astype(dtype), (100 * LINE).astype(dtype))(path)
        zarr.open_group(path, mode="r+")[name].attrs.update(attributes)

    return write


def with_values(version: int = 3, **arrays: np.ndarray) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with quiet():
            foreign(path, version, **{name: {"data": data} for name, data in arrays.items()})

    return write


def along(of_x: tuple[str, ...], of_y: tuple[str, ...], version: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        group = zarr.create_group(path, zarr_format=version)
        for name, data, dims in (("X", np.ones((9, 9)), of_x), ("y", np.ones(9), of_y)):
            noted: dict[str, Any] = {"attributes": {"_ARRAY_DIMENSIONS": dims}}
            group.create_array(
                name, data=data, **noted if version == 2 else {"dimension_names": dims}
            )

    return write


def sparse(mark: dict[str, str]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        group = zarr.create_group(path)
        matrix = group.create_group("X", attributes=mark)
        for name in ("data", "indices", "indptr"):
            matrix.create_array(name, data=np.arange(ROWS))
        group.create_array("y", data=LINE)

    return write


def a_group(path: Path) -> None:
    zarr.create_group(path).create_group("X").create_array("values", data=NORMAL)


def with_metadata(file: str, content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        by_zarr(3, NORMAL, LINE)(path)
        (path / file).write_bytes(content)

    return write


def with_codec(name: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        by_zarr(3, NORMAL, LINE)(path)
        file = path / "X" / "zarr.json"
        told = json.loads(file.read_text())
        told["codecs"].append({"name": name, "configuration": {}})
        file.write_text(json.dumps(told))

    return write


def a_grid(path: Path) -> None:
    by_zarr(3, NORMAL, LINE)(path)
    file = path / "X" / "zarr.json"
    told = json.loads(file.read_text())
    told["chunk_grid"] = {"name": "rectilinear", "configuration": {"chunk_shapes": [[99], [3]]}}
    file.write_text(json.dumps(told))


def a_file(path: Path) -> None:
    path.write_bytes(b"PK\3\4, but cut")


def an_array(path: Path) -> None:
    zarr.create_array(path, data=NORMAL)


# How a store is written, and what each door has to say of it.
REFUSED: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "scale is text": (with_attributes("X", scale_factor="a tenth"), ("array X", "scale_factor")),
    "scale is 0": (with_attributes("y", scale_factor=0), ("array y", "scale_factor is 0")),
    "scale is NaN": (with_attributes("X", scale_factor="nan"), ("array X", "scale_factor")),
    "offset is a list": (with_attributes("X", add_offset=[1, 2]), ("array X", "add_offset")),
    "fill is text": (with_attributes("y", _FillValue="none"), ("array y", "_FillValue")),
    "range of one": (with_attributes("X", valid_range=[1]), ("array X", "valid_range")),
    "range of none": (with_attributes("X", valid_min=5, valid_max=1), ("array X", "5 to 1")),
    "unsigned maybe": (with_attributes("X", _Unsigned="maybe"), ("array X", "_Unsigned")),
    "unsigned floats": (with_attributes("X", "f4", _Unsigned="true"), ("array X", "_Unsigned")),
    "transposed": (along(("band", "row"), ("row",), 2), ("X", "'band'", "'row'")),
    "other rows": (along(("time", "band"), ("station",), 3), ("'time'", "'station'")),
    "other lengths": (with_values(X=NORMAL, y=LINE[:70]), (f"{ROWS} rows", "y has 70")),
    "complex": (with_values(X=NORMAL * 1j, y=LINE), ("array X", "complex128")),
    "times": (with_values(2, X=NORMAL.astype("M8[s]"), y=LINE), ("array X", "datetime64")),
    "no rows": (with_values(X=NORMAL[:0], y=LINE[:0]), ("X", "(0, 3)")),
    "no X": (with_values(features=NORMAL, y=LINE), ("no array 'X'", "features, y")),
    "a sparse matrix": (sparse({"encoding-type": "csr_matrix"}), ("X", "no attribute shape")),
    "an older one": (sparse({"h5sparse_format": "csc"}), ("X", "csc_matrix")),
    "one of nobody's": (sparse({}), ("X", "no attribute shape")),
    "a group": (a_group, ("X", "is a group, not an array")),
    "metadata cut": (with_metadata("X/zarr.json", b'{"zarr_fo'), ("array X", "metadata")),
    "metadata empty": (with_metadata("X/zarr.json", b""), ("array X", "metadata")),
    "group's metadata": (with_metadata("zarr.json", b"\xff\x00"), ("metadata",)),
    "no zip": (a_file, ("no whole zip archive",)),
    "an array": (an_array, ("is a Zarr array, and not",)),
    "chunks of several shapes": (a_grid, ("array X", "rectilinear", "not known")),
    "codec unknown": (with_codec("zfp_of_mine"), ("array X", "zfp_of_mine")),
    "pickled": (with_codec("numcodecs.pickle"), ("array X", "pickle", "never read")),
}
DOORS: dict[str, tuple[str, ...]] = {
    "info": (),
    "plan": ("--memory", MEMORY),
    "train": ("--model", "linear", "--memory", MEMORY),
    "shuffle": ("moved.zarr", "--memory", MEMORY),
    "bench": ("--model", "linear", "--memory", MEMORY),
}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("case", "door"), pairs(REFUSED, DOORS, ["train"]))
def test_what_cannot_be_honoured_is_named(
    tmp_path: Path, capsys: Shell, monkeypatch: pytest.MonkeyPatch, case: str, door: str
) -> None:
    write, told = REFUSED[case]
    path = tmp_path / "a [1].zarr"
    write(path)
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, door, str(path), *DOORS[door])
    assert all(part in line for part in told), line
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def plain(path: Path) -> str:
    by_zarr(2, NORMAL, LINE, compressors=None)(path)
    return "X/3.0"


def checked(path: Path) -> str:
    by_zarr(3, NORMAL, LINE, compressors=zarr.codecs.ZstdCodec(checksum=True))(path)
    return "X/c/3/0"


def packed(path: Path) -> str:
    noted = {"scale_factor": 0.1, "_FillValue": -32768}
    by_zarr(3, (100 * NORMAL).astype("i2"), LINE)(path)
    zarr.open_group(path, mode="r+")["X"].attrs.update(noted)
    return "X/c/3/0"


def sharded(path: Path) -> str:
    write_dataset(path, CHUNK, X=NORMAL, y=LINE)
    return "X/c/0/0"


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "lost": lambda content: None,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "flipped": lambda content: content[:99] + bytes([content[99] ^ 8]) + content[100:],
}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("write", [plain, checked, packed, sharded])
def test_a_damaged_chunk_is_named_left_out_and_found(
    tmp_path: Path,
    capsys: Shell,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path], str],
    damage: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.zarr"
    file = path / write(path)
    changed = DAMAGE[damage](file.read_bytes())
    if write in (plain, packed) and damage == "flipped":
        return  # without a checksum nothing tells
    file.unlink() if changed is None else file.write_bytes(changed)
    # Four chunks are in a shard; of a flipped one only that chunk is lost.
    first, chunks = (0, 1 if damage == "flipped" else 4) if write is sharded else (3, 1)
    bad = range(first * CHUNK, min(ROWS, (first + chunks) * CHUNK))
    dataset = ooc.open(path)
    with pytest.raises(BadChunkError) as caught:
        list(ooc.Loader(dataset, 32, memory=MEMORY, shuffle="none"))
    assert (caught.value.array, caught.value.rows) == ("X", (bad[0], bad[0] + CHUNK - 1))
    loader = ooc.Loader(dataset, 32, memory=MEMORY, on_bad_chunk="skip", missing_values="keep")
    rows = np.concatenate([batch.rows for batch in loader])
    np.testing.assert_array_equal(np.sort(rows), np.setdiff1d(np.arange(ROWS), bad))
    assert (loader.skipped_chunks, loader.skipped_rows) == (chunks, len(bad))
    options = ("--model", "linear", "--memory", MEMORY, "--lr", "0.1", "--batch-size", "32")
    line = refused(capsys, "train", str(path), *options)
    assert f"of array X in {path}, rows {bad[0]} to " in line
    rule = ("--on-bad-chunk", "skip", "--missing-values", "drop", "--epochs", "1")
    assert called(capsys, "train", str(path), *options, *rule)["skipped_rows"] == len(bad)


def test_a_chunk_that_unpacks_to_more_than_a_chunk_is_refused(tmp_path: Path) -> None:
    by_zarr(3, NORMAL, LINE)(tmp_path / "a.zarr")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in filter(Path.is_file, (tmp_path / "a.zarr").rglob("*")):
            name = str(file.relative_to(tmp_path / "a.zarr"))
            archive.writestr(name, bytes(2**25) if name == "X/c/3/0" else file.read_bytes())
    with pytest.raises(BadChunkError, match=r"X/c/3/0 has 32\.0 MiB, above the "):
        list(ooc.Loader(ooc.open(tmp_path / "a.zip"), 32, memory=MEMORY))
