"""Every row is zarr-python's own answer, whatever wrote the array and however it is stored."""

import itertools
import lzma
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    TransposeCodec,
    ZstdCodec,
)

import ooc
from ooc.store.chunks import open_reader, read_path

DTYPES = ["bool", "uint8", "int16", "uint32", "int64", "float16", "float32", "float64"]
CNAMES = ["lz4", "lz4hc", "zstd", "zlib", "blosclz"]
RELAXED = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def blosc_codecs(version: int) -> st.SearchStrategy[Any]:
    shuffles = ["noshuffle", "shuffle", "bitshuffle"]
    if version == 2:
        return st.builds(
            numcodecs.Blosc,
            cname=st.sampled_from(CNAMES),
            clevel=st.integers(0, 9),
            shuffle=st.sampled_from([0, 1, 2]),
        )
    return st.builds(
        BloscCodec,
        cname=st.sampled_from(CNAMES),
        clevel=st.integers(0, 9),
        shuffle=st.sampled_from(shuffles),
    )


@st.composite
def stored_arrays(draw: st.DrawFn, version: int) -> dict[str, Any]:
    """Draw the options of `create_array`, and a seed for the values."""
    shape = tuple(draw(st.lists(st.integers(1, 30), min_size=1, max_size=3)))
    chunks = tuple(draw(st.integers(1, length + 2)) for length in shape)
    options: dict[str, Any] = {
        "shape": shape,
        "chunks": chunks,
        "dtype": draw(st.sampled_from(DTYPES)),
        "fill_value": draw(st.sampled_from([0, 1])),
    }
    if version == 2:
        codecs = st.one_of(
            st.none(),
            blosc_codecs(2),
            st.sampled_from(
                [
                    numcodecs.Zstd(3),
                    numcodecs.GZip(2),
                    numcodecs.LZ4(),
                    numcodecs.Zlib(1),
                    numcodecs.BZ2(1),
                    numcodecs.LZMA(preset=1),
                    numcodecs.LZMA(3, filters=[{"id": lzma.FILTER_LZMA2, "preset": 1}]),
                ]
            ),
        )
        options["compressors"] = draw(codecs)
        options["order"] = draw(st.sampled_from("CCF"))
        options["dtype"] = draw(st.sampled_from([options["dtype"], ">f4", ">i8"]))
        options["chunk_key_encoding"] = {"name": "v2", "separator": draw(st.sampled_from("./"))}
        return options
    first = st.one_of(
        st.just([]),
        blosc_codecs(3).map(lambda codec: [codec]),
        st.sampled_from([[ZstdCodec(level=3)], [ZstdCodec(checksum=True)], [GzipCodec(level=2)]]),
    )
    axes = draw(st.lists(st.permutations(range(len(shape))), max_size=2))
    options["filters"] = [TransposeCodec(order=order) for order in axes]
    options["serializer"] = BytesCodec(endian=draw(st.sampled_from(["little", "big"])))
    last = st.sampled_from([[], [Crc32cCodec()]])
    options["compressors"] = draw(first) + draw(last)
    if draw(st.booleans()):
        options["shards"] = tuple(chunk * draw(st.integers(1, 3)) for chunk in chunks)
    return options


def values_of(options: dict[str, Any], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(options["shape"]) * 100).astype(options["dtype"])


def compare(folder: Path, seed: int) -> bool:
    """Read runs and the whole of "X" by both paths; tell whether the native one was taken."""
    expected = zarr.open_array(folder / "X", mode="r")[...]
    dataset = ooc.open(folder, missing="fill")
    reader = open_reader(dataset, "X")
    rng = np.random.default_rng(seed)
    edges = np.unique(np.concatenate([[0, len(expected)], rng.integers(0, len(expected), 4)]))
    runs = [(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    for chosen in (runs, runs[::2], runs[::-2]):
        dtype = dataset.arrays["X"].dtype
        out = np.empty((sum(b - a for a, b in chosen), *expected.shape[1:]), dtype)
        reader.read_runs(chosen, out)
        wanted = np.concatenate([expected[a:b] for a, b in chosen])
        np.testing.assert_array_equal(out, wanted)
    return read_path(dataset, "X").native


@pytest.mark.slow
@pytest.mark.parametrize("version", [2, 3])
@RELAXED
@given(data=st.data(), seed=st.integers(0, 1000), sparse=st.booleans())
def test_what_zarr_python_wrote(
    version: int,
    data: st.DataObject,
    seed: int,
    sparse: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    options = data.draw(stored_arrays(version))
    folder = tmp_path_factory.mktemp("zarr-python")
    group = zarr.create_group(folder, zarr_format=version, overwrite=True)
    array = group.create_array("X", **options)
    values = values_of(options, seed)
    if sparse:
        # Some chunks are never written: they are the fill value.
        array[: len(values) // 2] = values[: len(values) // 2]
    else:
        array[...] = values
    assert compare(folder, seed)


@pytest.mark.slow
@settings(parent=RELAXED, max_examples=20)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_what_tensorstore_wrote(
    data: st.DataObject, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tensorstore = pytest.importorskip("tensorstore")
    folder = tmp_path_factory.mktemp("tensorstore")
    dtype = data.draw(st.sampled_from([name for name in DTYPES if name != "bool"]))
    shape = tuple(data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=3)))
    chunks = [data.draw(st.integers(1, length)) for length in shape]
    inner = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        *data.draw(
            st.sampled_from(
                [
                    [],
                    [{"name": "zstd", "configuration": {"level": 2}}],
                    [{"name": "gzip", "configuration": {"level": 2}}],
                    [{"name": "blosc", "configuration": {"cname": "lz4", "shuffle": "shuffle"}}],
                    [{"name": "crc32c"}],
                ]
            )
        ),
    ]
    codecs, grid = inner, chunks
    if data.draw(st.booleans()):
        grid = [chunk * data.draw(st.integers(1, 3)) for chunk in chunks]
        sharding = {
            "chunk_shape": chunks,
            "codecs": inner,
            "index_location": data.draw(st.sampled_from(["start", "end"])),
        }
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    store = tensorstore.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(folder / "X")},
            "metadata": {
                "shape": list(shape),
                "data_type": dtype,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": grid}},
                "codecs": codecs,
            },
            "create": True,
        }
    ).result()
    store[...] = values_of({"shape": shape, "dtype": dtype}, seed)
    zarr.create_group(folder, overwrite=False)
    assert compare(folder, seed)


@pytest.mark.slow
@settings(parent=RELAXED, max_examples=20)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_what_the_zarrs_pipeline_wrote(
    data: st.DataObject, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("zarrs")
    options = data.draw(stored_arrays(3))
    folder = tmp_path_factory.mktemp("zarrs")
    values = values_of(options, seed)
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        group = zarr.create_group(folder, overwrite=True)
        group.create_array("X", **options)[...] = values
    assert compare(folder, seed)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"filters": [numcodecs.AsType("<i2", "<i4")]}, "its codec is astype"),
        ({"filters": [numcodecs.PackBits()], "dtype": "?"}, "its codec is packbits"),
    ],
)
def test_what_is_not_native_says_why_and_reads_the_same(
    tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    settings_ = {"shape": (20, 3), "chunks": (7, 2), "dtype": "<i4", **options}
    group.create_array("X", **settings_)[...] = np.arange(60).reshape(20, 3) % 2
    path = read_path(ooc.open(tmp_path / "a.zarr"), "X")
    assert not path.native
    assert reason in path.describe()
    assert not compare(tmp_path / "a.zarr", 0)
