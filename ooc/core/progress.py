"""What a run tells while it goes on, and what is made of it."""

from collections.abc import Callable
from dataclasses import dataclass

# Long enough, and reports enough, that what is left follows from what was done.
ENOUGH_SECONDS, ENOUGH_REPORTS = 1.0, 4


@dataclass(frozen=True)
class Progress:
    """Where long work stands: rows and decoded bytes done, seconds of them waiting for the disk.

    Attributes
    ----------
    memory_budget_bytes, step, epoch
        0 where there is no budget, or the work is not training.
    loss
        Mean loss since the report before, or None where there is none.
    text
        What is being done, where it is not the work itself; rows are then pieces of that, a
        single one where nobody knows how long it takes.
    at_most
        Whether the work may end by itself before all rows are done.
    lanes
        Who serves the lanes, where a run has others do so, see `ooc.core.lanes`.
    """

    rows: int
    total_rows: int
    bytes: int
    seconds: float
    wait_seconds: float = 0.0
    memory_budget_bytes: int = 0
    step: int = 0
    epoch: int = 0
    loss: float | None = None
    text: str = ""
    at_most: bool = False
    lanes: str = ""


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Report nothing."""


def tell(report: Report, text: str) -> None:
    """Report what is being done, where nobody knows how long it takes."""
    report(Progress(0, 1, 0, 0.0, text=text))


def format_seconds(seconds: float) -> str:
    """Print a time for people, to the second.

    Examples
    --------
    >>> format_seconds(3723.9)
    '1:02:03'
    """
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


class TimeLeft:
    """Tells how long work still takes from how long all of it took so far, its start-up left out.

    Examples
    --------
    >>> left = TimeLeft()
    >>> [left.after(Progress(rows, 1000, 0, 30 + rows / 100)) for rows in range(0, 500, 100)]
    [None, None, None, None, 6.0]
    """

    def __init__(self) -> None:
        self._first: Progress | None = None
        self._reports = 0

    def after(self, progress: Progress) -> float | None:
        """Return the seconds that are left after a report; None as long as they are not known."""
        if self._first is None or progress.rows < self._first.rows:
            # Until the first report, kernels were loaded, and the first rows waited for.
            self._first, self._reports = progress, 0
            return None
        self._reports += 1
        rows = progress.rows - self._first.rows
        seconds = progress.seconds - self._first.seconds
        if rows == 0 or seconds < ENOUGH_SECONDS or self._reports < ENOUGH_REPORTS:
            return None
        return seconds / rows * (progress.total_rows - progress.rows)
