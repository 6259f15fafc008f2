"""From the options about a model to the model: which options it has, and what is left out."""

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ooc.cli.groups import option
from ooc.cli.help import listed
from ooc.cli.options import numbers, read
from ooc.cli.show import NOTES
from ooc.core.errors import DataError, InputError

if TYPE_CHECKING:
    from ooc.store.dataset import Dataset


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and what it is like.

    An option is for every model that has a setting of its name; None where the user gave none.
    """

    model: str = option(
        "{models}. Settings that have no option here follow a colon: NAME:SETTING=3.", "logistic"
    )
    feature_scale: str | None = option(
        "Factor for every feature, such as 1/255 for bytes.", unset="1"
    )
    standardise: str | None = option(
        "yes, no, or auto: whether features of a linear model get mean 0 and deviation 1.",
        unset="auto",
    )
    standardise_target: str | None = option(
        "yes, no, or auto: whether numbers to predict get mean 0 and deviation 1 in training.",
        unset="auto",
    )
    intercept: bool | None = option(
        "Give scores of a linear model an intercept.", unset="intercept"
    )
    loss: str | None = option("Of a model that has a choice: {losses}.", unset="the model's first")
    loss_constant: float | None = option("Huber's delta, the quantile, or epsilon.")
    class_weights: str | None = option("balanced, or one number for each class: 1,5.", unset="ones")
    classes: int | None = option(
        "Classes of softmax and the multiclass and ordinal heads; known for data that ooc made."
    )
    hidden: str | None = option("Units of the hidden layers of a network.", unset="64,64")
    activation: str | None = option("{activations}.", unset="relu")
    initialisation: str | None = option(
        "{initialisations}; auto is by the activation.", unset="auto"
    )
    dropout: float | None = option("Share of hidden outputs to drop.", unset="0")
    weight_decay: float | None = option("Half of it times |weights|^2 is added.", unset="0")
    head: str | None = option(
        "{heads}, for mlp; ordinal is for classes that have an order. Without it, by the targets, "
        "and told: multiclass where classes are given or noted, binary for whole numbers that are "
        "all 0 or 1, regression for fractions; other whole numbers are refused.",
        unset="by the targets",
    )
    code: int | None = option("Units of an autoencoder's code.", unset="16")

    def config(self, dataset: "Dataset") -> Mapping[str, Any]:
        """Return what `ooc.models.from_config` makes the model from; refuse options not its own."""
        from ooc.models import MODELS, from_config

        name, _, own = self.model.partition(":")
        if name not in MODELS:
            from_config({"name": name})
        options = {key: value for key, value in vars(self).items() if key != "model"}
        given = {key: value for key, value in options.items() if value is not None}
        settings = {each: _options_of(model) for each, model in MODELS.items()}
        known = settings[name]
        for key in given:
            if key not in known:
                able = [each for each, others in settings.items() if key in others]
                flag = f"no-{key}" if given[key] is False else key.replace("_", "-")
                raise InputError(
                    f"{name} has no --{flag}; leave it out, or choose --model {listed(able)}"
                )
        config = {
            key: read(value, *_READERS[key]) if key in _READERS else value
            for key, value in given.items()
        }
        if "head" in known:
            config |= _fitting_head(dataset, config.get("head"), config.pop("classes", None))
        elif "classes" in known:
            config["classes"] = config.get("classes") or _classes_of(dataset)
        if "feature_scale" in config:
            config["scale"] = config.pop("feature_scale")
        return {"name": name, **config, **_own_settings(name, own, known - options.keys())}


def _options_of(model: type) -> set[str]:
    """Return the options that a model has: its settings; one with a head counts classes, too."""
    settings = {field.name for field in fields(model)}
    settings |= {"classes"} if "head" in settings else set()
    return (settings - {"scale"}) | {"feature_scale"} if "scale" in settings else settings


def _own_settings(name: str, text: str, known: Collection[str]) -> dict[str, Any]:
    """Read settings that have no option, such as "factors=8,power=0.5,widths=[8,4]"."""
    settings: dict[str, Any] = {}
    # A comma inside of brackets is one of a list.
    for part in re.split(r",(?![^\[\]]*\])", text) if text else ():
        setting, _, value = part.partition("=")
        if setting not in known or not value:
            taken = f"{name} has {', '.join(sorted(known))}" if known else f"{name} has none"
            raise InputError(f"--model {name}:{text} is to be NAME:SETTING=VALUE; {taken}")
        try:
            settings[setting] = json.loads(value)
        except ValueError:
            settings[setting] = value
    return settings


def _fitting_head(dataset: "Dataset", head: str | None, classes: int | None) -> dict[str, Any]:
    """Return head and outputs; a head that was not given is found in the targets, and told."""
    if head is None:
        head, reason = _head_by_targets(dataset, classes)
        NOTES.append(f"head: {head}, as {reason}; --head chooses another")
    from ooc.models.mlp import OF_CLASSES

    if head in OF_CLASSES:
        return {"head": head, "outputs": _classes_of(dataset) if classes is None else classes}
    if classes is not None:
        able = listed([f"--head {name}" for name in OF_CLASSES])
        raise InputError(f"the {head} head has no --classes; leave it out, or {able}")
    if head == "regression" and dataset.target is not None:
        return {"head": head, "outputs": math.prod(dataset.arrays[dataset.target].shape[1:])}
    return {"head": head}


def _classes_of(dataset: "Dataset") -> int:
    """Count the classes of targets, and tell what was found."""
    from ooc.runs.classes import count_classes

    classes = count_classes(dataset)
    if not isinstance(dataset.attributes.get("classes"), int):
        NOTES.append(f"classes: {classes}, by the targets {dataset.target}")
    return classes


def _head_by_targets(dataset: "Dataset", classes: int | None) -> tuple[str, str]:
    """Return the head that targets ask for, and why; of numbers only the first chunk is read."""
    if classes is not None:
        return "multiclass", f"--classes is {classes}"
    noted = dataset.attributes.get("classes")
    if isinstance(noted, int):
        return "multiclass", f"{dataset.path} notes {noted} classes"
    if dataset.target is None:
        raise InputError(f"{dataset.no_targets}; name those to train on with --target")
    from ooc.runs.classes import first_targets, labels_of
    from ooc.store.labels import listed

    spec = dataset.arrays[dataset.target]
    if (labels := labels_of(dataset)) is not None:
        names = f"{spec.name} has {len(labels.names)} labels: {listed(labels.names)}"
        if len(labels.names) == 2:
            return "binary", names
        if labels.is_named:
            return "multiclass", names
    # Whole numbers of which some are missing are still classes or counts.
    declared = spec.conventions
    whole = declared is not None and not declared.scaled and declared.stored.kind in "iu"
    try:
        values = first_targets(dataset)
    except DataError as error:
        raise InputError(f"{error}; --head is found by these targets: give it") from None
    if not values.size:
        raise InputError(
            f"targets {spec.name} of {dataset.path} are all missing in the first chunk; give --head"
        )
    low, high = values.min(), values.max()
    if set(values.tolist()) <= {0, 1}:
        return "binary", f"{spec.name} begins with numbers that are all 0 or 1"
    if spec.dtype.kind == "f" and not whole:
        return "regression", f"{spec.name} holds {spec.dtype} numbers"
    raise InputError(
        f"targets {spec.name} of {dataset.path} are whole numbers, from {low:,.0f} to {high:,.0f} "
        f"in the first {len(values):,} rows, which may be classes or counts; give --head "
        "multiclass, --head ordinal where classes have an order, or --head regression"
    )


def _factor(text: str) -> float:
    return float(Fraction(text))


def _weights(text: str) -> str | list[float]:
    return text if text == "balanced" else numbers(text)


def _widths(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",")) if text.strip() else ()


_STANDARDISE: Mapping[str, bool | str] = {"yes": True, "no": False, "auto": "auto"}
# How options that are texts are read, and what is said of one that cannot be.
_READERS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "feature_scale": (_factor, "{!r} is not a factor; write it as 0.5 or 1/255"),
    "hidden": (_widths, "{!r} are no widths; write them as 256,256"),
    "standardise": (_STANDARDISE.__getitem__, "--standardise is one of yes, no, auto, not {!r}"),
    "standardise_target": (
        _STANDARDISE.__getitem__,
        "--standardise-target is one of yes, no, auto, not {!r}",
    ),
    "class_weights": (_weights, "--class-weights are balanced or numbers as in 1,5, not {!r}"),
}
