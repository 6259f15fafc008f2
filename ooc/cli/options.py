"""Options that several commands share, and what they make."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ooc.errors import InputError

if TYPE_CHECKING:
    from ooc.dataset import Dataset
    from ooc.trainer import Trainer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Memory = Annotated[str, typer.Option(help="Bytes that the process may use, such as 512MiB.")]
Seed = Annotated[int, typer.Option(help="Everything random is a function of it.")]
Features = Annotated[str, typer.Option(help="Name of the features array.")]
Target = Annotated[str | None, typer.Option(help="Name of the targets array.", show_default="y")]
Weight = Annotated[
    str | None, typer.Option(help="Name of the sample weights.", show_default="weight")
]
OptimizerName = Annotated[str, typer.Option(help="sgd, momentum or adam.")]
Rate = Annotated[float, typer.Option("--lr", help="Learning rate.")]
BatchSize = Annotated[int, typer.Option(help="Rows of a step.")]
Shuffle = Annotated[str, typer.Option(help="blocks or none.")]
Window = Annotated[
    str,
    typer.Option(
        help="Blocks of a window: a number, fit (as many as there is room for), or auto "
        "(the fewest that a sample of blocks says mix well)."
    ),
]
Lanes = Annotated[int, typer.Option(help="Fixed shares of the blocks that each batch takes from.")]
SamplingName = Annotated[
    str, typer.Option(help="once, replacement, weight or balanced: which rows an epoch uses.")
]
Readers = Annotated[
    int | None, typer.Option(help="Threads that read.", show_default="one a core, 6 to 16")
]
Missing = Annotated[
    str, typer.Option(help="What a chunk that is not stored means: raise (an error) or fill.")
]
Io = Annotated[
    str, typer.Option(help="auto, direct (past the page cache) or buffered (dropped behind).")
]
OnBadChunk = Annotated[
    str, typer.Option(help="raise, or skip: leave out rows that cannot be read, and count them.")
]
DataPath = Annotated[Path, typer.Argument(metavar="DATA", help="A Zarr group.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="What train --run wrote.")]


def open_dataset(
    data: Path, features: str, target: str | None, weight: str | None, missing: str
) -> "Dataset":
    """Open the dataset that the options name."""
    from ooc.dataset import open as open_

    return open_(str(data), features, target, weight, missing)


def make_trainer(
    model: Mapping[str, Any],
    optimizer: str,
    lr: float,
    batch_size: int,
    memory: str,
    seed: int,
    shuffle: str,
    readers: int | None,
    io: str,
    on_bad_chunk: str,
    window: str = "fit",
    lanes: int = 1,
    sampling: str = "once",
) -> "Trainer":
    """Make the trainer that the options name; `model` is a model's config."""
    from ooc.models import from_config
    from ooc.optim import OPTIMIZERS
    from ooc.trainer import Trainer

    if optimizer not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        raise InputError(f"no optimizer is called {optimizer!r}; choose one of: {known}")
    return Trainer(
        from_config(model),
        OPTIMIZERS[optimizer](lr),
        batch_size,
        memory,
        seed,
        shuffle,
        readers,
        io,
        on_bad_chunk,
        sampling,
        lanes,
        window_named(window),
    )


def window_named(text: str) -> int | str | None:
    """Read the window's option: a number, "auto", or None for "fit"."""
    if text == "fit":
        return None
    if text == "auto":
        return text
    if not text.isdigit():
        raise InputError(f"--window is a number of blocks, fit or auto, not {text!r}")
    return int(text)
