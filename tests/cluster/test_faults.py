"""Workers come and go, and are killed at any moment; so is the client: the bits are the same."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset
from distributed import Client, LocalCluster

import ooc
from ooc.cluster.crew import Crew
from ooc.core.errors import DataError
from ooc.runs import checkpoint
from ooc.store.dataset import Dataset
from ooc.stream.plan import MIB, RESERVED_BYTES
from ooc.training.resume import resume
from ooc.training.trainer import Trainer
from ooc.training.watchers.callbacks import Callbacks

pytestmark = pytest.mark.slow
SAME = ("parameters_sha256", "loss", "steps", "rows", "epochs")
KILLS = 20


@pytest.fixture
def labelled(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    small_windows(monkeypatch, 16 * 2**10)
    x = rng.standard_normal((4000, 4)).astype(np.float32)
    y = (x[:, 0] + 0.5 * rng.standard_normal(4000) > 0).astype(np.int64)
    return write_dataset(tmp_path / "labelled.zarr", chunk_rows=40, X=x, y=y)


def trainer() -> Trainer:
    memory = RESERVED_BYTES + 256 * MIB
    return Trainer(ooc.models.Logistic(), ooc.optim.adam(0.02), 60, memory=memory, lanes=4)


def at_steps(actions: dict[int, Callable[[], Any]]) -> Callbacks:
    """Do something after certain steps."""

    def step_end(now: Any) -> None:
        if now.step in actions:
            actions.pop(now.step)()

    return Callbacks(step_end=step_end)


@pytest.mark.timeout(900)  # each of twenty workers is started anew
def test_workers_that_are_killed_at_random_moments_cost_no_bit(labelled: Dataset) -> None:
    epochs, generator = 40, random.Random(5)
    whole = trainer().fit(labelled, epochs, report=False).results
    with (
        LocalCluster(
            n_workers=3, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):
        steps = sorted(generator.sample(range(3, whole["steps"] - 60), KILLS))
        killed: list[str] = []

        def step_end(now: Any) -> None:
            """Kill a worker soon, in whatever it then does; its nanny starts another."""
            if len(killed) == KILLS or now.step < steps[len(killed)]:
                return
            # One that is killed as it starts ends its nanny, too. Until it has started, its nanny
            # tells the address of the one before.
            there = client.scheduler_info()["workers"].keys() - set(killed)
            left = [each for each in cluster.workers.values() if each.worker_address in there]
            if left:
                nanny = generator.choice(left)
                killed.append(nanny.worker_address)
                delay = generator.uniform(0, 0.02)
                subprocess.Popen(["sh", "-c", f"sleep {delay}; kill -9 {nanny.pid}"])

        how = {"report": False, "callbacks": Callbacks(step_end=step_end)}
        there = trainer().fit(labelled, epochs, client=client, **how).results
    assert len(killed) == KILLS
    assert [there[key] for key in SAME] == [whole[key] for key in SAME]
    assert there["workers_lost"] > KILLS // 2


def test_workers_that_are_killed_amid_steps_that_nobody_watches(
    labelled: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of a window are taken in one call of compiled code, which the kills come into."""
    epochs, generator = 150, random.Random(3)
    whole = trainer().fit(labelled, epochs, report=False).results
    with (
        LocalCluster(
            n_workers=3, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):
        trainer().fit(labelled, 1, report=False, client=client)  # all is compiled
        begun, ended = threading.Event(), threading.Event()
        begin = Crew.begin

        def begin_and_tell(crew: Crew) -> None:
            begin(crew)
            begun.set()

        monkeypatch.setattr(Crew, "begin", begin_and_tell)

        def kill() -> None:
            begun.wait()  # before, a worker that is killed is none of the run's
            for nanny in list(cluster.workers.values())[:2]:
                if ended.wait(generator.uniform(0.1, 0.4)):
                    return
                if nanny.pid:
                    with suppress(ProcessLookupError):
                        os.kill(nanny.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            found = trainer().fit(labelled, epochs, report=False, client=client).results
        finally:
            begun.set()
            ended.set()
            killer.join()
    assert [found[key] for key in SAME] == [whole[key] for key in SAME]
    assert found["workers_lost"] > 0


def test_workers_that_come_and_go_take_lanes_over(labelled: Dataset) -> None:
    whole = trainer().fit(labelled, 8, report=False).results
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):

        def join() -> None:
            cluster.scale(3)
            client.wait_for_workers(3)
            time.sleep(1.1)

        def leave() -> None:
            cluster.scale(1)
            time.sleep(2)

        callbacks = at_steps({40: join, 300: leave})
        there = trainer().fit(labelled, 8, report=False, client=client, callbacks=callbacks).results
    assert [there[key] for key in SAME] == [whole[key] for key in SAME]
    assert there["workers"] == 3
    assert there["lanes_moved"] > 1


def test_a_client_that_is_killed_leaves_a_run_that_goes_on(
    labelled: Dataset, tmp_path: Path
) -> None:
    whole = Trainer(
        ooc.models.Logistic(), ooc.optim.adam(0.02), 60, memory="1GiB", lanes=4, window=20,
        block_rows=40,
    ).fit(labelled, 6, report=False)  # fmt: skip
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, ooc\n"
        "from distributed import Client\n"
        "from ooc.training.watchers.saver import Saving\n"
        "if __name__ == '__main__':\n"
        "    with Client(sys.argv[1]) as client:\n"
        "        trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.adam(0.02), 60,\n"
        "            memory='1GiB', lanes=4, window=20, block_rows=40, saving=Saving(5))\n"
        "        data = ooc.open(sys.argv[2])\n"
        "        trainer.fit(data, 6, sys.argv[3], report=False, client=client)\n"
    )
    run = tmp_path / "run"
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
    ) as cluster:
        command = [sys.executable, str(script), cluster.scheduler_address, labelled.path, str(run)]
        process = subprocess.Popen(command)
        try:
            while not saved_steps(run) or saved_steps(run)[-1] < 20:
                assert process.poll() is None, "it ended before it was killed"
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        with Client(cluster) as client:
            deadline = time.monotonic() + 60
            while any(client.processing().values()) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert not any(client.processing().values()), "workers are free again"
            there = resume(run, report=False, client=client).results
    assert [there[key] for key in SAME] == [whole.results[key] for key in SAME]


