"""What a checkpoint holds of watchers: all that they give, whatever they are called."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import ooc
from ooc.engines.engine import make_engine
from ooc.models.train_state import start
from ooc.optim import sgd
from ooc.runs import checkpoint
from ooc.store.dataset import Dataset
from ooc.training.run_state import make_run, restore_watchers, save_run
from ooc.training.session import Session, Track
from ooc.training.watchers.watcher import Watcher


class Counter(Watcher):
    """A watcher that the package has never heard of."""

    name = "counter"

    def __init__(self, number: int | None, count: int = 0) -> None:
        self.number, self.count, self.vector = number, count, np.full(3, count / 7)

    def state(self) -> dict[str, Any]:
        return {"count": self.count, "vector": self.vector}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.count, self.vector = state["count"], state["vector"]

    def results(self, number: int) -> dict[str, Any]:
        return {"counted": self.count}

    def solution(self) -> np.ndarray | None:
        return np.full(4, self.count, np.float32)


def test_each_descent_is_saved_with_the_watchers_that_follow_it(
    dataset: Dataset, tmp_path: Path
) -> None:
    trainer = ooc.Trainer(ooc.models.Logistic(), sgd(0.1), 10)
    loader, layout = trainer.loader(dataset), trainer.layout(dataset)
    train_state = start((sgd(0.1), sgd(0.2)), np.zeros(layout.size, np.float32))
    engine = make_engine(trainer.model, loader, train_state)
    folders = [tmp_path / "a", tmp_path / "b"]
    tracks = [Track(folder.name, {}, folder) for folder in folders]
    session = Session(trainer.model, layout, loader, engine, 1, tracks, {})
    watchers = [Counter(0, 5), Counter(1, 8)]
    for number, count in ((0, 5), (1, 8)):
        run = make_run(session, number, watchers)
        assert run.results["counted"] == count
        assert run.parameters.tolist() == [count] * 4
        assert save_run(session, run, number, watchers, keep=1)
        arrays, saved = checkpoint.load(folders[number])
        restored = Counter(None)
        restore_watchers([restored], arrays, saved)
        assert restored.count == count
        np.testing.assert_array_equal(restored.vector, np.full(3, count / 7))
