"""One epoch with `ooc.Trainer`."""

import tempfile
from pathlib import Path

import harness

import ooc
from ooc.synthetic import Recipe, make


def prepare(job: harness.Job) -> harness.Train:
    """Compile the kernels with a tiny run, then open the store."""
    trainer = ooc.Trainer(
        ooc.models.Logistic(),
        ooc.optim.sgd(job.learning_rate),
        batch_size=job.batch_size,
        memory=job.settings["memory"],
    )
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder, "tiny.zarr")
        make(tiny, Recipe("logistic", 4 * job.batch_size, job.features))
        trainer.fit(ooc.open(tiny))
    dataset = ooc.open(job.store)

    def train() -> harness.Trained:
        run = trainer.fit(dataset)
        views = run.layout.views(run.parameters)
        rows = int(run.results["rows"])
        return harness.Trained(
            views["coefficients"][0].tolist(), float(views["intercept"][0]), rows
        )

    return train


if __name__ == "__main__":
    harness.main(prepare, ["ooc", "zarr", "numcodecs", "numba", "numpy"])
