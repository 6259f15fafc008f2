"""A small dataset of two classes, and what trains on it in an instant."""

from pathlib import Path
from typing import Any

import numpy as np
from datasets import write_dataset

import ooc
from ooc.store.dataset import Dataset


def write_labelled(path: Path) -> Dataset:
    """Write 1500 rows of 5 features in chunks of 50, labelled by the sign of the first one."""
    x = np.random.default_rng(7).standard_normal((1500, 5)).astype(np.float32)
    return write_dataset(path, chunk_rows=50, X=x, y=(x[:, 0] > 0).astype(np.int64))


def trainer(**options: Any) -> ooc.Trainer:
    options = {"memory": "512MiB", **options}
    return ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.1), 64, **options)
