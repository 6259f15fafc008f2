"""From a saved run back to the options of `train` that give it again, to the last bit."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ooc.cli.models import ModelOptions
from ooc.core.errors import InputError
from ooc.store.selection import STORES
from ooc.stream.options import StreamOptions

# Settings of models under the options' names, where those are others.
_RENAMED = {"scale": "feature_scale"}
_SWITCH = {True: "yes", False: "no"}


def settings_of(run_dir: str, saved: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options by their names, in groups; `saved` is a run's description.

    What the run found in the data, such as its learning rate, is left to be found again.

    Raises
    ------
    InputError
        If the shell has no option for what the run was made of.
    """
    trainer = saved["trainer"]
    side = saved["fingerprint"]["selection"]
    if side is not None and side["by"] != STORES and trainer["validation"] is None:
        raise _no_option(run_dir, f"one side of a split of {saved['dataset']['path']}")
    groups = {
        "data": _data(saved["dataset"]),
        "model": _model(run_dir, trainer["model"]),
        "descent": {
            **_descent(trainer["optimizer"]),
            "batch_size": trainer["batch_size"],
            "epochs": saved["epochs"],
        },
        "stream": {
            "memory": saved["memory"],
            **{
                name: trainer[name]
                for name in StreamOptions().to_config()
                if trainer.get(name) is not None
            },
        },
        "validation": _validation(run_dir, trainer["validation"]),
        "steering": _steering(trainer["steering"]),
        "synchronisation": trainer.get("synchronisation", {}),
    }
    return {
        title: {name.replace("_", "-"): value for name, value in group.items() if value is not None}
        for title, group in groups.items()
        if any(value is not None for value in group.values())
    }


def _no_option(run_dir: str, what: str) -> InputError:
    return InputError(
        f"the run in {run_dir} was trained with {what}, for which the shell has no option; train "
        "it again from Python"
    )


def _data(dataset: Mapping[str, Any]) -> dict[str, Any]:
    found = {"data": dataset["path"], "features": dataset["features"]}
    for role in ("target", "weight"):
        found |= {f"no_{role}": True} if dataset[role] is None else {role: dataset[role]}
    return found | {"missing": dataset["missing"], "transform": dataset.get("transform")}


def _model(run_dir: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model's options; what has none of its own follows its name."""
    from ooc.models import MODELS
    from ooc.models.mlp import OF_CLASSES

    name = config["name"]
    if name not in MODELS:
        raise _no_option(run_dir, f"the model {name}")
    options = {each.name for each in fields(ModelOptions)}
    found, own = dict[str, Any](), list[str]()
    for key, value in config.items():
        option = _RENAMED.get(key, key)
        if key == "name" or value is None:
            continue
        if key == "outputs" and "head" in config:
            # Of the other heads it follows from the targets.
            found |= {"classes": value} if config["head"] in OF_CLASSES else {}
        elif option not in options:
            parts = value if isinstance(value, list) else [value]
            if any(isinstance(each, list | dict) for each in parts):
                raise _no_option(run_dir, f"{key}={value!r} of {name}")
            own.append(f"{key}={json.dumps(value, separators=(',', ':'))}")
        elif isinstance(value, list):
            found[option] = _list(value)
        else:
            by_word = option.startswith("standardise") and isinstance(value, bool)
            found[option] = _SWITCH[value] if by_word else value
    return {"model": f"{name}:{','.join(own)}" if own else name, **found}


def _descent(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an optimizer, or of a method on the full gradient."""
    constants = config.get("constants")
    if constants is None:
        constants = [config["tolerance"], config["kept"], config["memory"]]
        constants = constants if config["memory"] else constants[:2]
    found = {"optimizer": _named(config["name"], constants), "lr": config["rate"]}
    found |= {name: config.get(name) for name in ("l2", "l1", "clip_norm")}
    found["average"] = config.get("average") or None
    schedule = config.get("schedule")
    if schedule is not None:
        found["schedule"] = _named(schedule["name"], schedule["constants"])
        found["warmup"] = schedule["warmup"]
    return found


def _validation(run_dir: str, config: Mapping[str, Any] | None) -> dict[str, Any]:
    if config is None:
        return {}
    if isinstance(config["data"], str):
        raise _no_option(run_dir, f"a validation on {config['data']}")
    found = {"validation": config["data"], "validation_by": config["by"]}
    found |= {"validation_ordered": config.get("ordered"), "test": config.get("test")}
    found["validation_groups"] = ",".join(map(str, config.get("groups", ()))) or None
    return found | {"evaluate_every": config["every"], "patience": config["patience"]}


def _steering(config: Mapping[str, Any] | None) -> dict[str, Any]:
    if config is None:
        return {}
    batch, heat = config["batch"], config["temperature"]
    found: dict[str, Any] = {"auto_batch": True if batch == "auto" else None}
    found["batch_schedule"] = _points(batch) if isinstance(batch, list) else None
    found["temperature"] = None if heat is None else _points(heat)
    found |= {"temperature_by": config["by"], "largest_batch": config["largest"]}
    return found | {"steer_every": config["every"]}


def _named(name: str, constants: list[float]) -> str:
    return f"{name}:{_list(constants)}" if constants else name


def _list(values: list[float]) -> str:
    """Join numbers, whole ones without a fraction.

    Examples
    --------
    >>> _list([256.0, 1e-08])
    '256,1e-08'
    """
    return ",".join(str(int(each)) if float(each).is_integer() else repr(each) for each in values)


def _points(pairs: list[list[float]]) -> str:
    return ",".join(f"{step}={value!r}" for step, value in pairs)
