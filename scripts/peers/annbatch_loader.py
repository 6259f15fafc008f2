"""One epoch with annbatch's `Loader` and the compiled step of `ooc`.

As annbatch's documentation advises: the zarrs pipeline, direct I/O, slices of the chunks' own
size (half a megabyte), 32 of them preloaded at a time and shuffled together. The loader hands out
each preload as one shuffled array, which one compiled call works off in batches; batches cut by
the loader itself take as long.
"""

import harness
import numpy as np
import zarr
from annbatch import Loader

import ooc
from ooc.engines.engine import Engine, make_engine
from ooc.engines.train_state import start
from ooc.stream.reader import Window

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
    _epoch(_loader(few, 1024), few[:, 0].astype(np.int64), _engine(job))
    group = zarr.open_group(job.store, mode="r")
    loader, engine = _loader(group["X"], group["X"].chunks[0]), _engine(job)

    def train() -> harness.Trained:
        _epoch(loader, group["y"][:], engine)
        *coefficients, intercept = engine.descents.parameters[0].tolist()
        return harness.Trained(coefficients, intercept, engine.rows)

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


def _engine(job: harness.Job) -> Engine:
    """Return what takes the steps of `ooc.Trainer`, at its first step."""
    model, optimizer = ooc.models.Logistic(), ooc.optim.sgd(job.learning_rate)
    trainer = ooc.Trainer(model, optimizer, job.batch_size)
    dataset = ooc.open(job.store)
    descents = start((optimizer,), np.zeros(trainer.layout(dataset).size, np.float32))
    return make_engine(model, trainer.loader(dataset), descents)


def _epoch(loader: Loader, targets: np.ndarray, engine: Engine) -> None:
    targets = targets.astype(np.float32)
    first_row = np.zeros(1, np.int64)
    for number, preload in enumerate(loader):
        features = preload["X"]
        rows = len(features)
        window = Window(
            arrays={"X": features, "y": targets[preload["index"]]},
            roles=("X", "y", None),
            order=np.arange(rows, dtype=np.int32),
            start=0,
            block_starts=first_row,
            block_rows=rows,
            epoch=0,
            index=number,
            last=number == len(loader) - 1,
        )
        engine.advance(window)


if __name__ == "__main__":
    harness.main(prepare, ["annbatch", "zarrs", "zarr", "anndata", "numba", "numpy"])
