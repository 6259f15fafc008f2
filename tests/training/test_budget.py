"""A budget that a refusal names is enough, whatever the rows decide later on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import write_dataset

import ooc
from ooc.core.errors import TooSmallError
from ooc.models import MLP, Autoencoder, Linear, LinearSVM, Logistic, Softmax
from ooc.optim import adam, lbfgs, sgd
from ooc.store.dataset import Dataset
from ooc.stream.plan import MIB
from ooc.training.trainer import Trainer

MODELS = {
    "linear": Linear(),
    "quantile": Linear(loss="quantile"),
    "logistic": Logistic(class_weights="balanced"),
    "svm": LinearSVM(standardise=False),
    "softmax": Softmax(classes=7),
    "mlp": MLP(hidden=(8,), head="regression"),
    "autoencoder": Autoencoder(hidden=(4,), code=2),
}
SHAPES = [(300, 4, 10), (60, 1_000_000, 1), (200, 300_000, 1), (10**6, 5000, 1), (10**7, 30, 10**6)]


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process holds grows from one call to the next; the machine may be small."""
    monkeypatch.setattr("ooc.training.trainer.held_bytes", lambda: 0)
    monkeypatch.setattr("ooc.stream.plan.allowed_bytes", lambda: 2**50)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "model",
    [
        "linear",
        *(pytest.param(name, marks=pytest.mark.slow) for name in MODELS if name != "linear"),
    ],
)
def test_any_refusal_names_what_is_enough(tmp_path: Path, model: str, shape: tuple) -> None:
    rows, values, chunk = shape
    group = zarr.create_group(tmp_path / "a.zarr")
    dtype = {"logistic": "u1", "svm": "f8", "softmax": "f2"}.get(model, "f4")
    group.create_array("X", shape=(rows, values), chunks=(chunk, values), dtype=dtype)
    group.create_array("y", shape=(rows,), chunks=(chunk,), dtype="i8")
    dataset, chance = ooc.open(tmp_path / "a.zarr"), np.random.default_rng(values)
    for optimizer in (sgd(0.1), adam(0.1), lbfgs()):
        how: Any = {"batch_size": 16, "window": "fit"}
        least = named(dataset, MODELS[model], optimizer, memory=MIB, **how)
        assert named(dataset, MODELS[model], optimizer, memory=least, **how) == least
        between = int(chance.integers(MIB, least))
        assert named(dataset, MODELS[model], optimizer, memory=between, **how) <= least


def named(dataset: Dataset, model: Any, optimizer: Any, **how: Any) -> int:
    """Return the budget that a refusal names, or the one that is taken."""
    try:
        return Trainer(model, optimizer, **how).loader(dataset).plan.budget
    except TooSmallError as error:
        return error.needed


@pytest.mark.slow
@pytest.mark.parametrize("validation", [None, ooc.Validation(0.2)])
def test_a_run_at_the_named_budget_is_not_refused_after_its_rows_were_looked_at(
    tmp_path: Path, validation: ooc.Validation | None
) -> None:
    x = np.random.default_rng(0).standard_normal((40, 90_000), dtype=np.float32)
    x[:, ::2] = 1000 * x[:, ::2] + 5000
    data = write_dataset(tmp_path / "a.zarr", 1, X=x, y=500 + x[:, 1])
    how: Any = {"batch_size": 4, "validation": validation}
    with pytest.raises(TooSmallError) as refused:
        Trainer(Linear(), adam(0.001), memory=200 * MIB, **how).fit(data)
    trainer = Trainer(Linear(), adam(0.001), memory=refused.value.needed, **how)
    run = trainer.fit(data, epochs=1)
    assert run.model.standardise is True and run.model.standardise_target is True
    assert run.results["memory_projected_bytes"] <= refused.value.needed
