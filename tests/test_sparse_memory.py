"""Promise: peak resident memory <= projected <= budget, for sparse rows in real processes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from ooc.stream.plan import MIB, RESERVED_BYTES

BUDGET_MIB = RESERVED_BYTES // MIB + 96
# Of the matrix, decoded: twice the budget.
ROWS, EACH, COLUMNS = 400_000, 190, 50_000


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A matrix of counts in CSR, written a piece at a time."""
    path, rng = tmp_path_factory.mktemp("counts") / "counts.zarr", np.random.default_rng(0)
    group = zarr.create_group(path)
    inner = group.create_group("X", attributes={"shape": [ROWS, COLUMNS]})
    arrays = {
        name: inner.create_array(name, shape=(ROWS * EACH,), chunks=(2**16,), dtype=dtype)
        for name, dtype in {"data": "float32", "indices": "int32"}.items()
    }
    piece = ROWS // 20
    for first in range(0, ROWS, piece):
        span = slice(first * EACH, (first + piece) * EACH)
        starts = rng.integers(0, COLUMNS - 3 * EACH, (piece, 1))
        arrays["indices"][span] = (starts + 3 * np.arange(EACH)).astype(np.int32).reshape(-1)
        arrays["data"][span] = rng.integers(1, 9, piece * EACH).astype(np.float32)
    inner.create_array("indptr", data=np.arange(ROWS + 1) * EACH, chunks=(2**16,))
    group.create_array("y", data=rng.integers(0, 2, ROWS).astype(np.float32), chunks=(2**14,))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("transform", [None, "log-normalise", "hash:16"])
@pytest.mark.parametrize("optimizer", ["adagrad", "sgd"])
def test_training_on_sparse_rows_stays_inside_its_budget(
    counts: Path, tmp_path: Path, transform: str | None, optimizer: str
) -> None:
    options = ["--memory", f"{BUDGET_MIB}MiB", "--batch-size", "32", "--lr", "0.001", "--json"]
    options += ["--model", "logistic", "--optimizer", optimizer, "--epochs", "1"]
    options += ["--run", str(tmp_path / "run")]
    options += [] if transform is None else ["--transform", transform]
    command = [sys.executable, "-m", "ooc", "train", str(counts), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["memory_peak_bytes"] <= result["memory_projected_bytes"]
    assert result["memory_projected_bytes"] <= result["memory_budget_bytes"] == BUDGET_MIB * MIB
    assert 1.9 * result["memory_budget_bytes"] < ROWS * EACH * 8
