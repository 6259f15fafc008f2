"""The engine of lanes that take several steps by themselves before their parameters are averaged.

Whoever serves a lane knows nothing of it that its engine does not know, too: after each leg, the
steps of a lane in one window, parameters and optimizer state come back. So a lane goes on elsewhere
where a worker is lost, a checkpoint holds all of it, and the bits depend on the lanes alone.
"""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ooc.cluster.messages import Leg, LegEnd, Legs, Share
from ooc.cluster.refusals import refused
from ooc.cluster.traffic import Serving
from ooc.cluster.windows import RemoteWindow
from ooc.engines.synchronisation import Synchronisation, outer_step
from ooc.kernels.counters import LOSS_SUM, NEVER, TOTALS
from ooc.models.contract import Model
from ooc.models.lane_shares import Refusal
from ooc.models.train_state import TrainState
from ooc.stream.lanes import rows_before
from ooc.stream.loader import Loader
from ooc.stream.window import Window


class Cut(NamedTuple):
    """A batch's part of a window: its places, rows of the batch before, and whether it ends it."""

    start: int
    stop: int
    before: int
    ends: bool


class LocalStepsEngine:
    """Takes rounds of local steps; see `ooc.engines.engine.Engine`.

    Between two rounds ``train_state`` has the parameters with which the lanes begin the next one,
    within a round those with which they began it. A step is that of all lanes, each on its own
    rows of one batch; ``rounds`` are those that are over.
    """

    ended = False

    def __init__(
        self,
        serving: Serving,
        model: Model,
        loader: Loader,
        train_state: TrainState,
        how: Synchronisation,
    ) -> None:
        self.serving, self.model, self.train_state = serving, model, train_state
        self.window: Window | None = None
        self.batch_size, self.step, self.rows = loader.plan.batch_size, loader.step, 0
        self.rounds, self._how = 0, how
        lanes = serving.lanes
        # What each lane has: (L, M, P) and (L, M, slots, P), and the rows of its round.
        self._parameters = np.tile(train_state.parameters, (lanes, 1, 1))
        self._states = np.tile(train_state.state, (lanes, 1, 1, 1))
        self._velocity = np.zeros(train_state.parameters.shape)
        self._round_rows, self._round_steps = [0] * lanes, 0
        self._stands = [self.step] * lanes
        # Lanes that were told, or made, the parameters of this round.
        self._in_round: set[int] = set()
        self._place = 0
        self._drop_batch()

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Take the steps that a window completes; see `ooc.engines.engine.Engine`."""
        assert isinstance(window, RemoteWindow), "its rows are with those that serve the lanes"
        if window is not self.window:
            self.window, self._place = window, window.start
        total = sum(window.lane_rows)
        while cuts := self._next_cuts(window, total, last_step):
            self._take(window, cuts)
            is_over = window.last and self._place == total
            if self._round_steps and (self._round_steps == self._how.local_steps or is_over):
                self._end_round()
        return self._place == total

    def results(self) -> dict[str, Any]:
        """Return what a run's results tell of the lanes."""
        traffic = self.serving.traffic
        return {
            "lanes": self.serving.lanes,
            "local_steps": self._how.local_steps,
            "synchronisations": self.rounds,
            **(traffic.results() if traffic.workers else {}),
        }

    def state(self, number: int) -> dict[str, Any]:
        """Return what a descent's lanes go on from, beside its train state."""
        return {
            "parameters": self._parameters[:, number],
            "states": self._states[:, number],
            "velocity": self._velocity[number],
            "round_rows": list(self._round_rows),
            "round_steps": self._round_steps,
            "rounds": self.rounds,
        }

    def restore(self, number: int, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises
        ------
        ValueError
            If an array has another shape or type.
        """
        held = {"parameters": self._parameters[:, number], "states": self._states[:, number]}
        for name, values in (held | {"velocity": self._velocity[number]}).items():
            found = state[name]
            if (found.shape, found.dtype) != (values.shape, values.dtype):
                raise ValueError(f"lanes' {name} of shape {found.shape}, not {values.shape}")
            values[...] = found
        if len(state["round_rows"]) != self.serving.lanes:
            raise ValueError(f"{len(state['round_rows'])} lanes, not {self.serving.lanes}")
        self._round_rows = [int(rows) for rows in state["round_rows"]]
        self._round_steps, self.rounds = int(state["round_steps"]), int(state["rounds"])

    def _drop_batch(self) -> None:
        """Begin a batch: no row of it has been seen."""
        lanes = self.serving.lanes
        self._in_batch, self._batch_rows = 0, [0] * lanes
        self._carried = [list[Any]() for _ in range(lanes)]

    def _next_cuts(self, window: RemoteWindow, total: int, last_step: int) -> list[Cut]:
        """Return the parts of batches that come next, up to the end of window or round."""
        left_in_round = self._how.local_steps - self._round_steps
        steps, most = 0, min(last_step - self.step, left_in_round)
        place, in_batch, cuts = self._place, self._in_batch, list[Cut]()
        while steps < most and (place < total or (window.last and in_batch)):
            stop = place + min(total - place, self.batch_size - in_batch)
            is_full = in_batch + stop - place == self.batch_size
            ends = is_full or (window.last and stop == total)
            cuts.append(Cut(place, stop, in_batch, ends))
            steps, in_batch = steps + ends, 0 if ends else in_batch + stop - place
            place = stop
        return cuts

    def _take(self, window: RemoteWindow, cuts: list[Cut]) -> None:
        """Let every lane take its leg."""
        shares = self._shares(window, cuts)
        begun, found = time.perf_counter(), self._ask(window, cuts, shares)
        traffic = self.serving.traffic
        traffic.wait_seconds += time.perf_counter() - begun
        refusals = [(found[lane].refusal, lane) for lane in found if found[lane].refusal]
        if refusals:
            (number, status, row), lane = min(refusals)  # type: ignore[misc]
            self.step += sum(cut.ends for cut in cuts[:number])
            start, stop, before = shares[lane][number]
            share = Share(lane, window.epoch, window.index, start, stop, before)
            raise refused(self, Refusal(status, row=row), share if row >= 0 else None)
        steps = sum(cut.ends for cut in cuts)
        for lane, end in found.items():
            self._keep(lane, end, self.step + steps)
        self._add_totals(found, steps)
        for number, cut in enumerate(cuts):
            for lane, own in enumerate(shares):
                self._batch_rows[lane] += own[number][1] - own[number][0]
            if cut.ends:
                for lane, rows in enumerate(self._batch_rows):
                    self._round_rows[lane] += rows
                self.rows += sum(self._batch_rows)
                self._batch_rows = [0] * len(shares)
        last = cuts[-1]
        self._in_batch = 0 if last.ends else last.before + last.stop - last.start
        self._place = last.stop
        self.step, self._round_steps = self.step + steps, self._round_steps + steps
        traffic.steps += steps

    def _shares(self, window: RemoteWindow, cuts: list[Cut]) -> list[list[tuple[int, int, int]]]:
        """Return each lane's shares of the cuts, see `ooc.cluster.messages.Leg`."""
        shares: list[list[tuple[int, int, int]]] = [[] for _ in window.lane_rows]
        firsts = rows_before(window.lane_rows, cuts[0].start)
        for cut in cuts:
            stops, before = rows_before(window.lane_rows, cut.stop), cut.before
            for own, start, stop in zip(shares, firsts, stops, strict=True):
                own.append((start, stop, before))
                before += stop - start
            firsts = stops
        return shares

    def _ask(
        self, window: RemoteWindow, cuts: list[Cut], shares: list[list[tuple[int, int, int]]]
    ) -> dict[int, LegEnd]:
        """Return how the legs of all lanes that have rows end; the lanes in their order."""
        state = self.train_state
        begins = self._round_steps == 0
        legs = Legs(
            self.step, self.batch_size, state.active.tolist(), [cut.ends for cut in cuts],
            state.settings.tobytes(), state.parameters.tobytes() if begins else b"",
        )  # fmt: skip
        asked = {
            lane: Leg(lane, window.epoch, window.index, self._stands[lane], own, carried)
            for lane, (own, carried) in enumerate(zip(shares, self._carried, strict=True))
            if carried or any(stop > start for start, stop, _ in own)
        }
        if not begins:
            late = set(asked) - self._in_round
            asked |= {lane: self._with_own(asked[lane]) for lane in late}
        self._in_round |= set(asked)
        found = self.serving.ask_lanes("legs", asked, legs)
        # Who has not served a lane before is told what it has.
        new = {lane: self._with_own(leg) for lane, leg in asked.items() if found[lane] is None}
        found |= self.serving.ask_lanes("legs", new, legs)
        return {lane: LegEnd(*found[lane]) for lane in asked}

    def _with_own(self, leg: Leg) -> Leg:
        own = self._parameters[leg.lane].tobytes(), self._states[leg.lane].tobytes()
        return leg._replace(own=own)

    def _keep(self, lane: int, end: LegEnd, step: int) -> None:
        """Take what a lane came to."""
        arrays = self._parameters[lane], self._states[lane]
        for array, told in zip(arrays, end.own, strict=True):
            array.reshape(-1)[:] = np.frombuffer(told, array.dtype)
        self._carried[lane] = list(end.carried)
        self._stands[lane] = step
        self.train_state.active[:] &= np.asarray(end.active)

    def _add_totals(self, found: Mapping[int, LegEnd], steps: int) -> None:
        """Add the loss of each step and its terms: step by step, in the order of the lanes."""
        totals = self.train_state.totals
        told = [np.frombuffer(end.totals).reshape(steps, *totals.shape) for end in found.values()]
        kept = [LOSS_SUM, *range(TOTALS, totals.shape[1])]
        for step in range(steps):
            for each in told:
                totals[:, kept] += each[step][:, kept]

    def _end_round(self) -> None:
        """Average the lanes' parameters, and let all of them begin anew there."""
        state = self.train_state
        for m in np.flatnonzero(state.active):
            own = self._parameters[:, m]
            state.parameters[m] = outer_step(
                state.parameters[m], list(own), self._round_rows, self._velocity[m], self._how
            )
        self._parameters[:] = state.parameters
        self._round_rows, self._round_steps = [0] * len(self._round_rows), 0
        self._in_round.clear()
        self.rounds += 1
