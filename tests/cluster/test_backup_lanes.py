"""Steps that do not wait for late workers: delays are injected by a plugin of these tests."""

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset

import ooc
from ooc.cluster.crew import Crew
from ooc.cluster.messages import Step
from ooc.cluster.placement import swap_lanes
from ooc.core.errors import DataError, InputError, LostError
from ooc.engines.synchronisation import Synchronisation
from ooc.store.dataset import Dataset
from ooc.stream.plan import MIB, RESERVED_BYTES
from ooc.training.trainer import Trainer
from ooc.training.watchers.callbacks import Callbacks

distributed = pytest.importorskip("distributed")

MEMORY = RESERVED_BYTES + 320 * MIB
LANES, BATCH, ROWS, BASE_SECONDS = 4, 80, 6400, 0.02
WINDOW_BLOCKS = 32


class Delays(distributed.WorkerPlugin):
    """Lets a worker take longer for a share: a number of seconds, drawn anew each time.

    How they are drawn stands in a file: a run begins and ends without a word to the workers.
    """

    name = "delays"

    def __init__(self, kind_file: Path) -> None:
        self.kind_file = kind_file

    def setup(self, worker: Any) -> None:
        from ooc.cluster.lane_server import LaneServer
        from ooc.cluster.open_lane import OpenLane

        # One that hangs says where, before the test is given up.
        faulthandler.dump_traceback_later(240, repeat=True)
        LaneServer.compiled_steps = False  # which calls no method
        number, kind_file, undelayed = int(worker.name), self.kind_file, OpenLane.work_off
        generator = np.random.default_rng(number)

        def work_off(lane: Any, *given: Any) -> Any:
            excess, kind = 0.0, kind_file.read_text()
            if kind == "lognormal":
                excess = 0.02 * generator.lognormal(0.0, 2.0)
            elif kind == "pareto":
                excess = 0.02 * generator.pareto(1.1)
            elif kind == "slow":
                excess = 9.0 * (number == 1)
            time.sleep(BASE_SECONDS * (1 + excess))
            return undelayed(lane, *given)

        OpenLane.work_off = work_off  # type: ignore[method-assign]


