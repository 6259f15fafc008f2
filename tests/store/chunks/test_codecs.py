"""Every codec of the table, whatever its settings: the rows are zarr-python's, damage is named."""

import inspect
import itertools
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

import ooc
from ooc.store.chunks import BadChunkError, open_reader, read_path
from ooc.store.chunks.codecs import CODECS

# Values of settings by name; a codec with any others is tested with its own defaults.
SETTINGS: dict[str, list[Any]] = {
    "acceleration": [1, 9],
    "checksum": [False, True],
    "clevel": [0, 5],
    "cname": ["lz4", "zstd"],
    "elementsize": [1, 4, 8],
    "level": [1, 6],
    "location": ["start", "end"],
    "shuffle": [0, 1, 2],
}
# Codecs that Zarr v3 itself has, and its names for a setting that is a number in v2.
IN_VERSION_3 = {"blosc", "zstd", "gzip", "crc32c"}
SHUFFLES = ["noshuffle", "shuffle", "bitshuffle"]
ROWS = 37

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")


def settings_of(name: str) -> list[dict[str, Any]]:
    """Return settings to write a codec with: every combination of those that it takes."""
    taken = inspect.signature(type(numcodecs.get_codec({"id": name})).__init__).parameters
    values = {each: SETTINGS[each] for each in taken if each in SETTINGS}
    return [
        dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())
    ]


def in_version_2(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"compressors": numcodecs.get_codec({"id": name, **settings})}


def in_version_3(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    configuration = dict(settings)
    if name == "blosc":
        configuration |= {"shuffle": SHUFFLES[settings["shuffle"]], "typesize": 4, "blocksize": 0}
    return {"compressors": [{"name": name, "configuration": configuration}]}


def forms_of(name: str, settings: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Return Zarr's version and options of `create_array` for all ways to store a codec."""
    prefixed = {"compressors": [{"name": f"numcodecs.{name}", "configuration": settings}]}
    alone = in_version_2(name, settings)
    as_filter = {"filters": [alone["compressors"]], "compressors": None}
    forms = [(2, alone), (2, as_filter), (3, prefixed), (3, {**prefixed, "shards": (16, 3)})]
    # Version 3 has a CRC-32C of its own, at the end of the bytes.
    if name in IN_VERSION_3 and settings.get("location", "end") == "end":
        own = in_version_3(name, {} if name == "crc32c" else settings)
        forms += [(3, own), (3, {**own, "shards": (16, 3)})]
    return forms


def write(folder: Path, version: int, options: dict[str, Any]) -> np.ndarray:
    values = np.random.default_rng(5).integers(-9, 9, (ROWS, 3)).astype("f4")
    group = zarr.create_group(folder, zarr_format=version)
    group.create_array("X", shape=(ROWS, 3), chunks=(8, 3), dtype="<f4", **options)[...] = values
    return values


def read(folder: Path) -> np.ndarray:
    dataset = ooc.open(folder)
    assert read_path(dataset, "X").native, read_path(dataset, "X").describe()
    out = np.empty((ROWS, 3), "f4")
    open_reader(dataset, "X").read_runs([(0, ROWS)], out)
    return out


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", CODECS)
def test_rows_are_those_of_zarr_python(tmp_path: Path, name: str) -> None:
    written = [form for settings in settings_of(name) for form in forms_of(name, settings)]
    for number, (version, options) in enumerate(written):
        values = write(tmp_path / str(number), version, options)
        expected = zarr.open_array(tmp_path / str(number) / "X", mode="r")[...]
        assert expected.tobytes() == values.tobytes()
        assert read(tmp_path / str(number)).tobytes() == expected.tobytes(), (version, options)


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("name", CODECS)
def test_a_chunk_that_lost_its_end_is_named(tmp_path: Path, name: str) -> None:
    for number, settings in enumerate(settings_of(name)):
        write(tmp_path / str(number), 2, in_version_2(name, settings))
        chunk = tmp_path / str(number) / "X" / "2.0"
        chunk.write_bytes(chunk.read_bytes()[:-3])
        with pytest.raises(BadChunkError, match=r"chunk .*2.*rows 16 to 23"):
            read(tmp_path / str(number))


FILTERS_TO_WRITE = [
    numcodecs.Delta("<f4"),
    numcodecs.Delta("<f4", "<f2"),
    numcodecs.FixedScaleOffset(-20, 2, "<f4", "u1"),
    numcodecs.FixedScaleOffset(-20, 2, "<f4", "<i4"),
]


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("compressor", [None, numcodecs.Zlib()], ids=["alone", "before zlib"])
@pytest.mark.parametrize("each", FILTERS_TO_WRITE, ids=repr)
def test_filters_give_the_rows_of_zarr_python(tmp_path: Path, each: Any, compressor: Any) -> None:
    values = write(tmp_path / "a.zarr", 2, {"filters": [each], "compressors": compressor})
    assert zarr.open_array(tmp_path / "a.zarr" / "X", mode="r")[...].tobytes() == values.tobytes()
    assert read(tmp_path / "a.zarr").tobytes() == values.tobytes()
    chunk = tmp_path / "a.zarr" / "X" / "2.0"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    with pytest.raises(BadChunkError, match=r"chunk .*2.*rows 16 to 23"):
        read(tmp_path / "a.zarr")


def test_a_filter_whose_numbers_grow_is_left_to_zarr_python(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", 2, {"filters": [numcodecs.Delta("<f4", "<f8")]})
    path = read_path(ooc.open(tmp_path / "a.zarr"), "X")
    assert path.describe() == "zarr-python: its codec is delta"


@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize("byte", [0, 50, -1])
def test_a_bit_that_flipped_is_seen_wherever_the_checksum_is(
    tmp_path: Path, location: str, byte: int
) -> None:
    write(tmp_path / "a.zarr", 2, in_version_2("crc32c", {"location": location}))
    chunk = tmp_path / "a.zarr" / "X" / "2.0"
    content = bytearray(chunk.read_bytes())
    content[byte] ^= 4
    chunk.write_bytes(content)
    with pytest.raises(BadChunkError, match="CRC-32C"):
        read(tmp_path / "a.zarr")


def test_filters_and_a_compressor_are_undone_last_first(tmp_path: Path) -> None:
    """What tools make of HDF5 files: shuffled, then compressed."""
    chain = {"filters": [numcodecs.Shuffle(4)], "compressors": numcodecs.Zlib(1)}
    values = write(tmp_path / "a.zarr", 2, chain)
    assert read(tmp_path / "a.zarr").tobytes() == values.tobytes()
