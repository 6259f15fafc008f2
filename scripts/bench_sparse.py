"""Time one epoch on sparse rows, with ooc, scikit-learn's partial_fit and Vowpal Wabbit.

All train logistic regression on the same store, each in a fresh process, with the best of its
rates, and are timed in turn; seconds are those of reading and learning, without imports.
scikit-learn is fed slice by slice, and with the whole matrix in memory; Vowpal Wabbit reads a cache
of its own, which is made before. Losses are of held-out rows.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import zarr
from peers.bench import drop_page_cache, ignored_folder, interpreter
from peers.catalogue import SCIKIT_LEARN, VOWPAL_WABBIT
from peers.environments import Environment, UnavailableError, run_checked
from peers.text import Parser, print_table

from ooc.core.errors import InputError
from ooc.core.sizes import format_size, parse_count

HELD_OUT = 20_000
PIECE_VALUES = 2**22
CHUNK = 2**17
# Columns and non-zeros of a row: cells have some genes each, clicks a few of many hashed columns.
KINDS = {"cells": (30_000, 1500), "clicks": (2**20, 30)}
WAYS: dict[str, Environment | None] = {
    "ooc": None,
    "scikit-learn": SCIKIT_LEARN,
    "scikit-learn-in-memory": SCIKIT_LEARN,
    "vowpal-wabbit": VOWPAL_WABBIT,
}
# What is tried once; the best is timed.
_ROW_BY_ROW = (0.0003, 0.001, 0.003)
RATES: dict[str, dict[str, tuple[float, ...]]] = {
    "ooc": {"cells": (0.001, 0.003, 0.004), "clicks": (0.03, 0.08, 0.2)},
    "scikit-learn": dict.fromkeys(KINDS, _ROW_BY_ROW),
    "scikit-learn-in-memory": dict.fromkeys(KINDS, _ROW_BY_ROW),
    "vowpal-wabbit": dict.fromkeys(KINDS, (0.1, 0.5)),
}


def generate(kind: str, rows: int, seed: int) -> tuple[Any, np.ndarray]:
    """Return rows of a kind with labels by a hidden logistic model of common columns."""
    columns, nonzeros = KINDS[kind]
    rng, truth = np.random.default_rng(seed), np.random.default_rng(12).standard_normal(columns)
    counts = rng.poisson(nonzeros, rows)
    # The columns of a row are drawn as words are: few are common, most are rare.
    places = (columns ** rng.random(counts.sum()) - 1).astype(np.int32)
    values = np.ones(len(places), np.float32)
    pointers = np.concatenate([[0], np.cumsum(counts)])
    matrix = scipy.sparse.csr_array((values, places, pointers), (rows, columns))
    matrix.sum_duplicates()
    if kind == "cells":
        matrix.data = np.log1p(matrix.data).astype(np.float32)
    # What is in every row, or in few, says nothing of a label.
    told = (np.arange(columns) > 20) & (np.arange(columns) < 1000)
    scores = matrix @ (truth * told) / np.sqrt(nonzeros) * 4
    return matrix, (rng.random(rows) < 1 / (1 + np.exp(-scores))).astype(np.float32)


def made(path: Path, kind: str, rows: int) -> Path:
    """Write a store in AnnData's layout, piece by piece, unless it is there."""
    if path.exists():
        return path
    print(f"making {path}", file=sys.stderr)
    partial = path.with_suffix(".partial")
    group = zarr.create_group(partial, overwrite=True)
    inner = group.create_group("X", attributes={"encoding-type": "csr_matrix"})
    kinds = {"data": "float32", "indices": "int32"}
    arrays = {
        name: inner.create_array(name, shape=(0,), chunks=(CHUNK,), dtype=dtype)
        for name, dtype in kinds.items()
    }
    pointers, targets, step = [np.zeros(1, np.int64)], [], PIECE_VALUES // KINDS[kind][1]
    for first in range(0, rows, step):
        matrix, labels = generate(kind, min(step, rows - first), first + 1)
        pointers.append(matrix.indptr[1:].astype(np.int64) + pointers[-1][-1])
        targets.append(labels)
        for name, array in arrays.items():
            array.append(getattr(matrix, name))
    inner.create_array("indptr", data=np.concatenate(pointers), chunks=(CHUNK,))
    inner.attrs["shape"] = [rows, KINDS[kind][0]]
    group.create_array("y", data=np.concatenate(targets), chunks=(CHUNK,))
    return partial.rename(path)


