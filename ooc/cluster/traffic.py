"""Who serves a run's lanes, as its engine sees them, and what goes over the wire meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass
class Traffic:
    """What went over the wire, and how often lanes moved.

    Attributes
    ----------
    sent, received
        Bytes of all messages that ask for gradients or local steps, and that answer.
    wait_seconds
        How long the client waited for answers.
    steps, workers
        Steps taken, and the most workers that served at once.
    moves, lost
        Lanes that went to another worker, and workers that were lost.
    """

    sent: int = 0
    received: int = 0
    wait_seconds: float = 0.0
    steps: int = 0
    workers: int = 0
    moves: int = 0
    lost: int = 0

    def results(self) -> dict[str, Any]:
        """Return what a run's results tell of it."""
        return {
            "workers": self.workers,
            "bytes_sent": self.sent,
            "bytes_received": self.received,
            "bytes_per_step": (self.sent + self.received) // max(self.steps, 1),
            "answers_wait_seconds": self.wait_seconds,
            "lanes_moved": self.moves,
            "workers_lost": self.lost,
        }


class Serving(Protocol):
    """Those that serve all lanes of a run: workers, or this process."""

    traffic: Traffic

    @property
    def lanes(self) -> int:
        """Lanes of the run."""

    def look(self) -> None:
        """See who is there."""

    def ask_lanes(self, asked_for: str, by_lane: Mapping[int, Any], *common: Any) -> dict[int, Any]:
        """Return each lane's answer, see `ooc.cluster.crew.Crew`."""
