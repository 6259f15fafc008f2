"""Epochs with scikit-learn's `partial_fit` in a hand-written loop over slices of the store.

`SGDClassifier` steps at each row and shuffles the rows of each call, so that a call for each batch
would only cost more. Slices from 16 chunks to whole shards take the same time.
"""

import numpy as np
from peers import harness, sklearn_classifier
from peers.store import arrays_of

SLICE_CHUNKS = 16


def prepare(job: harness.Job) -> harness.Train:
    """Open the store."""
    features, targets = arrays_of(job.store)
    slice_rows = SLICE_CHUNKS * features.chunks[0]
    classifier = sklearn_classifier.make(job)
    classes = np.array([0, 1])

    def train() -> harness.Trained:
        seen = 0
        while seen < job.rows_to_use:
            start = seen % job.rows
            rows = slice(start, min(start + slice_rows, job.rows))
            classifier.partial_fit(features[rows], targets[rows], classes)
            seen = round(classifier.t_) - 1
            if job.snapshots.is_due(seen):
                job.snapshots.note(seen, sklearn_classifier.parameters(classifier))
        *coefficients, intercept = sklearn_classifier.parameters(classifier)
        return harness.Trained(coefficients, intercept, seen)

    return train


if __name__ == "__main__":
    harness.main(prepare, ["scikit-learn", "zarr", "numpy"])
