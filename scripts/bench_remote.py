"""Time epochs from and datasets to an S3 server some milliseconds away: by s3fs and by obstore.

The server is one of this machine's own, see scripts/far/server.py. Each way runs in a process of
its own, all of them in turn, several rounds, with the same readers and as many requests at once.
ObjectStore is zarr-python's store over obstore, as one opens it oneself; sockets alone are plain
requests for the same bytes, which nobody decodes: what the server can give.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from far import writing
from far.epoch import S3FS, SOCKETS, WAYS, WIDTH
from far.writing import features_of
from peers.text import Parser, print_table

import ooc
from ooc.core.errors import InputError
from ooc.core.machine import machine
from ooc.core.sizes import parse_size

BUCKET = "bench"
LAYOUTS = ("sharded", "plain")
SHARD_BYTES, CHUNK_ROWS = 32 * 2**20, 2048
# What is imported, and what pip would install beside zarr.
PACKAGES = {
    "s3fs": ("s3fs",),
    "s3fs and gcsfs": ("s3fs", "gcsfs"),
    "obstore": ("obstore",),
}
SCRIPTS = Path(__file__).parent


def write(folder: Path, megabytes: int) -> int:
    """Write the same rows in both layouts; return their decoded bytes."""
    features = features_of(megabytes)
    (folder / BUCKET).mkdir()
    fields = {"X": ("float32", (WIDTH,))}
    with ooc.create(folder / BUCKET / "sharded.zarr", fields, shard_bytes=SHARD_BYTES) as writer:
        writer.append({"X": features})
    group = zarr.create_group(folder / BUCKET / "plain.zarr")
    group.create_array("X", data=features, chunks=(CHUNK_ROWS, WIDTH))
    return int(features.nbytes)


def environment() -> dict[str, str]:
    """Return an environment in which the scripts are found, and no keys."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    path = os.pathsep.join([str(SCRIPTS), str(SCRIPTS.parent)])
    return {**kept, "PYTHONPATH": path, "NO_PROXY": "127.0.0.1", "AWS_CONFIG_FILE": os.devnull}


