"""Where a run begins: parameters by its seed, and none of them random twice."""

import numpy as np
import pytest

import ooc
from ooc.core.random_keys import Purpose, generator
from ooc.models import MLP
from ooc.optim import adam, sgd
from ooc.store.dataset import Dataset


@pytest.mark.parametrize("seed", [0, 5])
def test_a_run_begins_with_the_parameters_of_its_seed(dataset: Dataset, seed: int) -> None:
    """Alone, and each of several; steps so short leave them as they are."""
    model = MLP(hidden=(4,), head="binary", standardise=False)
    layout = model.layout((3,))
    expected = model.init(layout, generator(seed, Purpose.PARAMETERS)).astype(np.float32)
    trainer = ooc.Trainer(model, sgd(1e-30), 100, memory="512MiB", seed=seed)
    found = [
        trainer.fit(dataset, 1),
        *trainer.fit_many(dataset, [sgd(1e-30), adam(1e-30)], 1).values(),
    ]
    for run in found:
        np.testing.assert_allclose(run.parameters, expected, rtol=1e-6, atol=1e-20)
    assert np.unique(layout.views(expected)["layer1.weights"]).size > 4
