"""The export command: a saved run as a file that other programs read."""

from pathlib import Path
from typing import Annotated

import typer

from ooc.cli.groups import flag
from ooc.cli.options import Json, RunPath, local_output, names_of
from ooc.cli.show import show


def export(
    run: RunPath,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="File to write, with a suffix {formats}.", callback=local_output
        ),
    ],
    feature_names: Annotated[
        str | None, flag("Names as in age,mass, or a file of one a line.", unset="x0, x1, ...")
    ] = None,
    class_names: Annotated[
        str | None, flag("Names as in no,yes, or a file of one a line.", unset="0, 1, ...")
    ] = None,
    input_dtype: Annotated[
        str | None, flag("What an ONNX model takes rows as.", unset="float32")
    ] = None,
    json_: Json = False,
) -> None:
    """Write a saved run's model for other programs: as ONNX, coefficients, or tensors.

    Example: ooc export runs/big big.onnx --class-names no,yes

    Example: ooc export runs/big coefficients.csv --feature-names names.txt
    """
    from ooc.runs.loading import load

    names = {"feature_names": names_of(feature_names), "class_names": names_of(class_names)}
    written = load(run).export(out, input_dtype=input_dtype, **names)
    show({"path": str(written), "file_bytes": written.stat().st_size, "run": str(run)}, json_)