def run(way: str, store: Path, rate: float, memory: str) -> tuple[dict[str, Any], np.ndarray]:
    """Run one way once on a cold store; return what it took, and its parameters."""
    environment = WAYS[way]
    python = sys.executable if environment is None else str(interpreter(environment))
    drop_page_cache([store])
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-m", "peers.sparse_ways", way, str(store.resolve()), folder]
        run_checked([*command, str(rate), memory])
        found = np.load(Path(folder, "parameters.npy"))
        result: dict[str, Any] = json.loads(Path(folder, "result.json").read_text())
        return result, found


def limits_of(store: Path, rate: float, memory: str) -> str:
    """Say what bounds our time and memory on one store, cold: each part by itself."""
    drop_page_cache([store])
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "peers.sparse_ways", "limits", str(store.resolve())]
        run_checked([*command, folder, str(rate), memory])
        found = json.loads(Path(folder, "result.json").read_text())
    reading, decoding, kernel = (found[name] for name in ("reading", "decoding", "kernel"))
    cores = len(os.sched_getaffinity(0))
    least = max(kernel, (decoding + kernel) / cores)
    return (
        f"limits of ooc: reading alone {reading:.2f} s, of which {decoding:.2f} core-seconds, the "
        f"kernel alone {kernel:.2f} on one core, so that {cores} cores need {least:.2f} s or more; "
        f"its imports alone take {format_size(found['imports'])}"
    )


def loss_of(parameters: np.ndarray, held_out: tuple[Any, np.ndarray]) -> float:
    """Return the mean logistic loss of held-out rows."""
    matrix, labels = held_out
    scores = matrix @ parameters[:-1].astype(np.float64) + parameters[-1]
    return float(np.mean(np.logaddexp(0, scores) - labels * scores))


def compare(kind: str, store: Path, rows: int, given: argparse.Namespace) -> None:
    """Time every way on one store, and print the table."""
    held_out = generate(kind, min(HELD_OUT, rows), 10**9)
    lines = [("", "rate", "seconds", "least to most", "rows a second", "peak", "held-out loss")]
    ways, best, losses = given.ways.split(","), dict[str, float](), dict[str, float]()
    for way in ways:
        tried = {
            rate: loss_of(run(way, store, rate, given.memory)[1], held_out)
            for rate in RATES[way][kind]
        }
        best[way] = min(tried, key=tried.__getitem__)
        losses[way] = tried[best[way]]
    results: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for _ in range(given.rounds):
        for way in ways:
            results[way].append(run(way, store, best[way], given.memory)[0])
    for way in ways:
        seconds = [each["seconds"] for each in results[way]]
        middle, peak = statistics.median(seconds), max(each["peak_bytes"] for each in results[way])
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        shown = (f"{best[way]:g}", f"{middle:.2f}", spread, f"{rows / middle:,.0f}")
        lines.append((way, *shown, format_size(peak), f"{losses[way]:.4f}"))
    print(f"{kind}: {rows:,} rows of {KINDS[kind][0]:,} columns, {given.rounds} rounds")
    print_table(lines)
    if "ooc" in ways:
        print(limits_of(store, best["ooc"], given.memory))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="500k", help="rows of clicks; of cells a fiftieth")
    parser.add_argument("--rounds", type=int, default=3, help="how often the best rate is timed")
    parser.add_argument("--kinds", default="cells,clicks", help="which kinds of rows")
    parser.add_argument("--ways", default=",".join(WAYS), help="what is compared")
    parser.add_argument("--memory", default="512MiB", help="what ooc may use")
    parser.add_argument("--folder", type=Path, default=Path("bench-data"), help="for the stores")
    try:
        given: argparse.Namespace = parser.parse_args(arguments)
        rows, folder = parse_count(given.rows), ignored_folder(given.folder)
        for kind in given.kinds.split(","):
            count = rows if kind == "clicks" else max(1, rows // 50)
            compare(kind, made(folder / f"{kind}-{count}.zarr", kind, count), count, given)
    except (InputError, UnavailableError, OSError) as error:
        print(f"scripts/bench_sparse: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
