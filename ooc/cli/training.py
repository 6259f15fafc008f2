"""Commands about models: plan, train, evaluate, predict."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ooc.cli.models import (
    Activation,
    Classes,
    Code,
    Dropout,
    Head,
    Hidden,
    Initialisation,
    Intercept,
    ModelName,
    Scale,
    WeightDecay,
    model_config,
)
from ooc.cli.options import (
    BatchSize,
    DataPath,
    Features,
    Io,
    Json,
    Lanes,
    Memory,
    Missing,
    OnBadChunk,
    OptimizerName,
    Rate,
    Readers,
    RunPath,
    SamplingName,
    Seed,
    Shuffle,
    Target,
    Weight,
    Window,
    make_trainer,
    open_dataset,
)
from ooc.cli.show import show, table
from ooc.memory import format_size

if TYPE_CHECKING:
    from ooc.dataset import Dataset
    from ooc.plan import Plan
    from ooc.shuffle.advice import Advice


def plan(
    data: DataPath,
    model: ModelName = "logistic",
    memory: Memory = "1GiB",
    batch_size: BatchSize = 256,
    optimizer: OptimizerName = "sgd",
    shuffle: Shuffle = "blocks",
    seed: Seed = 0,
    classes: Classes = None,
    hidden: Hidden = None,
    head: Head = None,
    code: Code = None,
    readers: Readers = None,
    io: Io = "auto",
    on_bad_chunk: OnBadChunk = "raise",
    features: Features = "X",
    target: Target = None,
    weight: Weight = None,
    missing: Missing = "raise",
    window: Window = "auto",
    lanes: Lanes = 1,
    sampling: SamplingName = "once",
    json_: Json = False,
) -> None:
    """Show how a run would fit its memory, and how well it would mix; a sample is read.

    Example: ooc plan big.zarr --memory 1GiB --batch-size 256
    """
    from ooc.blockio import read_path
    from ooc.shuffle.advice import advise, measured_trade, trade_table

    dataset = open_dataset(data, features, target, weight, missing)
    config = model_config(model, dataset, classes=classes, hidden=hidden, head=head, code=code)
    trainer = make_trainer(
        config,
        optimizer,
        0.1,
        batch_size,
        memory,
        seed,
        shuffle,
        readers,
        io,
        on_bad_chunk,
        window,
        lanes,
        sampling,
    )
    used = [name for name in (dataset.features, dataset.target, dataset.weight) if name]
    reads = {name: read_path(dataset, name, io).describe() for name in used}
    planned = trainer.loader(dataset).plan
    advice = advise(dataset, planned, io=io) if shuffle != "none" else None
    numbers = planned.to_json()
    if json_:
        predicted = {} if advice is None else advice.to_json()
        show({**numbers, "read_paths": reads, **predicted}, True)
        return
    terms = {name: format_size(size) for name, size in planned.terms.items()}
    for key in ("memory_terms", "memory_budget_bytes", "memory_projected_bytes"):
        del numbers[key]
    table(f"plan for {dataset.path}", numbers)
    table("reading", reads)
    sums = {
        "projected": format_size(planned.projected),
        "budget": format_size(planned.budget),
    }
    table("memory", {**terms, **sums})
    if advice is not None:
        table("mixing", mixing_lines(dataset, planned, advice))
        table("windows", trade_table(measured_trade(dataset, planned, advice)))


def mixing_lines(dataset: "Dataset", planned: "Plan", advice: "Advice") -> dict[str, str]:
    """Say how well a plan mixes, and where that is not well enough, what would."""
    worst = advice.worst
    lines = {
        "predicted inflation": f"{advice.inflation:.3f} of the variance of batch means, by "
        f"{worst.name}: Vb/s2 {worst.between_share:.4f} +- {worst.error:.4f}"
    }
    if advice.enough:
        return lines
    lines["more memory"] = (
        f"a window of {advice.needed_blocks:,} blocks would bring it to {advice.limit}: "
        f"--memory {advice.memory // 2**20}MiB"
    )
    chunks = (
        "not even chunks of one row would be enough in this window"
        if advice.chunk_rows is None
        else f"chunks of {advice.chunk_rows:,} rows, now {planned.order.block_rows:,}, would do "
        "so in this window if they differ as much"
    )
    lines["smaller chunks"] = chunks
    scratch = dataset.stored_rows * sum(spec.row_bytes for spec in dataset.arrays.values())
    lines["an exact shuffle"] = (
        f"brings it to 1.000 for good: ooc shuffle {dataset.path} NEW, with "
        f"{format_size(scratch)} of scratch space"
    )
    return lines


def train(
    data: DataPath,
    model: ModelName = "logistic",
    memory: Memory = "1GiB",
    batch_size: BatchSize = 256,
    epochs: Annotated[int, typer.Option(help="Passes over the dataset.")] = 1,
    optimizer: OptimizerName = "sgd",
    lr: Rate = 0.1,
    seed: Seed = 0,
    shuffle: Shuffle = "blocks",
    run: Annotated[
        Path | None, typer.Option(help="Where to save.", show_default="runs/NAME")
    ] = None,
    classes: Classes = None,
    hidden: Hidden = None,
    activation: Activation = None,
    initialisation: Initialisation = None,
    dropout: Dropout = None,
    weight_decay: WeightDecay = None,
    head: Head = None,
    code: Code = None,
    feature_scale: Scale = "1",
    intercept: Intercept = True,
    readers: Readers = None,
    io: Io = "auto",
    on_bad_chunk: OnBadChunk = "raise",
    features: Features = "X",
    target: Target = None,
    weight: Weight = None,
    missing: Missing = "raise",
    window: Window = "auto",
    lanes: Lanes = 1,
    sampling: SamplingName = "once",
    json_: Json = False,
) -> None:
    """Train a model within a memory budget and save it.

    Example: ooc train big.zarr --model logistic --memory 1GiB --lr 0.5 --run runs/big

    Example: ooc train big.zarr --model mlp --hidden 256,256 --optimizer adam --lr 0.001
    """
    from ooc.progress import ProgressDisplay

    dataset = open_dataset(data, features, target, weight, missing)
    config = model_config(
        model,
        dataset,
        feature_scale,
        intercept=intercept,
        classes=classes,
        hidden=hidden,
        activation=activation,
        initialisation=initialisation,
        dropout=dropout,
        weight_decay=weight_decay,
        head=head,
        code=code,
    )
    trainer = make_trainer(
        config,
        optimizer,
        lr,
        batch_size,
        memory,
        seed,
        shuffle,
        readers,
        io,
        on_bad_chunk,
        window,
        lanes,
        sampling,
    )
    run_dir = run or Path("runs", data.stem)
    with stopping_signals() as (stop, caught), ProgressDisplay(f"train {data.name}") as report:
        result = trainer.fit(dataset, epochs, run_dir, report, stop)
    show({**result.results, "run": str(run_dir)}, json_)
    if caught:
        raise typer.Exit(128 + caught[0])


def evaluate(
    run: RunPath,
    data: DataPath,
    memory: Memory = "1GiB",
    features: Features = "X",
    target: Target = None,
    weight: Weight = None,
    missing: Missing = "raise",
    json_: Json = False,
) -> None:
    """Measure loss and accuracy of a saved run on a dataset.

    Example: ooc evaluate runs/big held-out.zarr
    """
    from ooc.progress import ProgressDisplay
    from ooc.run import load

    dataset = open_dataset(data, features, target, weight, missing)
    with ProgressDisplay(f"evaluate {data.name}") as report:
        result = load(run).evaluate(dataset, memory, report)
    show({**result, "run": str(run)}, json_)


def predict(
    run: RunPath,
    data: DataPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Dataset to write.")],
    memory: Memory = "1GiB",
    features: Features = "X",
    missing: Missing = "raise",
    json_: Json = False,
) -> None:
    """Write a saved run's predictions for every row to a new dataset.

    Example: ooc predict runs/big new.zarr predictions.zarr
    """
    from ooc.progress import ProgressDisplay
    from ooc.run import load

    dataset = open_dataset(data, features, None, None, missing)
    with ProgressDisplay(f"predict {data.name}") as report:
        result = load(run).predict_to(dataset, out, memory, report)
    show({**result, "run": str(run), "path": str(out)}, json_)


@contextmanager
def stopping_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """Turn the first SIGINT or SIGTERM into a request to save and stop; the second one kills."""
    stop, caught = threading.Event(), []
    previous: dict[int, Any] = {}
    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)

    def request(number: int, frame: object) -> None:
        caught.append(number)
        stop.set()
        signal.signal(number, previous[number])

    for number in numbers:
        previous[number] = signal.signal(number, request)
    try:
        yield stop, caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
