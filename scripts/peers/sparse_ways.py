"""One epoch of logistic regression on a sparse store, one way each, and what it took.

``python -m peers.sparse_ways WAY STORE FOLDER RATE [MEMORY]`` writes ``result.json`` and the
coefficients, the intercept last, to the folder. The way "limits" measures what bounds ours: reading
alone, the kernel alone, and the memory of what it imports.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

# Rows of a batch of ours: as many as leave enough steps in one epoch.
BATCH = {"clicks": 64, "cells": 4}
# Non-zeros of a slice that scikit-learn is given: larger ones take as long, and more memory.
SLICE_VALUES = 2**21


def train_ooc(store: Path, folder: Path, rate: float, memory: str) -> tuple[np.ndarray, float]:
    """Train in the compiled loop, by the same plain descent as scikit-learn, in small batches."""
    import ooc

    batch = BATCH[store.stem.split("-")[0]]
    optimizer = ooc.optim.sgd(rate)
    trainer = ooc.Trainer(ooc.models.Logistic(), optimizer, batch_size=batch, memory=memory)
    run = trainer.fit(ooc.open(store), epochs=1, report=False)
    return run.parameters, run.results["seconds"]


def measure_limits(store: Path, rate: float, memory: str) -> dict[str, float]:
    """Return the seconds of reading alone and of the kernel alone, and bytes of imports alone.

    Of reading both the time that passes and that of the processor are told. The kernel runs on one
    thread over the rows of one window, as often as the store has its rows.
    """
    import ooc
    from ooc.engines.engine import make_engine
    from ooc.models.train_state import start

    model, optimizer = ooc.models.Logistic(standardise=False), ooc.optim.sgd(rate)
    trainer = ooc.Trainer(
        model, optimizer, batch_size=BATCH[store.stem.split("-")[0]], memory=memory
    )
    imported, dataset = peak_bytes(), ooc.open(store)
    loader = trainer.loader(dataset)
    begun, used = time.perf_counter(), time.process_time()
    for _ in loader.windows(1):
        pass
    reading, decoding = time.perf_counter() - begun, time.process_time() - used
    found = list[float]()
    layout = model.layout(dataset.row_shape)
    parameters = model.init(layout, np.random.default_rng(0))
    engine = make_engine(model, loader, start([optimizer], parameters, model))
    windows = loader.windows(1)  # whose readers live as long as it does
    window = next(windows)
    time.sleep(0.5)  # until the windows behind it are there, too
    for _ in range(4):
        begun = time.thread_time()
        engine.advance(replace(window))
        found.append(time.thread_time() - begun)
    share = dataset.rows / len(window.order)
    kernel = min(found) * share
    return {"reading": reading, "decoding": decoding, "kernel": kernel, "imports": imported}


def peak_bytes() -> int:
    """Return the most memory that this process had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def train_sklearn(store: Path, folder: Path, rate: float, memory: str) -> tuple[np.ndarray, float]:
    """Call `partial_fit` in a hand-written loop over slices of the same store."""
    from scipy.sparse import csr_matrix

    classifier = sklearn_classifier(rate)
    begun = time.perf_counter()
    for rows, targets in slices(store):
        matrix = csr_matrix((rows.data, rows.indices, rows.indptr), rows.shape)
        classifier.partial_fit(matrix, targets, [0, 1])
    seconds = time.perf_counter() - begun
    return np.append(classifier.coef_[0], classifier.intercept_), seconds


