"""Options that several commands share, in groups, and what they make."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ooc.cli.groups import option_of
from ooc.core.errors import InputError
from ooc.stream.options import StreamOptions

if TYPE_CHECKING:
    from ooc.optim import Method, Optimizer
    from ooc.optim.schedules import Schedule
    from ooc.store.dataset import Dataset
    from ooc.training.trainer import Trainer
    from ooc.training.watchers.saver import Saving
    from ooc.training.watchers.steering import Steering
    from ooc.training.watchers.validation import Validation

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
# Options of the stream for commands that take but some of them.
Memory = Annotated[str, option_of(StreamOptions, "memory")]
Seed = Annotated[int, option_of(StreamOptions, "seed")]
Readers = Annotated[int | None, option_of(StreamOptions, "readers")]
Io = Annotated[str, option_of(StreamOptions, "io")]
Features = Annotated[str, typer.Option(help="Name of the features array.")]
Target = Annotated[str | None, typer.Option(help="Name of the targets array.", show_default="y")]
Weight = Annotated[
    str | None, typer.Option(help="Name of the sample weights.", show_default="weight")
]
BatchSize = Annotated[str, typer.Option(help="Rows of a step; full for all rows.")]
Missing = Annotated[
    str, typer.Option(help="What a chunk that is not stored means: raise (an error) or fill.")
]
DataPath = Annotated[Path, typer.Argument(metavar="DATA", help="A Zarr group.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="What train --run wrote.")]
SaveSeconds = Annotated[float, typer.Option(help="Seconds between saves.")]
SaveSteps = Annotated[
    int | None, typer.Option(help="Steps between saves, too.", show_default="an epoch's")
]
Keep = Annotated[int, typer.Option(help="Checkpoints that are kept.")]
LogEvery = Annotated[
    int | None, typer.Option(help="Steps between lines of the history.", show_default="a second's")
]


@dataclass(frozen=True)
class DataOptions:
    """Which dataset, and which arrays of it."""

    data: DataPath
    features: Features = "X"
    target: Target = None
    weight: Weight = None
    missing: Missing = "raise"

    def open(self) -> "Dataset":
        """Open the dataset."""
        return open_dataset(self.data, self.features, self.target, self.weight, self.missing)


@dataclass(frozen=True)
class DescentOptions:
    """What is done with a gradient."""

    optimizer: Annotated[
        str,
        typer.Option(
            help="{optimizers}; or, on the gradient over all rows, {full_gradient}. Numbers of its "
            "own follow a colon: adam:0.9,0.99."
        ),
    ] = "sgd"
    lr: Annotated[
        float | None, typer.Option(help="Learning rate.", show_default="by a range test")
    ] = None
    l2: Annotated[float, typer.Option(help="Half of it times |coefficients|^2 is added.")] = 0.0
    l1: Annotated[float, typer.Option(help="It times |coefficients|_1 is added.")] = 0.0
    clip_norm: Annotated[
        float | None, typer.Option(help="Largest norm of a gradient.", show_default="any")
    ] = None
    schedule: Annotated[
        str | None,
        typer.Option(
            help="{schedules}. Numbers of its own follow a colon: step:1000,0.5.",
            show_default="constant with --lr, else cosine",
        ),
    ] = None
    warmup: Annotated[int, typer.Option(help="Steps in which the rate first grows.")] = 0

    def make(self) -> "Optimizer | Method":
        """Make the optimizer or the method that the options name."""
        from ooc.optim import FULL_GRADIENT, OPTIMIZERS
        from ooc.optim.named import make_named

        known: dict[str, Callable[..., Optimizer | Method]] = {**OPTIMIZERS, **FULL_GRADIENT}
        return make_named(
            "optimizer",
            known,
            self.optimizer,
            self.lr,
            l2=self.l2,
            l1=self.l1,
            clip_norm=self.clip_norm,
            schedule=self._schedule(),
        )

    def _schedule(self) -> "Schedule":
        from ooc.optim import OPTIMIZERS

        falls = self.lr is None and self.optimizer.partition(":")[0] in OPTIMIZERS
        usual = "cosine" if falls else "constant"
        return schedule_named(self.schedule or usual, self.warmup)


@dataclass(frozen=True)
class FollowOptions:
    """How a run is evaluated, logged and saved while it goes on."""

    validation: Annotated[
        float | None,
        typer.Option(help="Share of the rows to hold out and evaluate on.", show_default="none"),
    ] = None
    validation_by: Annotated[
        str, typer.Option(help="block, row, or the name of an array whose values stay together.")
    ] = "block"
    evaluate_every: Annotated[
        int | None, typer.Option(help="Steps between evaluations.", show_default="an epoch's")
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(help="Evaluations without a new best that end the run.", show_default="never"),
    ] = None
    save_seconds: SaveSeconds = 60.0
    save_steps: SaveSteps = None
    keep: Keep = 3
    log_every: LogEvery = None

    def settings(self) -> dict[str, Any]:
        """Return what a trainer takes of them."""
        return {
            "validation": self._validation(),
            "saving": saving_of(self.save_seconds, self.save_steps, self.keep),
            "log_every": self.log_every,
        }

    def _validation(self) -> "Validation | None":
        from ooc.training.watchers.validation import Validation

        if self.validation is None:
            if self.evaluate_every is not None or self.patience is not None:
                raise InputError(
                    "--evaluate-every and --patience need rows to evaluate on; hold some out with "
                    "--validation 0.1"
                )
            return None
        return Validation(self.validation, self.evaluate_every, self.patience, self.validation_by)


def local_output(path: Path | None) -> Path | None:
    """Refuse an output that is a URL, before anything else is looked at."""
    from ooc.core.destination import local_path

    return None if path is None else local_path(path, "outputs")


def saving_of(seconds: float, steps: int | None, keep: int) -> "Saving":
    """Make what says when a run is saved."""
    from ooc.training.watchers.saver import Saving

    return Saving(seconds, steps, keep)


def open_dataset(
    data: Path, features: str, target: str | None, weight: str | None, missing: str
) -> "Dataset":
    """Open the dataset that the options name."""
    from ooc.store.dataset import open as open_

    return open_(str(data), features, target, weight, missing)


def make_trainer(
    model: Mapping[str, Any],
    optimizer: "Optimizer | Method",
    batch_size: str,
    stream: StreamOptions,
    follow: FollowOptions | None = None,
    steering: "Steering | None" = None,
) -> "Trainer":
    """Make the trainer that the options name; `model` is a model's config."""
    from ooc.models import from_config
    from ooc.training.trainer import Trainer

    return Trainer(
        from_config(model),
        optimizer,
        batch_size_named(batch_size),
        steering=steering,
        stream=stream,
        **({} if follow is None else follow.settings()),
    )


def batch_size_named(text: str) -> int | str:
    """Read the rows of a step: a number, or "full"."""
    if text == "full":
        return text
    try:
        return int(text)
    except ValueError:
        raise InputError(f"--batch-size is a number of rows, or full, not {text!r}") from None


def schedule_named(text: str, warmup: int = 0) -> "Schedule":
    """Read a schedule, such as "step:1000,0.5": its name, and what its function takes."""
    from ooc.optim.named import make_named
    from ooc.optim.schedules import SCHEDULES

    return make_named("schedule", SCHEDULES, text, warmup=warmup)