def saved_steps(run: Path) -> list[int]:
    with suppress(OSError):
        return checkpoint.steps(run)
    return []


def test_without_any_worker_a_run_ends_with_what_it_saved(
    labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.cluster.crew.PATIENCE_FOR_WORKERS", 0.5)
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):

        def send_away() -> None:
            """Let the one worker go, and end it at once: it would answer as long as it can."""
            (pid,) = (each.pid for each in cluster.workers.values())
            cluster.scale(0)
            until = time.monotonic() + 30
            while cluster.scheduler.workers and time.monotonic() < until:
                time.sleep(0.01)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        callbacks = at_steps({70: send_away})
        saving = ooc.Saving(10)
        one = Trainer(
            ooc.models.Logistic(), ooc.optim.adam(0.02), 60, memory="1GiB", lanes=4, saving=saving
        )
        with pytest.raises(DataError, match=r"no worker of tcp://.* is left .* after step"):
            one.fit(labelled, 4, tmp_path / "run", report=False, client=client, callbacks=callbacks)
    here = Trainer(ooc.models.Logistic(), ooc.optim.adam(0.02), 60, memory="1GiB", lanes=4)
    whole = here.fit(labelled, 4, report=False).results
    there = here.resume(labelled, tmp_path / "run", report=False).results
    assert [there[key] for key in SAME] == [whole[key] for key in SAME]


def test_workers_that_the_client_cannot_reach_are_named(
    labelled: Dataset, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler may know workers on a network of their own."""

    async def refuse(*_: Any, **__: Any) -> None:
        raise OSError

    monkeypatch.setattr("ooc.cluster.crew.connect", refuse)
    with pytest.raises(DataError, match=r"none can be reached from here: tcp://.* 3 times"):
        trainer().fit(labelled, 1, report=False, client=client)
