"""The loss on the way is that of the parameters there, and the way is that of the trainer."""

import numpy as np
import pytest

import ooc
from ooc.store.dataset import Dataset
from pipelines.common.trajectory import follow


def test_looking_changes_nothing_and_sees_start_way_and_end(dataset: Dataset) -> None:
    trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(1e-3), 100)
    seen: list[np.ndarray] = []

    def loss(parameters: np.ndarray) -> float:
        seen.append(parameters.copy())
        return float(np.sum(parameters**2))

    way = follow(trainer, dataset, 2, 4, np.zeros(4, np.float32), loss)
    run = trainer.fit(dataset, 2)
    assert way.steps.tolist() == [0, 4, 8, 11, 12, 16, 20, 22]
    assert way.losses.tolist() == pytest.approx([float(np.sum(each**2)) for each in seen])
    np.testing.assert_array_equal(seen[-1], run.parameters)
    assert way.seconds[0] == 0
    assert (np.diff(way.seconds) >= 0).all()
