"""Goes on with a saved run, of which nothing but the directory is known."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ooc.core.destination import local_path
from ooc.core.errors import InputError
from ooc.core.progress import Report
from ooc.engines.synchronisation import Synchronisation
from ooc.models import from_config
from ooc.optim import method_from_config
from ooc.runs import checkpoint
from ooc.runs.run import Run
from ooc.runs.trained_on import TrainedOn, named_in
from ooc.store.dataset import Dataset
from ooc.store.several import open as open_dataset
from ooc.store.transforms import transform_in, transformed
from ooc.stream.options import NAMES, StreamOptions, make_stream
from ooc.stream.splits import part_of
from ooc.training.trainer import Trainer
from ooc.training.watchers.callbacks import NO_CALLBACKS, Callbacks
from ooc.training.watchers.saver import USUAL, Saving
from ooc.training.watchers.steering import steering_from_config
from ooc.training.watchers.trackers import Tracker
from ooc.training.watchers.validation import Validation


def resume(
    run_dir: str | Path,
    dataset: Dataset | None = None,
    *,
    saving: Saving = USUAL,
    log_every: int | None = None,
    report: Report | bool = True,
    stop: threading.Event | None = None,
    callbacks: Callbacks = NO_CALLBACKS,
    same_data: bool = False,
    trackers: Sequence[Tracker] = (),
    client: Any = None,
    **options: Any,
) -> Run:
    """Go on with a run where it was saved last, to the bits that it would have had.

    Parameters
    ----------
    run_dir
        Where it was saved.
    dataset
        Its dataset, if it is elsewhere now.
    saving, log_every, report, stop, callbacks, trackers, client
        See `ooc.Trainer` and its `fit`; the bits do not depend on them.
    same_data
        Says that a dataset whose files were written after the run began, but have the same sizes
        and the same sampled rows, is the same: a copy.
    options
        Those of `ooc.stream.options.StreamOptions` on which bits do not depend: memory, by
        default the run's own (another budget must give the same plan), readers and io.

    Raises
    ------
    InputError
        If there is no run, or it cannot go on as it was; what differs is named.
    """
    _, saved = checkpoint.load(local_path(run_dir, "runs"))
    with checkpoint.understood(local_path(run_dir, "runs")):
        settings = dict(saved["trainer"])
        # A run that was saved before an option was there did as its default says.
        known = StreamOptions().to_config()
        noted = {name: settings.pop(name, default) for name, default in known.items()}
        noted["memory"] = saved["memory"]
        free = tuple(name for name in NAMES if name not in StreamOptions().to_config())
        settings["model"] = from_config(settings["model"])
        settings["optimizer"] = method_from_config(settings["optimizer"])
        settings["validation"] = _validation(run_dir, settings["validation"])
        settings["steering"] = steering_from_config(settings["steering"])
        settings["synchronisation"] = Synchronisation(**settings.get("synchronisation", {}))
        stream = make_stream(StreamOptions(**noted), options, free)
        trainer = Trainer(**settings, saving=saving, log_every=log_every, stream=stream)
        rows = saved.get("trained_on")
        trained_on = None if rows is None else TrainedOn.from_json(rows)
        is_side = saved["fingerprint"]["selection"] is not None and trainer.validation is None
        whole = None if trained_on is None else trained_on.selection
        if whole is not None and trainer.validation is not None:
            whole = whole.within  # its validation rows are held out again
        named = named_in(saved["dataset"])
        transform = transform_in(saved)
    if dataset is None:
        if is_side and trained_on is None:  # as a run of an earlier version
            raise InputError(
                f"the run in {run_dir} was trained on one side of a split of "
                f"{named['path']}; give that side with dataset="
            )
        # A role that was not there is not to be guessed now.
        roles = {name: named[name] or False for name in ("target", "weight")}
        dataset = transformed(open_dataset(**{**named, **roles}), transform)
        if trained_on is not None:
            dataset = replace(part_of(dataset, whole), held_out=trained_on.held_out)
    return trainer.resume(dataset, run_dir, report, stop, callbacks, same_data, trackers, client)


def _validation(run_dir: str | Path, config: dict[str, Any] | None) -> Validation | None:
    if config is None:
        return None
    if isinstance(config["data"], str):
        raise InputError(
            f"the run in {run_dir} is evaluated on {config['data']}; make its trainer again, and "
            "call its resume"
        )
    return Validation(**config)
