"""Time to a loss on up to 1,024 workers, one of them ten times slower: simulated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.common.checks import Check, above, at_least, format_number
from pipelines.common.figures import Picture, new_figure, picture
from pipelines.common.section import Section
from pipelines.common.table import Table
from pipelines.stragglers.calibration import RATE_KEPT
from pipelines.stragglers.closed_forms import RANDOM_KINDS, SLOW
from pipelines.stragglers.delays import draw_slowness
from pipelines.stragglers.simulate import Costs, simulate
from pipelines.stragglers.steps_to_loss import BATCHES, Descents

WORKERS = tuple(2**power for power in range(2, 11))
SHOWN = (8, 64, 1024)
SPARE_SHARE = 0.04
EVEN, FULL, MINI, SPARE = (
    "mini-batch, no stragglers", "full batch", "mini-batch", "mini-batch, spare lanes"
)  # fmt: skip
STYLES = {FULL: "s-", MINI: "o-", SPARE: "^-", EVEN: "k--"}


@dataclass(frozen=True)
class Point:
    """A way to descend on so many workers.

    Attributes
    ----------
    spare
        Workers whose answers a step does not wait for.
    step_seconds, steps
        Of a step, and steps to the loss.
    dropped
        Share of all answers that were not used.
    slow_dropped
        The same of the slow machine.
    """

    kind: str
    way: str
    workers: int
    spare: int
    step_seconds: float
    steps: float
    dropped: float = 0.0
    slow_dropped: float = 0.0

    @property
    def seconds(self) -> float:
        """Time to the loss."""
        return self.step_seconds * self.steps


def spare_of(workers: int) -> int:
    """Return how many answers a step does not wait for.

    Examples
    --------
    >>> [spare_of(workers) for workers in (4, 64, 1024)]
    [1, 3, 41]
    """
    return max(1, round(SPARE_SHARE * workers))


def simulate_all(
    descents: Descents, costs: Costs, batch_seconds: float, seed: int, steps: int
) -> list[Point]:
    """Simulate every way for all kinds of delays and numbers of workers.

    Parameters
    ----------
    costs
        Of the client.
    batch_seconds
        That a mini-batch takes one machine.
    """
    found = []
    for kind in RANDOM_KINDS:
        for workers in WORKERS:
            share, spare = batch_seconds / workers, spare_of(workers)
            slowed = share * draw_slowness(kind, seed, steps, workers, SLOW)
            others = share * draw_slowness(kind, seed, steps, workers)
            mini, full = descents.mini.steps, descents.full.steps
            less = descents.steps_without(spare / workers)
            for way, work, left_out, needed in (
                (EVEN, others, 0, mini), (FULL, BATCHES * slowed, 0, full),
                (MINI, slowed, 0, mini), (SPARE, slowed, spare, less),
            ):  # fmt: skip
                done = simulate(work, workers - left_out, costs)
                dropped = done.dropped / steps
                found.append(
                    Point(
                        kind,
                        way,
                        workers,
                        left_out,
                        done.mean,
                        needed,
                        float(dropped.mean()),
                        float(dropped[0]),
                    )
                )
    return found


def section_of(points: Sequence[Point], costs: Costs, batch_seconds: float) -> Section:
    """Return the table, the figure, and what both are held to."""
    by = {(each.kind, each.way, each.workers): each for each in points}
    lines, checks = [], list[Check]()
    for kind in RANDOM_KINDS:
        for workers in SHOWN:
            for way in (FULL, MINI, SPARE, EVEN):
                lines.append(_line(by[kind, way, workers], by[kind, EVEN, workers]))
            full, mini, spare, even = (by[kind, way, workers] for way in (FULL, MINI, SPARE, EVEN))
            where = f"{kind}, {workers:,} workers"
            checks += [
                above(f"{where}: time to the loss, full batch over mini-batch",
                      full.seconds / mini.seconds, 1.0),
                above(f"{where}: time to the loss, without spare lanes over with them",
                      mini.seconds / spare.seconds, 1.0),
                at_least(f"{where}: rate with spare lanes over that without the slow one",
                         even.step_seconds / spare.step_seconds, RATE_KEPT),
            ]  # fmt: skip
    head = (
        "delays", "", "workers", "spare", "updates/s", "steps to the loss", "seconds to the loss",
        "over no stragglers", "dropped", "of the slow one",
    )  # fmt: skip
    text = (
        f"A mini-batch takes one machine {batch_seconds:g} s, all rows {BATCHES} times as long; "
        f"delays are random at every step, and one worker is {SLOW:g} times slower ('no "
        f"stragglers': the same delays without it). The client takes {1e3 * costs.step:.2f} ms a "
        f"step and {1e3 * (costs.ask + costs.take):.2f} ms a worker. With spare lanes a step waits "
        f"for all but {100 * SPARE_SHARE:g} percent of the answers; it has so many rows fewer, "
        "and the loss takes more steps."
    )
    return Section(
        "To the loss on 1,024 workers", text, (Table("time to the loss", head, tuple(lines)),),
        (draw(points),), tuple(checks),
        {"scale": [{**vars(each), "seconds": each.seconds} for each in points]},
    )  # fmt: skip


def _line(point: Point, even: Point) -> tuple[str, ...]:
    return (
        point.kind, point.way, f"{point.workers:,}", str(point.spare),
        format_number(1 / point.step_seconds), f"{point.steps:.0f}", f"{point.seconds:,.0f}",
        f"{point.seconds / even.seconds:.2f}x", f"{100 * point.dropped:.1f}%",
        f"{100 * point.slow_dropped:.0f}%",
    )  # fmt: skip


def draw(points: Sequence[Point]) -> Picture:
    """Draw the time to the loss against workers, a panel for each kind of delays."""
    figure = new_figure(11.5, 4.6)
    axes = figure.subplots(1, len(RANDOM_KINDS), sharey=True)
    for axis, kind in zip(axes, RANDOM_KINDS, strict=True):
        for way, style in STYLES.items():
            own = [each for each in points if (each.kind, each.way) == (kind, way)]
            workers, seconds = [p.workers for p in own], [p.seconds for p in own]
            axis.plot(workers, seconds, style, markersize=4, linewidth=1.2, label=way)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_title(f"{kind} delays", fontsize="medium")
        axis.set_xlabel("workers, one of them ten times slower")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds to the loss")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    largest = max(WORKERS)
    ratios = [
        f"{_seconds(points, kind, MINI) / _seconds(points, kind, SPARE):.1f}"
        for kind in RANDOM_KINDS
    ]
    return picture(
        figure, "stragglers",
        "What one slow machine costs, and what spare lanes buy back: time to the loss. At "
        f"{largest:,} workers they are {', '.join(ratios)} times faster.",
        "Full batches take the longest on any number of workers. Mini-batches wait for the slow "
        "machine, too, for a handful of rows; with spare lanes they take hardly longer than "
        "without stragglers.",
    )  # fmt: skip


def _seconds(points: Sequence[Point], kind: str, way: str) -> float:
    (found,) = (
        each.seconds for each in points
        if (each.kind, each.way, each.workers) == (kind, way, max(WORKERS))
    )  # fmt: skip
    return math.nan if found == 0 else found
