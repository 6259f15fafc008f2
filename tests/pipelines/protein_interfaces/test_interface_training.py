"""The pair on the stream: the same bits for the same seed, also after a stop, and rows of it."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ooc
from pipelines.protein_interfaces import coordinates
from pipelines.protein_interfaces.columns import faults
from pipelines.protein_interfaces.complexes import FITTED
from pipelines.protein_interfaces.data import conditions_of, sample_of, write_rows
from pipelines.protein_interfaces.model import InterfacePair, optimizer
from pipelines.protein_interfaces.sampling import ask, make_rows

pytestmark = pytest.mark.slow  # to compile


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """Stopped in the midst of the critic's turns; what a run keeps is the generator's average."""
    write_rows(tmp_path / "a.zarr", 4000, 3, FITTED)
    rows = ooc.open(tmp_path / "a.zarr")
    x, y = sample_of(rows, 4000, 0)
    found = coordinates.fit(x)
    model = InterfacePair(
        found.edges, found.starts, found.shift, found.factor, hidden=8, critic_steps=2,
        rate_steps=80,
    )  # fmt: skip
    trainer = ooc.Trainer(model, optimizer(1e-3, 40, 0.9), 64, memory="1GiB", seed=1)
    whole = trainer.fit(rows, 2, tmp_path / "whole")
    stop = threading.Event()

    def at_step(now: Any) -> None:
        if now.step == 70:
            stop.set()
        generator = trainer.model.layout((64,)).spans()["generator.weights1"][0]  # type: ignore[attr-defined]
        assert np.array_equal(now.parameters[:generator], now.solution[:generator])
        assert now.step < 4 or not np.array_equal(now.parameters, now.solution)

    trainer.fit(rows, 2, tmp_path / "run", stop=stop, callbacks=ooc.Callbacks(step_end=at_step))
    run = trainer.resume(rows, tmp_path / "run")
    assert run.results["parameters_sha256"] == whole.results["parameters_sha256"]
    labels, stable = ask(conditions_of(x, y), 500, 2)
    made = [make_rows(model, run.parameters, labels, stable, seed) for seed in (2, 2, 3)]
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
    assert not any(faults(made[0]).values())
