"""What a run tells while it goes on, and what is made of it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where long work stands; the command line draws it.

    Attributes
    ----------
    bytes
        Decoded bytes done.
    wait_seconds
        Time spent waiting for the disk.
    memory_budget_bytes
        The budget, or 0 where there is none.
    step, epoch
        Where training stands; 0 in other work.
    loss
        Mean loss since the report before, or None where there is none.
    text
        What is being done, where it is not the work itself; rows are then pieces of that.
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


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Report nothing."""
