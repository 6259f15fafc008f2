"""Reports: histories of runs, side by side, as one HTML page that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ooc.core.destination import claimed, local_path, write_whole
from ooc.core.errors import InputError
from ooc.core.figures import make_figure
from ooc.report.page import page
from ooc.report.runs import read_runs
from ooc.report.sections import draw_sections

__all__ = ["write_report"]


def write_report(run_dirs: Sequence[str | Path], path: str | Path) -> dict[str, Any]:
    """Write one page on runs: a table, and pictures of loss, speed, memory, waiting and noise.

    An HTML file that exists is replaced.

    Returns
    -------
    dict
        "path", "runs" (the folders, best first), "pictures" and "page_bytes".

    Raises
    ------
    InputError
        If matplotlib is missing, the page cannot be written, or a folder holds no history.
    """
    out = local_path(path, "reports")
    # Without matplotlib nothing is read.
    make_figure()
    if out.is_dir():
        raise InputError(f"{out} is a folder; name the file to write, such as {out}/report.html")
    if not out.absolute().parent.is_dir():
        raise InputError(f"the folder {out.parent} of {out.name} does not exist; make it first")
    runs = read_runs([local_path(run_dir, "runs", written=False) for run_dir in run_dirs])
    sections = draw_sections([run.history for run in runs])
    # A path need not be text, nor a name in JSON: what no encoding can write is spelt out.
    content = page(runs, sections).encode("utf-8", "backslashreplace")
    with claimed(out):
        write_whole(out, content)
    return {
        "path": str(out),
        "runs": [str(run.path) for run in runs],
        "pictures": sum(len(section.pictures) for section in sections),
        "page_bytes": len(content),
    }
