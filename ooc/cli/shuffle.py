"""The shuffle command: a new store in exact order, or a report on how good a shuffle is."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ooc.cli.groups import flag, with_groups
from ooc.cli.options import (
    Compression,
    DataOptions,
    Json,
    Memory,
    Seed,
    dataset_output,
    output,
    read,
)
from ooc.cli.show import NOTES, show, show_measured, table
from ooc.core.errors import InputError
from ooc.store.compression import FAST_WRITE

SAMPLE_PROBLEM = "--sample is a number of blocks, at least 2, or all, not {!r}"


@with_groups
def shuffle(
    where: DataOptions,
    destination: Annotated[
        str | None,
        typer.Argument(
            metavar="[DST]", help="Dataset to write.", show_default=False, callback=dataset_output
        ),
    ] = None,
    measure: Annotated[
        bool, flag("Write nothing; report how well rows are mixed.", "--measure")
    ] = False,
    memory: Memory = "1GiB",
    seed: Seed = 0,
    threads: Annotated[int | None, flag("Threads.", unset="one more than cores, at most 4")] = None,
    order: Annotated[
        str, flag("With --measure: blocks, none, exact, or a .npy file of rows.")
    ] = "blocks",
    batch_size: Annotated[int, flag("Rows of a step.")] = 256,
    window: Annotated[int | None, flag("With --measure: blocks of a window.", unset="fits")] = None,
    sample: Annotated[str, flag("With --measure: blocks to estimate from, or all.")] = "256",
    picture: Annotated[
        Path | None, output("With --measure: PNG of original against new places.")
    ] = None,
    compression: Compression = FAST_WRITE,
    json_: Json = False,
) -> None:
    """Write a dataset's rows in one uniformly random order, or measure a shuffle.

    Example: ooc shuffle sorted.zarr shuffled.zarr --memory 1GiB --seed 0

    Example: ooc shuffle --measure sorted.zarr --batch-size 256 --picture mixing.png
    """
    from ooc.core.progress_bar import ProgressDisplay

    dataset, name = where.open(), where.name
    if measure:
        if destination is not None:
            raise InputError(f"--measure writes nothing; leave out {destination}")
        from ooc.shuffle.measurement import measure as measure_
        from ooc.shuffle.mixing import draw_mixing

        with ProgressDisplay(f"measure {name}") as report:
            found = measure_(
                dataset,
                _order(order),
                batch_size,
                memory,
                seed,
                window=window,
                sample_blocks=read(sample, _sample_size, SAMPLE_PROBLEM),
                report=report,
            )
        if picture is not None:
            draw_mixing(found, picture)
        if json_:
            show(found.to_json(), True)
        else:
            for title, rows in found.tables().items():
                table(title, rows)
        return
    if destination is None:
        raise InputError("name the dataset to write, or give --measure for a report")
    if picture is not None:
        raise InputError("--picture goes with --measure")
    from ooc.shuffle.external_sort import exact

    with ProgressDisplay(f"shuffle {name}") as report:
        result: dict[str, Any] = exact(
            dataset, destination, memory, seed, threads, report, compression=compression
        )
    if not json_:
        left_out = result.pop("left_out")
        NOTES.extend(f"left out: {name}, as {why}" for name, why in left_out.items())
    show_measured({**result, "path": destination}, json_, "")


def _order(order: str) -> Any:
    """Return an order's name, or the list of rows in a .npy file."""
    if not order.endswith(".npy"):
        return order
    import numpy as np

    try:
        return np.load(order, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{order} cannot be read as a list of rows: {error}") from None


def _sample_size(text: str) -> int | None:
    """Read how many blocks are sampled; None for all."""
    if text == "all":
        return None
    if not text.isdigit() or int(text) < 2:
        raise ValueError
    return int(text)