@dataclass(frozen=True)
class Late:
    """A cluster of four workers, and the file that says how late they are."""

    client: Any
    kind_file: Path


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Late]:
    kind_file = tmp_path_factory.mktemp("delays") / "kind"
    kind_file.write_text("even")
    with (
        distributed.LocalCluster(
            n_workers=4, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.register_plugin(Delays(kind_file))
        yield Late(client, kind_file)


@pytest.fixture
def labelled(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Rows in five windows of sixteen steps; one class is in the blocks of one lane alone."""
    small_windows(monkeypatch, 32 * 2**10)
    lane = np.arange(ROWS) // 40 % LANES
    y = (lane == 1).astype(np.int64)
    x = (rng.standard_normal((ROWS, 4)) + 0.7 * y[:, None]).astype(np.float32)
    return write_dataset(tmp_path / "labelled.zarr", chunk_rows=40, X=x, y=y)


def trainer(backups: int, **more: Any) -> Trainer:
    model = ooc.models.Logistic(standardise=False)
    return Trainer(
        model, ooc.optim.sgd(0.3), BATCH, memory=MEMORY, lanes=LANES, window=WINDOW_BLOCKS,
        block_rows=40, synchronisation=Synchronisation(backup_lanes=backups), **more,
    )  # fmt: skip


def train(four: Late, dataset: Dataset, kind: str, backups: int, epochs: int = 2) -> Any:
    """Train with delays of a kind."""
    four.kind_file.write_text(kind)
    return trainer(backups).fit(dataset, epochs, report=False, client=four.client)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lognormal", "pareto", "slow"])
def test_stragglers_cost_less_than_a_sixth_of_the_rate(
    four: Late, labelled: Dataset, kind: str
) -> None:
    """What else this machine does slows a run, and never makes one fast: several may try.

    A run that waits for the slow worker is ten times slower, however often it tries.
    """
    even = min(train(four, labelled, "even", 1).results["seconds"] for _ in range(2))
    for _ in range(4):
        late = train(four, labelled, kind, 1).results
        assert late["steps"] == 2 * ROWS // BATCH
        assert late["rows"] + late["dropped_rows"] == 2 * ROWS
        if late["seconds"] < even / 0.85:
            return
    pytest.fail(f"{late['seconds']} seconds with late workers, {even} without")


@pytest.mark.slow
def test_no_lane_is_always_the_late_one(four: Late, labelled: Dataset) -> None:
    """The slow worker's lane changes from window to window: all lose alike, no class most."""
    run = train(four, labelled, "slow", 1, epochs=4)
    dropped = run.results["dropped_gradients"]
    steps_of_a_window = WINDOW_BLOCKS * 40 // BATCH
    assert sum(dropped) >= run.results["steps"] // 2
    assert max(dropped) - min(dropped) <= 2 * steps_of_a_window
    assert run.results["lanes_moved"] > 2 * LANES
    whole = trainer(0).fit(labelled, 4, report=False)
    # Which windows lost how much is chance. Without the rows of one class all would be the other's.
    for found, expected in zip(*(_rates(labelled, each) for each in (run, whole)), strict=True):
        assert found == pytest.approx(expected, abs=0.15)


def _rates(dataset: Dataset, run: Any) -> list[float]:
    """Return the mean probability of each class's rows."""
    predicted = np.asarray(run.predict(dataset, "probability")).reshape(ROWS, -1)[:, -1]
    y = np.arange(ROWS) // 40 % LANES == 1
    return [float(predicted[y == each].mean()) for each in (False, True)]


@pytest.mark.slow
def test_what_was_dropped_goes_on_where_a_run_does(
    four: Late, labelled: Dataset, tmp_path: Path
) -> None:
    """The position counts dropped rows, too: each epoch passes each row once."""
    four.kind_file.write_text("slow")
    stop = threading.Event()

    def step_end(now: Any) -> None:
        if now.step == 101:
            stop.set()

    how = {"report": False, "stop": stop, "callbacks": Callbacks(step_end=step_end)}
    begun = trainer(1).fit(labelled, 2, tmp_path / "run", client=four.client, **how).results
    assert begun["rows"] + begun["dropped_rows"] == 101 * BATCH
    run = ooc.resume(tmp_path / "run", report=False, client=four.client).results
    assert run["steps"] == 2 * ROWS // BATCH
    assert run["rows"] + run["dropped_rows"] == 2 * ROWS
    assert run["dropped_rows"] > begun["dropped_rows"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("lost_at", [3, 30])
def test_what_a_batch_had_lost_when_a_run_ended_amid_it_is_not_counted_twice(
    client: Any, labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost_at: int
) -> None:
    """Batches of 70 rows span windows of 1,280: their first part may have lost rows already."""
    ask_first = Crew.ask_first

    def lose_the_last(crew: Crew, needed: int, asked: str, shares: dict, step: Step) -> dict:
        found = ask_first(crew, len(shares), asked, shares, step)
        return {lane: found[lane] for lane in list(found)[:needed]}

    def end_amid_a_batch(crew: Crew, needed: int, asked: str, shares: dict, step: Step) -> dict:
        if step.number >= lost_at and min(share.before for share in shares.values()) > 0:
            raise LostError("the cluster is gone")
        return lose_the_last(crew, needed, asked, shares, step)

    monkeypatch.setattr(Crew, "ask_first", end_amid_a_batch)
    trained = replace(trainer(1), batch_size=70)
    with pytest.raises(DataError, match="run holds the run after step"):
        trained.fit(labelled, 2, tmp_path / "run", report=False, client=client)
    monkeypatch.setattr(Crew, "ask_first", lose_the_last)
    run = ooc.resume(tmp_path / "run", report=False, client=client).results
    assert run["steps"] == 2 * -(-ROWS // 70)
    assert run["rows"] + run["dropped_rows"] == 2 * ROWS
    assert sum(run["dropped_gradients"]) >= run["steps"]


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_its_lanes_to_those_that_are_there(
    labelled: Dataset,
) -> None:
    """Three lanes are needed, and two of them were its own."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):

        def step_end(now: Any) -> None:
            if now.step == 20:
                os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)

        callbacks = Callbacks(step_end=step_end)
        run = trainer(1).fit(labelled, 2, report=False, client=client, callbacks=callbacks).results
    assert run["steps"] == 2 * ROWS // BATCH and run["workers_lost"] == 1
    assert run["rows"] + run["dropped_rows"] == 2 * ROWS


def test_lanes_of_late_workers_change_places_with_those_that_lost_least() -> None:
    """Over many windows with the same late worker, lanes differ by what one window costs."""
    placed, dropped, generator = {lane: "abcd"[lane] for lane in range(4)}, [0] * 4, 17
    for _ in range(50):
        late = next(lane for lane, who in placed.items() if who == "b")
        dropped[late] += generator
        placed = swap_lanes(placed, dropped, {"b"})
        assert sorted(placed.values()) == list("abcd")
        assert max(dropped) - min(dropped) <= generator


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"backup_lanes": -1}, "backup_lanes"),
        ({"backup_lanes": 1, "local_steps": 4}, "give one of the two"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Synchronisation(**given)


def test_one_process_waits_for_nobody(labelled: Dataset) -> None:
    with pytest.raises(InputError, match="a step waits for nobody in one process: 1 backup lanes"):
        trainer(1).fit(labelled, report=False)


@pytest.mark.slow
def test_a_step_needs_a_lane(client: Any, labelled: Dataset) -> None:
    with pytest.raises(InputError, match="of 4 lanes, 4 cannot be backups"):
        trainer(4).fit(labelled, report=False, client=client)
