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
from ooc.cli.show import show_measured


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
    from ooc.core.progress_bar import ProgressDisplay

    with ProgressDisplay(f"evaluate {where.data.name}") as report:
        from ooc.runs.run import load

        dataset = where.open()
        result = load(run).evaluate(dataset, memory, report, missing_values)
    show_measured({**result, "run": str(run)}, json_, "what --json prints")


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
    from ooc.core.progress_bar import ProgressDisplay

    where = DataOptions(data, features, no_target=True, no_weight=True, missing=missing)
    with ProgressDisplay(f"predict {data.name}") as report:
        from ooc.runs.run import load

        dataset = where.open()
        result = load(run).predict_to(dataset, out, memory, report, missing_values)
    show_measured({**result, "run": str(run), "path": str(out)}, json_, "")
