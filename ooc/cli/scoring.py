"""Commands about saved runs: evaluate and predict."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ooc.cli.options import (
    DataPath,
    Features,
    Json,
    Memory,
    Missing,
    RunPath,
    Target,
    Weight,
    local_output,
    open_dataset,
)
from ooc.cli.show import show, table

# Classes of a confusion matrix that is still drawn; --json prints larger ones, too.
WIDEST_MATRIX = 6


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
    """Measure loss, accuracy, area under the curve or R2 of a saved run on a dataset.

    Example: ooc evaluate runs/big held-out.zarr
    """
    from ooc.cli.progress_bar import ProgressDisplay
    from ooc.runs.run import load

    dataset = open_dataset(data, features, target, weight, missing)
    with ProgressDisplay(f"evaluate {data.name}") as report:
        result = load(run).evaluate(dataset, memory, report)
    if json_:
        show({**result, "run": str(run)}, True)
        return
    matrix = result.pop("confusion_matrix")
    show({**result, "run": str(run)}, False)
    if matrix is not None and len(matrix) <= WIDEST_MATRIX:
        lines = {f"true {i}": confusion_line(row) for i, row in enumerate(matrix)}
        table("rows by true and predicted label", lines)


def confusion_line(row: Sequence[float]) -> str:
    """Return the counts of the labels predicted for one true label, in columns."""
    return " ".join(f"{count:>10,.6g}" for count in row)


def predict(
    run: RunPath,
    data: DataPath,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Dataset to write.", callback=local_output)
    ],
    memory: Memory = "1GiB",
    features: Features = "X",
    missing: Missing = "raise",
    json_: Json = False,
) -> None:
    """Write a saved run's predictions for every row to a new dataset.

    Example: ooc predict runs/big new.zarr predictions.zarr
    """
    from ooc.cli.progress_bar import ProgressDisplay
    from ooc.runs.run import load

    dataset = open_dataset(data, features, None, None, missing)
    with ProgressDisplay(f"predict {data.name}") as report:
        result = load(run).predict_to(dataset, out, memory, report)
    show({**result, "run": str(run), "path": str(out)}, json_)
