"""Training: from a dataset to a run, begun anew or gone on with."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ooc.core.errors import InputError
from ooc.engines.engine import batch_rows_held, engine_bytes, optional_bytes
from ooc.engines.train_state import start
from ooc.metrics import Report, silent
from ooc.models.contract import Layout, Model
from ooc.optim import FullGradient, Optimizer, optimizer_from_config
from ooc.optim.full_gradient import FEWEST_PASSES, USUAL_PASSES
from ooc.runs import checkpoint
from ooc.runs.run import Run
from ooc.runs.run_directory import cut_history, locked
from ooc.runs.scoring import check_scorable, check_targets
from ooc.store.dataset import Dataset
from ooc.store.fingerprint import fingerprint
from ooc.stream.loader import Loader
from ooc.training.preparation import decided, with_counted_classes
from ooc.training.progression import Progression
from ooc.training.session import (
    Following,
    Session,
    check_same,
    first_parameters,
    make_session,
    prepared_like,
    restored,
    versions,
    with_rates,
)
from ooc.training.watchers.callbacks import Callbacks
from ooc.training.watchers.halving import Halving
from ooc.training.watchers.saver import USUAL, Saving
from ooc.training.watchers.steering import Steering
from ooc.training.watchers.validation import Validation, extra_bytes, validation_loader

FULL = "full"
NO_CALLBACKS = Callbacks()


@dataclass(frozen=True)
class Trainer:
    """Trains a model on datasets larger than memory.

    Attributes
    ----------
    model, optimizer
        What to train, and how. An optimizer without a learning rate gets one from a short range
        test on the first window. Of `ooc.optim.FULL_GRADIENT`, "lbfgs" and "cg" learn from all
        rows at once, whatever the batch size and shuffle, and "hybrid" does so in the end.
    batch_size
        B, rows of a step: from 1 (stochastic) to "full", one exact gradient over all rows.
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
    validation
        How the run is evaluated while it goes on; not at all by default.
    saving
        When a run with a directory is saved.
    log_every
        Steps between lines of the history; by default at a window's end, a second apart.
    steering
        How batch size and temperature change while the run goes on; by default they stay. An
        epoch has other steps then than a schedule of the rate counts on.

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
    batch_size: int | str = 256
    memory: str | int = "1GiB"
    seed: int = 0
    shuffle: str = "blocks"
    readers: int | None = None
    io: str = "auto"
    on_bad_chunk: str = "raise"
    sampling: str = "once"
    lanes: int = 1
    window: int | str | None = None
    validation: Validation | None = None
    saving: Saving = USUAL
    log_every: int | None = None
    steering: Steering | None = None

    def __post_init__(self) -> None:
        if isinstance(self.batch_size, str) and self.batch_size != FULL:
            raise InputError(f'batch_size is a number of rows, or "full", not {self.batch_size!r}')
        if self.log_every is not None and self.log_every < 1:
            raise InputError(f"log_every must be at least 1, not {self.log_every}")
        if self._method is not None and self.sampling != "once":
            raise InputError(
                f"{self.optimizer.name} takes each row once a pass, not sampling={self.sampling!r}"
            )
        if self.steering is not None and self._is_full:
            raise InputError("there is no batch to steer where a step takes all rows")
        if self._method is not None and self._method.first and self.batch_size == FULL:
            raise InputError("hybrid begins on mini-batches; give it a batch_size, or take lbfgs")

    def fit(
        self,
        dataset: Dataset,
        epochs: int | None = None,
        run_dir: str | Path | None = None,
        report: Report = silent,
        stop: threading.Event | None = None,
        callbacks: Callbacks = NO_CALLBACKS,
    ) -> Run:
        """Train for a number of epochs.

        Parameters
        ----------
        dataset
            What `ooc.open` returned.
        epochs
            Passes over the dataset, by default 1. A method on the full gradient makes as many at
            most, by default 100, and ends by itself.
        run_dir
            Where the run is saved, and its history written; nowhere by default.
        report
            Called after each window.
        stop
            When it is set, the run is saved and ends after the window at hand.
        callbacks
            Functions to call at steps' and epochs' ends.

        Raises
        ------
        InputError
            If anything does not fit, before any work; or a row's data cannot be used.
        DivergedError
            If the loss or a parameter stops being finite although the data are.
        """
        runs = self._fit(
            dataset, {"": self.optimizer}, epochs, run_dir, report, stop, callbacks, None
        )
        return runs[""]

    def fit_many(
        self,
        dataset: Dataset,
        optimizers: Mapping[str, Optimizer] | Sequence[Optimizer],
        epochs: int = 1,
        run_dir: str | Path | None = None,
        report: Report = silent,
        stop: threading.Event | None = None,
        halving: Halving | None = None,
    ) -> dict[str, Run]:
        """Train the model with several optimizers at once, on one pass over the data.

        Each gets the parameters that it would have got alone, to the last bit. One whose loss
        stops being finite is left behind.

        Parameters
        ----------
        dataset, epochs, report, stop
            As for `fit`.
        optimizers
            By name, or in a row: names are then "0", "1", and so on.
        run_dir
            Where each run is saved, in a folder of its name.
        halving
            When the worst are dropped; never by default.

        Returns
        -------
        dict
            A run for each name; ``results["dropped"]`` tells why one did not go on to the end.

        Examples
        --------
        >>> import ooc
        >>> trainer = Trainer(ooc.models.Linear(), ooc.optim.sgd(), batch_size=10)
        >>> rates = {str(lr): ooc.optim.sgd(lr) for lr in (0.001, 0.1)}
        >>> runs = trainer.fit_many(ooc.open(example_dataset), rates)
        >>> min(runs, key=lambda name: runs[name].results["loss"])
        '0.1'
        """
        if not isinstance(optimizers, Mapping):
            optimizers = {str(number): optimizer for number, optimizer in enumerate(optimizers)}
        if not optimizers:
            raise InputError("there is nothing to train: give at least one optimizer")
        for name, optimizer in optimizers.items():
            if isinstance(optimizer, FullGradient):
                raise InputError(f"{optimizer.name} asks for passes of its own; train it with fit")
            if not name or Path(name).name != name:
                raise InputError(f"{name!r} cannot be the name of a folder; choose another name")
        return self._fit(dataset, optimizers, epochs, run_dir, report, stop, NO_CALLBACKS, halving)

    def resume(
        self,
        dataset: Dataset,
        run_dir: str | Path,
        report: Report = silent,
        stop: threading.Event | None = None,
        callbacks: Callbacks = NO_CALLBACKS,
    ) -> Run:
        """Go on with a run where it was saved last, to the bits that it would have had.

        Raises
        ------
        InputError
            If there is no run, or the dataset, the plan, a setting or a version is another one;
            what differs is named.
        """
        run_dir = Path(run_dir)
        arrays, saved = checkpoint.load(run_dir)
        with locked(run_dir):
            where = str(run_dir)
            check_same(where, "version", saved["versions"], versions())
            check_same(where, "setting", saved["trainer"], self.to_config())
            model = prepared_like(self.model, saved["model"])
            loader, validation = self._loaders(dataset, model, [self.optimizer])
            print_here = fingerprint(loader.dataset, loader.names, self.io)
            check_same(where, "dataset", saved["fingerprint"], print_here)
            loader.load_state_dict(saved["position"])
            losses = saved["validation"]["losses"] if saved["validation"] else ()
            descents = restored(optimizer_from_config(saved["optimizer"]), arrays, losses)
            layout, full = _layout(model, dataset), self._is_full
            session = make_session(model, layout, loader, descents, full, validation, print_here)
            cut_history(run_dir, saved["step"])
            progression = Progression(
                self._following([self.optimizer]), session, saved["epochs"], {"": run_dir}, report,
                stop, callbacks, saved=saved, best=arrays.get("best_parameters"),
            )  # fmt: skip
            return progression.go_on()[""]

    def loader(self, dataset: Dataset) -> Loader:
        """Return the loader that `fit` uses; its plan tells what the run will hold."""
        return self._loaders(dataset, self.model, [self.optimizer])[0]

    def layout(self, dataset: Dataset) -> Layout:
        """Return the model's layout for this dataset's rows."""
        return _layout(self.model, dataset)

    def to_config(self) -> dict[str, Any]:
        """Return the settings on which a run's bits depend, JSON-ready."""
        validation = None if self.validation is None else self.validation.to_config()
        return {
            "model": self.model.to_config(),
            "optimizer": self.optimizer.to_config(),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "on_bad_chunk": self.on_bad_chunk,
            "sampling": self.sampling,
            "lanes": self.lanes,
            "window": self.window,
            "validation": validation,
            "steering": None if self.steering is None else self.steering.to_config(),
        }

    @property
    def _method(self) -> FullGradient | None:
        return self.optimizer if isinstance(self.optimizer, FullGradient) else None

    @property
    def _is_full(self) -> bool:
        """Whether every step takes all rows."""
        method = self._method
        return self.batch_size == FULL or (method is not None and method.first is None)

    def _passes(self, epochs: int | None) -> int:
        """Return how many passes there are, or at most, from how many were asked for."""
        usual, least = (1, 1) if self._method is None else (USUAL_PASSES, FEWEST_PASSES)
        epochs = usual if epochs is None else epochs
        if epochs < least:
            name = "" if self._method is None else f" for {self._method.name}"
            raise InputError(f"epochs must be at least {least}{name}, not {epochs}")
        return epochs

    def _fit(
        self,
        dataset: Dataset,
        optimizers: Mapping[str, Optimizer],
        epochs: int | None,
        run_dir: str | Path | None,
        report: Report,
        stop: threading.Event | None,
        callbacks: Callbacks,
        halving: Halving | None,
    ) -> dict[str, Run]:
        epochs = self._passes(epochs)
        folders = {}
        if run_dir is not None:
            folders = {name: Path(run_dir, name) for name in optimizers}
            for folder in [Path(run_dir), *folders.values()]:
                checkpoint.check_run_dir(folder)
        loaders = self._loaders(dataset, self.model, list(optimizers.values()))
        with nullcontext() if run_dir is None else locked(Path(run_dir)):
            session = self._begin(dataset, list(optimizers.values()), epochs, loaders)
            progression = Progression(
                self._following(list(optimizers.values())), session, epochs, folders, report, stop,
                callbacks, names=list(optimizers), halving=halving,
            )  # fmt: skip
            return progression.go_on()

    def _begin(
        self,
        dataset: Dataset,
        optimizers: Sequence[Optimizer],
        epochs: int,
        loaders: tuple[Loader, Loader | None],
    ) -> Session:
        """Find in the data what is not given, and start every descent."""
        loader, validation = loaders
        model = with_counted_classes(self.model, loader.dataset)
        model = decided(model, loader)
        if model != self.model:
            loader, validation = self._loaders(dataset, model, optimizers)
        layout = _layout(model, dataset)
        parameters = first_parameters(model, layout, loader, self.memory)
        known, found = with_rates(optimizers, model, loader, parameters, epochs)
        full, descents = self._is_full, start(known, parameters)
        marks = fingerprint(loader.dataset, loader.names, self.io)
        return make_session(model, layout, loader, descents, full, validation, marks, found)

    def _following(self, optimizers: Sequence[Optimizer]) -> Following:
        return Following(
            self.validation,
            self.saving,
            self.log_every,
            self.memory,
            self.to_config(),
            self.steering,
            [optimizer.to_config() for optimizer in optimizers],
        )

    def _loaders(
        self, dataset: Dataset, model: Model, optimizers: Sequence[Optimizer]
    ) -> tuple[Loader, Loader | None]:
        """Return the loader of the rows to train on, and of those to evaluate on."""
        if model.needs_target and dataset.target is None:
            raise InputError(
                f"{dataset.path} has no array 'y', and the model needs targets; "
                "name the array that holds them with target="
            )
        check_targets(model, dataset)
        layout, validation, beside = _layout(model, dataset), None, 0
        if self.validation is not None:
            dataset, held_out = self.validation.sides(dataset, self.seed)
            check_targets(model, held_out)
            check_scorable(model, held_out, dataset.row_shape)
            validation = validation_loader(model, layout, held_out, self.memory)
            beside = extra_bytes(validation) + 4 * layout.size * len(optimizers)
        full = self._is_full
        rows = dataset.rows if full or isinstance(self.batch_size, str) else self.batch_size
        target = dataset.target if model.needs_target else None
        names = [name for name in (dataset.features, target, dataset.weight) if name is not None]
        row_bytes = sum(spec.row_bytes for spec in dataset.specs(tuple(names)))
        most = rows if self.steering is None else self.steering.largest_batch(rows)
        if most > dataset.rows:
            raise InputError(
                f"a batch of {most} rows is larger than the dataset of {dataset.rows} rows; "
                f"lower the batch size to {dataset.rows} or less"
            )
        used = engine_bytes(model, layout, optimizers, most, full)
        held = batch_rows_held(model, most, full or self._method is not None)
        loader = Loader(
            dataset,
            rows,
            self.memory,
            self.seed,
            self.shuffle if self._method is None or self._method.first else "none",
            names,
            readers=self.readers,
            io=self.io,
            on_bad_chunk=self.on_bad_chunk,
            model_bytes=used + beside + held * row_bytes,
            batch_copies=0,
            optional_bytes=optional_bytes(model, layout, most, len(optimizers), full),
            sampling=self.sampling,
            lanes=self.lanes,
            window=self.window,
            most_batch_rows=most,
        )
        return loader, validation


def _layout(model: Model, dataset: Dataset) -> Layout:
    return model.layout(dataset.row_shape)
