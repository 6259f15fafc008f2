"""The shell's door: options in, tables or one JSON object out. No logic of its own.

Heavy modules are imported by the command that uses them, so that help comes at once.
"""

import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ooc.errors import DivergedError, InputError
from ooc.memory import format_size, parse_count

if TYPE_CHECKING:
    from ooc.dataset import Dataset
    from ooc.trainer import Trainer

BAD_INPUT = 2

app = typer.Typer(
    help="Train on datasets larger than memory.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Memory = Annotated[str, typer.Option(help="Bytes that the process may use, such as 512MiB.")]
Seed = Annotated[int, typer.Option(help="Everything random is a function of it.")]
Features = Annotated[str, typer.Option(help="Name of the features array.")]
Target = Annotated[str | None, typer.Option(help="Name of the targets array.", show_default="y")]
Weight = Annotated[
    str | None, typer.Option(help="Name of the sample weights.", show_default="weight")
]
ModelName = Annotated[str, typer.Option(help="linear, logistic or softmax.")]
Classes = Annotated[
    int | None, typer.Option(help="Classes of softmax; known for data that ooc made.")
]
Scale = Annotated[str, typer.Option(help="Factor for every feature, such as 1/255 for bytes.")]
Intercept = Annotated[bool, typer.Option(help="Give scores an intercept.")]
OptimizerName = Annotated[str, typer.Option(help="sgd, momentum or adam.")]
Rate = Annotated[float, typer.Option("--lr", help="Learning rate.")]
BatchSize = Annotated[int, typer.Option(help="Rows of a step.")]
Shuffle = Annotated[str, typer.Option(help="blocks or none.")]
Readers = Annotated[
    int | None, typer.Option(help="Threads that read.", show_default="one a core, at most 4")
]
Missing = Annotated[
    str, typer.Option(help="What a chunk that is not stored means: raise (an error) or fill.")
]
DataPath = Annotated[Path, typer.Argument(metavar="DATA", help="A Zarr group.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="What train --run wrote.")]


@app.command()
def make(
    kind: Annotated[str, typer.Argument(help="linear, logistic or softmax.")],
    path: Annotated[Path, typer.Argument(help="Folder to make.")],
    rows: Annotated[str, typer.Option(help="Rows, such as 20M.")],
    features: Annotated[int, typer.Option(help="Features of a row.")] = 128,
    classes: Annotated[int, typer.Option(help="Classes of softmax.")] = 10,
    order: Annotated[str, typer.Option(help="random, or sorted by target.")] = "random",
    seed: Seed = 0,
    held_out: Annotated[
        bool, typer.Option(help="Rows of the same truth that the dataset without this lacks.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(help="Threads that write.", show_default="one a core")
    ] = None,
    json_: Json = False,
) -> None:
    """Generate a dataset whose truth is known.

    Example: ooc make logistic big.zarr --rows 20M --features 128
    """
    from ooc.progress import ProgressDisplay
    from ooc.synthetic import Recipe
    from ooc.synthetic import make as generate

    recipe = Recipe(kind, parse_count(rows), features, classes, order, seed, held_out)
    with ProgressDisplay(f"make {path.name}") as report:
        result = generate(path, recipe, threads, report)
    _show({**result, "path": str(path)}, json_)


@app.command()
def info(
    data: DataPath,
    features: Features = "X",
    target: Target = None,
    weight: Weight = None,
    missing: Missing = "raise",
    json_: Json = False,
) -> None:
    """Describe a dataset from its metadata.

    Example: ooc info big.zarr
    """
    dataset = _open(data, features, target, weight, missing)
    roles = {"features": dataset.features, "target": dataset.target, "weight": dataset.weight}
    if json_:
        arrays = {spec.name: spec.to_json() for spec in dataset.arrays.values()}
        _show({"path": dataset.path, "rows": dataset.rows, "roles": roles, "arrays": arrays}, True)
        return
    role_of = {name: role for role, name in roles.items()}
    lines = {
        spec.name: f"{role_of.get(spec.name, 'further array')}: {spec.describe()}"
        for spec in dataset.arrays.values()
    }
    _table(f"{dataset.path}, {dataset.rows:,} rows", lines)


@app.command()
def plan(
    data: DataPath,
    model: ModelName = "logistic",
    memory: Memory = "1GiB",
    batch_size: BatchSize = 256,
    optimizer: OptimizerName = "sgd",
    shuffle: Shuffle = "blocks",
    seed: Seed = 0,
    classes: Classes = None,
    readers: Readers = None,
    features: Features = "X",
    target: Target = None,
    weight: Weight = None,
    missing: Missing = "raise",
    json_: Json = False,
) -> None:
    """Show how a run would fit its memory; nothing is read.

    Example: ooc plan big.zarr --memory 1GiB --batch-size 256
    """
    dataset = _open(data, features, target, weight, missing)
    settings = {"classes": classes}
    trainer = _trainer(
        dataset, model, settings, optimizer, 0.1, batch_size, memory, seed, shuffle, readers
    )
    planned = trainer.loader(dataset).plan
    if json_:
        _show(planned.to_json(), True)
        return
    numbers = planned.to_json()
    terms = {name: format_size(size) for name, size in planned.terms.items()}
    for key in ("memory_terms", "memory_budget_bytes", "memory_projected_bytes"):
        del numbers[key]
    _table(f"plan for {dataset.path}", numbers)
    _table(
        "memory",
        {
            **terms,
            "projected": format_size(planned.projected),
            "budget": format_size(planned.budget),
        },
    )


@app.command()
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
    feature_scale: Scale = "1",
    intercept: Intercept = True,
    readers: Readers = None,
    features: Features = "X",
    target: Target = None,
    weight: Weight = None,
    missing: Missing = "raise",
    json_: Json = False,
) -> None:
    """Train a model within a memory budget and save it.

    Example: ooc train big.zarr --model logistic --memory 1GiB --lr 0.5 --run runs/big
    """
    from ooc.progress import ProgressDisplay

    dataset = _open(data, features, target, weight, missing)
    settings = {"classes": classes, "scale": _factor(feature_scale), "intercept": intercept}
    trainer = _trainer(
        dataset, model, settings, optimizer, lr, batch_size, memory, seed, shuffle, readers
    )
    run_dir = run or Path("runs", data.stem)
    with _stopping_signals() as (stop, caught), ProgressDisplay(f"train {data.name}") as report:
        result = trainer.fit(dataset, epochs, run_dir, report, stop)
    _show({**result.results, "run": str(run_dir)}, json_)
    if caught:
        raise typer.Exit(128 + caught[0])


@app.command()
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

    dataset = _open(data, features, target, weight, missing)
    with ProgressDisplay(f"evaluate {data.name}") as report:
        result = load(run).evaluate(dataset, memory, report)
    _show({**result, "run": str(run)}, json_)


@app.command()
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

    dataset = _open(data, features, None, None, missing)
    with ProgressDisplay(f"predict {data.name}") as report:
        result = load(run).predict_to(dataset, out, memory, report)
    _show({**result, "run": str(run), "path": str(out)}, json_)


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit status."""
    sys.exit(main(arguments))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status.

    Bad usage and bad input end in one line on standard error and status 2.
    """
    try:
        status = app(args=arguments, prog_name="ooc", standalone_mode=False)
    except typer.TyperException as error:
        return _refuse(error.format_message() if hasattr(error, "format_message") else str(error))
    except (InputError, DivergedError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status or 0


def _refuse(message: str) -> int:
    line = " ".join(message.split())
    if line:
        print(f"ooc: {line}", file=sys.stderr)
    return BAD_INPUT


def _open(
    data: Path, features: str, target: str | None, weight: str | None, missing: str
) -> "Dataset":
    from ooc.dataset import open as open_dataset

    return open_dataset(str(data), features, target, weight, missing)


def _trainer(
    dataset: "Dataset",
    model: str,
    settings: Mapping[str, Any],
    optimizer: str,
    lr: float,
    batch_size: int,
    memory: str,
    seed: int,
    shuffle: str,
    readers: int | None,
) -> "Trainer":
    from ooc.models import from_config
    from ooc.optim import OPTIMIZERS
    from ooc.trainer import Trainer

    if optimizer not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        raise InputError(f"no optimizer is called {optimizer!r}; choose one of: {known}")
    config = {"name": model, **settings}
    classes = config.pop("classes", None)
    if model == "softmax":
        config["classes"] = classes or _noted_classes(dataset)
    return Trainer(
        from_config(config), OPTIMIZERS[optimizer](lr), batch_size, memory, seed, shuffle, readers
    )


def _noted_classes(dataset: "Dataset") -> int:
    noted = dataset.attributes.get("classes")
    if not isinstance(noted, int):
        raise InputError(
            f"{dataset.path} does not note how many classes it has; give them with --classes"
        )
    return noted


def _factor(text: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise InputError(f"{text!r} is not a factor; write it as 0.5 or 1/255") from None


@contextmanager
def _stopping_signals() -> Iterator[tuple[threading.Event, list[int]]]:
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


def _show(result: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    _table("", {key: _readable(key, value) for key, value in result.items() if value is not None})


def _readable(key: str, value: Any) -> str:
    if key.endswith("bytes_per_second"):
        return f"{value / 1e9:.3f} GB/s"
    if key.endswith("_bytes"):
        return format_size(value)
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _table(title: str, rows: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if title:
        console.print(title, highlight=False)
    table = Table(show_header=False)
    for key, value in rows.items():
        table.add_row(key.replace("_", " "), "" if value is None else str(value))
    console.print(table)
