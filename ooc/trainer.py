"""The fit loop."""

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ooc import checkpoint
from ooc.dataset import Dataset
from ooc.engines import batch_copies, engine_bytes, make_engine, optional_bytes
from ooc.errors import InputError
from ooc.loader import Loader
from ooc.metrics import Report, silent
from ooc.models.base import Layout, Model
from ooc.optim import Optimizer
from ooc.recorder import Recorder
from ooc.rng import Purpose, generator
from ooc.run import Run


@dataclass(frozen=True)
class Trainer:
    """Trains a model on datasets larger than memory.

    Attributes
    ----------
    model, optimizer
        What to train, and how.
    batch_size
        B, rows of a step.
    memory
        Bytes that the whole process may use, such as "1GiB".
    seed
        Seed of the order of rows and of the first parameters.
    shuffle
        "blocks" or "none".
    readers
        Threads that read; the result does not depend on them.
    io, on_bad_chunk
        How files are read, and what a chunk that cannot be read means, see `ooc.Loader`.
    sampling, lanes, window
        Which rows an epoch uses, and how blocks are shared and put together, see `ooc.Loader`.
        A model learns from drawn rows as they come: importance weights are for estimates.

    Examples
    --------
    >>> import ooc
    >>> trainer = Trainer(ooc.models.Linear(), ooc.optim.sgd(0.1), batch_size=10, memory="512MiB")
    >>> run = trainer.fit(ooc.open(example_dataset), epochs=5)
    >>> run.results["steps"], run.results["loss"] < 0.01
    (500, True)
    """

    model: Model
    optimizer: Optimizer
    batch_size: int = 256
    memory: str | int = "1GiB"
    seed: int = 0
    shuffle: str = "blocks"
    readers: int | None = None
    io: str = "auto"
    on_bad_chunk: str = "raise"
    sampling: str = "once"
    lanes: int = 1
    window: int | str | None = None

    def fit(
        self,
        dataset: Dataset,
        epochs: int = 1,
        run_dir: str | Path | None = None,
        report: Report = silent,
        stop: threading.Event | None = None,
    ) -> Run:
        """Train for a number of epochs.

        Parameters
        ----------
        dataset
            What `ooc.open` returned.
        epochs
            Passes over the dataset.
        run_dir
            Where the run is saved at each epoch's end; nowhere by default.
        report
            Called after each window.
        stop
            When it is set, the run is saved and ends after the window at hand.

        Raises
        ------
        InputError
            If anything does not fit, before any work; or a row's data cannot be used.
        DivergedError
            If the loss stops being finite although the data are.
        """
        if epochs < 1:
            raise InputError(f"epochs must be at least 1, not {epochs}")
        loader, layout = self.loader(dataset), self.layout(dataset)
        if run_dir is not None:
            checkpoint.check_run_dir(Path(run_dir))
        parameters = self.model.init(layout, generator(self.seed, Purpose.PARAMETERS))
        state = self.optimizer.init(layout.size)
        engine = make_engine(self.model, self.optimizer, loader, parameters, state)
        recorder = Recorder(engine, loader, epochs, report)

        for window in loader.windows(epochs):
            recorder.begin_window(window)
            engine.advance(window)
            loader.advance(engine.step - loader.step, window.last)
            recorder.end_window(window)
            stopping = stop is not None and stop.is_set()
            if run_dir is not None and (window.last or stopping):
                self._run(recorder, layout, parameters, dataset).save(
                    run_dir, state, self._notes(dataset, loader, epochs)
                )
            if stopping:
                break
        return self._run(recorder, layout, parameters, dataset)

    def loader(self, dataset: Dataset) -> Loader:
        """Return the loader that `fit` uses; its plan tells what the run will hold."""
        if self.model.needs_target and dataset.target is None:
            raise InputError(
                f"{dataset.path} has no array 'y', and the model needs targets; "
                "name the array that holds them with target="
            )
        if self.model.needs_target:
            self.model.check_target(dataset.arrays[str(dataset.target)].shape[1:])
        target = dataset.target if self.model.needs_target else None
        return Loader(
            dataset,
            self.batch_size,
            self.memory,
            self.seed,
            self.shuffle,
            [name for name in (dataset.features, target, dataset.weight) if name is not None],
            readers=self.readers,
            io=self.io,
            on_bad_chunk=self.on_bad_chunk,
            model_bytes=engine_bytes(
                self.model, self.layout(dataset), self.optimizer, self.batch_size
            ),
            batch_copies=batch_copies(self.model),
            optional_bytes=optional_bytes(self.model, self.layout(dataset), self.batch_size),
            sampling=self.sampling,
            lanes=self.lanes,
            window=self.window,
        )

    def layout(self, dataset: Dataset) -> Layout:
        """Return the model's layout for this dataset's rows."""
        return self.model.layout(dataset.arrays[dataset.features].shape[1:])

    def _run(
        self, recorder: Recorder, layout: Layout, parameters: np.ndarray, dataset: Dataset
    ) -> Run:
        shape = dataset.arrays[dataset.features].shape[1:]
        return Run(self.model, layout, parameters, shape, recorder.history, recorder.results())

    def _notes(self, dataset: Dataset, loader: Loader, epochs: int) -> dict[str, object]:
        return {
            "optimizer": self.optimizer.to_config(),
            "dataset": {
                "path": dataset.path,
                "features": dataset.features,
                "target": dataset.target,
                "weight": dataset.weight,
            },
            "epochs": epochs,
            "plan": loader.plan.to_json(),
            "position": loader.state_dict(),
        }
