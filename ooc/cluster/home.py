"""Lanes that this process serves itself, as a worker of a cluster would."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ooc.cluster.lane_server import LaneServer
from ooc.cluster.local_steps import LocalStepsEngine
from ooc.cluster.messages import LaneWork
from ooc.cluster.traffic import Traffic
from ooc.cluster.windows import RemoteReader
from ooc.core.errors import DataError, InputError
from ooc.engines.synchronisation import Synchronisation
from ooc.models.contract import Model
from ooc.models.loop import parallel_threads
from ooc.models.train_state import TrainState
from ooc.stream.loader import Loader


class Home:
    """Serves all lanes of a run in this process, see `ooc.cluster.traffic.Serving`."""

    def __init__(self, work: LaneWork, threads: int) -> None:
        self.traffic, self.lanes = Traffic(), work.plan.order.lanes
        self._server = LaneServer(work, "this process", threads, self.lanes)

    def look(self) -> None:
        """Nobody comes or goes here."""

    def ask_lanes(self, asked_for: str, by_lane: Mapping[int, Any], *common: Any) -> dict[int, Any]:
        """Return each lane's answer, see `ooc.cluster.crew.Crew.ask_lanes`.

        Raises
        ------
        InputError, DataError
            If it is refused.
        """
        if not by_lane:
            return {}
        is_answer, answer, *rest = self._server.answer((asked_for, *common, [*by_lane.values()]))
        if not is_answer:
            raise (DataError if rest[0] else InputError)(answer)
        return dict(zip(by_lane, answer, strict=True))

    def close(self) -> None:
        """End all reading."""
        self._server.close()


@contextmanager
def lanes_here(
    model: Model, loader: Loader, train_state: TrainState, work: LaneWork, how: Synchronisation
) -> Iterator[LocalStepsEngine]:
    """Serve a run's lanes, and read its windows, in this process."""
    home = Home(work, parallel_threads(len(os.sched_getaffinity(0))))
    loader.open_reader = lambda: RemoteReader(home, loader)
    try:
        yield LocalStepsEngine(home, model, loader, train_state, how)
    finally:
        loader.open_reader = None
        home.close()
