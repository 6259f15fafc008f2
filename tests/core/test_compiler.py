"""Kernels are compiled once for a machine, not once for a process, and apart from each other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from ooc.core.compiler import array_at, lean_kernel, like, part
from ooc.kernels.losses import LOSSES
from ooc.kernels.share import PAIR, call_pair
from ooc.store.dataset import Dataset

CODE = """
import json, sys
import numpy as np, ooc
from ooc.core import compiler
from ooc.kernels.window_loop import run_window
dataset = ooc.open(sys.argv[1])
models = {"logistic": ooc.models.Logistic(), "linear": ooc.models.Linear(),
          "softmax": ooc.models.Softmax(classes=2), "svm": ooc.models.LinearSVM(),
          "huber": ooc.models.Linear(loss="huber"),
          "balanced": ooc.models.Logistic(standardise=True, class_weights="balanced"),
          "mlp": ooc.models.MLP()}
optimizers = {"sgd": ooc.optim.sgd(1e-9), "momentum": ooc.optim.momentum(1e-9),
              "adam": ooc.optim.adam(0.1, l1=0.1),
              "averaged": ooc.optim.averaged(1e-9, schedule=ooc.schedules.cosine())}
for pair in sys.argv[2:]:
    model, optimizer = pair.split("-")
    ooc.Trainer(models[model], optimizers[optimizer], 10, memory="512MiB").fit(dataset)
stats = run_window.stats
new = sorted(name.__name__ for (name, _), made in compiler._PARTS.items() if not made.cache_hits)
print(json.dumps([sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), new]))
"""


def hits_misses_and_new_parts(dataset: str, cache: Path, *pairs: str) -> tuple[int, int, list[str]]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, dataset, *pairs],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    hits, misses, new = json.loads(done.stdout.splitlines()[-1])
    return hits, misses, new


@pytest.mark.slow
def test_another_loss_or_optimizer_compiles_only_itself_and_only_once(
    dataset: Dataset, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    hits, misses, first = hits_misses_and_new_parts(dataset.path, cache, "logistic-sgd")
    assert (hits, misses) == (0, 1)
    assert {"accumulate", "logistic", "pointwise", "update_sgd", "run_share"} <= set(first)
    others = ("linear-momentum", "softmax-adam", "svm-sgd", "huber-averaged", "balanced-adam")
    hits, misses, more = hits_misses_and_new_parts(dataset.path, cache, "logistic-sgd", *others)
    assert (hits, misses) == (1, 0)
    assert set(more) <= {
        "squared", "update_momentum", "softmax", "update_adam", "hinge", "huber",
        "update_averaged", "cosine_rule",
    }  # fmt: skip
    hits, misses, network = hits_misses_and_new_parts(dataset.path, cache, "mlp-sgd")
    assert (hits, misses) == (1, 0)
    assert set(network) <= {"accumulate", "run_shares_in_parallel", "run_pieces_in_parallel"}
    every = ("logistic-sgd", *others, "mlp-sgd")
    assert hits_misses_and_new_parts(dataset.path, cache, *every) == (1, 0, [])


@lean_kernel
def call(address: int, prediction: float, target: float, constant: float) -> tuple[float, float]:
    return call_pair(address, (prediction, target, constant))


def test_parts_are_called_by_their_address() -> None:
    """One function calls any of them, and is compiled once."""
    for name, loss in LOSSES.items():
        if loss.pair is None:
            continue
        for prediction, target in ((0.3, 1.0), (-2.0, 0.0)):
            found = call(loss.pair_address(), prediction, target, 0.5)
            assert found == loss.pair(prediction, target, 0.5), name
    assert len(call.signatures) == 1  # type: ignore[attr-defined]
    assert call(LOSSES["squared"].pair_address(), 3, np.float32(1), 0) == (2.0, 2.0)


def test_a_part_is_compiled_once() -> None:
    one = part(LOSSES["squared"].pair, PAIR)
    assert part(LOSSES["squared"].pair, PAIR) is one


@lean_kernel
def write(address: int, rows: int, columns: int) -> None:
    array = array_at(address, (rows, columns), np.float32(0))
    for i in range(rows):
        for j in range(columns):
            array[i, j] += 10 * i + j


def test_an_array_lies_where_its_address_says() -> None:
    memory = np.zeros((5, 3), np.float32)
    write(memory[1:].ctypes.data, 3, 3)
    expected = np.zeros((5, 3))
    expected[1:4] = 10 * np.arange(3)[:, None] + np.arange(3)
    assert np.array_equal(memory, expected)


@numba.njit
def half_of(x: float) -> float:
    return like(0.5, x) * x


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_number_in_the_type_of_another_one(kind: type) -> None:
    assert type(like(0.5, kind(3))) is kind
    assert half_of(kind(3)) == 1.5
    wanted = {np.float32: numba.float32, np.float64: numba.float64}[kind]
    assert half_of.overloads[(wanted,)].signature.return_type == wanted
