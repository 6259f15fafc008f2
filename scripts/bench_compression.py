"""Compare how chunks can be compressed: what they take, and how fast a core makes and decodes them.

The two that have names, and others beside them, on generated rows of a logistic model, on normal
and on whole numbers, and on images and a density of the folder that OOC_REAL_DATA names. Chunks are
in memory, and decoded by numcodecs.
"""

import argparse
import gzip
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from numcodecs import blosc
from peers.text import print_table

import ooc
from ooc.core.machine import machine
from ooc.store.chunks import open_reader
from ooc.store.compression import COMPRESSIONS, Compression
from ooc.store.fields import CHUNK_BYTES, encode_chunk
from ooc.synthetic import Recipe, make

OTHERS = {
    "lz4, shuffle": Compression("lz4", 5, "shuffle"),
    "lz4hc, bit shuffle": Compression("lz4hc", 5, "bitshuffle"),
    "lz4hc 9, shuffle": Compression("lz4hc", 9, "shuffle"),
    "zstd 1, shuffle": Compression("zstd", 1, "shuffle"),
}
IMAGES, DENSITY = "mnist-t10k-images-idx3-ubyte.gz", "ribosome-70S-65.mrc"
WIDTH = 128
CHECKSUM = 4  # bytes, behind a chunk


def samples(folder: Path, values: int) -> dict[str, np.ndarray]:
    """Return rows to compress, by what they are."""
    rng = np.random.default_rng(0)
    make(folder / "made.zarr", Recipe("logistic", values // WIDTH, WIDTH))
    dataset = ooc.open(folder / "made.zarr")
    made = np.empty((dataset.rows, WIDTH), np.float32)
    open_reader(dataset, "X", "buffered").read_runs([(0, dataset.rows)], made)
    found: dict[str, np.ndarray] = {
        "logistic, float32": made,
        "normal, float32": rng.standard_normal(values, np.float32).reshape(-1, WIDTH),
        "counts about 20, uint16": rng.poisson(20, values).astype(np.uint16).reshape(-1, WIDTH),
        "classes of 10, int64": rng.integers(0, 10, values // 4),
    }
    if "OOC_REAL_DATA" in os.environ:
        real = Path(os.environ["OOC_REAL_DATA"])
        digits = np.frombuffer(gzip.decompress((real / IMAGES).read_bytes()), np.uint8, offset=16)
        density = np.frombuffer((real / DENSITY).read_bytes(), "<f4", offset=1024)
        found["digits, uint8"] = digits.reshape(-1, 784)
        found["a density, float32"] = density[: density.size // WIDTH * WIDTH].reshape(-1, WIDTH)
    return found


def measure(values: np.ndarray, name: str, rounds: int) -> tuple[float, float, float]:
    """Return the ratio, and decoded GB/s of encoding and of decoding, as medians."""
    rows = max(1, CHUNK_BYTES // values[:1].nbytes)
    chunks = [values[first : first + rows] for first in range(0, len(values), rows)]
    out = np.empty(chunks[0].nbytes, np.uint8)
    encodes, decodes = [], []
    for _ in range(rounds):
        begun = time.perf_counter()
        encoded = [encode_chunk(chunk, name)[:-CHECKSUM] for chunk in chunks]
        encodes.append(values.nbytes / (time.perf_counter() - begun) / 1e9)
        begun = time.perf_counter()
        for chunk, each in zip(chunks, encoded, strict=True):
            blosc.decompress(each, out[: chunk.nbytes])
        decodes.append(values.nbytes / (time.perf_counter() - begun) / 1e9)
    assert out[: chunks[-1].nbytes].tobytes() == chunks[-1].tobytes()
    ratio = values.nbytes / sum(map(len, encoded))
    return ratio, statistics.median(encodes), statistics.median(decodes)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=64, help="decoded MiB of generated rows")
    parser.add_argument("--rounds", type=int, default=5, help="how often all is timed")
    options = parser.parse_args()
    COMPRESSIONS.update(OTHERS)
    table = [("rows", "compression", "ratio", "encoded, GB/s", "decoded, GB/s")]
    with tempfile.TemporaryDirectory() as folder:
        for title, values in samples(Path(folder), options.mb * 2**18).items():
            for name in COMPRESSIONS:
                ratio, encoded, decoded = measure(values, name, options.rounds)
                table.append((title, name, f"{ratio:.2f}", f"{encoded:.2f}", f"{decoded:.2f}"))
    print(f"{machine()}, one core\n")
    print_table(table)


if __name__ == "__main__":
    main()
