"""Commands that train: train, resume and sweep."""

import math
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from ooc.cli.cluster import ClusterOptions, SynchronisationOptions
from ooc.cli.config import Config
from ooc.cli.groups import flag, with_groups
from ooc.cli.models import ModelOptions
from ooc.cli.options import (
    BatchSize,
    DescentOptions,
    Io,
    Json,
    Readers,
    RunPath,
    SavingOptions,
    SeveralDataOptions,
    Trackers,
    ValidationOptions,
    make_trainer,
    numbers,
    output,
    read,
    schedule_named,
    trackers_of,
)
from ooc.cli.show import note_skipped, show_measured, table
from ooc.cli.steering import SteeringOptions
from ooc.core.stopping import Stop, interrupt, listen
from ooc.stream.options import StreamOptions

PROBLEM = "--%s are numbers with commas between, not {!r}"
RunOption = Annotated[Path | None, output("Where to save.", unset="runs/NAME")]


@with_groups
def train(
    where: SeveralDataOptions,
    model: ModelOptions,
    descent: DescentOptions,
    stream: StreamOptions,
    steering: SteeringOptions,
    validation: ValidationOptions,
    saving: SavingOptions,
    cluster: ClusterOptions,
    synchronisation: SynchronisationOptions,
    batch_size: BatchSize = "256",
    epochs: Annotated[
        int | None,
        flag(
            "Passes over the dataset; for {full_gradient}, at most.",
            unset="1, or as many as 200 steps take; for those 100",
        ),
    ] = None,
    run: RunOption = None,
    tracker: Trackers = [],  # noqa: B006  it is read alone
    config: Config = None,
    json_: Json = False,
) -> None:
    """Train a model within a memory budget and save it; what is not given is found in the data.

    Example: ooc train big.zarr --model logistic --memory 1GiB --run runs/big

    Example: ooc train big.zarr --model mlp --hidden 256,256 --optimizer adam --lr 0.001

    Example: ooc train big.zarr --model logistic --optimizer hybrid --l2 1e-4

    Example: ooc train --config run.toml --seed 1 --run runs/again

    Example: ooc train big.zarr --lanes 8 --scheduler tcp://127.0.0.1:8786
    """
    from ooc.core.progress_bar import ProgressDisplay

    run_dir = run or Path("runs", where.stem)
    with stopping_signals() as stop:
        with ProgressDisplay(f"train {where.name}") as report:
            dataset = where.open()
            trainer = make_trainer(
                model.config(dataset), descent.make(), batch_size, stream,
                steering=steering.make(), validation=validation.make(),
                synchronisation=synchronisation.make(), **saving.settings(),
            )  # fmt: skip
            more: dict[str, Any] = {"trackers": trackers_of(tracker)}
            with cluster.connected() as client:
                more |= {} if client is None else {"client": client}
                result = trainer.fit(dataset, epochs, run_dir, report, stop, **more)
        note_skipped(result.results)
        show_measured({**result.results, "run": str(run_dir)}, json_, f"{run_dir}/run.json")


@with_groups
def resume(
    run: RunPath,
    *,
    memory: Annotated[str | None, flag("Bytes that it may use.", unset="the run's own")] = None,
    readers: Readers = None,
    io: Io = "auto",
    same_data: Annotated[
        bool,
        flag("The dataset is a copy, or was written again, with the same values.", "--same-data"),
    ] = False,
    saving: SavingOptions,
    cluster: ClusterOptions,
    tracker: Trackers = [],  # noqa: B006  it is read alone
    json_: Json = False,
) -> None:
    """Go on with a run where it was saved last, to the bits that it would have had.

    Example: ooc resume runs/big
    """
    from ooc.core.progress_bar import ProgressDisplay

    options: dict[str, Any] = {"readers": readers, "io": io, "same_data": same_data}
    options |= saving.settings() | {"trackers": trackers_of(tracker)}
    if memory is not None:
        options["memory"] = memory
    with stopping_signals() as stop:
        with ProgressDisplay(f"resume {run}") as report:
            from ooc.training.resume import resume as go_on

            with cluster.connected() as client:
                options |= {} if client is None else {"client": client}
                result = go_on(run, report=report, stop=stop, **options)
        note_skipped(result.results)
        show_measured({**result.results, "run": str(run)}, json_, f"{run}/run.json")


