"""The report command: runs side by side on one page."""

from pathlib import Path
from typing import Annotated

import typer

from ooc.cli.options import Json, output
from ooc.cli.show import show


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="What train --run wrote.")],
    out: Annotated[Path, output("The page to write.")] = Path("report.html"),
    json_: Json = False,
) -> None:
    """Write one HTML page on runs: loss, speed, memory against budget, time lost to waiting.

    Example: ooc report runs/big --out big.html

    Example: ooc report sweep/* --out sweep.html
    """
    from ooc.report import write_report

    written = write_report(runs, out)
    show(written if json_ else {**written, "runs": len(written["runs"])}, json_)