@contextmanager
def serving(folder: Path, milliseconds: float) -> Iterator[str]:
    """Run a server; its address."""
    command = [sys.executable, "-m", "far.server", str(folder), str(milliseconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


def run(*arguments: str) -> str:
    """Return what a process of Python prints; its error is ours."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError((done.stderr.strip().splitlines() or ["a process failed"])[-1])
    return done.stdout


def measure(folder: Path, endpoint: str, layout: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return what each way takes in every round; all must read the same."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(given.rounds):
        for way, each in found.items():
            command = ["-m", "far.epoch", way, f"s3://{BUCKET}/{layout}.zarr", endpoint]
            options = ["--readers", str(given.readers), "--memory", given.memory]
            each.append(json.loads(run(*command, *options, "--folder", str(folder))))
    sums = {(one["rows"], one["sum"]) for each in found.values() for one in each if "sum" in one}
    if len({rows for rows, _ in sums}) > 1 or np.ptp([total for _, total in sums]) > 1e-3:
        raise InputError(f"the ways read different rows: {sorted(sums)}")
    return found


def measure_writing(folder: Path, endpoint: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return what each way takes to write in every round; all must have written the same."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in writing.WAYS}
    wanted = ooc.open(folder / BUCKET / "sharded.zarr").rows
    for _ in range(given.rounds):
        for way, each in found.items():
            command = ["-m", "far.writing", way, f"s3://{BUCKET}/new.zarr", endpoint]
            options = ["--mb", str(given.mb), "--shard-bytes", str(SHARD_BYTES)]
            each.append(json.loads(run(*command, *options)))
            made = folder / BUCKET / "new.zarr"
            if way != SOCKETS and ooc.open(made).rows != wanted:
                raise InputError(f"{way} wrote other rows")
            shutil.rmtree(made)
    return found


def lines_of(size: int, found: dict[str, list[dict[str, float]]]) -> Iterator[list[str]]:
    """Yield a way's cells: medians, and how its ratios to s3fs spread."""
    for way, rounds in found.items():
        pairs = zip(rounds, found[S3FS], strict=True)
        ratios = [other["seconds"] / one["seconds"] for one, other in pairs]

        def middle(name: str, rounds: list[dict[str, float]] = rounds) -> float:
            return statistics.median(one[name] for one in rounds)

        yield [
            way,
            f"{size / 1e6 / middle('seconds'):.0f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            f"{middle('processor'):.2f}",
            f"{middle('opening'):.2f}" if rounds[0].get("opening") else "",
            f"{middle('peak') / 2**20:.0f}",
        ]


def print_imports(rounds: int) -> None:
    """Print what importing takes beside zarr, and how many packages pip installs beside zarr's."""
    counts = {"": 0}
    with tempfile.TemporaryDirectory() as folder:
        run("-m", "venv", folder)
        for name, packages in {"": (), **PACKAGES}.items():
            report = Path(folder, "report.json")
            pip = [str(Path(folder, "bin", "pip")), "install", "--quiet", "--dry-run", "--report"]
            command = [*pip, str(report), "zarr>=3.1.6", *packages]
            subprocess.run(command, check=True, capture_output=True)
            counts[name] = len(json.loads(report.read_text())["install"])
    code = (
        "import zarr, time, sys, pathlib; "
        "pages = lambda: int(pathlib.Path('/proc/self/statm').read_text().split()[1]); "
        "before, begun = pages(), time.perf_counter(); "
        "[__import__(name) for name in sys.argv[1:]]; "
        "print(time.perf_counter() - begun, (pages() - before) / 256)"
    )
    table = [["beside zarr", "packages", "import, s", "and MiB"]]
    for name, packages in PACKAGES.items():
        told = [[float(each) for each in run("-c", code, *packages).split()] for _ in range(rounds)]
        seconds, memory = (statistics.median(column) for column in zip(*told, strict=True))
        table.append([name, str(counts[name] - counts[""]), f"{seconds:.2f}", f"{memory:.0f}"])
    print()
    print_table(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=256, help="decoded megabytes of an epoch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--milliseconds", default="0,20,100", help="each way, commas between")
    parser.add_argument("--readers", type=int, default=16)
    parser.add_argument("--layouts", default=",".join(LAYOUTS), help="what is read, or ''")
    parser.add_argument("--memory", default="512MiB", help="the loader's budget")
    parser.add_argument("--packages", action="store_true", help="count packages, by pip's index")
    parser.add_argument("--folder", default=".", help="where the stores are made for a while")
    try:
        given: argparse.Namespace = parser.parse_args(arguments)
        parse_size(given.memory)
        if min(given.rounds, given.readers, given.mb) < 1:
            raise InputError("--rounds, --readers and --mb are at least 1")
        distances = [float(each) for each in given.milliseconds.split(",")]
        print(f"{machine()}; medians of {given.rounds} rounds, {given.readers} readers")
        with tempfile.TemporaryDirectory(dir=given.folder) as made:
            folder = Path(made).resolve()
            size = write(folder, given.mb)
            rest = ["times s3fs", "processor, s", "opening, s", "peak, MiB"]
            for milliseconds in distances:
                with serving(folder, milliseconds) as endpoint:
                    for layout in filter(None, given.layouts.split(",")):
                        found = measure(folder, endpoint, layout, given)
                        first = f"{layout}, {milliseconds:g} ms"
                        print()
                        print_table([[first, "MB/s", *rest], *lines_of(size, found)])
                        sys.stdout.flush()
                    found = measure_writing(folder, endpoint, given)
                    print()
                    first = f"written, {milliseconds:g} ms"
                    print_table([[first, "MB/s", *rest], *lines_of(size, found)])
                    sys.stdout.flush()
        if given.packages:
            print_imports(given.rounds)
    except (InputError, ValueError, OSError, subprocess.CalledProcessError) as error:
        print(f"scripts/bench_remote: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
