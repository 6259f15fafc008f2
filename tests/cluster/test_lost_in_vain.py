"""What ends every worker that is asked for it ends the run, in a sentence; it is saved."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dask_processes import dask_processes
from datasets import small_windows, write_dataset

import ooc
from ooc.core.errors import DataError
from ooc.engines.synchronisation import Synchronisation
from ooc.runs import checkpoint
from ooc.store.dataset import Dataset
from ooc.stream.plan import MIB, RESERVED_BYTES
from ooc.training.trainer import Trainer

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow
METHODS = {"work_off": Synchronisation(), "take_leg": Synchronisation(local_steps=3)}
LAST_STEP = 7


class Deadly(distributed.WorkerPlugin):
    """Ends a worker that is asked for anything after a step, as a machine without memory does."""

    name = "deadly"

    def setup(self, worker: Any) -> None:
        from ooc.cluster.lane_server import LaneServer
        from ooc.cluster.open_lane import OpenLane

        LaneServer.compiled_steps = False  # which calls no method
        for name in METHODS:
            setattr(OpenLane, name, _deadly(getattr(OpenLane, name)))


def _deadly(method: Any) -> Any:
    def ends(lane: Any, *given: Any) -> Any:
        # A share's place knows its step; legs are asked with theirs.
        if next(each.step for each in given if hasattr(each, "step")) > LAST_STEP:
            os._exit(9)
        return method(lane, *given)

    return ends


@pytest.fixture
def doomed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster in which another worker is started for each that ends; gone after one test."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    with (
        dask_processes(tmp_path) as cluster,
        cluster.replaced(),
        distributed.Client(cluster.address) as client,
    ):
        client.register_plugin(Deadly())
        yield client


@pytest.fixture
def labelled(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    small_windows(monkeypatch, 16 * 2**10)
    x = rng.standard_normal((1200, 4)).astype(np.float32)
    return write_dataset(tmp_path / "a.zarr", chunk_rows=40, X=x, y=(x[:, 0] > 0).astype(np.int64))


@pytest.mark.parametrize(
    "how", [*METHODS.values(), Synchronisation(backup_lanes=1)], ids=["all", "legs", "first"]
)
def test_workers_that_are_lost_over_one_question_end_the_run(
    doomed: Any,
    labelled: Dataset,
    tmp_path: Path,
    how: Synchronisation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a machine that is busy the next workers may take long to come.
    monkeypatch.setattr("ooc.cluster.crew.PATIENCE_FOR_WORKERS", 200.0)
    trainer = Trainer(
        ooc.models.Logistic(standardise=False), ooc.optim.sgd(0.1), 60, lanes=3,
        memory=RESERVED_BYTES + 320 * MIB, synchronisation=how, saving=ooc.Saving(2),
    )  # fmt: skip
    with pytest.raises(DataError, match=r"lost 8 times in a row over .* look into their logs"):
        trainer.fit(labelled, 2, tmp_path / "run", report=False, client=doomed)
    assert checkpoint.steps(tmp_path / "run")[-1] >= LAST_STEP - 1
