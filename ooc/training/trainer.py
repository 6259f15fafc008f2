"""Training: from a dataset to a run, begun anew or gone on with."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ooc.core.audience import reporting
from ooc.core.destination import local_path
from ooc.core.errors import InputError
from ooc.core.numbers import check_counts
from ooc.core.progress import Report, tell
from ooc.core.stopping import interruptible
from ooc.engines.synchronisation import EVERY_STEP, Synchronisation
from ooc.models.contract import Layout, Model
from ooc.models.declarations import prepare
from ooc.models.step_kernels import with_lazy_penalties
from ooc.models.train_state import start
from ooc.optim import Method, Optimizer, as_method, method_from_config
from ooc.runs import checkpoint
from ooc.runs.classes import with_classes
from ooc.runs.loading import load
from ooc.runs.run import Run
from ooc.runs.run_directory import cut_history, locked, new_runs
from ooc.store.dataset import Dataset
from ooc.store.feature_names import feature_names_of
from ooc.store.fingerprint import check_same_data, fingerprint
from ooc.stream.loader import Loader
from ooc.stream.options import StreamOptions, make_stream
from ooc.stream.plan import held_bytes
from ooc.stream.scheduler import reading_here
from ooc.training.budget import Needs, check_fits
from ooc.training.engine_choice import check_lanes_served, engine_on
from ooc.training.fit_loop import fit_session
from ooc.training.marks import warn_of_marks
from ooc.training.preparation import compile_missing, loaders_of, tell_left_out
from ooc.training.run_state import as_saved, restore_watchers
from ooc.training.session import (
    Session,
    Track,
    first_parameters,
    load_train_state,
    tracks_of,
    with_rates,
)
from ooc.training.statistics import RowStatistics
from ooc.training.unseen_labels import warn_of_unseen_labels
from ooc.training.watchers.callbacks import NO_CALLBACKS, Callbacks
from ooc.training.watchers.halving import Halving
from ooc.training.watchers.roster import Roster
from ooc.training.watchers.saver import USUAL, Saving
from ooc.training.watchers.steering import AUTO, Steering
from ooc.training.watchers.trackers import Tracker
from ooc.training.watchers.validation import Validation

FULL = "full"


@dataclass(frozen=True, init=False)
class Trainer:
    """Trains a model on datasets larger than memory.

    Attributes
    ----------
    model
        What to train.
    optimizer
        How: an optimizer takes steps on mini-batches; one without a learning rate gets one from a
        short range test on the first window. Of the methods in `ooc.optim.FULL_GRADIENT`, "lbfgs"
        and "cg" learn from all rows at once, whatever the batch size and shuffle, and "hybrid"
        does so in the end.
    batch_size
        B, rows of a step: from 1 (stochastic) to "full", one exact gradient over all rows.
    validation
        How the run is evaluated while it goes on; not at all by default.
    saving
        When a run with a directory is saved.
    log_every
        Steps between lines of the history; by default at a window's end, a second apart, and
        after each fiftieth of the steps.
    steering
        How batch size and temperature change while the run goes on; by default they stay. An
        epoch has other steps then than a schedule of the rate counts on.
    synchronisation
        How often lanes meet: in every step by default.
    stream
        How rows are read and mixed, see `ooc.stream.options.StreamOptions`. Instead of it, or to
        replace some of it, its options can be given by their names, such as memory="1GiB".

    Raises
    ------
    InputError
        If an option cannot be used, or not beside another.

    Examples
    --------
    >>> import ooc
    >>> trainer = Trainer(ooc.models.Linear(), ooc.optim.sgd(0.1), batch_size=10, memory="512MiB")
    >>> run = trainer.fit(ooc.open(example_dataset), epochs=5)
    >>> run.results["steps"], run.results["loss"] < 0.01
    (500, True)
    """

    model: Model
    optimizer: Optimizer | Method
    batch_size: int | str
    validation: Validation | None
    saving: Saving
    log_every: int | None
    steering: Steering | None
    synchronisation: Synchronisation
    stream: StreamOptions

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer | Method,
        batch_size: int | str = 256,
        *,
        validation: Validation | None = None,
        saving: Saving = USUAL,
        log_every: int | None = None,
        steering: Steering | None = None,
        synchronisation: Synchronisation = EVERY_STEP,
        stream: StreamOptions | None = None,
        **options: Any,
    ) -> None:
        self.__dict__.update(
            model=model, optimizer=optimizer, batch_size=batch_size, validation=validation,
            saving=saving, log_every=log_every, steering=steering,
            synchronisation=synchronisation, stream=make_stream(stream, options),
        )  # fmt: skip
        if not hasattr(batch_size, "__int__") and batch_size != FULL:
            raise InputError(f'batch_size is a number of rows, or "full", not {batch_size!r}')
        check_counts(log_every=log_every)
        self._method.check(batch_size, self.stream.sampling)
        if steering is not None and self._is_full:
            raise InputError("there is no batch to steer where a step takes all rows")
        if not synchronisation.is_exact:
            if self._is_full:
                raise InputError(
                    "local steps and backup lanes are for mini-batches, and a step takes all rows; "
                    "give a batch size"
                )
            if steering is not None and steering.batch == AUTO:
                raise InputError(
                    "an automatic batch is judged by gradients of one place on all rows, which "
                    "neither local steps nor backup lanes have; give a schedule of batch sizes"
                )

    def fit(
        self,
        dataset: Dataset,
        epochs: int | None = None,
        run_dir: str | Path | None = None,
        report: Report | bool = True,
        stop: threading.Event | None = None,
        callbacks: Callbacks = NO_CALLBACKS,
        trackers: Sequence[Tracker] = (),
        client: Any = None,
    ) -> Run:
        """Train for a number of epochs.

        Parameters
        ----------
        dataset
            What `ooc.open` returned.
        epochs
            Passes over the dataset, by default 1, or as many as 200 steps take. A method on the
            full gradient makes as many at most, by default 100, and ends by itself.
        run_dir
            Where the run is saved, and its history written: a local folder without a run, which
            is this process's alone meanwhile. Nowhere by default.
        report
            Called after each window, and with a text before other work. By default progress is
            shown on a terminal and in a notebook; False shows nothing.
        stop
            When it is set, the run is saved and ends after the window at hand. Without one,
            Ctrl-C does that for a run with a directory, and is raised after it was saved.
        callbacks
            Functions to call at steps', epochs' and evaluations' ends.
        trackers
            Each is called with every line of the history, see `ooc.trackers`.
        client
            A ``dask.distributed.Client`` whose workers read the lanes of the stream and work off
            their gradients, to the bits that this process would come to alone with the same
            lanes; `memory` is then the budget of each worker, too.

        Raises
        ------
        InputError
            If anything does not fit, before any work; or a row's data cannot be used.
        DivergedError
            If the loss or a parameter stops being finite although the data are.
        """
        methods = {"": self._method}
        more = {"callbacks": callbacks, "trackers": trackers}
        with self._watched(dataset, run_dir, report, stop, client, **more) as roster:
            return self._fit(dataset, methods, epochs, run_dir, roster, client)[""]

    def fit_many(
        self,
        dataset: Dataset,
        optimizers: Mapping[str, Optimizer] | Sequence[Optimizer],
        epochs: int | None = None,
        run_dir: str | Path | None = None,
        report: Report | bool = True,
        stop: threading.Event | None = None,
        halving: Halving | None = None,
        trackers: Sequence[Tracker] = (),
        client: Any = None,
    ) -> dict[str, Run]:
        """Train the model with several optimizers at once, on one pass over the data.

        Each gets the parameters that it would have got alone, to the last bit. One whose loss
        stops being finite is left behind.

        Parameters
        ----------
        dataset, epochs, report, stop, trackers, client
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
        methods = {name: as_method(optimizer) for name, optimizer in optimizers.items()}
        for name, method in methods.items():
            if method.full is not None:
                raise InputError(f"{method.name} asks for passes of its own; train it with fit")
            if not name or Path(name).name != name:
                raise InputError(f"{name!r} cannot be the name of a folder; choose another name")
        more = {"halving": halving, "trackers": trackers}
        with self._watched(dataset, run_dir, report, stop, client, **more) as roster:
            return self._fit(dataset, methods, epochs, run_dir, roster, client)

    def resume(
        self,
        dataset: Dataset,
        run_dir: str | Path,
        report: Report | bool = True,
        stop: threading.Event | None = None,
        callbacks: Callbacks = NO_CALLBACKS,
        same_data: bool = False,
        trackers: Sequence[Tracker] = (),
        client: Any = None,
    ) -> Run:
        """Go on with a run where it was saved last, to the bits that it would have had.

        Parameters
        ----------
        same_data
            Says that a dataset whose files were written after the run began, but have the same
            sizes and the same sampled rows, is the same: a copy.
        client
            As for `fit`; whether the run had one before makes no difference.

        Raises
        ------
        InputError
            If there is no run, or the dataset, the plan, a setting or a version is another one;
            what differs is named.
        """
        run_dir, held = local_path(run_dir, "runs"), held_bytes()
        checkpoint.check_saved(run_dir)
        more = {"callbacks": callbacks, "trackers": trackers}
        watched = self._watched(dataset, run_dir, report, stop, client, **more)
        with watched as roster, locked(run_dir):
            # Read now, for another process may have gone on with it until now.
            arrays, saved = checkpoint.load(run_dir)
            where = str(run_dir)
            with checkpoint.understood(run_dir):
                model, dataset = as_saved(where, saved, self.to_config(), self.model, dataset)
            needs = self._needs(dataset, [self._method], held)
            check_lanes_served(client, needs, model, dataset)
            compile_missing(needs, model, dataset, roster.report)
            tell(roster.report, "reading a sample")
            loader, held_out = loaders_of(needs, model, dataset)
            marks = fingerprint(loader.dataset, loader.names, self.stream.io)
            with checkpoint.understood(run_dir):
                check_same_data(where, saved["fingerprint"], marks, same_data)
                loader.load_state_dict(saved["position"])
                if saved["finished"]:
                    return load(run_dir, model)
                method = method_from_config(saved["optimizer"])
                most = loader.plan.largest_batch
                (method,) = with_lazy_penalties([method], model, loader.dataset, most)
                train_state = load_train_state(method, arrays, model)
            beginning = (self._is_full, saved["epochs"], marks, self.synchronisation)
            with engine_on(client, model, loader, train_state, *beginning) as engine:
                with checkpoint.understood(run_dir):
                    layout = model.layout(dataset.row_shape)
                    track = Track("", self.to_config(), run_dir)
                    parts = (model, layout, loader, engine, saved["epochs"], [track], marks)
                    session = Session(*parts)
                    watchers = roster.watchers(session, held_out)
                    restore_watchers(watchers, arrays, saved)
                tell(roster.report, "reading the first rows")
                cut_history(run_dir, saved["step"])
                return fit_session(session, watchers, resumed=True)[""]

    def loader(self, dataset: Dataset) -> Loader:
        """Return the loader that `fit` uses; its plan tells what the run will hold."""
        needs = self._needs(dataset, [self._method], held_bytes())
        check_fits(needs, self.model, dataset)
        return loaders_of(needs, self.model, dataset)[0]

    def layout(self, dataset: Dataset) -> Layout:
        """Return the model's layout for this dataset's rows."""
        return self.model.layout(dataset.row_shape)

    def to_config(self) -> dict[str, Any]:
        """Return the settings on which a run's bits depend, JSON-ready."""
        validation = None if self.validation is None else self.validation.to_config()
        how = self.synchronisation
        return {
            "model": self.model.to_config(),
            "optimizer": self._method.to_config(),
            "batch_size": self.batch_size,
            "validation": validation,
            "steering": None if self.steering is None else self.steering.to_config(),
            **({} if how.is_exact else {"synchronisation": how.to_config()}),
            **self.stream.to_config(),
        }

    @property
    def _method(self) -> Method:
        return as_method(self.optimizer)

    @property
    def _is_full(self) -> bool:
        """Whether every step takes all rows."""
        return self.batch_size == FULL or self._method.takes_all_rows

    def _fit(
        self,
        dataset: Dataset,
        methods: Mapping[str, Method],
        epochs: int | None,
        run_dir: str | Path | None,
        roster: Roster,
        client: Any,
    ) -> dict[str, Run]:
        """Find in the data what is not given, start every descent, and train."""
        held, dataset = held_bytes(), with_classes(dataset, self.model)
        dataset = replace(dataset, feature_names=feature_names_of(dataset))
        steps = 1 if self._is_full else -(-dataset.rows // max(1, int(self.batch_size)))
        epochs, given = self._method.passes(epochs, steps), list(methods.values())
        tracks = tracks_of(self.to_config(), methods, run_dir)
        if run_dir is not None:
            for name in ("", *methods):
                checkpoint.check_run_dir(Path(run_dir, name))
        needs, report = self._needs(dataset, given, held), roster.report
        check_lanes_served(client, needs, self.model, dataset)
        compile_missing(needs, self.model, dataset, report)
        tell(report, "reading a sample")
        loader, held_out = loaders_of(needs, self.model, dataset)
        tell_left_out(needs, loader, held_out, report)
        folders = [track.folder for track in tracks if track.folder is not None]
        with nullcontext() if run_dir is None else new_runs(Path(run_dir), folders):
            warn_of_marks(dataset, loader.names)
            if held_out is not None:
                warn_of_unseen_labels(loader.dataset, held_out.dataset, self.model)
            prepared = prepare(self.model, RowStatistics(loader, report))
            model, layout = prepared.model, prepared.model.layout(dataset.row_shape)
            if model != self.model:
                loader, held_out = loaders_of(needs, model, dataset, loader)
            parameters = first_parameters(model, layout, self.stream.seed, prepared.parts)
            del prepared  # of wide rows it is as large as the parameters
            known, found = with_rates(given, model, loader, parameters, epochs, report)
            known = with_lazy_penalties(known, model, loader.dataset, loader.plan.largest_batch)
            state = start(known, parameters, model)
            tell(report, "reading the first rows")
            keeps = bool(folders) or client is not None
            marks = fingerprint(loader.dataset, loader.names, self.stream.io) if keeps else {}
            beginning = (self._is_full, epochs, marks, self.synchronisation)
            with engine_on(client, model, loader, state, *beginning) as engine:
                session = Session(model, layout, loader, engine, epochs, tracks, marks, found)
                return fit_session(session, roster.watchers(session, held_out), resumed=False)

    @contextmanager
    def _watched(
        self,
        dataset: Dataset,
        run_dir: str | Path | None,
        report: Report | bool,
        stop: threading.Event | None,
        client: Any,
        **more: Any,
    ) -> Iterator[Roster]:
        """Yield what happens beside training: shown where somebody sees it, and ended by Ctrl-C.

        A cluster's threads serve lanes meanwhile: all else is read here.
        """
        here = nullcontext() if client is None else reading_here()
        own = (self.validation, self.steering, self.saving, self.log_every)
        title = f"train {dataset.name}"
        saved_in = None if run_dir is None else str(run_dir)
        with here, reporting(title, report) as seen, interruptible(stop, saved_in) as asked:
            yield Roster(*own, seen, asked, **more)

    def _needs(self, dataset: Dataset, methods: Sequence[Method], held: int) -> Needs:
        """Return what the run's memory is a function of."""
        rows, stream = dataset.rows if self._is_full else int(self.batch_size), self.stream
        most = rows if self.steering is None else self.steering.largest_batch(rows)
        if self._method.takes_all_rows:  # the gradient over them is the same in any order
            stream = replace(stream, shuffle="none")
        return Needs(
            methods, rows, most, self._is_full, stream, self.validation, held, self.synchronisation
        )