@with_groups
def sweep(
    where: SeveralDataOptions,
    model: ModelOptions,
    stream: StreamOptions,
    validation: ValidationOptions,
    saving: SavingOptions,
    cluster: ClusterOptions,
    synchronisation: SynchronisationOptions,
    lr: Annotated[str, flag("Learning rates, such as 0.01,0.1,1.")],
    batch_size: BatchSize = "256",
    l2: Annotated[str, flag("L2 penalties.")] = "0",
    l1: Annotated[str, flag("L1 penalties.")] = "0",
    optimizer: Annotated[str, flag("Several as in sgd,adam:0.9,0.99, of {optimizers}.")] = "sgd",
    schedule: Annotated[
        str, flag("Of every rate: {schedules}, with numbers as in step:1000,0.5.")
    ] = "constant",
    halving: Annotated[
        bool, flag("Drop the worse half again and again as evidence grows.")
    ] = False,
    epochs: Annotated[
        int | None, flag("Passes over the dataset.", unset="1, or as many as 200 steps take")
    ] = None,
    run: RunOption = None,
    tracker: Trackers = [],  # noqa: B006  it is read alone
    json_: Json = False,
) -> None:
    """Train every combination of settings on one pass over the data, each as if it were alone.

    Example: ooc sweep big.zarr --lr 0.01,0.1,1 --l2 0,1e-6,1e-4 --halving
    """
    from ooc.core.progress_bar import ProgressDisplay

    run_dir = run or Path("runs", f"{where.stem}-sweep")
    with stopping_signals() as stop:
        with ProgressDisplay(f"sweep {where.name}") as report:
            from ooc.optim.grid import grid
            from ooc.training.watchers.halving import Halving

            dataset, values = where.open(), {"lr": lr, "l2": l2, "l1": l1}
            optimizers = grid(
                # A comma before a letter parts optimizers; any other, numbers of one.
                re.split(r",(?=\s*[a-zA-Z_])", optimizer),
                **{name: read(text, numbers, PROBLEM % name) for name, text in values.items()},
                schedule=schedule_named(schedule),
            )
            trainer = make_trainer(
                model.config(dataset), next(iter(optimizers.values())), batch_size, stream,
                validation=validation.make(), synchronisation=synchronisation.make(),
                **saving.settings(),
            )  # fmt: skip
            rungs = Halving() if halving else None
            more = (rungs, trackers_of(tracker))
            with cluster.connected() as client:
                served: dict[str, Any] = {} if client is None else {"client": client}
                given = (dataset, optimizers, epochs, run_dir, report, stop, *more)
                runs = trainer.fit_many(*given, **served)
        note_skipped(next(iter(runs.values())).results)
        results = {
            label: {**each.results, "run": str(run_dir / label)} for label, each in runs.items()
        }
        _show_sweep(results, json_)


@contextmanager
def stopping_signals() -> Iterator[Stop]:
    """Turn the first signal that asks to end into a request to save and stop; a second one ends.

    Before the first step there is nothing to save: then the first one ends, too. At the end a
    signal that was caught becomes the exit status.
    """
    stop, caught = Stop(), list[int]()

    def request(number: int, frame: FrameType | None) -> None:
        if caught or not stop.in_steps:
            interrupt(number, frame)
        caught.append(number)
        stop.set()

    previous = listen(request)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
    if caught:
        raise typer.Exit(128 + caught[0])


def _show_sweep(results: dict[str, dict[str, Any]], as_json: bool) -> None:
    ranked = sorted(results, key=lambda label: _rank(results[label]))
    best = ranked[0]
    if as_json:
        show_measured({**results[best], "best": best, "runs": results}, True, "")
        return
    lines = {}
    for label in ranked:
        one = results[label]
        judged = one.get("validation_loss")
        held_out = "" if judged is None else f"  held out {judged:.6g}"
        dropped = f"  dropped: {one['dropped']}" if "dropped" in one else ""
        loss = "none" if one["loss"] is None else f"{one['loss']:.6g}"
        lines[label] = f"loss {loss}{held_out}{dropped}"
    table("best first", lines, as_named=True)
    show_measured(results[best], False, f"{results[best]['run']}/run.json")


def _rank(result: dict[str, Any]) -> tuple[bool, float]:
    judged = result.get("validation_loss")
    loss = result["loss"] if judged is None else judged
    return "dropped" in result, math.inf if loss is None else loss