def train_sklearn_in_memory(
    store: Path, folder: Path, rate: float, memory: str
) -> tuple[np.ndarray, float]:
    """Read the whole matrix, as most do, and call `partial_fit` on slices of its rows."""
    import zarr
    from scipy.sparse import csr_matrix

    classifier = sklearn_classifier(rate)
    begun = time.perf_counter()
    group: Any = zarr.open_group(store, mode="r")
    parts = [group[f"X/{part}"][:] for part in ("data", "indices", "indptr")]
    matrix, targets = csr_matrix(tuple(parts), tuple(group["X"].attrs["shape"])), group["y"][:]
    step = max(1, SLICE_VALUES * matrix.shape[0] // matrix.nnz)
    for first in range(0, matrix.shape[0], step):
        rows = slice(first, first + step)
        classifier.partial_fit(matrix[rows], targets[rows], [0, 1])
    seconds = time.perf_counter() - begun
    return np.append(classifier.coef_[0], classifier.intercept_), seconds


def sklearn_classifier(rate: float) -> Any:
    """Return logistic regression by plain descent."""
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(
        "log_loss", penalty=None, learning_rate="constant", eta0=rate, random_state=0
    )


def slices(store: Path) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield rows of a store in CSR, and their targets."""
    import zarr

    group: Any = zarr.open_group(store, mode="r")
    rows, columns = group["X"].attrs["shape"]
    pointers, first = group["X/indptr"][:], 0
    while first < rows:
        stop = int(np.searchsorted(pointers, pointers[first] + SLICE_VALUES, "right")) - 1
        stop = min(max(stop, first + 1), rows)
        span = slice(int(pointers[first]), int(pointers[stop]))
        rows_here = SimpleNamespace(
            data=group["X/data"][span],
            indices=group["X/indices"][span],
            indptr=pointers[first : stop + 1] - pointers[first],
            shape=(stop - first, columns),
        )
        yield rows_here, group["y"][first:stop]
        first = stop


def train_vowpal(store: Path, folder: Path, rate: float, memory: str) -> tuple[np.ndarray, float]:
    """Make one pass over a cache, with its own adaptive steps; the cache is made before."""
    from vowpalwabbit import Workspace

    cache = store.with_suffix(".vw-cache")
    columns = 0
    for matrix, _ in slices(store):
        columns = matrix.shape[1]
        break
    bits = int(columns).bit_length() + 1
    options = ["--quiet", "--loss_function", "logistic", "-b", str(bits), "--noconstant"]
    options += ["--cache_file", str(cache)]
    if not cache.exists():
        text = store.with_suffix(".vw")
        with text.open("w") as out:
            for matrix, targets in slices(store):
                write_text(matrix, targets, out)
        maker = Workspace(arg_list=[*options, "--noop", "--data", str(text)])
        maker.finish()
        text.unlink()
    begun = time.perf_counter()
    workspace = Workspace(arg_list=[*options, "--learning_rate", str(rate), "--passes", "1"])
    seconds = time.perf_counter() - begun
    weights = [workspace.get_weight(column) for column in range(columns)]
    workspace.finish()
    return np.array([*weights, 0.0]), seconds


def write_text(matrix: Any, targets: np.ndarray, out: Any) -> None:
    """Write rows in Vowpal Wabbit's format."""
    for row, target in enumerate(targets.tolist()):
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        pairs = zip(matrix.indices[span].tolist(), matrix.data[span].tolist(), strict=True)
        features = " ".join(f"{column}:{value:.6g}" for column, value in pairs)
        out.write(f"{1 if target else -1} | {features}\n")


WAYS = {
    "ooc": train_ooc,
    "scikit-learn": train_sklearn,
    "scikit-learn-in-memory": train_sklearn_in_memory,
    "vowpal-wabbit": train_vowpal,
}


def main() -> None:
    """Run one way, and write what it took."""
    way, store, folder, rate, *memory = sys.argv[1:]
    given = (Path(store), Path(folder), float(rate), memory[0] if memory else "512MiB")
    if way == "limits":
        limits = measure_limits(given[0], *given[2:])
        Path(folder, "result.json").write_text(json.dumps(limits))
        return
    parameters, seconds = WAYS[way](*given)
    peak = peak_bytes()
    np.save(Path(folder, "parameters.npy"), parameters)
    Path(folder, "result.json").write_text(json.dumps({"seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
