"""Is somebody there to see progress? Then a library's long work shows its own, like the shell's."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ooc.core.progress import Report, silent


def is_watched() -> bool:
    """Tell whether standard error is a terminal, or this process a notebook's."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return terminal or in_notebook()


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook."""
    interactive = sys.modules.get("IPython")
    shell = None if interactive is None else interactive.get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def reporting(title: str, report: Report | bool) -> Iterator[Report]:
    """Yield what to report to: a function is itself, True what somebody sees, False nothing.

    Inside of work that is shown already, and where nobody is there, nothing is shown.
    """
    if not isinstance(report, bool):
        yield report
        return
    if not report or not is_watched():
        yield silent
        return
    from ooc.core.progress_bar import ON_SCREEN, ProgressDisplay

    if ON_SCREEN.locked():
        yield silent
        return
    # Without widgets a notebook has no place for a live bar: there are lines then.
    live = not in_notebook() or find_spec("ipywidgets") is not None
    with ProgressDisplay(title, live=live) as display:
        yield display
