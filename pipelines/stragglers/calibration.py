"""Steps of real worker processes beside those of the simulator, which knows their delays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from distributed import Client

from ooc.cluster.connection import connected
from pipelines.common.checks import Check, at_least, near
from pipelines.common.dataset import Dataset
from pipelines.common.section import Section
from pipelines.common.table import Table
from pipelines.stragglers.real_workers import SETTLE_STEPS, Run, measure, write_rows
from pipelines.stragglers.simulate import Costs, simulate

ROWS = 64 * 1024
SHARE_ROWS = 64
FIT_SEED = 99  # of a run that is compared with nothing
# Of the rate that there would be without the slow worker.
RATE_KEPT = 0.85


Case = tuple[str, float, int, int]


@dataclass(frozen=True)
class Effort:
    """How long runs are.

    Attributes
    ----------
    workers
        The most worker processes.
    fit_workers
        Numbers of workers whose steps say what the client spends on each.
    steps, fit_steps
        Of a run.
    share_seconds
        That a worker's share takes on average.
    cases
        Kinds of delays, how many times slower one worker is, how many times the rows of a share
        there are, and spare workers.
    within
        Share of the measured time that the simulated one may be off.
    by_means
        Whether that is of mean times, or of a typical step: a short run has few steps, and a single
        one for which the machine did something else would decide.
    """

    workers: int
    fit_workers: tuple[int, ...]
    steps: int
    fit_steps: int
    share_seconds: float
    cases: tuple[Case, ...]
    within: float
    by_means: bool


FULL = Effort(
    8, (2, 4, 8), 60, 60, 0.02,
    (("exponential", 1, 1, 0), ("lognormal", 1, 1, 0), ("Pareto", 1, 1, 0),
     ("exponential", 10, 1, 0), ("lognormal", 10, 1, 0), ("Pareto", 10, 1, 0),
     ("exponential", 1, 4, 0), ("exponential", 10, 1, 1), ("lognormal", 10, 1, 1),
     ("Pareto", 10, 1, 1), ("lognormal", 10, 1, 2)), 0.1, True,
)  # fmt: skip
QUICK = Effort(
    2, (2,), 20, 30, 0.02, (("exponential", 1, 1, 0), ("lognormal", 5, 1, 0), ("Pareto", 10, 1, 1)),
    0.25, False,
)  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """A run as it was, and as it was simulated: (steps,) seconds of each."""

    run: Run
    measured: np.ndarray
    simulated: np.ndarray

    @property
    def error(self) -> float:
        """How far the simulated time is off, as a share of the measured one."""
        return float(self.simulated.sum() / self.measured.sum()) - 1

    @property
    def typical_error(self) -> float:
        """The same of the step in the middle."""
        return float(np.median(self.simulated / self.measured)) - 1


def calibrate(folder: Path, effort: Effort) -> tuple[Costs, Section]:
    """Measure what messages cost, and steps with delays; return these costs, too."""
    dataset = write_rows(folder / "rows.zarr", ROWS)
    with connected(local_workers=effort.workers) as client:
        assert client is not None, "workers were asked for"
        costs = _fit(client, dataset, effort)
        found = [_compare(client, dataset, _run(effort, *case), costs) for case in effort.cases]
    return costs, _section(found, costs, effort)


def _run(effort: Effort, kind: str, slow: float, rows: int, spare: int) -> Run:
    return Run(
        effort.workers, SHARE_ROWS * rows * effort.workers, max(effort.steps // rows, 12), kind,
        slow, spare, effort.share_seconds / SHARE_ROWS, seed=rows,
    )  # fmt: skip


def _fit(client: Client, dataset: Dataset, effort: Effort) -> Costs:
    """Measure what the client's processor spends on steps, and what shares take beside their rows.

    The former comes of steps without delays, by a line through numbers of workers; the latter is
    what a typical step of a run of its own took longer than it is simulated.
    """
    own = []
    for workers in effort.fit_workers:
        run = Run(workers, SHARE_ROWS * workers, effort.fit_steps)
        own.append(measure(client, dataset, run).client_seconds)
    costs = _line(effort.fit_workers, own)
    run = replace(_run(effort, "exponential", 1, 1, 0), seed=FIT_SEED)
    found = _compare(client, dataset, run, costs)
    return replace(costs, work=max(0.0, float(np.median(found.measured - found.simulated))))


def _line(workers: Sequence[int], seconds: Sequence[float]) -> Costs:
    """Return the costs of a line; half of what a worker more costs is its question's."""
    if len(workers) == 1:  # all of it goes with the workers
        return Costs(ask=seconds[0] / workers[0] / 2, take=seconds[0] / workers[0] / 2)
    slope, constant = np.polyfit(workers, seconds, 1)
    each, rest = max(float(slope), 0.0) / 2, max(float(constant), 0.0)
    return Costs(ask=each, take=each, step=rest)


