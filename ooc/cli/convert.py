"""The convert command: data of other formats to a dataset."""

from pathlib import Path
from typing import Annotated

import typer

from ooc.cli.groups import flag
from ooc.cli.options import Compression, Json, Memory, Seed, dataset_output, names_of, role_of
from ooc.cli.show import NOTES, show_measured, table
from ooc.core.errors import InputError
from ooc.store.compression import FAST_WRITE


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="File or folder: {input_formats}.")],
    destination: Annotated[
        str, typer.Argument(metavar="DST", help="Dataset to write.", callback=dataset_output)
    ],
    columns: Annotated[
        str | None,
        flag("Features, as in age,mass, or a file of one a line.", unset="all numbers"),
    ] = None,
    target: Annotated[str | None, flag("Column of the targets.", unset="y")] = None,
    no_target: Annotated[bool, flag("Take no column for targets.", "--no-target")] = False,
    weight: Annotated[str | None, flag("Column of the sample weights.", unset="none")] = None,
    no_weight: Annotated[bool, flag("Take no array for weights.", "--no-weight")] = False,
    without: Annotated[
        str | None, flag("Columns to leave out, as in id,url, or such a file.", unset="none")
    ] = None,
    dtype: Annotated[
        str | None, flag("Type of the features, such as float32.", unset="one that holds all")
    ] = None,
    missing_values: Annotated[
        str,
        flag(
            "What becomes of rows that lack a feature, target or weight: raise (an error), drop, "
            "keep (as missing), fill:NUMBER (features)."
        ),
    ] = "raise",
    hash_text: Annotated[
        str | None,
        flag("Columns of text to hash to whole numbers, or such a file.", unset="none"),
    ] = None,
    shuffle: Annotated[
        bool, flag("Write rows in one uniformly random order.", "--shuffle")
    ] = False,
    seed: Seed = 0,
    memory: Memory = "1GiB",
    threads: Annotated[int | None, flag("Threads.", unset="one more than cores, at most 8")] = None,
    format_: Annotated[
        str | None, flag("{input_formats}.", "--format", unset="by the suffix")
    ] = None,
    dense: Annotated[
        bool, flag("Write sparse rows as dense ones, however large that is.", "--dense")
    ] = False,
    zero_based: Annotated[bool, flag("Indices of svmlight begin at 0.", "--zero-based")] = False,
    image_size: Annotated[
        str | None, flag("HEIGHTxWIDTH to which images are resized.", unset="all are of one size")
    ] = None,
    compression: Compression = FAST_WRITE,
    json_: Json = False,
) -> None:
    """Convert data of another format to a dataset, out of core.

    A call that was stopped is gone on with by the same call.

    Example: ooc convert clicks.parquet clicks.zarr --target clicked --memory 1GiB

    Example: ooc convert photos photos.zarr --image-size 224x224 --shuffle
    """
    from ooc.conversion.job import convert as convert_
    from ooc.core.progress_bar import ProgressDisplay

    with ProgressDisplay(f"convert {Path(source).name}") as report:
        result = convert_(
            source,
            destination,
            columns=names_of(columns),
            target=role_of("target", target, no_target),
            weight=role_of("weight", weight, no_weight),
            without=names_of(without) or [],
            dtype=dtype,
            missing_values=missing_values,
            shuffle=shuffle,
            seed=seed,
            memory=memory,
            threads=threads,
            format=format_,
            dense=dense,
            zero_based=zero_based,
            image_size=None if image_size is None else _size(image_size),
            hash_text=names_of(hash_text) or [],
            compression=compression,
            report=report,
        )
    if not json_:
        table(
            f"{Path(source).name}, {result['rows_read']:,} rows read",
            result.pop("columns"),
            as_named=True,
        )
        NOTES.extend(result.pop("notes"))
        result.pop("missing")
    show_measured({**result, "path": destination}, json_, "")


def _size(text: str) -> tuple[int, int]:
    """Read "224x160": a height and a width."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"--image-size is a height and a width such as 224x224, not {text!r}")
    return int(parts[0]), int(parts[1])
