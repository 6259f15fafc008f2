"""Damaged chunks and shards: named with their rows, or left out and counted; never read as data."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import crc32c
import numpy as np
import pytest
import zarr
from numcodecs import GZip

import ooc
from attack.ends import MEMORY, attack, end_of
from attack.stores import ROWS, train, trained, values
from ooc.core.errors import DataError

pytestmark = pytest.mark.slow
# Every chunk has a checksum: what is flipped can be told. The last goes through zarr-python.
LAYOUTS = ("v2", "v3", "sharded", "fortran")
CHUNK, SHARD = 10, 20
Spoil = Callable[[bytes], bytes]


def write(path: Path, layout: str) -> Path:
    group = zarr.create_group(path, zarr_format=2 if layout in ("v2", "fortran") else 3)
    for name, data in values().items():
        chunks = (CHUNK, *data.shape[1:])
        how: dict[str, object] = {
            "compressors": [zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()]
        }
        if layout in ("v2", "fortran"):
            how = {"compressors": GZip(), "order": "F" if layout == "fortran" else "C"}
        if layout == "sharded":
            how |= {"shards": (SHARD, *data.shape[1:])}
        array = group.create_array(name, shape=data.shape, dtype=data.dtype, chunks=chunks, **how)
        array[...] = data
    return path


def file_of(data: Path, layout: str) -> Path:
    """Return the file of rows 20 on."""
    names = {"v2": "2.0", "fortran": "2.0", "v3": "c/2/0", "sharded": "c/1/0"}
    return data / "X" / names[layout]


def flipped(place: float) -> Spoil:
    def spoil(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[int(place * len(content))] ^= 0x10
        return bytes(changed)

    return spoil


def with_index(change: Callable[[np.ndarray], None]) -> Spoil:
    """Write another index, with its checksum."""

    def spoil(content: bytes) -> bytes:
        index = np.frombuffer(content[-36:-4], "<u8").reshape(2, 2).copy()
        change(index)
        body = index.tobytes()
        return content[:-36] + body + struct.pack("<I", crc32c.crc32c(body))

    return spoil


def entry(start: int | None, size: int | None) -> Spoil:
    def change(index: np.ndarray) -> None:
        index[0] = [
            old if new is None else new for old, new in zip(index[0], (start, size), strict=True)
        ]

    return with_index(change)


def swap(index: np.ndarray) -> None:
    index[0, 0], index[0, 1] = index[0, 1], index[0, 0]


# In place of a file's bytes.
BYTES: dict[str, Spoil] = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "longer": lambda content: content + bytes(50),
    "twice": lambda content: content * 2,
    "zeros": lambda content: bytes(len(content)),
    "ones": lambda content: b"\xff" * len(content),
    "noise": lambda content: np.random.default_rng(5).bytes(len(content)),
    "text": lambda content: b"<html>503 Service Unavailable</html>",
    "reversed": lambda content: content[::-1],
    "a flip in its last bytes": flipped(0.99),
    "a flip in the middle": flipped(0.4),
}
# In place of the file.
FILES: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: None,
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a link to itself": lambda file: file.symlink_to(file),
    "a link to nothing": lambda file: file.symlink_to("nothing"),
    "an endless device": lambda file: file.symlink_to("/dev/zero"),
}
# Of a shard's index, whose checksum is right.
INDICES: dict[str, Spoil] = {
    "starts behind the end": entry(10**9, None),
    "starts at the largest number": entry(2**64 - 2, None),
    "starts below zero": entry(2**63, None),
    "is of no bytes": entry(None, 0),
    "is of all bytes there are": entry(None, 2**64 - 2),
    "is of gigabytes": entry(None, 2**33),
    "is swapped": with_index(swap),
    "has half an entry": entry(2**64 - 1, None),
    "says that it is not stored": entry(2**64 - 1, 2**64 - 1),
}
CASES = [
    *((layout, name) for layout in LAYOUTS for name in [*BYTES, *FILES]),
    *(("sharded", name) for name in INDICES),
]
COMMANDS = ("verify", "train", "skip", "predict", "shuffle")
# Zeros behind a gzip member are padding, and a shard is read from its end: values are right.
RIGHT = {("v2", "longer"), ("fortran", "longer"), ("sharded", "twice")}


def spoil(file: Path, name: str) -> None:
    if name in FILES:
        file.unlink()
        FILES[name](file)
    else:
        file.write_bytes((BYTES | INDICES)[name](file.read_bytes()))


def lost_rows(layout: str, name: str) -> range:
    one = layout != "sharded" or name in INDICES or name == "a flip in the middle"
    return range(20, 20 + (CHUNK if one else SHARD))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("chunks")
    found = {layout: write(folder / f"{layout}.zarr", layout) for layout in LAYOUTS}
    trained(found["v2"], folder / "run")
    return found


@pytest.mark.parametrize(("layout", "name"), CASES)
def test_a_damaged_chunk_is_named_or_left_out(
    tmp_path: Path, stores: dict[str, Path], layout: str, name: str
) -> None:
    data = Path(shutil.copytree(stores[layout], tmp_path / "a.zarr"))
    file = file_of(data, layout)
    spoil(file, name)
    if (layout, name) in RIGHT:
        assert not attack(train(data, tmp_path / "run"), 0)
        assert sorted(read_right(data)) == list(range(ROWS))
        return
    named = ("chunk 2.0 of array X", "rows 20 to 29", str(file), "cannot be read")
    run, out = str(stores[layout].parent / "run"), str(tmp_path / "out.zarr")
    problems = verified(data, named)
    for line in (
        train(data, tmp_path / "run"),
        ["predict", run, str(data), out, "--memory", MEMORY],
        ["shuffle", str(data), out, "--memory", MEMORY],
    ):
        problems += attack(line, 2, *named, folder=tmp_path)
    lost = lost_rows(layout, name)
    line = [*train(data, tmp_path / "run"), "--on-bad-chunk", "skip", "--json"]
    problems += attack(line, 0, "rows were left out")
    if not problems:
        result = json.loads((tmp_path / "run" / "run.json").read_text())["results"]
        assert (result["rows"], result["skipped_rows"]) == (ROWS - len(lost), len(lost))
    assert not problems, "\n".join(problems)
    assert set(read_right(data, "skip")) == set(range(ROWS)) - set(lost)


def verified(data: Path, named: tuple[str, ...]) -> list[str]:
    """Return what is wrong with a list of all damage, which is printed before the refusal."""
    end = end_of(["info", str(data), "--verify"])
    found = [each for each in named if each not in end.out]
    told = end.err.splitlines()
    if end.status != 2 or len(told) != 1 or f"chunks of {data} cannot be read" not in told[0]:
        found.append(end.err[-400:])
    return [f"info --verify: {each}" for each in found]


def read_right(data: Path, on_bad_chunk: str = "raise") -> list[int]:
    """Return the rows that a loader gives; each holds what was written."""
    rows, wanted = [], values()
    loader = ooc.Loader(ooc.open(data), 7, memory=MEMORY, on_bad_chunk=on_bad_chunk)
    for batch in loader:
        for name in ("X", "y"):
            np.testing.assert_array_equal(batch[name], wanted[name][batch.rows])
        rows += batch.rows.tolist()
    return rows


FLIPS = [(layout, seed) for layout in LAYOUTS for seed in range(20)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_whatever_is_flipped_no_wrong_value_is_read(
    tmp_path: Path, stores: dict[str, Path], layout: str
) -> None:
    """A bit anywhere in any file of chunks: what is read is what was written, or refused."""
    data = Path(shutil.copytree(stores[layout], tmp_path / "a.zarr"))
    files = sorted(f for f in data.rglob("*") if f.is_file() and f.name[-1].isdigit())
    refused = 0
    for seed in (seed for each, seed in FLIPS if each == layout):
        random = np.random.default_rng(seed)
        file = files[random.integers(len(files))]
        whole = file.read_bytes()
        changed = bytearray(whole)
        changed[random.integers(len(whole))] ^= 1 << int(random.integers(8))
        file.write_bytes(changed)
        try:
            assert sorted(read_right(data)) == list(range(ROWS))
        except DataError as error:
            assert str(file) in str(error)
            refused += 1
        file.write_bytes(whole)
    assert refused >= 5
