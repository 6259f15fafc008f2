"""Figures of matplotlib's, which is an extra and is imported only where something is drawn."""

import logging
from typing import TYPE_CHECKING

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
