"""Measure conversions: each format's rate beside that of reading the same source with its library.

Sources are generated once. Each round reads one alone, as its library's users do: in parts of some
rows, each of whose values is added up. Then it is converted. Then as many bytes of what came out
are encoded and written alone, on all cores: the limit of every conversion, however it reads. The
ratio that the limit allows counts that both reading and encoding take the cores' time. Before each
of the three all that was written is synced, and the source leaves the page cache, as that of
more than memory would; --warm leaves it there. Reading and converting are each done in a process of
its own, which has imported and compiled all that it needs.
"""

import argparse
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from sources.formats import CASES

from ooc.core.machine import machine

WARM_ROWS = 2000
CORES = os.cpu_count() or 1
# What of a store is held to encode it again and again.
SAMPLE_BYTES = 2**28


@dataclass(frozen=True)
class Time:
    """Seconds of a side, and what of the processors' time it took."""

    seconds: float
    processor: float


def settle(source: Path, cold: bool) -> None:
    """Put all that was written on the disk, and a source out of the page cache."""
    os.sync()
    for file in [source] if source.is_file() else source.rglob("*"):
        if cold and file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def timed(work: Callable[..., object], *arguments: Any) -> Time:
    """Return the time that some work takes in this process."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work(*arguments)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    return Time(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def read(name: str, source: Path) -> Time:
    """Time the library's reading of a source."""
    return timed(CASES[name].read, source)


def convert(name: str, source: Path, target: Path, memory: str) -> Time:
    """Time the conversion of a source."""
    import ooc

    how: dict[str, Any] = {"report": False, "memory": memory, **dict(CASES[name].options)}
    return timed(lambda: ooc.convert(source, target, **how))


def limit(store: Path, folder: Path) -> Time:
    """Time encoding and writing, on all cores, of as many bytes of each array as a store has."""
    chunks = list(_chunks(store))
    return timed(_encode, chunks, folder)


def _chunks(store: Path) -> Iterator[tuple[list[np.ndarray], int]]:
    """Yield for each array some of its chunks, and how many there are."""
    import zarr

    from ooc.store.writer import CHUNK_BYTES

    for _, member in zarr.open_group(store, mode="r").members(max_depth=None):
        if isinstance(member, zarr.Array):
            row_bytes = member.dtype.itemsize * int(np.prod(member.shape[1:]))
            rows = max(1, CHUNK_BYTES // row_bytes)
            values: Any = member[: max(1, SAMPLE_BYTES // row_bytes)]
            parts = [values[first : first + rows] for first in range(0, len(values), rows)]
            yield parts, -(-member.shape[0] // rows)


def _encode(arrays: list[tuple[list[np.ndarray], int]], folder: Path) -> None:
    """Encode and write chunks, a file a shard, which is synced while others are written."""
    from ooc.store.writer import SHARD_BYTES, encode_chunk

    waiting: deque[Future[bytes]] = deque()
    syncs: deque[Future[None]] = deque()
    with ThreadPoolExecutor(CORES) as pool, ThreadPoolExecutor(1) as syncing:
        for number, (parts, count) in enumerate(arrays):
            stream, filled = (folder / f"{number}").open("wb"), 0
            for chunk in range(count):
                part = parts[chunk % len(parts)]
                waiting.append(pool.submit(encode_chunk, part))
                filled += part.nbytes
                while len(waiting) > (2 * CORES if chunk < count - 1 else 0):
                    stream.write(waiting.popleft().result())
                if filled >= SHARD_BYTES or chunk == count - 1:
                    stream.flush()
                    syncs.append(syncing.submit(_sync, os.dup(stream.fileno())))
                    while len(syncs) > 1:
                        syncs.popleft().result()
                    filled = 0
            stream.close()


def _sync(descriptor: int) -> None:
    os.fsync(descriptor)
    os.close(descriptor)


def made(name: str, options: argparse.Namespace, folder: Path, rows: int) -> Path:
    """Return a source of some rows, which is written unless it is there."""
    case = CASES[name]
    path = folder / f"{name.replace(' ', '-')}-{rows}{case.suffix}"
    if not path.exists():
        aside = folder / f"unfinished{case.suffix}"
        if aside.exists():
            shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
        case.write(aside, rows)
        aside.rename(path)
    return path


def measure(name: str, options: argparse.Namespace, folder: Path) -> None:
    """Measure one format and print its line."""
    case = CASES[name]
    rows = int(case.share * options.mb * 1e6 / case.row_bytes)
    small, source = (made(name, options, folder, count) for count in (WARM_ROWS, rows))
    if options.only_make:
        return
    decoded, target = rows * case.row_bytes / 1e6, folder / "converted.zarr"
    times: list[tuple[Time, Time, Time]] = []
    spawned = get_context("spawn")
    with (
        ProcessPoolExecutor(1, spawned) as reader,
        ProcessPoolExecutor(1, spawned) as converter,
        tempfile.TemporaryDirectory(dir=folder) as scratch,
    ):
        reader.submit(read, name, small).result()
        converter.submit(convert, name, small, target, options.memory).result()
        shutil.rmtree(target)
        for _ in range(options.rounds):
            settle(source, not options.warm)
            reading = reader.submit(read, name, source).result()
            settle(source, not options.warm)
            converting = converter.submit(convert, name, source, target, options.memory).result()
            settle(source, not options.warm)
            times.append((reading, converting, limit(target, Path(scratch))))
            shutil.rmtree(target)
    _print_line(name, decoded, times)


def _print_line(name: str, decoded: float, times: list[tuple[Time, Time, Time]]) -> None:
    sides = list(zip(*times, strict=True))
    rates = [statistics.median(decoded / each.seconds for each in side) for side in sides]
    loads = [statistics.median(each.processor for each in side) for side in sides]
    ratios = [reading.seconds / converting.seconds for reading, converting, _ in times]
    best = statistics.median(
        reading.seconds / max(alone.seconds, (reading.processor + alone.processor) / CORES)
        for reading, _, alone in times
    )
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(
        f"{name:>9} {rates[0]:8.0f} {rates[1]:10.0f} {statistics.median(ratios):8.2f}  {spread:<13}"
        f"{rates[2]:8.0f} {best:8.2f}   "
        + " ".join(f"{1000 * load / decoded:6.2f}" for load in loads)
    )
    sys.stdout.flush()


def main() -> None:
    """Measure the formats and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=1000, help="decoded megabytes of a source, about")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", default="1GiB", help="the budget")
    parser.add_argument("--formats", default=",".join(CASES), help="names with commas between")
    parser.add_argument("--folder", help="where sources are made and kept; by default not kept")
    parser.add_argument("--warm", action="store_true", help="sources stay in the page cache")
    parser.add_argument("--only-make", action="store_true", help="make the sources in --folder")
    options = parser.parse_args()
    cache = "sources in the page cache" if options.warm else "no source in the page cache"
    print(f"{machine()}; medians of {options.rounds} rounds, {cache}")
    print(f"{'':>9}  reading converting                          limit:         core seconds a GB:")
    print(
        f"{'':>9}     MB/s       MB/s    ratio  from  to         MB/s    ratio   read  conv  limit"
    )
    with tempfile.TemporaryDirectory(dir=".") as passing:
        for name in options.formats.split(","):
            measure(name, options, Path(options.folder or passing))


if __name__ == "__main__":
    main()
