"""What the peers share: one command line, one stopwatch, one file with the result.

A peer is a script that calls `main` with a function. The function imports nothing, opens the
store, compiles what there is to compile, and returns another function: the one that is timed. So
every peer's seconds cover reading and training, from the opened store to the final model.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple


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
        What only this peer knows, such as ``workers=2``.
    """

    store: Path
    batch_size: int
    rows: int
    features: int
    settings: Mapping[str, str]

    @property
    def learning_rate(self) -> float:
        """Step for each unit of a batch's mean gradient, the same for every peer that takes one.

        On the benchmark's data a hundred units of step, whatever the number of steps, suffice to
        forget the start; a larger step would end with more noise. A peer that steps at each row
        divides it by the batch size, which gives the same bias and the same noise.
        """
        return min(0.1, 100.0 * self.batch_size / self.rows)


class Trained(NamedTuple):
    """The final model, and how many rows it has seen."""

    coefficients: Sequence[float]
    intercept: float
    rows: int


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
    train = prepare(job)
    begun = time.perf_counter()
    trained = train()
    seconds = time.perf_counter() - begun
    result = {
        "seconds": seconds,
        "rows": trained.rows,
        "coefficients": [float(value) for value in trained.coefficients],
        "intercept": float(trained.intercept),
        "versions": {package: version(package) for package in packages},
        "python": ".".join(map(str, sys.version_info[:3])),
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
    return Job(given.store, given.batch_size, rows, features, settings), given.output


def shape_of(store: Path) -> tuple[int, int]:
    """Return rows and features of a store that `ooc make` wrote, from its metadata alone."""
    metadata: dict[str, Any] = json.loads((store / "X" / "zarr.json").read_text())
    rows, features = metadata["shape"]
    return rows, features
