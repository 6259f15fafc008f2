"""A lane that is read ahead, and its part of the compiled loop: shares, and steps of its own."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np

from ooc.cluster.messages import (
    LanePart,
    LaneWork,
    Leg,
    LegEnd,
    Legs,
    Share,
    sums_from_wire,
    sums_to_wire,
)
from ooc.core.random_keys import Purpose, prefix
from ooc.kernels.counters import OK
from ooc.models.lane_shares import (
    Place,
    ShareSums,
    add_share,
    begin_batch,
    end_step,
    resting_state,
    take_shares,
    work_off,
)
from ooc.models.loop import Rows, make_loop
from ooc.models.train_state import start
from ooc.optim.settings import SCHEDULE
from ooc.stream.lanes import lane_order, lane_plan
from ooc.stream.reader import WindowReader
from ooc.stream.scheduler import reading_here
from ooc.stream.window import Window


class OpenLane:
    """A lane that is read ahead from a place on, and its part of the compiled loop.

    `parameters`, (M, P), are where gradients are taken; a lane that takes steps has its own.
    `lanes_here` are those beside it, itself included.

    Attributes
    ----------
    loop
        Of which shares are worked off.
    """

    _window: Window | None = None
    # The one whose rows are bound to the loop.
    _bound: Window | None = None

    def __init__(
        self,
        work: LaneWork,
        lane: int,
        lanes_here: int,
        parameters: np.ndarray,
        place: tuple[int, int],
    ) -> None:
        self._order, plan, stream = lane_order(work.plan.order, lane), work.plan, work.stream
        if work.local:
            methods = [each for each in work.optimizers if each is not None]
            self._state = start(methods, parameters[0], work.model)
        else:
            self._state = resting_state(work.model, parameters)
        # The step after which its own parameters and state stand as they do; none are here yet.
        self._stands = -1
        self.loop = make_loop(
            work.model, work.dataset, self._state, plan.batch_size, plan.largest_batch,
            optimizers=work.optimizers, lanes=plan.order.lanes,
        )  # fmt: skip
        self.loop.begin(0, prefix(plan.order.seed, Purpose.BATCH))
        with reading_here():
            self._reader = WindowReader(
                work.dataset, work.names, lane_plan(work.plan, lane, lanes_here),
                stream.io, stream.on_bad_chunk, stream.missing_values,
            )  # fmt: skip
        self._reader.__enter__()
        places = self._order.places(*place, work.epochs)
        self._windows: Iterator[Window] = self._reader.windows(places)
        self._at = self._next = place

    def reaches(self, epoch: int, index: int) -> bool:
        """Tell whether a window is the one at hand, or the next one."""
        return (epoch, index) in (self._at, self._next) or self._is_empty(epoch, index)

    def part(self, epoch: int, index: int) -> LanePart:
        """Return what the lane's part of a window has."""
        if self._is_empty(epoch, index):
            return LanePart(0)
        window = self.window(epoch, index)
        return LanePart(
            len(window.order), window.skipped_rows, window.skipped_chunks, window.missing,
            window.wait_seconds,
        )  # fmt: skip

    def window(self, epoch: int, index: int) -> Window:
        """Return the lane's part of a window; that of the one before is gone then."""
        if self._window is None or (epoch, index) != self._at:
            self._window = next(self._windows)
            self._at = self._window.epoch, self._window.index
            assert self._at == (epoch, index), "windows come in their order"
            following = self._order.places(*self._after(self._at), epoch + 2)
            self._next = next(((each, place) for each, place, _ in following), self._at)
        return self._window

    def work_off(self, share: Share, place: Place, active: Sequence[bool]) -> ShareSums:
        """Return what comes of a share; models that are not active are left out."""
        window = self.window(share.epoch, share.window)
        self._state.active[:] = active
        if window is not self._bound:
            self.loop.bind(_rows_of(window))
            self._bound = window
        return work_off(self.loop, share.start, share.stop, place)

    @property
    def bound(self) -> tuple[int, int] | None:
        """Epoch and index of the window at hand, if its rows are bound to the loop."""
        return self._at if self._bound is not None and self._bound is self._window else None

    def take_leg(self, legs: Legs, leg: Leg) -> LegEnd | None:
        """Take steps by itself; None where its own parameters are not here."""
        state, loop = self._state, self.loop
        if leg.own is not None:
            for array, told in zip((state.parameters, state.state), leg.own, strict=True):
                array.reshape(-1)[:] = np.frombuffer(told, array.dtype)
        elif self._stands != leg.stands:
            return None
        self._stands = -1  # until the leg is over
        if legs.parameters:
            common = np.frombuffer(legs.parameters, state.parameters.dtype)
            state.parameters.reshape(-1)[:] = common
        # Where the schedule's rule is, each process knows for itself.
        rules = state.settings[..., SCHEDULE].copy()
        state.settings.reshape(-1)[:] = np.frombuffer(legs.settings)
        state.settings[..., SCHEDULE] = rules
        state.active[:] = legs.active
        loop.batch_size = legs.batch_size
        if any(stop > first for first, stop, _ in leg.shares):
            loop.bind(_rows_of(self.window(leg.epoch, leg.window)))
        else:  # what was carried over is all
            loop.bind_batch()
        begin_batch(loop, legs.step)
        carried = list(leg.carried)
        take_shares(loop, [sums_from_wire(each, state.parameters) for each in carried])
        totals, refusal, step = list[np.ndarray](), None, legs.step
        for number, (share, ends) in enumerate(zip(leg.shares, legs.ends, strict=True)):
            first, stop, before = share
            if stop > first:
                status, sums = add_share(loop, first, stop, before)
                if status != OK:
                    row = int(sums.bad_rows[sums.statuses == status][0])
                    refusal = number, status, row
                    break
                if not ends:
                    carried.append(sums_to_wire(sums))
            if ends:
                state.totals[:] = 0.0
                found = end_step(loop) if loop.work["in_batch"][0] else None
                if found is not None:
                    refusal = number, found.status, -1
                    break
                totals.append(state.totals.copy())
                carried, step = [], step + 1
                begin_batch(loop, step)
        self._stands = step
        return LegEnd(
            (state.parameters.tobytes(), state.state.tobytes()),
            np.array(totals).tobytes(),
            carried,
            state.active.tolist(),
            refusal,
        )

    def close(self) -> None:
        """End its reading; slabs go as soon as nothing writes into them."""
        with suppress(AttributeError):
            self._windows.close()  # type: ignore[attr-defined]
        self._reader.__exit__(None, None, None)

    def _is_empty(self, epoch: int, index: int) -> bool:
        return len(self._order.window_blocks(epoch, index)) == 0

    def _after(self, place: tuple[int, int]) -> tuple[int, int]:
        epoch, index = place
        return (epoch, index + 1) if index + 1 < self._order.windows else (epoch + 1, 0)


def _rows_of(window: Window) -> Rows:
    return Rows(window.arrays, window.order, window.block_starts, window.block_rows)
