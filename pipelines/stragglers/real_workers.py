"""Steps of real worker processes, each slowed down as it is told to, by the client's clock."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, Worker, WorkerPlugin

import ooc
from ooc.cluster.lane_server import LaneServer
from ooc.cluster.messages import Share, Step
from ooc.engines.synchronisation import Synchronisation
from pipelines.common.dataset import Dataset
from pipelines.stragglers.delays import draw_slowness

MEMORY = "1GiB"
FEATURES, BLOCK_ROWS = 8, 64
# Steps that are left out: connections and first questions take their time.
SETTLE_STEPS = 5

_ANSWER = LaneServer.answer


@dataclass(frozen=True)
class Run:
    """A run of worker processes of one lane each.

    Attributes
    ----------
    workers, batch_size, steps
        Of the run; lanes are as many as workers.
    kind, slow
        How slow workers are, see `pipelines.stragglers.delays.draw_slowness`.
    spare
        Answers that a step does not wait for.
    row_seconds
        That a row takes on average; each worker sleeps for what its rows do not take in truth.
    """

    workers: int
    batch_size: int
    steps: int
    kind: str = "even"
    slow: float = 1.0
    spare: int = 0
    row_seconds: float = 0.0
    seed: int = 0

    def work(self) -> np.ndarray:
        """Return (steps, workers) seconds that each share takes."""
        slowness = draw_slowness(self.kind, self.seed, self.steps, self.workers, self.slow)
        return self.batch_size / self.workers * self.row_seconds * slowness


class SlowWorkers(WorkerPlugin):
    """Slows worker processes down for a run, until another one is named."""

    name = "ooc-slow-workers"

    def __init__(self, run: Run) -> None:
        self._run = run

    def setup(self, worker: Worker) -> None:
        """Let each share of this worker take as long as it is to; its name is its number."""
        run, work = self._run, self._run.work()
        number = int(worker.name)
        own = work[:, number] if number < run.workers else np.zeros(run.steps)
        share = run.batch_size / run.workers

        def answer(server: LaneServer, message: Sequence[Any]) -> tuple[Any, ...]:
            begun, seconds = time.perf_counter(), 0.0
            if message[0] == "shares":
                step, shares = Step._make(message[1]), map(Share._make, message[2])
                rows = sum(each.stop - each.start for each in shares)
                seconds = rows / share * float(own[step.number % run.steps])
            found = _ANSWER(server, message)
            if seconds:
                time.sleep(max(0.0, begun + seconds - time.perf_counter()))
            return found

        LaneServer.compiled_steps = False  # which would call no `answer`
        LaneServer.answer = answer  # type: ignore[method-assign, assignment]


@dataclass(frozen=True)
class Measured:
    """Steps of a run, as its client saw them.

    Attributes
    ----------
    seconds
        (steps,) of each; those before `SETTLE_STEPS` are left out.
    client_seconds
        Of the client's processor, for each step.
    """

    seconds: np.ndarray
    client_seconds: float


def write_rows(path: Path, rows: int) -> Dataset:
    """Write rows for runs, whose values matter to nobody."""
    fields = {"X": ("float32", (FEATURES,)), "y": ("uint8", ())}
    generator = np.random.default_rng(0)
    size = BLOCK_ROWS * 4 * FEATURES
    with ooc.create(path, fields, chunk_bytes=size, shard_bytes=size) as writer:
        values = generator.standard_normal((rows, FEATURES), dtype=np.float32)
        writer.append({"X": values, "y": (values[:, 0] > 0).astype(np.uint8)})
    return ooc.open(path)


def measure(client: Client, dataset: Dataset, run: Run) -> Measured:
    """Take the steps of a run with real workers, and tell how long each took."""
    client.register_plugin(SlowWorkers(run))
    trainer = ooc.Trainer(
        ooc.models.Logistic(standardise=False), ooc.optim.sgd(0.01), run.batch_size,
        memory=MEMORY, lanes=run.workers, block_rows=BLOCK_ROWS,
        window=-(-dataset.rows // BLOCK_ROWS),
        synchronisation=Synchronisation(backup_lanes=run.spare),
    )  # fmt: skip
    times = [time.perf_counter()]
    processor = [time.process_time()]

    def look(now: Any) -> bool:
        times.append(time.perf_counter())
        processor.append(time.process_time())
        return bool(now.step == run.steps)

    epochs = -(-run.steps * run.batch_size // dataset.rows)
    trainer.fit(
        dataset, epochs, report=False, client=client, callbacks=ooc.Callbacks(step_end=look)
    )
    seconds = np.diff(times)[SETTLE_STEPS:]
    used = (processor[-1] - processor[SETTLE_STEPS]) / len(seconds)
    return Measured(seconds, used)
