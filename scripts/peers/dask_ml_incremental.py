"""Epochs with dask-ml's `Incremental` around scikit-learn's `SGDClassifier`.

With ``blocks=stored`` the Dask arrays are what `dask.array.from_zarr` returns: a block for each
chunk of the store. With ``blocks=large`` it is told to make a block of 64 chunks.
"""

from typing import Any

import dask.array
import numpy as np
from dask_ml.wrappers import Incremental
from peers import harness, sklearn_classifier
from peers.store import arrays_of
from sklearn.linear_model import SGDClassifier

LARGE_BLOCK_CHUNKS = 64


def noting(kind: type[SGDClassifier], snapshots: harness.Snapshots) -> type[SGDClassifier]:
    """Return a kind of classifier that notes itself after a block; copies note in one place."""

    class Noting(kind):
        def partial_fit(self, *args: Any, **kwargs: Any) -> SGDClassifier:
            super().partial_fit(*args, **kwargs)
            rows = round(self.t_) - 1
            if snapshots.is_due(rows):
                snapshots.note(rows, sklearn_classifier.parameters(self))
            return self

    return Noting


def prepare(job: harness.Job) -> harness.Train:
    """Open the store as Dask arrays."""
    stored, marks = arrays_of(job.store)
    chunks = LARGE_BLOCK_CHUNKS if job.settings["blocks"] == "large" else 1
    block_rows = chunks * stored.chunks[0]
    features = dask.array.from_zarr(stored, chunks=(block_rows, job.features))
    targets = dask.array.from_zarr(marks, chunks=(block_rows,))
    # A whole number of blocks, so that the rows that are used are those that were asked for.
    last = min(-(-job.rows_to_use // block_rows) * block_rows, job.rows)
    features, targets = features[:last], targets[:last]
    classifier = sklearn_classifier.make(job)
    if job.snapshots.wanted:
        classifier = noting(type(classifier), job.snapshots)(**classifier.get_params())
    incremental = Incremental(classifier, random_state=0)

    def train() -> harness.Trained:
        seen = 0
        while seen < job.rows_to_use:
            incremental.partial_fit(features, targets, classes=np.array([0, 1]))
            seen = round(incremental.estimator_.t_) - 1
        *coefficients, intercept = sklearn_classifier.parameters(incremental.estimator_)
        return harness.Trained(coefficients, intercept, seen)

    return train


if __name__ == "__main__":
    harness.main(prepare, ["dask-ml", "dask", "scikit-learn", "zarr", "numpy"])
