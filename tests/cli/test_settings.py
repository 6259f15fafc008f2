"""From a saved run back to options: each setting under its option's name, or a refusal."""

from typing import Any

import pytest

import ooc
from ooc.cli.models import _own_settings
from ooc.cli.settings import settings_of
from ooc.core.errors import InputError


def saved_of(changes: dict[str, Any], **trainer: Any) -> dict[str, Any]:
    """Return a run's description, in the parts that are read."""
    model = trainer.pop("model", ooc.models.Logistic())
    optimizer = trainer.pop("optimizer", ooc.optim.sgd(0.5))
    made = ooc.Trainer(model, optimizer, 64, memory="512MiB")
    return {
        "trainer": {**made.to_config(), **trainer},
        "dataset": {
            "path": "a.zarr", "features": "X", "target": "y", "weight": None, "missing": "fill",
        },
        "fingerprint": {"selection": None},
        "memory": "300MiB",
        "epochs": 7,
        **changes,
    }  # fmt: skip


def test_each_group_has_its_own_and_what_is_unset_is_left_out() -> None:
    found = settings_of("runs/a", saved_of({}))
    assert list(found) == ["data", "model", "descent", "stream"]
    assert found["data"] == {
        "data": "a.zarr", "features": "X", "target": "y", "no-weight": True, "missing": "fill",
    }  # fmt: skip
    assert found["model"] == {
        "model": "logistic", "intercept": True, "feature-scale": 1.0, "standardise": "auto",
    }  # fmt: skip
    assert found["descent"] == {
        "optimizer": "sgd", "lr": 0.5, "l2": 0.0, "l1": 0.0, "schedule": "constant", "warmup": 0,
        "batch-size": 64, "epochs": 7,
    }  # fmt: skip
    assert found["stream"] == {
        "memory": "300MiB", "seed": 0, "shuffle": "blocks", "window": "auto", "lanes": 1,
        "sampling": "once", "on-bad-chunk": "raise", "missing-values": "raise",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (
            ooc.models.MLP((8, 4), "tanh", head="multiclass", outputs=3, dropout=0.25),
            {"model": "mlp", "hidden": "8,4", "head": "multiclass", "classes": 3, "dropout": 0.25},
        ),
        (ooc.models.MLP(head="regression", outputs=2), {"head": "regression"}),
        (ooc.models.MLP(), {"model": "mlp", "head": "binary", "hidden": "64,64"}),
        (ooc.models.Logistic(dtype="float64"), {"model": 'logistic:dtype="float64"'}),
        (
            ooc.models.Linear(loss="huber", loss_constant=2.0, standardise_target=False),
            {"loss": "huber", "loss-constant": 2.0, "standardise-target": "no"},
        ),
        (ooc.models.Logistic(standardise=True, intercept=False), {
            "standardise": "yes", "intercept": False,
        }),
        (ooc.models.Softmax(classes=3, class_weights=(1, 2.5, 3)), {
            "classes": 3, "class-weights": "1,2.5,3",
        }),
    ],
)  # fmt: skip
def test_a_models_settings_are_options_or_follow_its_name(
    model: ooc.models.Model, options: dict[str, Any]
) -> None:
    found = settings_of("runs/a", saved_of({}, model=model))["model"]
    assert found | options == found
    assert ("classes" in found) == ("classes" in options)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (ooc.optim.cg(tolerance=1e-3, kept=64), {"optimizer": "cg:0.001,64"}),
        (
            ooc.optim.lbfgs(tolerance=1e-4, kept=32, memory=5, l2=0.5),
            {"optimizer": "lbfgs:0.0001,32,5", "l2": 0.5},
        ),
        (
            ooc.optim.adam(
                0.1, 0.8, 0.99, clip_norm=3.0, schedule=ooc.schedules.staircase(10, 0.5, warmup=4)
            ),
            {
                "optimizer": "adam:0.8,0.99,1e-08", "clip-norm": 3.0, "schedule": "step:10,0.5",
                "warmup": 4,
            },
        ),
    ],
    ids=["cg", "lbfgs", "adam"],
)  # fmt: skip
def test_numbers_of_an_optimizer_follow_its_name(optimizer: Any, options: dict[str, Any]) -> None:
    found = settings_of("runs/a", saved_of({}, optimizer=optimizer))["descent"]
    assert found | options == found


ELSEWHERE = {"data": "held.zarr", "every": None, "patience": None, "by": "block"}
OF_ROWS = {**ELSEWHERE, "data": 0.25}


@pytest.mark.parametrize(
    ("changes", "trainer", "what"),
    [
        (
            {"fingerprint": {"selection": {"by": "row"}}},
            {"validation": None},
            "one side of a split of a.zarr",
        ),
        ({}, {"validation": ELSEWHERE}, "a validation on held.zarr"),
    ],
)
def test_what_has_no_option_is_refused(
    changes: dict[str, Any], trainer: dict[str, Any], what: str
) -> None:
    with pytest.raises(InputError) as refused:
        settings_of("runs/a", saved_of(changes, **trainer))
    assert str(refused.value) == (
        f"the run in runs/a was trained with {what}, for which the shell has no option; train "
        "it again from Python"
    )


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"name": "forest"}, "the model forest"),
        ({"name": "logistic", "depths": [[1], 2]}, r"depths=\[\[1\], 2\] of logistic"),
    ],
)
def test_a_model_that_has_no_options_is_refused(config: dict[str, Any], what: str) -> None:
    saved = saved_of({})
    saved["trainer"]["model"] = config
    with pytest.raises(InputError, match=f"the run in runs/a was trained with {what}, for which"):
        settings_of("runs/a", saved)


def test_rows_that_a_run_held_out_are_an_option() -> None:
    """The selection of their other side is the run's own doing."""
    saved = saved_of({"fingerprint": {"selection": {"by": "row"}}}, validation=OF_ROWS)
    assert settings_of("r", saved)["validation"] == {"validation": 0.25, "validation-by": "block"}


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (
            {"batch": "auto", "temperature": None, "by": "rate", "largest": 64, "every": 3},
            {"auto-batch": True, "temperature-by": "rate", "largest-batch": 64, "steer-every": 3},
        ),
        (
            {
                "batch": [[4, 64], [9, 128]], "temperature": [[0, 1.0], [50, 0.5]], "by": "batch",
                "largest": None, "every": 100,
            },
            {
                "batch-schedule": "4=64,9=128", "temperature": "0=1.0,50=0.5",
                "temperature-by": "batch", "steer-every": 100,
            },
        ),
    ],
)  # fmt: skip
def test_how_a_run_was_steered_is_given_back(
    config: dict[str, Any], options: dict[str, Any]
) -> None:
    assert settings_of("r", saved_of({}, steering=config))["steering"] == options


def test_lists_that_have_no_option_follow_the_models_name() -> None:
    """As the shell reads them."""
    settings: dict[str, Any] = {"vocabulary": 50, "length": 4, "figure_hidden": (8, 4)}
    model = ooc.models.EmbeddingMLP(**settings, head="ordinal", outputs=5)
    found = settings_of("runs/a", saved_of({}, model=model))["model"]
    assert (found["classes"], found["head"]) == (5, "ordinal")
    name, _, own = found["model"].partition(":")
    read = _own_settings(name, own, model.to_config())
    assert read["figure_hidden"] == [8, 4] and read["vocabulary"] == 50
