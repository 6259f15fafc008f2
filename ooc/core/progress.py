"""What a run tells while it goes on, and what is made of it."""

from collections.abc import Callable
from dataclasses import dataclass


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
