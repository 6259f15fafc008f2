"""Steps on rows that come a few at a time are those of one run over all of them."""

from typing import Any

import numpy as np
import pytest

import ooc
from ooc.core.errors import InputError
from ooc.models import MLP, Linear
from ooc.optim.schedules import cosine, staircase
from ooc.store.held import hold
from ooc.training.increments import take_steps

MODEL = Linear(standardise=False, standardise_target=False)


def test_increments_are_the_steps_of_one_run(rng: np.random.Generator) -> None:
    """With an optimizer that remembers; the rows of each set are in their own order."""
    x, y = rng.standard_normal((120, 3)), rng.standard_normal(120)
    trainer = ooc.Trainer(MODEL, ooc.optim.adam(0.1), 20, shuffle="none", memory="512MiB")
    whole = trainer.fit(hold({"X": x, "y": y}), epochs=1)
    descent = None
    for part in np.split(np.arange(120), 3):
        descent = take_steps(trainer, hold({"X": x[part], "y": y[part]}), descent)
    assert descent is not None
    run = descent.run()
    np.testing.assert_array_equal(run.parameters, whole.parameters)
    assert run.results["steps"] == whole.results["steps"] == 6


def test_a_rate_that_was_found_stays(rng: np.random.Generator) -> None:
    x = rng.standard_normal((200, 3))
    trainer = ooc.Trainer(MODEL, ooc.optim.sgd(), 20, memory="512MiB")
    descent, losses = None, []
    for _ in range(4):
        descent = take_steps(trainer, hold({"X": x, "y": x @ [1.0, 2.0, 3.0]}), descent)
        losses.append(descent.loss)
    assert descent is not None
    assert descent.train_state.methods[0].schedule.name == "constant"
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.01 * losses[0]


def test_a_method_with_passes_of_its_own_is_refused(rng: np.random.Generator) -> None:
    dataset = hold({"X": rng.standard_normal((20, 3)), "y": rng.standard_normal(20)})
    with pytest.raises(InputError) as told:
        take_steps(ooc.Trainer(MODEL, ooc.optim.lbfgs(), 10), dataset)
    assert str(told.value) == (
        "lbfgs asks for passes over all rows of its own; choose an optimizer that takes steps on "
        "mini-batches, such as sgd or adam"
    )


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        (Linear(standardise=True, standardise_target=True), ooc.optim.averaged(0.1)),
        (MLP(hidden=(4,), head="regression", standardise=True), ooc.optim.adam(0.01)),
    ],
    ids=["linear", "network"],
)
def test_one_set_is_a_run_of_one_epoch(
    rng: np.random.Generator, model: Any, optimizer: Any
) -> None:
    """By its seed, its moments, its average and its loss in the targets' unit."""
    x, y = 5 * rng.standard_normal((120, 3)) + 2, 100 * rng.standard_normal(120) + 30
    dataset = hold({"X": x, "y": y})
    trainer = ooc.Trainer(model, optimizer, 20, seed=5, memory="768MiB")
    whole = trainer.fit(dataset, epochs=1)
    descent = take_steps(trainer, dataset)
    run = descent.run()
    np.testing.assert_array_equal(run.parameters, whole.parameters)
    assert run.results["loss"] == pytest.approx(whole.results["loss"], rel=1e-9)
    assert (run.model, run.row_shape) == (whole.model, (3,))
    kept = run.parameters.copy()
    after = take_steps(trainer, dataset, descent)
    np.testing.assert_array_equal(run.parameters, kept)
    assert (run.results["steps"], after.step) == (6, 12)
    # A run that was trained goes on from its parameters, with no optimizer state and no moments.
    other = take_steps(trainer, dataset, whole)
    assert other.model == whole.model and other.step == 6
    steps = other.train_state.parameters[0] - whole.parameters
    assert 0 < np.abs(steps).max() < 50


@pytest.mark.parametrize("schedule", [staircase(2, 0.5), cosine(5), cosine(3, warmup=2)])
def test_a_schedule_of_steps_goes_on_over_the_sets(rng: np.random.Generator, schedule: Any) -> None:
    x, y = rng.standard_normal((120, 3)), rng.standard_normal(120)
    optimizer = ooc.optim.sgd(0.1, schedule=schedule)
    trainer = ooc.Trainer(MODEL, optimizer, 20, shuffle="none", memory="512MiB")
    whole, descent = trainer.fit(hold({"X": x, "y": y}), epochs=1), None
    for part in np.split(np.arange(120), 3):
        descent = take_steps(trainer, hold({"X": x[part], "y": y[part]}), descent)
    assert descent is not None
    np.testing.assert_array_equal(descent.run().parameters, whole.parameters)


def test_a_schedule_of_a_whole_run_is_none_where_nobody_knows_its_end(
    rng: np.random.Generator,
) -> None:
    x, y = rng.standard_normal((60, 3)), rng.standard_normal(60)
    dataset, found = hold({"X": x, "y": y}), []
    for optimizer in (ooc.optim.sgd(0.1, schedule=cosine()), ooc.optim.sgd(0.1)):
        trainer = ooc.Trainer(MODEL, optimizer, 20, memory="512MiB")
        found.append(take_steps(trainer, dataset, take_steps(trainer, dataset)).run())
    np.testing.assert_array_equal(found[0].parameters, found[1].parameters)
