"""From the options about a model to the model: which options it has, and what is left out."""

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ooc.cli.help import listed
from ooc.cli.show import NOTES
from ooc.core.errors import InputError

if TYPE_CHECKING:
    from ooc.store.dataset import Dataset


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and what it is like.

    An option is for every model that has a setting of its name; None where the user gave none.
    """

    model: Annotated[
        str,
        typer.Option(
            help="{models}. Settings that have no option here follow a colon: NAME:SETTING=3."
        ),
    ] = "logistic"
    feature_scale: Annotated[
        str | None,
        typer.Option(help="Factor for every feature, such as 1/255 for bytes.", show_default="1"),
    ] = None
    standardise: Annotated[
        str | None,
        typer.Option(
            help="yes, no, or auto: whether features of a linear model get mean 0 and deviation 1.",
            show_default="auto",
        ),
    ] = None
    intercept: Annotated[
        bool | None,
        typer.Option(help="Give scores of a linear model an intercept.", show_default="intercept"),
    ] = None
    loss: Annotated[
        str | None,
        typer.Option(
            help="Of a model that has a choice: {losses}.", show_default="the model's first"
        ),
    ] = None
    loss_constant: Annotated[
        float | None, typer.Option(help="Huber's delta, the quantile, or epsilon.")
    ] = None
    class_weights: Annotated[
        str | None,
        typer.Option(help="balanced, or one number for each class: 1,5.", show_default="ones"),
    ] = None
    classes: Annotated[
        int | None,
        typer.Option(
            help="Classes of softmax and the multiclass head; known for data that ooc made."
        ),
    ] = None
    hidden: Annotated[
        str | None,
        typer.Option(help="Units of the hidden layers of a network.", show_default="64,64"),
    ] = None
    activation: Annotated[str | None, typer.Option(help="{activations}.", show_default="relu")] = (
        None
    )
    initialisation: Annotated[
        str | None,
        typer.Option(help="{initialisations}; auto is by the activation.", show_default="auto"),
    ] = None
    dropout: Annotated[
        float | None, typer.Option(help="Share of hidden outputs to drop.", show_default="0")
    ] = None
    weight_decay: Annotated[
        float | None, typer.Option(help="Half of it times |weights|^2 is added.", show_default="0")
    ] = None
    head: Annotated[
        str | None,
        typer.Option(
            help="{heads}, for mlp. Without it, by the targets, and told: multiclass where "
            "classes are given or noted, binary for whole numbers that are all 0 or 1, regression "
            "for fractions; other whole numbers are refused.",
            show_default="by the targets",
        ),
    ] = None
    code: Annotated[
        int | None, typer.Option(help="Units of an autoencoder's code.", show_default="16")
    ] = None

    def config(self, dataset: "Dataset") -> Mapping[str, Any]:
        """Return what `ooc.models.from_config` makes the model from.

        Raises
        ------
        InputError
            If an option was given that the model does not have, or one is missing.
        """
        from ooc.models import MODELS, from_config

        name, _, own = self.model.partition(":")
        if name not in MODELS:
            from_config({"name": name})
        options = [field.name for field in fields(self) if field.name != "model"]
        given = {
            option: getattr(self, option) for option in options if getattr(self, option) is not None
        }
        settings = {each: _options_of(model) for each, model in MODELS.items()}
        known = settings[name]
        for option in given:
            if option not in known:
                able = [each for each, others in settings.items() if option in others]
                flag = f"no-{option}" if given[option] is False else option.replace("_", "-")
                raise InputError(
                    f"{name} has no --{flag}; leave it out, or choose --model {listed(able)}"
                )
        config = {option: _READERS.get(option, _as_given)(given[option]) for option in given}
        if "standardise" in known:
            config.setdefault("standardise", "auto")
        if "head" in known:
            config |= _fitting_head(dataset, config.get("head"), config.pop("classes", None))
        elif "classes" in known:
            config["classes"] = config.get("classes") or _noted_classes(dataset)
        if "feature_scale" in config:
            config["scale"] = config.pop("feature_scale")
        return {"name": name, **config, **_own_settings(name, own, known - set(options))}


def _options_of(model: type) -> set[str]:
    """Return the options that a model has: its settings; one with a head counts classes, too."""
    settings = {field.name for field in fields(model)}
    settings |= {"classes"} if "head" in settings else set()
    return (settings - {"scale"}) | {"feature_scale"} if "scale" in settings else settings


def _own_settings(name: str, text: str, known: Collection[str]) -> dict[str, Any]:
    """Read settings that have no option, such as "factors=8,power=0.5"."""
    settings: dict[str, Any] = {}
    for part in text.split(",") if text else ():
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
    if head == "multiclass":
        return {"head": head, "outputs": _noted_classes(dataset) if classes is None else classes}
    if classes is not None:
        raise InputError(f"the {head} head has no --classes; leave it out, or --head multiclass")
    if head == "regression" and dataset.target is not None:
        return {"head": head, "outputs": math.prod(dataset.arrays[dataset.target].shape[1:])}
    return {"head": head}


def _head_by_targets(dataset: "Dataset", classes: int | None) -> tuple[str, str]:
    """Return the head that targets ask for, and why; only their first chunk is read.

    Raises
    ------
    InputError
        If they are whole numbers that may be classes or counts.
    """
    if classes is not None:
        return "multiclass", f"--classes is {classes}"
    noted = dataset.attributes.get("classes")
    if isinstance(noted, int):
        return "multiclass", f"{dataset.path} notes {noted} classes"
    if dataset.target is None:
        raise InputError(f"{dataset.no_targets}; name those to train on with --target")
    spec = dataset.arrays[dataset.target]
    if spec.dtype.kind == "f":
        return "regression", f"{spec.name} holds {spec.dtype} numbers"
    import numpy as np

    from ooc.store.chunks import BadChunkError, open_reader

    values = np.empty((min(spec.chunks[0], spec.shape[0]), *spec.shape[1:]), spec.dtype)
    try:
        open_reader(dataset, spec.name).read_runs([(0, len(values))], values)
    except BadChunkError as error:
        raise InputError(f"{error}; --head is found by these targets: give it") from None
    low, high = int(values.min()), int(values.max())
    if low >= 0 and high <= 1:
        return "binary", f"{spec.name} begins with whole numbers that are all 0 or 1"
    raise InputError(
        f"targets {spec.name} of {dataset.path} are whole numbers, from {low:,} to {high:,} in "
        f"the first {len(values):,} rows, which may be classes or counts; give --head multiclass "
        "with --classes, or --head regression"
    )


def _noted_classes(dataset: "Dataset") -> int:
    noted = dataset.attributes.get("classes")
    if not isinstance(noted, int):
        raise InputError(
            f"{dataset.path} does not note how many classes it has; give them with --classes"
        )
    return noted


def factor(text: str) -> float:
    """Read a factor such as 0.5 or 1/255."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise InputError(f"{text!r} is not a factor; write it as 0.5 or 1/255") from None


def standardise_named(text: str) -> bool | str:
    """Read whether to standardise: yes, no, or "auto"."""
    choices: dict[str, bool | str] = {"yes": True, "no": False, "auto": "auto"}
    if text not in choices:
        raise InputError(f"--standardise is one of {', '.join(choices)}, not {text!r}")
    return choices[text]


def class_weights_named(text: str) -> str | list[float]:
    """Read the weights of classes: "balanced", or numbers such as 1,5."""
    if text == "balanced":
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--class-weights are balanced or numbers as in 1,5, not {text!r}"
        ) from None


def widths(text: str) -> tuple[int, ...]:
    """Read the units of layers, such as 256,256; an empty text is no layers."""
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise InputError(f"{text!r} are no widths; write them as 256,256") from None


def _as_given(value: Any) -> Any:
    return value


# How options that are texts are read.
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "feature_scale": factor,
    "hidden": widths,
    "standardise": standardise_named,
    "class_weights": class_weights_named,
}
