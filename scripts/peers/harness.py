"""What the peers share: one command line, one stopwatch, one file with the result.

A peer is a script that calls `main` with a function. The function imports nothing, opens the
store, compiles what there is to compile, and returns another function: the one that is timed. So
every peer's seconds cover reading and training, from the opened store to the final model.

With the setting ``snapshots=yes`` a peer also notes its model now and then, with the seconds and
rows so far: every so many rows at first, and then whenever the rows have grown by a fiftieth.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

# Rows to the first snapshot and at least between two of them, and the growth of rows in between.
FIRST_SNAPSHOT = 8192
SNAPSHOT_GROWTH = 0.02


@dataclass(frozen=True)
class Job:
    """What a peer is asked to do.

    Attributes
    ----------
    store
        Zarr group with "X" (rows, features) float32 and "y" (rows,) of 0 and 1.
    batch_size
        Rows of a step.
    rows, features
        Shape of "X".
    settings
        What not every peer knows, such as ``workers=2``.
    snapshots
        Where models are noted.
    """

    store: Path
    batch_size: int
    rows: int
    features: int
    settings: Mapping[str, str]
    snapshots: "Snapshots"

    @property
    def rows_to_use(self) -> int:
        """Rows to train on before it ends, by the settings `epochs` or `limit`; once each usually.

        A peer ends with the first step, slice or block that gets there.
        """
        epochs = int(self.settings.get("epochs", 1))
        return int(self.settings.get("limit", epochs * self.rows))

    @property
    def learning_rate(self) -> float:
        """Step for each unit of a batch's mean gradient, the same for every peer that takes one.

        On the benchmark's data a hundred units of step, whatever the number of steps, suffice to
        forget the start; a larger step would end with more noise. A peer that steps at each row
        divides it by the batch size, which gives the same bias and the same noise.
        """
        return min(0.1, 100.0 * self.batch_size / self.rows)


class Snapshots:
    """Models on the way, with the seconds and rows that led to each.

    Parameters
    ----------
    wanted
        Whether they are to be noted at all.
    """

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.noted: list[tuple[float, int, list[float]]] = []
        self._next = FIRST_SNAPSHOT
        self._begun = time.perf_counter()

    def begin(self) -> None:
        """Begin to count the seconds."""
        self._begun = time.perf_counter()

    def is_due(self, rows: int) -> bool:
        """Tell whether the model after so many rows is to be noted."""
        return self.wanted and rows >= self._next

    def note(self, rows: int, parameters: Iterable[float], seconds: float | None = None) -> None:
        """Note coefficients and intercept, in one row; by default as those of this very moment."""
        seconds = time.perf_counter() - self._begun if seconds is None else seconds
        self.noted.append((seconds, rows, [float(value) for value in parameters]))
        self._next = after(rows)


def after(rows: int) -> int:
    """Return how many rows are to be used before the next snapshot."""
    return rows + max(FIRST_SNAPSHOT, int(SNAPSHOT_GROWTH * rows))


class Trained(NamedTuple):
    """The final model, how many rows it has seen, and seconds in which it was being saved."""

    coefficients: Sequence[float]
    intercept: float
    rows: int
    save_seconds: float = 0.0


Train = Callable[[], Trained]


def main(prepare: Callable[[Job], Train], packages: Sequence[str]) -> None:
    """Run one peer: parse the command line, prepare, time, write the result.

    Parameters
    ----------
    prepare
        Returns the function that is timed.
    packages
        Distributions whose versions are noted, the peer's own first.
    """
    job, output = _parse()
    prepared = time.perf_counter()
    train = prepare(job)
    begun = time.perf_counter()
    job.snapshots.begin()
    trained = train()
    seconds = time.perf_counter() - begun
    result = {
        "seconds": seconds,
        "prepare_seconds": begun - prepared,
        "save_seconds": trained.save_seconds,
        "rows": trained.rows,
        "coefficients": [float(value) for value in trained.coefficients],
        "intercept": float(trained.intercept),
        "versions": {package: version(package) for package in packages},
        "python": ".".join(map(str, sys.version_info[:3])),
        "snapshots": job.snapshots.noted,
    }
    output.write_text(json.dumps(result))


def _parse() -> tuple[Job, Path]:
    parser = argparse.ArgumentParser(description="Train on a store once and time it.")
    parser.add_argument("store", type=Path)
    parser.add_argument("batch_size", type=int)
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE")
    given = parser.parse_args()
    settings = dict(item.split("=", 1) for item in given.settings)
    rows, features = shape_of(given.store)
    snapshots = Snapshots(settings.get("snapshots") == "yes")
    return Job(given.store, given.batch_size, rows, features, settings, snapshots), given.output


def shape_of(store: Path) -> tuple[int, int]:
    """Return rows and features of a store that `ooc make` wrote, from its metadata alone."""
    metadata: dict[str, Any] = json.loads((store / "X" / "zarr.json").read_text())
    rows, features = metadata["shape"]
    return rows, features
