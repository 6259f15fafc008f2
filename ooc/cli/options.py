"""Options that several commands share, in groups, and what they make."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.models import OptionInfo

from ooc.cli.groups import flag, option, option_of
from ooc.cli.show import NOTES
from ooc.core.errors import InputError
from ooc.stream.options import StreamOptions

if TYPE_CHECKING:
    from ooc.optim import Method, Optimizer
    from ooc.optim.schedules import Schedule
    from ooc.store.dataset import Dataset
    from ooc.store.roles import RoleName
    from ooc.training.trainer import Trainer
    from ooc.training.watchers.trackers import Tracker
    from ooc.training.watchers.validation import Validation

Value = TypeVar("Value")


def local_output(path: Path | None) -> Path | None:
    """Refuse an output that is a URL, before anything else is looked at."""
    from ooc.core.destination import local_path

    return None if path is None else local_path(path, "outputs")


def dataset_output(path: str | None) -> str | None:
    """Return where a dataset is to be written: a local path, or a URL in one form."""
    from ooc.core.destination import local_path
    from ooc.store.addresses import written_path

    if path is not None and "://" not in (path := written_path(path, None)):
        local_path(path, "datasets that are written")
    return path


def output(help_text: str, unset: str | None = None) -> OptionInfo:
    """Return an option that names a local file or folder to write."""
    return flag(help_text, unset=unset, callback=local_output)


Json = Annotated[bool, flag("Print one JSON object on standard output.", "--json")]
Trackers = Annotated[
    list[str],
    flag(
        "{trackers}, and where: tensorboard:FOLDER, mlflow:EXPERIMENT. It can be given again.",
        "--tracker",
        unset="none",
    ),
]
# Options of the stream for commands that take but some of them.
Memory = Annotated[str, option_of(StreamOptions, "memory")]
Seed = Annotated[int, option_of(StreamOptions, "seed")]
Compression = Annotated[
    str,
    flag(
        "{compressions}: what is read many times is worth encoding twenty times as long; it is "
        "decoded half as fast again."
    ),
]
Readers = Annotated[int | None, option_of(StreamOptions, "readers")]
MissingValues = Annotated[str, option_of(StreamOptions, "missing_values")]
Io = Annotated[str, option_of(StreamOptions, "io")]
_FEATURES = "Name of the features array; of several, side by side: t2m,obsm/X_pca[0:3]."
Features = Annotated[str | None, flag(_FEATURES, unset="X")]
RunFeatures = Annotated[str | None, flag(_FEATURES, unset="the run's own")]
Columns = Annotated[
    str | None,
    flag("Columns of the features array, by name or place: age,3,10:20.", unset="all"),
]
BatchSize = Annotated[str, flag("Rows of a step; full for all rows.")]
Missing = Annotated[str, flag("What a chunk that is not stored means: raise (an error) or fill.")]
DataPath = Annotated[Path, typer.Argument(metavar="DATA", help="A Zarr group.")]
_SEVERAL = typer.Argument(
    metavar="DATA...", help="A Zarr group, or several as one: their paths, or a pattern."
)
DataPaths = Annotated[list[Path], _SEVERAL]
DataOrNone = Annotated[list[Path] | None, _SEVERAL]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="What train --run wrote.")]


@dataclass(frozen=True)
class DataOptions:
    """Which dataset, and which arrays of it."""

    data: DataPath
    features: Features = None
    target: str | None = option("Name of the targets array.", unset="y")
    weight: str | None = option("Name of the sample weights.", unset="weight")
    no_target: Annotated[bool, flag("Take no array for targets.", "--no-target")] = False
    no_weight: Annotated[bool, flag("Take no array for weights.", "--no-weight")] = False
    missing: Missing = "raise"
    columns: Columns = None
    transform: str | None = option(
        "{transforms}: what is done to features as they are read. A number of its own follows a "
        "colon: hash:18. Or sequences:LENGTH:STRIDE: rows are runs of a long array's times.",
        unset="nothing",
    )

    @property
    def paths(self) -> list[Path]:
        """What is to be opened."""
        return [self.data]

    @property
    def name(self) -> str:
        """What it is called in a title, and in the name of a run."""
        first, *others = self.paths
        return f"{first.name} and {len(others)} more" if others else first.name

    @property
    def stem(self) -> str:
        """What a run on it is called."""
        # A pattern's signs are no part of a folder's name.
        return self.paths[0].stem.strip("*?[]-_.") or "run"

    def open(self) -> "Dataset":
        """Open the dataset; roles that nobody named are told in the end."""
        from ooc.store.several import open as open_dataset

        target = role_of("target", self.target, self.no_target)
        weight = role_of("weight", self.weight, self.no_weight)
        paths = [str(each) for each in self.paths]
        given = (self.features, target, weight, self.missing, None, self.columns)
        dataset = open_dataset(paths, *given)
        if self.transform:
            from ooc.store.transforms import transformed

            dataset = transformed(dataset, self.transform)
        if guesses := dataset.describe_guesses():
            NOTES.append(guesses)
        return dataset


@dataclass(frozen=True)
class SeveralDataOptions(DataOptions):
    """As `DataOptions`, of one store or several as one."""

    data: DataPaths  # type: ignore[assignment]

    @property
    def paths(self) -> list[Path]:
        """What is to be opened."""
        return list(self.data or ())


@dataclass(frozen=True)
class DataOrNoneOptions(SeveralDataOptions):
    """As `SeveralDataOptions`, where a run knows its own dataset."""

    data: DataOrNone = None  # type: ignore[assignment]
    features: RunFeatures = None


@dataclass(frozen=True)
class DescentOptions:
    """What is done with a gradient."""

    optimizer: str = option(
        "{optimizers}; or, on the gradient over all rows, {full_gradient}. Numbers of its own "
        "follow a colon: adam:0.9,0.99.",
        "sgd",
    )
    lr: float | None = option("Learning rate.", unset="by a range test")
    l2: float = option("Half of it times |coefficients|^2 is added.", 0.0)
    l1: float = option("It times |coefficients|_1 is added.", 0.0)
    clip_norm: float | None = option("Largest norm of a gradient.", unset="any")
    schedule: str | None = option(
        "{schedules}. Numbers of its own follow a colon: step:1000,0.5.",
        unset="constant with --lr, else cosine",
    )
    warmup: int = option("Steps in which the rate first grows.", 0)
    average: float = option(
        "An exponential average of the parameters is kept, which keeps this of itself in a step: "
        "0.999.",
        0.0,
    )

    def make(self) -> "Optimizer | Method":
        """Make the optimizer or the method that the options name."""
        from ooc.optim import FULL_GRADIENT, OPTIMIZERS
        from ooc.optim.named import make_named

        known: dict[str, Callable[..., Optimizer | Method]] = {**OPTIMIZERS, **FULL_GRADIENT}
        falls = self.lr is None and self.optimizer.partition(":")[0] in OPTIMIZERS
        schedule = schedule_named(self.schedule or ("cosine" if falls else "constant"), self.warmup)
        penalties = {"l2": self.l2, "l1": self.l1, "clip_norm": self.clip_norm}
        how = {**penalties, "schedule": schedule}
        if self.average:
            how["average"] = self.average
        return make_named("optimizer", known, self.optimizer, self.lr, **how)


@dataclass(frozen=True)
class ValidationOptions:
    """How a run is evaluated while it goes on."""

    validation: float | None = option(
        "Share of the rows to hold out and evaluate on.", unset="none"
    )
    validation_by: str = option(
        "block, row, or the name of an array whose values stay together.", "block"
    )
    evaluate_every: int | None = option("Steps between evaluations.", unset="an epoch's")
    patience: int | None = option("Evaluations without a new best that end the run.", unset="never")
    validation_ordered: Annotated[
        bool, flag("Hold out the last share, as of time.", "--validation-ordered")
    ] = False
    validation_groups: str | None = option(
        "In place of a share, values of --validation-by to hold out: 3,7.", unset="none"
    )
    test: float | None = option(
        "Share of the rows to keep apart for ooc evaluate --held-out.", unset="none"
    )

    def make(self) -> "Validation | None":
        """Make what the options say; None where they say nothing."""
        from ooc.training.watchers.validation import Validation

        if self.validation is not None or self.validation_groups is not None:
            groups = (self.validation_groups or "").split(",") if self.validation_groups else ()
            how = (self.evaluate_every, self.patience, self.validation_by, self.validation_ordered)
            return Validation(self.validation, *how, groups, self.test)
        if self.test is not None or self.validation_ordered:
            raise InputError(
                "--test and --validation-ordered go with rows to validate on; hold some out with "
                "--validation 0.1"
            )
        if self.evaluate_every is not None or self.patience is not None:
            raise InputError(
                "--evaluate-every and --patience need rows to evaluate on; hold some out with "
                "--validation 0.1"
            )
        return None


def trackers_of(named: list[str]) -> "list[Tracker]":
    """Make the trackers that the options name."""
    from ooc.training.watchers.trackers import tracker_named

    return [tracker_named(each) for each in named]


@dataclass(frozen=True)
class SavingOptions:
    """How a run is saved and logged while it goes on."""

    save_seconds: float = option("Seconds between saves.", 60.0)
    save_steps: int | None = option("Steps between saves, too.", unset="an epoch's")
    keep: int = option("Checkpoints that are kept.", 3)
    log_every: int | None = option(
        "Steps between lines of the history.", unset="a second's, and 50 of a run"
    )

    def settings(self) -> dict[str, Any]:
        """Return what a trainer takes of them."""
        from ooc.training.watchers.saver import Saving

        saving = Saving(self.save_seconds, self.save_steps, self.keep)
        return {"saving": saving, "log_every": self.log_every}


def role_of(role: str, name: str | None, none: bool) -> "RoleName":
    """Return a role's array: its name, None for the usual one, False for none."""
    if none and name is not None:
        raise InputError(f"--{role} {name} and --no-{role} exclude each other; give one of them")
    return False if none else name


