"""One epoch with annbatch's `Loader` and the compiled step of `ooc`.

As annbatch's documentation advises: the zarrs pipeline, direct I/O, slices of the chunks' own
size (half a megabyte), 32 of them preloaded at a time and shuffled together. The loader hands out
each preload as one shuffled array, which one compiled call works off in batches; batches cut by
the loader itself take as long.
"""

import numpy as np
import zarr
from annbatch import Loader
from in_memory import Steps
from peers import harness
from peers.store import arrays_of

import ooc

PRELOADED_CHUNKS = 32


def prepare(job: harness.Job) -> harness.Train:
    """Compile the kernels on a few rows in memory, then open the store."""
    zarr.config.set(
        {
            "codec_pipeline.path": "zarrs.ZarrsCodecPipeline",
            "codec_pipeline.direct_io": True,
            "codec_pipeline.strict": True,
        }
    )
    few = np.zeros((4 * job.batch_size, job.features), np.float32)
    _epoch(_loader(few, 1024), few[:, 0].astype(np.int64), _steps(job))
    features, targets = arrays_of(job.store)
    loader, steps = _loader(features, features.chunks[0]), _steps(job)

    def train() -> harness.Trained:
        _epoch(loader, np.asarray(targets[:]), steps)
        *coefficients, intercept = steps.parameters.tolist()
        return harness.Trained(coefficients, intercept, steps.rows)

    return train


def _loader(features: zarr.Array | np.ndarray, chunk_rows: int) -> Loader:
    """Return a loader whose batches are whole preloads."""
    loader = Loader(
        batch_size=PRELOADED_CHUNKS * chunk_rows,
        chunk_size=chunk_rows,
        preload_nchunks=PRELOADED_CHUNKS,
        shuffle=True,
        return_index=True,
        preload_to_gpu=False,
        rng=np.random.default_rng(0),
    )
    return loader.add_dataset(features)


def _steps(job: harness.Job) -> Steps:
    """Return what takes the steps of `ooc.Trainer`, at its first step."""
    model, optimizer = ooc.models.Logistic(), ooc.optim.sgd(job.learning_rate)
    trainer, dataset = ooc.Trainer(model, optimizer, job.batch_size), ooc.open(job.store)
    return Steps(trainer, dataset, np.zeros(trainer.layout(dataset).size, np.float32))


def _epoch(loader: Loader, targets: np.ndarray, steps: Steps) -> None:
    for number, preload in enumerate(loader):
        last = number == len(loader) - 1
        steps.take(preload["X"], targets[preload["index"]], last)


if __name__ == "__main__":
    harness.main(prepare, ["annbatch", "zarrs", "zarr", "anndata", "numba", "numpy"])