def _compare(client: Client, dataset: Dataset, run: Run, costs: Costs) -> Compared:
    measured = measure(client, dataset, run).seconds
    simulated = simulate(run.work(), run.workers - run.spare, costs).seconds[SETTLE_STEPS:]
    return Compared(run, measured, simulated)


def _section(found: Sequence[Compared], costs: Costs, effort: Effort) -> Section:
    lines = [
        (
            _name(each.run), f"{1e3 * each.measured.mean():.1f}",
            f"{1e3 * each.simulated.mean():.1f}", f"{100 * each.error:+.1f}%",
            f"{100 * each.typical_error:+.1f}%",
        )
        for each in found
    ]  # fmt: skip
    of = "mean" if effort.by_means else "typical"
    checks: tuple[Check, ...] = tuple(
        near(
            f"{_name(each.run)}: error of the {of} step that was simulated",
            each.error if effort.by_means else each.typical_error, 0.0, effort.within,
        )
        for each in found
    )  # fmt: skip
    checks += tuple(_rates(found))
    worst = max((each.error for each in found), key=abs)
    text = (
        f"{effort.workers} worker processes of this machine, whose shares are made to take "
        f"{1e3 * effort.share_seconds:g} ms on average. The client's processor takes "
        f"{1e3 * costs.step:.2f} ms for a step and {2e3 * costs.ask:.2f} ms for each worker, a "
        f"share {1e3 * costs.work:.2f} ms beside its rows, as another run of exponential delays "
        "tells, here where all processes share the cores. The simulator knows "
        f"the delays that were drawn. Its largest error is {100 * worst:+.1f}%."
    )
    table = Table(
        "milliseconds of a step", ("", "measured", "simulated", "error", "of a typical one"),
        tuple(lines),
    )  # fmt: skip
    results = {
        "runs": [
            {
                **vars(each.run), "measured": float(each.measured.mean()),
                "simulated": float(each.simulated.mean()), "error": each.error,
                "typical_error": each.typical_error,
            }
            for each in found
        ],
        "costs": vars(costs), "largest_error": worst,
    }  # fmt: skip
    return Section("Real workers", text, (table,), checks=checks, results={"calibration": results})


def _rates(found: Sequence[Compared]) -> Iterator[Check]:
    """Yield the rate with a slow worker and spare lanes, over that without either."""
    usual = {
        each.run.kind: each
        for each in found
        if (each.run.slow, each.run.spare, each.run.batch_size)
        == (1, 0, SHARE_ROWS * each.run.workers)
    }
    for each in found:
        if each.run.spare and (without := usual.get(each.run.kind)):
            share = float(without.measured.mean() / each.measured.mean())
            name = f"{_name(each.run)}: measured rate over that without the slow one"
            yield at_least(name, share, RATE_KEPT)


def _name(run: Run) -> str:
    rows = run.batch_size // run.workers // SHARE_ROWS
    many = f", {rows} times the rows" if rows > 1 else ""
    slow = f", one worker {run.slow:g} times slower" if run.slow > 1 else ""
    spare = f", {run.spare} spare" if run.spare else ""
    return f"{run.kind}{slow}{many}{spare}"