def names_of(text: str | None) -> list[str] | None:
    """Read names with commas between; those of a file, one a line, where it is one's path."""
    if text is None:
        return None
    if Path(text).is_file():
        return Path(text).read_text().splitlines()
    return text.split(",")


def make_trainer(
    model: Mapping[str, Any],
    optimizer: "Optimizer | Method",
    batch_size: str,
    stream: StreamOptions,
    **settings: Any,
) -> "Trainer":
    """Make the trainer that the options name; `model` is a model's config."""
    from ooc.models import from_config
    from ooc.training.trainer import Trainer

    problem = "--batch-size is a number of rows, or full, not {!r}"
    rows = batch_size if batch_size == "full" else read(batch_size, int, problem)
    return Trainer(from_config(model), optimizer, rows, stream=stream, **settings)


def schedule_named(text: str, warmup: int = 0) -> "Schedule":
    """Read a schedule, such as "step:1000,0.5": its name, and what its function takes."""
    from ooc.optim.named import make_named
    from ooc.optim.schedules import SCHEDULES

    return make_named("schedule", SCHEDULES, text, warmup=warmup)


def read(text: str, reader: Callable[[str], Value], problem: str) -> Value:
    """Read an option's text; an InputError is the problem, with the text in its braces' place."""
    try:
        return reader(text)
    except (ValueError, LookupError, ZeroDivisionError):
        raise InputError(problem.format(text)) from None


def numbers(text: str) -> list[float]:
    """Read numbers with commas between."""
    return [float(part) for part in text.split(",")]
