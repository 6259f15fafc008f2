"""One epoch with scikit-learn's `partial_fit` in a hand-written loop over slices of the store.

`SGDClassifier` steps at each row and shuffles the rows of each call, so that a call for each batch
would only cost more. Slices from 16 chunks to whole shards take the same time.
"""

import harness
import numpy as np
import zarr
from sklearn.linear_model import SGDClassifier

SLICE_CHUNKS = 16


def prepare(job: harness.Job) -> harness.Train:
    """Open the store."""
    group = zarr.open_group(job.store, mode="r")
    features, targets = group["X"], group["y"]
    slice_rows = SLICE_CHUNKS * features.chunks[0]
    classifier = SGDClassifier(
        loss="log_loss",
        penalty=None,
        learning_rate="constant",
        eta0=job.learning_rate / job.batch_size,
        random_state=0,
    )
    classes = np.array([0, 1])

    def train() -> harness.Trained:
        for start in range(0, job.rows, slice_rows):
            rows = slice(start, start + slice_rows)
            classifier.partial_fit(features[rows], targets[rows], classes)
        seen = round(classifier.t_) - 1
        return harness.Trained(classifier.coef_[0], classifier.intercept_[0], seen)

    return train


if __name__ == "__main__":
    harness.main(prepare, ["scikit-learn", "zarr", "numpy"])
