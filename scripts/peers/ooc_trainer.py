"""Epochs with `ooc.Trainer`.

The settings ``optimizer``, ``rate``, ``start`` and ``cosine`` (steps) choose how it descends, by
default by SGD at the benchmark's rate; with ``rate=found`` a range test finds it, in the run's
time. ``window`` is the trainer's, in blocks. ``run`` is a folder to save the run in, every
``every`` seconds.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from peers import harness

import ooc
from ooc.synthetic.kinds import Recipe, make
from ooc.training.watchers.callbacks import Situation
from ooc.training.watchers.saver import Saving

STEPS_BETWEEN_LOOKS = 16


def optimizer_of(job: harness.Job) -> ooc.optim.Optimizer:
    """Return the optimizer that the settings ask for."""
    settings = job.settings
    common: dict[str, Any] = {}
    rate = settings.get("rate", job.learning_rate)
    if "cosine" in settings:
        common["schedule"] = ooc.schedules.cosine(int(settings["cosine"]))
    if "start" in settings:
        common["start"] = int(settings["start"])
    make_optimizer = ooc.optim.OPTIMIZERS[settings.get("optimizer", "sgd")]
    return make_optimizer(None if rate == "found" else float(rate), **common)


def prepare(job: harness.Job) -> harness.Train:
    """Compile the kernels with a tiny run, then open the store."""
    settings = job.settings
    saving = Saving(every_seconds=float(settings.get("every", Saving().every_seconds)))
    trainer = ooc.Trainer(
        ooc.models.Logistic(),
        optimizer_of(job),
        batch_size=job.batch_size,
        memory=settings["memory"],
        saving=saving,
        window=int(settings["window"]) if "window" in settings else None,
    )

    def look(now: Situation) -> bool:
        rows = min(now.step * job.batch_size, job.rows_to_use)
        if job.snapshots.is_due(rows):
            job.snapshots.note(rows, now.solution)
        return rows >= job.rows_to_use

    callbacks = ooc.Callbacks()
    if job.snapshots.wanted:
        callbacks = ooc.Callbacks(step_end=look, every=STEPS_BETWEEN_LOOKS)
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder, "tiny.zarr")
        make(tiny, Recipe("logistic", 64 * job.batch_size, job.features))
        trainer.fit(ooc.open(tiny), report=False)
    dataset = ooc.open(job.store)
    epochs = -(-job.rows_to_use // job.rows)

    def train() -> harness.Trained:
        run = trainer.fit(dataset, epochs, settings.get("run"), False, callbacks=callbacks)
        *coefficients, intercept = np.asarray(run.parameters, np.float64).tolist()
        saved = float(run.results.get("save_seconds", 0.0))
        return harness.Trained(coefficients, intercept, int(run.results["rows"]), saved)

    return train


if __name__ == "__main__":
    harness.main(prepare, ["ooc", "zarr", "numcodecs", "numba", "numpy"])
