"""One dataset to a server by one way, told as JSON: ``python -m far.writing WAY URL ENDPOINT``."""

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

import ooc
from far.epoch import OBSTORE, S3FS, SOCKETS, WIDTH

WAYS = (S3FS, OBSTORE, SOCKETS)
PIECE_BYTES, MOST_PIECES = 8 * 2**20, 4


def features_of(megabytes: int) -> np.ndarray:
    """Return rows with the precision of measurements, which compress by a half."""
    rows = int(megabytes * 1e6) // (4 * WIDTH)
    values = np.random.default_rng(0).standard_normal((rows, WIDTH), np.float32)
    values *= 256
    np.rint(values, out=values)
    values /= 256
    return values


def write(path: str, values: np.ndarray, shard_bytes: int, options: Any = None) -> None:
    """Write rows as a dataset, shards of several threads at once."""
    fields = {"X": ("float32", (WIDTH,))}
    with ooc.create(path, fields, shard_bytes=shard_bytes, storage_options=options) as writer:
        chunk, shard = writer.chunk_rows, writer.shard_rows

        def write_shard(number: int) -> None:
            stop = min(len(values), (number + 1) * shard)
            starts = range(number * shard, stop, chunk)
            parts = ({"X": values[at : min(at + chunk, stop)]} for at in starts)
            writer.write_shard(number, parts)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write_shard, range(-(-len(values) // shard))))


def write_by_sockets(folder: Path, url: str, endpoint: str) -> None:
    """Send the files of a dataset by plain requests, part by part."""
    host, own, where = urlsplit(endpoint).netloc, threading.local(), urlsplit(url)
    target = f"/{where.netloc}{where.path}"
    parts = [
        (file, first)
        for file in folder.rglob("*")
        if file.is_file()
        for first in range(0, file.stat().st_size, PIECE_BYTES)
    ]

    def send(part: tuple[Path, int]) -> None:
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(host)
        with part[0].open("rb") as stream:
            stream.seek(part[1])
            content = stream.read(PIECE_BYTES)
        own.connection.request("PUT", f"{target}/{part[0].name}-{part[1]}", content)
        own.connection.getresponse().read()

    with ThreadPoolExecutor(MOST_PIECES) as pool:
        list(pool.map(send, parts))


def main() -> None:
    """Measure one dataset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("url")
    parser.add_argument("endpoint")
    parser.add_argument("--mb", type=int, required=True)
    parser.add_argument("--shard-bytes", type=int, required=True)
    given = parser.parse_args()
    options = {"endpoint_url": given.endpoint, "anon": True}
    values = features_of(given.mb)
    if given.way == OBSTORE:
        from far.obstore_way import use_for_writing

        use_for_writing(given.url, given.endpoint)
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, "a.zarr")
        if given.way == SOCKETS:
            write(str(local), values, given.shard_bytes)
        begun, processor = time.perf_counter(), time.process_time()
        if given.way == SOCKETS:
            write_by_sockets(local, given.url, given.endpoint)
        else:
            write(given.url, values, given.shard_bytes, options)
        seconds = time.perf_counter() - begun
        processor = time.process_time() - processor
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1024 - values.nbytes
    json.dump({"seconds": seconds, "processor": processor, "peak": peak}, sys.stdout)


if __name__ == "__main__":
    main()
