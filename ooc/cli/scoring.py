"""Commands about saved runs: evaluate and predict."""

from pathlib import Path
from typing import Annotated

import typer

from ooc.cli.groups import with_groups
from ooc.cli.options import (
    DataOptions,
    DataPath,
    Features,
    Json,
    Memory,
    Missing,
    MissingValues,
    RunPath,
    local_output,
)
from ooc.cli.show import show, table

# Classes of a confusion matrix that is still drawn; --json prints larger ones, too.
WIDEST_MATRIX = 6


@with_groups
def evaluate(
    run: RunPath,
    *,
    memory: Memory = "1GiB",
    where: DataOptions,
    missing_values: MissingValues = "raise",
    json_: Json = False,
) -> None:
    """Measure loss, accuracy, area under the curve or R2 of a saved run on a dataset.

    Example: ooc evaluate runs/big held-out.zarr
    """
    from ooc.cli.progress_bar import ProgressDisplay
    from ooc.runs.run import load

    dataset = where.open()
    with ProgressDisplay(f"evaluate {where.data.name}") as report:
        result = load(run).evaluate(dataset, memory, report, missing_values)
    matrix = result["confusion_matrix"]
    told = {} if json_ else {"confusion_matrix": None}
    show({**result, **told, "run": str(run)}, json_)
    if not json_ and matrix is not None and len(matrix) <= WIDEST_MATRIX:
        lines = {
            f"true {label}": " ".join(f"{count:>10,.6g}" for count in row)
            for label, row in enumerate(matrix)
        }
        table("rows by true and predicted label", lines)


def predict(
    run: RunPath,
    data: DataPath,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Dataset to write.", callback=local_output)
    ],
    memory: Memory = "1GiB",
    features: Features = None,
    missing: Missing = "raise",
    missing_values: MissingValues = "raise",
    json_: Json = False,
) -> None:
    """Write a saved run's predictions for every row to a new dataset.

    With --missing-values drop, that of a row that lacks a value is NaN, or -1 of whole numbers.

    Example: ooc predict runs/big new.zarr predictions.zarr
    """
    from ooc.cli.progress_bar import ProgressDisplay
    from ooc.runs.run import load

    where = DataOptions(data, features, no_target=True, no_weight=True, missing=missing)
    dataset = where.open()
    with ProgressDisplay(f"predict {data.name}") as report:
        result = load(run).predict_to(dataset, out, memory, report, missing_values)
    show({**result, "run": str(run), "path": str(out)}, json_)
