"""One epoch with dask-ml's `Incremental` around scikit-learn's `SGDClassifier`.

With ``blocks=stored`` the Dask arrays are what `dask.array.from_zarr` returns: a block for each
chunk of the store. With ``blocks=large`` it is told to make a block of 64 chunks.
"""

import dask.array
import harness
import zarr
from dask_ml.wrappers import Incremental
from sklearn.linear_model import SGDClassifier

LARGE_BLOCK_CHUNKS = 64


def prepare(job: harness.Job) -> harness.Train:
    """Open the store as Dask arrays."""
    group = zarr.open_group(job.store, mode="r")
    chunks = LARGE_BLOCK_CHUNKS if job.settings["blocks"] == "large" else 1
    block_rows = chunks * group["X"].chunks[0]
    features = dask.array.from_zarr(group["X"], chunks=(block_rows, job.features))
    targets = dask.array.from_zarr(group["y"], chunks=(block_rows,))
    classifier = SGDClassifier(
        loss="log_loss",
        penalty=None,
        learning_rate="constant",
        eta0=job.learning_rate / job.batch_size,
        random_state=0,
    )
    incremental = Incremental(classifier, random_state=0)

    def train() -> harness.Trained:
        incremental.fit(features, targets, classes=[0, 1])
        final = incremental.estimator_
        return harness.Trained(final.coef_[0], final.intercept_[0], round(final.t_) - 1)

    return train


if __name__ == "__main__":
    harness.main(prepare, ["dask-ml", "dask", "scikit-learn", "zarr", "numpy"])
