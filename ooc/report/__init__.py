"""Reports: histories of runs, side by side, as one HTML page that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ooc.core.destination import claimed, local_path, write_whole
from ooc.core.errors import InputError
from ooc.report.page import page
from ooc.report.runs import read_runs

__all__ = ["drawing_library", "write_report"]


def write_report(run_dirs: Sequence[str | Path], path: str | Path) -> dict[str, Any]:
    """Write one page on runs: tables, and figures with values under the mouse.

    It is one file that loads nothing: plotly.js is in it, which draws the figures. Runs are grouped
    where their losses can be compared: by their data, and what their loss is. An HTML file that
    exists is replaced.

    Returns
    -------
    dict
        "path", "runs" (the folders, best first), "pictures" and "page_bytes".

    Raises
    ------
    InputError
        If plotly is missing, the page cannot be written, or a folder holds no history.
    """
    out = local_path(path, "reports")
    library = drawing_library()
    if out.is_dir():
        raise InputError(f"{out} is a folder; name the file to write, such as {out}/report.html")
    if not out.absolute().parent.is_dir():
        raise InputError(f"the folder {out.parent} of {out.name} does not exist; make it first")
    runs = read_runs([local_path(run_dir, "runs", written=False) for run_dir in run_dirs])
    text, figures = page(runs, library)
    # A path need not be text, nor a name in JSON: what no encoding can write is spelt out.
    content = text.encode("utf-8", "backslashreplace")
    with claimed(out):
        write_whole(out, content)
    return {
        "path": str(out),
        "runs": [str(run.path) for run in runs],
        "pictures": figures,
        "page_bytes": len(content),
    }


def drawing_library() -> str:
    """Return the source of plotly.js, as the package plotly brings it."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise InputError(
            "the report needs plotly, which is not installed; pip install 'ooc[report]' brings it"
        ) from None
    source: str = get_plotlyjs()
    # What would end the script's element early is not in it; if it were, it may be written so.
    return source.replace("</script", "<\\/script")
