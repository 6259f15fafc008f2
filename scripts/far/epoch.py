"""One epoch from a server by one way, told as JSON: ``python -m far.epoch WAY URL ENDPOINT``."""

import argparse
import http.client
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

S3FS, OBSTORE, IN_HAND, SOCKETS = "s3fs", "obstore", "ObjectStore in hand", "sockets alone"
WAYS = (S3FS, OBSTORE, IN_HAND, SOCKETS)
# Numbers of a row.
WIDTH = 64
# About what is stored of a chunk.
PART_BYTES = 2**18


def opened(way: str, url: str, endpoint: str) -> Any:
    """Open a dataset by one of the ways."""
    import ooc

    if way == S3FS:
        return ooc.open(url, storage_options={"endpoint_url": endpoint, "anon": True})
    from far.obstore_way import BoundedStore, in_hand

    if way == IN_HAND:
        import zarr

        return ooc.open(zarr.open_group(in_hand(url, endpoint), mode="r"))
    from ooc.store import members

    vars(members)["open_store"] = lambda path, _: BoundedStore(path, endpoint)
    return ooc.open(url)


def read_by_loader(way: str, url: str, endpoint: str, readers: int, memory: str) -> dict[str, Any]:
    """Time the opening of a dataset, and an epoch of batches, whose sum is told."""
    import ooc

    begun = time.perf_counter()
    dataset = opened(way, url, endpoint)
    opening = time.perf_counter() - begun
    loader = ooc.Loader(dataset, batch_size=1024, memory=memory, readers=readers, window="fit")
    begun, processor, total, rows = time.perf_counter(), time.process_time(), 0.0, 0
    for batch in loader:
        rows += len(batch["X"])
        total += float(batch["X"].sum(dtype="f8"))
    return {
        "opening": opening,
        "seconds": time.perf_counter() - begun,
        "processor": time.process_time() - processor,
        "rows": rows,
        "sum": total,
    }


def read_by_sockets(url: str, endpoint: str, readers: int, folder: Path) -> dict[str, Any]:
    """Time plain requests for all objects part by part, which nobody decodes."""
    parts, host, own = urlsplit(url), urlsplit(endpoint).netloc, threading.local()
    store = folder / parts.netloc / parts.path.strip("/")
    wanted = [
        (f"/{file.relative_to(folder)}", first)
        for file in store.rglob("*")
        if file.is_file()
        for first in range(0, file.stat().st_size, PART_BYTES)
    ]

    def read(part: tuple[str, int]) -> None:
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(host)
        span = f"bytes={part[1]}-{part[1] + PART_BYTES - 1}"
        own.connection.request("GET", part[0], headers={"Range": span})
        own.connection.getresponse().read()

    begun, processor = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(readers) as pool:
        list(pool.map(read, wanted))
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "processor": time.process_time() - processor, "opening": 0.0}


def main() -> None:
    """Measure one epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("url")
    parser.add_argument("endpoint")
    parser.add_argument("--readers", type=int, required=True)
    parser.add_argument("--memory", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="what the server serves")
    given = parser.parse_args()
    where = given.url, given.endpoint, given.readers
    if given.way == SOCKETS:
        found = read_by_sockets(*where, given.folder)
    else:
        found = read_by_loader(given.way, *where, given.memory)
    # What the system tells of a process itself is, after a start, also of the one that started it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    found["peak"] = int(status["VmHWM"].split()[0]) * 1024
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
