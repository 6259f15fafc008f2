"""Every parameter comes to what trains: the trainer that Python makes of the same settings."""

from typing import Any

import numpy as np
import pytest

import ooc
from ooc.core.errors import InputError
from ooc.models import Linear, Logistic, Softmax

X = np.random.default_rng(0).standard_normal((60, 3))
BINARY, THREE = np.arange(60) % 2, np.arange(60) % 3
IN_MEMORY: dict[str, Any] = {"standardise": False, "dtype": "float64"}
SHARED: dict[str, Any] = {
    "epochs": 7,
    "batch_size": 20,
    "memory": "700MiB",
    "random_state": 5,
    "validation": ooc.Validation(0.25, every=3),
    "stream": ooc.StreamOptions(lanes=2, window=4),
}
STREAM: dict[str, Any] = {
    "validation": SHARED["validation"],
    "stream": SHARED["stream"],
    "memory": "700MiB",
    "seed": 5,
}


def trainer_of(
    monkeypatch: pytest.MonkeyPatch, estimator: Any, y: np.ndarray
) -> tuple[ooc.Trainer, int | None]:
    seen: list[Any] = []

    def fit(trainer: ooc.Trainer, dataset: Any, epochs: int | None = None, **more: Any) -> None:
        seen.extend((trainer, epochs))
        raise InputError("seen")

    monkeypatch.setattr(ooc.Trainer, "fit", fit)
    with pytest.raises(InputError, match="seen"):
        estimator.fit(X, y)
    return seen[0], seen[1]


@pytest.mark.parametrize(
    ("settings", "optimizer"),
    [
        ({"optimizer": "lbfgs", "l2": 0.25, "tol": 1e-3}, ooc.optim.lbfgs(l2=0.25, tolerance=1e-3)),
        ({"l2": 0.25, "tol": 1e-4}, ooc.optim.lbfgs(l2=0.25, tolerance=1e-4)),
        ({"optimizer": "cg", "tol": 1e-2}, ooc.optim.cg(tolerance=1e-2)),
        ({"optimizer": "adam:0.8,0.9", "lr": 0.5}, ooc.optim.adam(0.5, 0.8, 0.9)),
        ({"lr": 0.5, "l2": 0.25}, ooc.optim.sgd(0.5, l2=0.25)),
        ({"l1": 0.125, "l2": 0.25}, ooc.optim.sgd(l1=0.125, l2=0.25)),
        ({"optimizer": ooc.optim.momentum(0.1)}, ooc.optim.momentum(0.1)),
    ],
)
def test_of_both_estimators(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], optimizer: Any
) -> None:
    of_labels = ooc.OOCClassifier(class_weight={0: 2.0, 1: 0.5}, **settings, **SHARED)
    model: Any = Logistic(class_weights=(2.0, 0.5), **IN_MEMORY)
    assert trainer_of(monkeypatch, of_labels, BINARY) == (
        ooc.Trainer(model, optimizer, 20, **STREAM), 7,
    )  # fmt: skip
    of_numbers = ooc.OOCRegressor(**settings, **SHARED)
    model = Linear(standardise_target=False, **IN_MEMORY)
    assert trainer_of(monkeypatch, of_numbers, X[:, 0]) == (
        ooc.Trainer(model, optimizer, 20, **STREAM), 7,
    )  # fmt: skip


def test_what_is_not_given_is_found_for_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Softmax of three labels; passes of a method that ends by itself are many."""
    trainer, epochs = trainer_of(monkeypatch, ooc.OOCClassifier(), THREE)
    assert trainer.model == Softmax(classes=3, **IN_MEMORY)
    assert (trainer.optimizer, epochs) == (ooc.optim.lbfgs(), 1000)
    assert (trainer.batch_size, trainer.stream.seed) == (60, 0)
    trainer, epochs = trainer_of(monkeypatch, ooc.OOCRegressor(optimizer="sgd"), X[:, 0])
    assert (trainer.optimizer, epochs) == (ooc.optim.sgd(), None)
    trainer, _ = trainer_of(monkeypatch, ooc.OOCRegressor(batch_size="full"), X[:, 0])
    assert trainer.batch_size == "full"
