"""Few stored bytes that stand for gigabytes, in stores of every layout: refused in the budget."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numcodecs
import pytest
import zarr
from store.chunks.test_bombs import BOMBS, FAR, SAID

from attack.ends import MEMORY, attack
from attack.stores import train, trained, values, write

pytestmark = pytest.mark.slow
# Decoded bytes; those of which headers say how many there are may say more than there are.
LARGE = 2**28
LAYOUTS = {
    "v2": {"order": "C", "dtype": "<f4"},
    "fortran": {"order": "F", "dtype": "<f4"},
    "big-endian": {"order": "C", "dtype": ">f4"},
}
OF_CODECS = [(layout, name) for layout in LAYOUTS for name in BOMBS]


def sparse(size: int) -> Callable[[Path], None]:
    def make(file: Path) -> None:
        with file.open("wb") as stream:
            stream.truncate(size)

    return make


# Files of no content: bytes that a disk does not hold, but a reader would.
OF_FILES = [
    (layout, size, place)
    for layout in LAYOUTS
    for size in (2**31, 2**40)
    for place in ("X/2.0", "X/.zarray", ".zgroup", "X/.zattrs")
]
COMMANDS = ("train", "skip", "predict", "shuffle")


def write_packed(path: Path, layout: str, codec: str) -> Path:
    group, packer = zarr.create_group(path, zarr_format=2), numcodecs.get_codec({"id": codec})
    for name, data in values().items():
        how = LAYOUTS[layout if name == "X" else "v2"]
        data = data.astype(how["dtype"]) if name == "X" else data
        chunks = (10, *data.shape[1:])
        array = group.create_array(
            name, shape=data.shape, dtype=data.dtype, chunks=chunks, order=how["order"],
            compressors=packer,
        )  # fmt: skip
        array[...] = data
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bombs")
    return trained(write(folder / "a.zarr", "v2"), folder / "run")


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    return {name: make(FAR if codec in SAID else LARGE) for name, (codec, make) in BOMBS.items()}


def lines(data: Path, run: Path, folder: Path) -> list[list[str]]:
    out = str(folder / "out.zarr")
    return [
        train(data, folder / "run"),
        [*train(data, folder / "run"), "--on-bad-chunk", "skip"],
        ["predict", str(run), str(data), out, "--memory", MEMORY],
        ["shuffle", str(data), out, "--memory", MEMORY],
    ]


@pytest.mark.parametrize(("layout", "name"), OF_CODECS)
def test_a_chunk_that_decodes_to_gigabytes_is_named(
    tmp_path: Path, run: Path, bombs: dict[str, bytes], layout: str, name: str
) -> None:
    data = write_packed(tmp_path / "a.zarr", layout, BOMBS[name][0])
    (data / "X" / "2.0").write_bytes(bombs[name])
    problems = []
    for line in lines(data, run, tmp_path):
        skips = "skip" in line
        names = ("rows were left out",) if skips else ("chunk 2.0 of array X", "rows 20 to 29")
        problems += attack(line, 0 if skips else 2, *names, most_grown=2**26)
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(("layout", "size", "place"), OF_FILES)
def test_a_file_that_is_larger_than_it_may_be_is_named(
    tmp_path: Path, run: Path, layout: str, size: int, place: str
) -> None:
    data = write_packed(tmp_path / "a.zarr", layout, "gzip")
    sparse(size)(data / place)
    names = ("chunk 2.0 of array X",) if place == "X/2.0" else (data.name,)
    problems = []
    for line in lines(data, run, tmp_path):
        if "skip" not in line:
            problems += attack(line, 2, *names, most_grown=2**26)
    assert not problems, "\n".join(problems)
