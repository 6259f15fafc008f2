"""Kernels are compiled once for a machine, not once for a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ooc.store.dataset import Dataset

CODE = """
import json, sys
import numpy as np, ooc
from ooc.kernels import linear_window
dataset = ooc.open(sys.argv[1])
models = {"logistic": ooc.models.Logistic(), "linear": ooc.models.Linear(),
          "softmax": ooc.models.Softmax(classes=2), "svm": ooc.models.LinearSVM(),
          "huber": ooc.models.Linear(loss="huber"),
          "balanced": ooc.models.Logistic(standardise=True, class_weights="balanced")}
optimizers = {"sgd": ooc.optim.sgd(1e-9), "momentum": ooc.optim.momentum(1e-9),
              "adam": ooc.optim.adam(0.1, l1=0.1),
              "averaged": ooc.optim.averaged(1e-9, schedule=ooc.schedules.cosine())}
for pair in sys.argv[2:]:
    model, optimizer = pair.split("-")
    ooc.Trainer(models[model], optimizers[optimizer], 10, memory="512MiB").fit(dataset)
stats = linear_window.train_window.stats
print(json.dumps([sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))
"""


def hits_and_misses(dataset: str, cache: Path, *pairs: str) -> tuple[int, int]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, dataset, *pairs],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return tuple(json.loads(done.stdout))


@pytest.mark.slow
def test_another_loss_or_optimizer_compiles_nothing_in_any_process(
    dataset: Dataset, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    assert hits_and_misses(dataset.path, cache, "logistic-sgd") == (0, 1)
    every = (
        "logistic-sgd",
        "linear-momentum",
        "softmax-adam",
        "svm-sgd",
        "huber-averaged",
        "balanced-adam",
    )
    assert hits_and_misses(dataset.path, cache, *every) == (1, 0)
