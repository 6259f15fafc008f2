"""The jobs of four trades: who does them, in which environment, and what a run of one took."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from peers.bench import interpreter
from peers.catalogue import DASK_ML
from peers.environments import ROOT, Environment, UnavailableError

JOURNEYS = ROOT / "tests" / "journeys"
SAMPLE_SECONDS = 0.01
# What no training can be faster than: imports, and every value read or computed once.
READING_ALONE = "ooc, reading alone"

CELLS = Environment(
    "annbatch-and-scikit-learn",
    ("annbatch[zarrs]==0.3.1", "anndata==0.13.4", "scikit-learn==1.9.1", "zarr==3.4.2"),
    oldest=(3, 12),
)
CLIMATE = Environment(
    "xbatcher-and-torch",
    (
        "torch==2.13.0",
        "xarray==2026.9.0",
        "xbatcher==0.4.0",
        "dask==2026.8.0",
        "scikit-learn==1.9.1",
        "zarr==3.1.6",
    ),
)
CLICKS = Environment(
    "hashing",
    ("scikit-learn==1.9.1", "vowpalwabbit==9.11.9", "pandas==2.3.3", "pyarrow==26.0.1"),
)


@dataclass(frozen=True)
class Way:
    """A script that does a whole job, and prints its quality last: ``accuracy 0.81``.

    Attributes
    ----------
    name
        What the table calls it.
    script
        Its file in `JOURNEYS`.
    suffix
        Of the format that it reads.
    environment
        Where it runs, or None for the project's own.
    """

    name: str
    script: str
    suffix: str
    environment: Environment | None = None


@dataclass(frozen=True)
class Journey:
    """A job, how many rows of `tests/journeys/generate.py` it has, and the ways to do it."""

    trade: str
    rows: int
    ways: tuple[Way, ...]


JOURNEYS_BY_NAME = {
    "cells": Journey(
        "cells",
        40_000,
        (
            Way("ooc", "cells.py", "zarr"),
            Way(READING_ALONE, "limits/cells.py", "zarr"),
            Way("annbatch, scikit-learn", "peers/annbatch_sklearn.py", "zarr", CELLS),
            Way("AnnData, scikit-learn", "peers/anndata_sklearn.py", "h5ad", CELLS),
        ),
    ),
    "climate": Journey(
        "climate",
        58_440,
        (
            Way("ooc", "climate.py", "zarr"),
            Way(READING_ALONE, "limits/climate.py", "zarr"),
            Way("xarray, xbatcher, PyTorch", "peers/xbatcher_torch.py", "zarr", CLIMATE),
            Way("xarray, scikit-learn", "peers/xarray_sklearn.py", "zarr", CLIMATE),
        ),
    ),
    "clicks": Journey(
        "clicks",
        2_000_000,
        (
            Way("ooc", "clicks.py", "parquet"),
            Way(READING_ALONE, "limits/clicks.py", "parquet"),
            Way("scikit-learn", "peers/hashing_sklearn.py", "parquet", CLICKS),
            Way("Vowpal Wabbit", "peers/hashing_vw.py", "parquet", CLICKS),
        ),
    ),
    "platform": Journey(
        "events",
        2_500_000,
        (
            Way("ooc", "dask_arrays.py", "zarr"),
            Way(READING_ALONE, "limits/dask_arrays.py", "zarr"),
            Way("dask-ml, Incremental", "peers/dask_ml_incremental.py", "zarr", DASK_ML),
            Way("dask-ml, L-BFGS", "peers/dask_ml_regression.py", "zarr", DASK_ML),
        ),
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What one run of a way took, from the start of its process to the end, and how good it is."""

    metric: str
    quality: float
    seconds: float
    core_seconds: float
    peak_bytes: int


def run_way(way: Way, data: Path, timeout: float) -> Outcome:
    """Run a way once, in a process and a folder of its own.

    Raises
    ------
    UnavailableError
        If its environment cannot be made, it fails, or it takes too long.
    """
    python = sys.executable if way.environment is None else str(interpreter(way.environment))
    # Peers run beside the project, and not on its path; ours as it is in this clone.
    own = {"PYTHONPATH": str(ROOT)} if way.environment is None else {}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder, Path(folder, "said").open("w+") as said:
        command = [python, str(JOURNEYS / way.script), str(data.resolve())]
        environment = {**inherited, **own, "TMPDIR": folder}
        begun, before = time.perf_counter(), _core_seconds()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT
        )
        peak = _watched(process, begun + timeout)
        seconds, cores = time.perf_counter() - begun, _core_seconds() - before
        said.seek(0)
        lines = [line for line in said.read().splitlines() if line.strip()] or ["it said nothing"]
    if process.returncode:
        raise UnavailableError(f"{way.name} ended with {process.returncode}: {lines[-1][:200]}")
    metric, quality = lines[-1].split()
    return Outcome(metric, float(quality), seconds, cores, peak)


def _core_seconds() -> float:
    """Return what processes that have ended have taken of the cores."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watched(process: subprocess.Popen[bytes], until: float) -> int:
    """Wait for a process; return the most that it and its descendants had in memory at once.

    A single process is known by its own high-water mark, several by the sum of what is looked at.
    """
    peak = 0
    while process.poll() is None:
        family = [process.pid, *_descendants(process.pid)]
        sizes = [_status(each) for each in family]
        peak = max(peak, sum(now for now, _ in sizes), *(most for _, most in sizes))
        if time.perf_counter() > until:
            process.kill()
            process.wait()
            raise UnavailableError("it took too long")
        time.sleep(SAMPLE_SECONDS)
    return peak


def _descendants(parent: int) -> list[int]:
    found: list[int] = []
    try:
        tasks = list(Path(f"/proc/{parent}/task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return found
    for child in map(int, children):
        found += [child, *_descendants(child)]
    return found


def _status(process: int) -> tuple[int, int]:
    """Return the bytes that a process has in memory, and the most that it has had."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0, 0
    now, most = (
        int(text.partition(f"{key}:")[2].split()[0]) * 1024 if f"{key}:" in text else 0
        for key in ("VmRSS", "VmHWM")
    )
    return now, most
