"""Commands about saved runs: evaluate and predict."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ooc.cli.groups import flag, with_groups
from ooc.cli.options import (
    Columns,
    DataOptions,
    DataOrNoneOptions,
    DataPaths,
    Json,
    Memory,
    Missing,
    MissingValues,
    RunFeatures,
    RunPath,
    SeveralDataOptions,
    dataset_output,
)
from ooc.cli.show import NOTES, show_measured
from ooc.core.errors import InputError

if TYPE_CHECKING:
    from ooc.runs.run import Run


@with_groups
def evaluate(
    run: RunPath,
    *,
    memory: Memory = "1GiB",
    where: DataOrNoneOptions,
    held_out: Annotated[
        bool, flag("Measure on the rows that the run held out, of DATA or its own.", "--held-out")
    ] = False,
    missing_values: MissingValues = "raise",
    json_: Json = False,
) -> None:
    """Measure loss, accuracy, area under the curve or R2 of a saved run on a dataset.

    Example: ooc evaluate runs/big held-out.zarr
    Example: ooc evaluate runs/big --held-out
    """
    from ooc.core.progress_bar import ProgressDisplay

    if not where.paths and not held_out:
        raise InputError("there is nothing to measure on; name DATA, or give --held-out")
    with ProgressDisplay(f"evaluate {where.name if where.paths else run.name}") as report:
        from ooc.runs.loading import load

        trained = load(run)
        dataset = _like(trained, where).open() if where.paths else None
        if held_out:
            dataset = trained.held_out(dataset)
        assert dataset is not None
        result = trained.evaluate(dataset, memory, report, missing_values)
    if known := result.get("trained_on_rows"):
        rows = f"the run was trained on {known:,} of these {result['rows']:,} rows"
        NOTES.append(f"{rows}: only others tell how it does on new ones, such as --held-out")
    show_measured({**result, "run": str(run)}, json_, "what --json prints")


def predict(
    run: RunPath,
    data: DataPaths,
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="Dataset to write.", callback=dataset_output)
    ],
    memory: Memory = "1GiB",
    features: RunFeatures = None,
    columns: Columns = None,
    missing: Missing = "raise",
    missing_values: MissingValues = "raise",
    json_: Json = False,
) -> None:
    """Write a saved run's predictions for every row to a new dataset.

    With --missing-values drop, that of a row that lacks a value is NaN, or -1 of whole numbers.

    Example: ooc predict runs/big new.zarr predictions.zarr
    Example: ooc predict runs/big new.zarr s3://bucket/predictions.zarr
    """
    from ooc.core.progress_bar import ProgressDisplay

    where = SeveralDataOptions(
        data, features, no_target=True, no_weight=True, missing=missing, columns=columns
    )
    with ProgressDisplay(f"predict {where.name}") as report:
        from ooc.runs.loading import load

        trained = load(run)
        dataset = _like(trained, where).open()
        result = trained.predict_to(dataset, out, memory, report, missing_values)
    show_measured({**result, "run": str(run), "path": out}, json_, "")


def _like(trained: "Run", where: DataOptions) -> DataOptions:
    """Return the options with the features of the run, where they name none."""
    from ooc.store.roles import FEATURES, USUAL_NAMES

    noted = trained.trained_on
    if noted is None or where.features is not None or where.columns is not None:
        return where
    own = noted.dataset[FEATURES]
    return where if own == USUAL_NAMES[FEATURES] else replace(where, features=own)
