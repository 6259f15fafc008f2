"""Runs with random parameters, of any model: what is written of them needs no training."""

from typing import Any

import numpy as np

from ooc.models.standardise import FEATURES, TARGETS
from ooc.runs.run import Run


def trained(model: Any, row_shape: tuple[int, ...] = (6,), seed: int = 0) -> Run:
    """Return a run with random parameters; features and targets lie far from 0."""
    rng, layout = np.random.default_rng(seed), model.layout(row_shape)
    parameters = rng.standard_normal(layout.size).astype(model.dtype)
    part = layout.views(parameters)
    for mean, rest, deviation in (FEATURES, TARGETS):
        if mean in part:
            part[mean][:] = 1000.0 + 10 * rng.standard_normal(part[mean].shape)
            part[rest][:] = 1e-5
            part[deviation][:] = rng.uniform(2, 5, part[deviation].shape)
    return Run(model, layout, parameters, row_shape)


def rows_of(run: Run, dtype: Any = np.float32, count: int = 50) -> np.ndarray:
    drawn = np.random.default_rng(1).standard_normal((count, *run.row_shape))
    return (1000 + 5 * drawn if run.model.standardise else drawn).astype(dtype)
