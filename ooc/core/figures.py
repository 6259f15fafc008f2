"""Figures of matplotlib's, which is an extra and is imported only where something is drawn."""

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ooc.core.destination import local_path, write_whole
from ooc.core.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make_figure(width: float = 6.0, height: float = 4.0) -> "Figure":
    """Return a new figure of a size in inches, which no global state of matplotlib's knows.

    Examples
    --------
    >>> make_figure(8, 3).get_size_inches().tolist()
    [8.0, 3.0]
    """
    # Without a home it logs two lines on where its settings are, and works.
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        import matplotlib.figure
    except ImportError:
        raise InputError(
            "pictures need matplotlib, which is not installed; pip install 'ooc[report]' brings it"
        ) from None
    finally:
        log.setLevel(level)
    return matplotlib.figure.Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: "Figure", path: str | Path, dpi: int) -> None:
    """Write a figure as the file's name asks for, by default as PNG; it is whole or not there."""
    place, drawn = local_path(path, "pictures"), io.BytesIO()
    kind, known = place.suffix[1:].lower() or "png", figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise InputError(f"no picture can be written as {place}; name it .png, .svg or .pdf")
    figure.savefig(drawn, format=kind, dpi=dpi)
    write_whole(place, drawn.getbuffer())
