"""Steps on rows that come a few at a time are those of one run over all of them."""

import numpy as np
import pytest

import ooc
from ooc.core.errors import InputError
from ooc.models import Linear
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
    with pytest.raises(InputError, match="lbfgs asks for passes over all rows of its own; choose"):
        take_steps(ooc.Trainer(MODEL, ooc.optim.lbfgs(), 10), dataset)
