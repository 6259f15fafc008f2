"""Kernels are compiled once for a machine, not once for a process, and apart from each other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import ooc
from ooc.core.compiler import array_at, lean_kernel, like, part
from ooc.kernels.losses import LOSSES
from ooc.kernels.share import PAIR, call_pair
from ooc.store.dataset import Dataset

CODE = """
import json, sys
import numpy as np, ooc
from ooc.core import compile_child
compiled, aside = [], compile_child._compile_aside
def watched(missing, report):
    compiled.extend(each.name.split()[0].split(".")[-1] for each in missing)
    aside(missing, report)
compile_child._compile_aside = watched
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
print(json.dumps(compiled))
"""


def compiled(dataset: str, cache: Path, *pairs: str) -> set[str]:
    """Return the kernels that a process with this cache has had compiled."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, dataset, *pairs],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_only_one_loop_goes_to_threads() -> None:
    """Numba may give two of them one name, where two processes compile them."""
    sources = [path.read_text() for path in Path(ooc.__file__).parent.rglob("*.py")]
    assert sum(source.count("in prange(") for source in sources) == 1


@pytest.mark.slow
def test_another_loss_or_optimizer_compiles_only_itself_and_only_once(
    dataset: Dataset, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first = compiled(dataset.path, cache, "logistic-sgd")
    assert {"accumulate", "logistic", "pointwise", "update_sgd", "run_share", "run_window"} <= first
    others = ("linear-momentum", "softmax-adam", "svm-sgd", "huber-averaged", "balanced-adam")
    assert compiled(dataset.path, cache, "logistic-sgd", *others) <= {
        "squared", "update_momentum", "softmax", "update_adam", "hinge", "huber",
        "update_averaged", "cosine_rule",
    }  # fmt: skip
    assert compiled(dataset.path, cache, "mlp-sgd") <= {
        "accumulate", "run_jobs_in_parallel",
    }  # fmt: skip
    assert compiled(dataset.path, cache, "logistic-sgd", *others, "mlp-sgd") == set()


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
