"""Commands that train: train, resume and sweep."""

import math
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from ooc.cli.groups import with_groups
from ooc.cli.models import ModelOptions
from ooc.cli.options import (
    BatchSize,
    DataOptions,
    DescentOptions,
    FollowOptions,
    Io,
    Json,
    Keep,
    LogEvery,
    Readers,
    RunPath,
    SaveSeconds,
    SaveSteps,
    local_output,
    make_trainer,
    saving_of,
    schedule_named,
)
from ooc.cli.show import note_skipped, show, table
from ooc.cli.signals import stopping_signals
from ooc.cli.steering import SteeringOptions
from ooc.core.errors import InputError
from ooc.stream.options import StreamOptions

Epochs = Annotated[int, typer.Option(help="Passes over the dataset.")]
RunOption = Annotated[
    Path | None,
    typer.Option(help="Where to save.", show_default="runs/NAME", callback=local_output),
]


@with_groups
def train(
    where: DataOptions,
    model: ModelOptions,
    descent: DescentOptions,
    stream: StreamOptions,
    steering: SteeringOptions,
    follow: FollowOptions,
    batch_size: BatchSize = "256",
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the dataset; for {full_gradient}, at most.",
            show_default="1; for those 100",
        ),
    ] = None,
    run: RunOption = None,
    json_: Json = False,
) -> None:
    """Train a model within a memory budget and save it; what is not given is found in the data.

    Example: ooc train big.zarr --model logistic --memory 1GiB --run runs/big

    Example: ooc train big.zarr --model mlp --hidden 256,256 --optimizer adam --lr 0.001

    Example: ooc train big.zarr --model logistic --optimizer hybrid --l2 1e-4
    """
    from ooc.cli.progress_bar import ProgressDisplay

    dataset, name = where.open(), where.data.name
    trainer = make_trainer(
        model.config(dataset), descent.make(), batch_size, stream, follow, steering.make()
    )
    run_dir = run or Path("runs", where.data.stem)
    with stopping_signals() as (stop, caught), ProgressDisplay(f"train {name}") as report:
        result = trainer.fit(dataset, epochs, run_dir, report, stop)
    note_skipped(result.results)
    show({**result.results, "run": str(run_dir)}, json_)
    if caught:
        raise typer.Exit(128 + caught[0])


def resume(
    run: RunPath,
    memory: Annotated[
        str | None, typer.Option(help="Bytes that it may use.", show_default="the run's own")
    ] = None,
    readers: Readers = None,
    io: Io = "auto",
    save_seconds: SaveSeconds = 60.0,
    save_steps: SaveSteps = None,
    keep: Keep = 3,
    log_every: LogEvery = None,
    same_data: Annotated[
        bool,
        typer.Option(
            "--same-data", help="The dataset is a copy, or was written again, with the same values."
        ),
    ] = False,
    json_: Json = False,
) -> None:
    """Go on with a run where it was saved last, to the bits that it would have had.

    Example: ooc resume runs/big
    """
    from ooc.cli.progress_bar import ProgressDisplay
    from ooc.training.resume import resume as go_on

    saving = saving_of(save_seconds, save_steps, keep)
    options: dict[str, Any] = {"readers": readers, "io": io, "same_data": same_data}
    if memory is not None:
        options["memory"] = memory
    with stopping_signals() as (stop, caught), ProgressDisplay(f"resume {run}") as report:
        result = go_on(run, saving=saving, log_every=log_every, report=report, stop=stop, **options)
    note_skipped(result.results)
    show({**result.results, "run": str(run)}, json_)
    if caught:
        raise typer.Exit(128 + caught[0])


@with_groups
def sweep(
    where: DataOptions,
    model: ModelOptions,
    stream: StreamOptions,
    follow: FollowOptions,
    lr: Annotated[str, typer.Option(help="Learning rates, such as 0.01,0.1,1.")],
    batch_size: BatchSize = "256",
    l2: Annotated[str, typer.Option(help="L2 penalties.")] = "0",
    l1: Annotated[str, typer.Option(help="L1 penalties.")] = "0",
    optimizer: Annotated[
        str,
        typer.Option(help="Several as in sgd,adam:0.9,0.99, of {optimizers}."),
    ] = "sgd",
    schedule: Annotated[
        str, typer.Option(help="Of every rate: {schedules}, with numbers as in step:1000,0.5.")
    ] = "constant",
    halving: Annotated[
        bool, typer.Option(help="Drop the worse half again and again as evidence grows.")
    ] = False,
    epochs: Epochs = 1,
    run: RunOption = None,
    json_: Json = False,
) -> None:
    """Train every combination of settings on one pass over the data, each as if it were alone.

    Example: ooc sweep big.zarr --lr 0.01,0.1,1 --l2 0,1e-6,1e-4 --halving
    """
    from ooc.cli.progress_bar import ProgressDisplay
    from ooc.optim.grid import grid
    from ooc.training.watchers.halving import Halving

    dataset, name = where.open(), where.data.name
    optimizers = grid(
        _names(optimizer),
        lr=_numbers("lr", lr),
        l2=_numbers("l2", l2),
        l1=_numbers("l1", l1),
        schedule=schedule_named(schedule),
    )
    first = next(iter(optimizers.values()))
    trainer = make_trainer(model.config(dataset), first, batch_size, stream, follow)
    run_dir = run or Path("runs", f"{where.data.stem}-sweep")
    with stopping_signals() as (stop, caught), ProgressDisplay(f"sweep {name}") as report:
        runs = trainer.fit_many(
            dataset, optimizers, epochs, run_dir, report, stop, Halving() if halving else None
        )
    note_skipped(runs[next(iter(runs))].results)
    results = {label: {**one.results, "run": str(run_dir / label)} for label, one in runs.items()}
    _show_sweep(results, json_)
    if caught:
        raise typer.Exit(128 + caught[0])


def _show_sweep(results: dict[str, dict[str, Any]], as_json: bool) -> None:
    ranked = sorted(results, key=lambda label: _rank(results[label]))
    best = ranked[0]
    if as_json:
        show({**results[best], "best": best, "runs": results}, True)
        return
    lines = {}
    for label in ranked:
        one = results[label]
        judged = one.get("validation_loss")
        held_out = "" if judged is None else f"  held out {judged:.6g}"
        dropped = f"  dropped: {one['dropped']}" if "dropped" in one else ""
        loss = "none" if one["loss"] is None else f"{one['loss']:.6g}"
        lines[label] = f"loss {loss}{held_out}{dropped}"
    table("best first", lines)
    show(results[best], False)


def _rank(result: dict[str, Any]) -> tuple[bool, float]:
    loss = result.get("validation_loss") or result["loss"]
    return "dropped" in result, math.inf if loss is None else loss


def _names(text: str) -> list[str]:
    """Read names, each with its own numbers, if it has any: a comma before a letter parts them."""
    return re.split(r",(?=\s*[a-zA-Z_])", text)


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--{name} are numbers with commas between, not {text!r}") from None
